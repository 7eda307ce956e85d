//! The table of all metrics.

use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::{Collector, MetricVec, MetricVecBuilder},
    proto::MetricFamily,
};

/// Seconds that a request or an origin takes.
const REQUEST_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Seconds that a plugin takes: most need about a microsecond, those that wait on I/O far more.
const PLUGIN_SECONDS: &[f64] = &[
    0.000_000_5,
    0.000_001,
    0.000_002,
    0.000_005,
    0.000_01,
    0.000_02,
    0.000_05,
    0.000_1,
    0.001,
    0.01,
    0.1,
    1.0,
];

/// All series of one name; none where the metric could not be made.
pub(super) struct Family<T: MetricVecBuilder>(Option<MetricVec<T>>);

impl<T: MetricVecBuilder> Family<T> {
    /// The series with these values of its labels, made if it is not there.
    pub(super) fn get(&self, values: &[&str]) -> Option<T::M> {
        self.0.as_ref()?.get_metric_with_label_values(values).ok()
    }

    /// Lets go of all series.
    pub(super) fn reset(&self) {
        if let Some(vec) = &self.0 {
            vec.reset();
        }
    }

    /// Lets go of a series. It may not be there.
    pub(super) fn remove(&self, values: &[&str]) {
        if let Some(vec) = &self.0 {
            let _ = vec.remove_label_values(values);
        }
    }
}

/// A family of this vector type.
pub(super) type Of<V> = <V as Vector>::Family;

pub(super) trait Vector {
    type Family;
}

impl<T: MetricVecBuilder> Vector for MetricVec<T> {
    type Family = Family<T>;
}

macro_rules! families {
    ($($(#[$doc:meta])* $field:ident: $vec:ident, $name:literal, [$($label:literal),*], $buckets:expr, $help:literal;)*) => {
        /// Every metric of the gateway.
        pub(super) struct Families {
            registry: Registry,
            $(pub(super) $field: Of<$vec>,)*
        }

        impl Families {
            pub(super) fn new() -> Self {
                let registry = Registry::new();
                Families {
                    $($field: family(&registry, Make::make(concat!("palisade_", $name), $help, &[$($label),*], $buckets)),)*
                    registry,
                }
            }

            /// Name, type, labels and meaning of each.
            #[cfg(test)]
            pub(super) const ROWS: &[(&str, &str, &[&str], &str)] =
                &[$((concat!("palisade_", $name), stringify!($vec), &[$($label),*], $help),)*];
        }
    };
}

families! {
    requests: IntCounterVec, "requests_total", ["route", "status"], &[],
        "requests answered; `status` is the class, `1xx` to `5xx`, `client_closed` where nobody was left to answer, else `other`";
    request_seconds: HistogramVec, "request_duration_seconds", ["route"], REQUEST_SECONDS,
        "from the head of a request to the end of its answer";
    upstream_requests: IntCounterVec, "upstream_requests_total", ["upstream", "outcome"], &[],
        "requests sent to an upstream; `outcome` is `answered` or `unanswered`";
    upstream_seconds: HistogramVec, "upstream_duration_seconds", ["upstream"], REQUEST_SECONDS,
        "from the head sent to an origin to the head of its answer";
    upstream_retries: IntCounterVec, "upstream_retries_total", ["upstream"], &[],
        "requests sent again, those over dead idle connections included";
    upstream_target_up: IntGaugeVec, "upstream_target_up", ["upstream", "target"], &[],
        "1 where requests go to an address of an upstream, 0 where it is put aside";
    upstream_ejections: IntCounterVec, "upstream_ejections_total", ["upstream"], &[],
        "addresses of an upstream put aside because requests had failed (`outlier`)";
    decisions: IntCounterVec, "decisions_total", ["plugin", "route", "effect", "reason"], &[],
        "what came of an entry's hooks; `plugin` is the entry's key, `reason` the stable code or empty";
    plugin_seconds: HistogramVec, "plugin_duration_seconds", ["plugin"], PLUGIN_SECONDS,
        "time in one hook of an entry";
    plugin_events: IntCounterVec, "plugin_events_total", ["plugin", "event"], &[],
        "what plugins count besides their decisions; `plugin` is the entry's key, its page lists the events";
    store_up: IntGaugeVec, "store_up", ["store"], &[],
        "1 where commands of plugins go to a store, 0 where it is down, or a part of its cluster is";
    store_commands: IntCounterVec, "store_commands_total", ["store", "outcome"], &[],
        "commands of plugins to a store; `outcome` is `answered`, `refused`, `timeout`, `broken`, `busy` or `nonsense`, `down` where nothing was tried";
    consumer_source_ok: IntGaugeVec, "consumer_source_ok", [], &[],
        "1 where what is served of `consumer_source.directory` is what stands there, 0 where something there is wrong";
    consumer_source_size: IntGaugeVec, "consumer_source_size", ["of"], &[],
        "what `consumer_source.directory` holds; `of` is `consumers` or `credentials`";
    consumer_source_events: IntCounterVec, "consumer_source_events_total", ["event"], &[],
        "of a directory, how often it was `loaded` and `failed` to be; of a store, look-ups by what came of them: `cached`, `held`, `unheld`, `conflict`, `nonsense` or `failed`";
    edge_refused: IntCounterVec, "edge_refused_total", ["reason"], &[],
        "requests refused before any route was looked for";
    connections: IntGaugeVec, "connections", ["state"], &[],
        "open client connections; `state` is `active` or `idle`";
    accepted: IntCounterVec, "connections_accepted_total", [], &[],
        "client connections accepted";
    refused: IntCounterVec, "connections_refused_total", ["reason"], &[],
        "client connections closed at once; `reason` is the limit they were over, `connections_per_ip`, or `memory` where none was left";
    evicted: IntCounterVec, "connections_evicted_total", ["reason"], &[],
        "idle client connections closed; `reason` is what had to make room, `connections`, `listener`, `descriptors` or `memory`, or that a time was over, `timeout`";
    accept_failures: IntCounterVec, "accept_failures_total", ["reason"], &[],
        "client connections that could not be accepted; `reason` is `descriptors` where there were none left, or `other`";
    buffered: IntGaugeVec, "buffered_bytes", [], &[],
        "what the bodies hold that are in memory whole, of requests and responses together";
    buffered_limit: IntGaugeVec, "buffered_bytes_limit", [], &[],
        "how much they may hold (`limits.buffered_bytes`)";
    reloads: IntCounterVec, "reloads_total", ["result"], &[],
        "reloads of the configuration; `result` is `success` or `failure`";
    last_load_ok: IntGaugeVec, "config_last_load_successful", [], &[],
        "1 if the last load of the configuration succeeded, 0 if an older one goes on serving";
    loaded_at: GaugeVec, "config_last_success_timestamp_seconds", [], &[],
        "when a configuration was last loaded with success, in seconds since 1970";
    generation: IntGaugeVec, "config_generation", [], &[],
        "the generation of the configuration that is serving; 1 at the start";
    certificate_ends: IntGaugeVec, "certificate_expiry_timestamp_seconds", ["key", "file", "subject"], &[],
        "when a certificate that the configuration names expires, in seconds since 1970; `key` is where its file is written";
    list_ends: IntGaugeVec, "crl_next_update_timestamp_seconds", ["key", "file", "issuer"], &[],
        "by when a list of revoked certificates must be renewed, in seconds since 1970";
    build_info: IntGaugeVec, "build_info", ["version"], &[],
        "always 1; the version is in the label";
    process_start: GaugeVec, "process_start_time_seconds", [], &[],
        "when the process started, in seconds since 1970";
    process_cpu: CounterVec, "process_cpu_seconds_total", [], &[],
        "processor time used, in user and system mode";
    process_memory: IntGaugeVec, "process_resident_memory_bytes", [], &[],
        "memory in use";
    process_fds: IntGaugeVec, "process_open_fds", [], &[],
        "open file descriptors";
    process_max_fds: IntGaugeVec, "process_max_fds", [], &[],
        "how many file descriptors may be open";
}

impl Families {
    /// Every series there is, by name.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

/// Registers a vector. That can fail only where the table above is wrong, which a test would tell.
fn family<T>(registry: &Registry, made: prometheus::Result<MetricVec<T>>) -> Family<T>
where
    T: MetricVecBuilder,
    MetricVec<T>: Collector + 'static,
{
    let registered = made.and_then(|vec| registry.register(Box::new(vec.clone())).map(|()| vec));
    match registered {
        Ok(vec) => Family(Some(vec)),
        Err(error) => {
            log::error!("a metric is missing: {error}");
            Family(None)
        }
    }
}

trait Make: Sized {
    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;
}

macro_rules! make {
    ($($vec:ident)*) => {$(
        impl Make for $vec {
            fn make(name: &str, help: &str, labels: &[&str], _: &[f64]) -> prometheus::Result<Self> {
                $vec::new(Opts::new(name, help), labels)
            }
        }
    )*};
}

make!(IntCounterVec CounterVec IntGaugeVec GaugeVec);

impl Make for HistogramVec {
    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
    }
}
