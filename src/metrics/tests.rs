//! What is counted shows, and the document lists what there is.

use std::time::Duration;

use palisade_contract::{Effect, Mode, Place, Scope};

use super::*;

fn entry(key: &str) -> EntryInfo {
    let place = Place::of_file(std::path::Path::new("x.yaml"));
    EntryInfo::new(key, "key-auth", Scope::Route, place, Mode::Enforce)
}

/// The value of a series as it is written, labels in the order of their names.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

#[test]
fn requests_are_counted_by_route_class_and_upstream() {
    let metrics = Metrics::new();
    let route = metrics.route("shop");
    let (shop, other): (Arc<str>, Arc<str>) = ("shop".into(), "other".into());
    for (status, upstream) in [
        (200, Some((&shop, Some(Duration::from_millis(3))))),
        (204, Some((&shop, None))),
        (503, Some((&other, None))),
        (499, None),
        (0, None),
        (65535, None),
    ] {
        route.finished(status, Duration::from_millis(30), upstream);
    }
    for (series, expected) in [
        (r#"palisade_requests_total{route="shop",status="2xx"}"#, 2.0),
        (r#"palisade_requests_total{route="shop",status="5xx"}"#, 1.0),
        (r#"palisade_requests_total{route="shop",status="client_closed"}"#, 1.0),
        (r#"palisade_requests_total{route="shop",status="other"}"#, 2.0),
        (r#"palisade_request_duration_seconds_count{route="shop"}"#, 6.0),
        (r#"palisade_request_duration_seconds_bucket{route="shop",le="0.025"}"#, 0.0),
        (r#"palisade_request_duration_seconds_bucket{route="shop",le="0.05"}"#, 6.0),
        (r#"palisade_upstream_requests_total{outcome="answered",upstream="shop"}"#, 1.0),
        (r#"palisade_upstream_requests_total{outcome="unanswered",upstream="shop"}"#, 1.0),
        (r#"palisade_upstream_requests_total{outcome="unanswered",upstream="other"}"#, 1.0),
        (r#"palisade_upstream_duration_seconds_count{upstream="shop"}"#, 1.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
    assert_eq!(value(&metrics, r#"palisade_requests_total{route="shop",status="4xx"}"#), None);
}

#[test]
fn decisions_are_counted_by_effect_and_reason() {
    let metrics = Metrics::new();
    let handle = metrics.entry("shop", &entry("key-auth#b"));
    handle.decided(Effect::Continue, None, 1500);
    handle.decided(Effect::Skipped, None, 0);
    handle.decided(Effect::Deny, Some("key_unknown"), 700);
    metrics.entry("shop", &entry("key-auth#b")).decided(Effect::Deny, Some("key_unknown"), 700);
    let series = |effect: &str, reason: &str| {
        format!(
            r#"palisade_decisions_total{{effect="{effect}",plugin="key-auth#b",reason="{reason}",route="shop"}}"#
        )
    };
    assert_eq!(value(&metrics, &series("continue", "")), Some(1.0));
    assert_eq!(value(&metrics, &series("skipped", "")), Some(1.0));
    assert_eq!(value(&metrics, &series("deny", "key_unknown")), Some(2.0));
    let time = |part: &str| value(&metrics, &format!("palisade_plugin_duration_seconds_{part}"));
    assert_eq!(time(r#"count{plugin="key-auth#b"}"#), Some(3.0));
    assert_eq!(time(r#"bucket{plugin="key-auth#b",le="0.000001"}"#), Some(2.0));
}

#[test]
fn reasons_are_bounded() {
    let metrics = Metrics::new();
    let handle = metrics.entry("shop", &entry("key-auth"));
    for number in 0..1000 {
        let reason: &'static str = format!("reason_{number}").leak();
        handle.decided(Effect::Deny, Some(reason), 1);
        handle.decided(Effect::WouldDeny, Some(reason), 1);
    }
    let text = metrics.encode();
    let series: Vec<&str> =
        text.lines().filter(|line| line.starts_with("palisade_decisions_total")).collect();
    assert_eq!(series.len(), 32 + 2, "{series:#?}");
    let total: f64 = series.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(total, 2000.0);
}

#[test]
fn a_series_lives_as_long_as_a_snapshot_names_it() {
    let metrics = Metrics::new();
    let upstream: Arc<str> = "origin".into();
    let (old, same) = (metrics.route("old"), metrics.route("same"));
    let (old_entry, same_entry) =
        (metrics.entry("old", &entry("key-auth#old")), metrics.entry("same", &entry("key-auth")));
    for (route, entry) in [(&old, &old_entry), (&same, &same_entry)] {
        route.finished(200, Duration::ZERO, None);
        entry.decided(Effect::Deny, Some("key_unknown"), 1);
        entry.decided(Effect::Continue, None, 1);
    }
    old.finished(200, Duration::ZERO, Some((&upstream, Some(Duration::ZERO))));
    drop((old, old_entry, same, same_entry));
    // The next snapshot asks before the last one goes.
    let (same, same_entry) = (metrics.route("same"), metrics.entry("same", &entry("key-auth")));
    metrics.sweep();
    same.finished(200, Duration::ZERO, None);
    same_entry.decided(Effect::Continue, None, 1);
    let text = metrics.encode();
    for gone in ["\"old\"", "key-auth#old", "origin"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    assert_eq!(value(&metrics, r#"palisade_requests_total{route="same",status="2xx"}"#), Some(2.0));
    // A name that comes back begins anew, and shows.
    metrics.route("old").finished(200, Duration::ZERO, None);
    assert_eq!(value(&metrics, r#"palisade_requests_total{route="old",status="2xx"}"#), Some(1.0));
}

#[test]
fn reloads_and_connections() {
    let metrics = Metrics::new();
    metrics.reloaded(true, 1);
    assert_eq!(value(&metrics, r#"palisade_reloads_total{result="success"}"#), None);
    metrics.reloaded(true, 2);
    metrics.reloaded(false, 2);
    for (series, expected) in [
        (r#"palisade_reloads_total{result="success"}"#, 1.0),
        (r#"palisade_reloads_total{result="failure"}"#, 1.0),
        ("palisade_config_generation", 2.0),
        ("palisade_config_last_load_successful", 0.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
    assert!(value(&metrics, "palisade_config_last_success_timestamp_seconds").unwrap() > 1.7e9);

    metrics.connections(Stats {
        live: 5,
        idle: 3,
        accepted: 7,
        evicted: [1, 0, 0, 0, 2],
        refused: [2, 0],
        failures: [0, 0],
    });
    metrics.connections(Stats {
        live: 1,
        idle: 1,
        accepted: 9,
        evicted: [1, 0, 1, 0, 5],
        refused: [4, 1],
        failures: [3, 0],
    });
    metrics.edge_refused("framing");
    metrics.buffered(5, 7);
    for (series, expected) in [
        (r#"palisade_connections{state="active"}"#, 0.0),
        (r#"palisade_connections{state="idle"}"#, 1.0),
        ("palisade_connections_accepted_total", 9.0),
        (r#"palisade_connections_refused_total{reason="connections_per_ip"}"#, 4.0),
        (r#"palisade_connections_refused_total{reason="memory"}"#, 1.0),
        (r#"palisade_connections_evicted_total{reason="connections"}"#, 1.0),
        (r#"palisade_connections_evicted_total{reason="descriptors"}"#, 1.0),
        (r#"palisade_connections_evicted_total{reason="timeout"}"#, 5.0),
        (r#"palisade_accept_failures_total{reason="descriptors"}"#, 3.0),
        (r#"palisade_edge_refused_total{reason="framing"}"#, 1.0),
        ("palisade_buffered_bytes", 5.0),
        ("palisade_buffered_bytes_limit", 7.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
}

#[test]
fn what_plugins_count_shows_as_long_as_they_hold_it() {
    let (metrics, counters) = (Metrics::new(), Counters::default());
    let series = r#"palisade_plugin_events_total{event="lost",plugin="audit"}"#;
    let lost = counters.get(&"audit".into(), "lost");
    for (more, expected) in [(0, 0.0), (2, 2.0), (0, 2.0), (5, 7.0)] {
        lost.add(more);
        metrics.plugins(&counters);
        assert_eq!(value(&metrics, series), Some(expected));
    }
    drop(lost);
    counters.sweep();
    metrics.plugins(&counters);
    assert_eq!(value(&metrics, series), None);
}

#[test]
fn ejections_are_counted_whatever_becomes_of_the_target() {
    let metrics = Metrics::new();
    let series = r#"palisade_upstream_ejections_total{upstream="u"}"#;
    let (one, two) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
    metrics.targets([("u", one, true, 0)].into_iter());
    assert_eq!(value(&metrics, series), None);
    metrics.targets([("u", one, false, 2), ("u", two, false, 1)].into_iter());
    metrics.targets([("u", one, false, 2), ("u", two, true, 1)].into_iter());
    assert_eq!(value(&metrics, series), Some(3.0));
    // A target that left and came back is a new one.
    metrics.targets([("u", two, true, 2)].into_iter());
    metrics.targets([("u", one, true, 1), ("u", two, true, 2)].into_iter());
    assert_eq!(value(&metrics, series), Some(5.0));
}

#[test]
fn the_process_is_described() {
    let metrics = Metrics::new();
    let version = concat!(r#"palisade_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    assert_eq!(value(&metrics, version), Some(1.0));
    let open = value(&metrics, "palisade_process_open_fds").unwrap();
    assert!(open >= 3.0 && open <= value(&metrics, "palisade_process_max_fds").unwrap());
    assert!(value(&metrics, "palisade_process_resident_memory_bytes").unwrap() > 100_000.0);
    assert!(value(&metrics, "palisade_process_cpu_seconds_total").unwrap() >= 0.0);
}

/// Every metric is in the registry, is well-formed, and stands in the document as it is.
#[test]
fn the_document_lists_every_metric() {
    let metrics = Metrics::new();
    let route = metrics.route("r");
    route.finished(200, Duration::ZERO, Some((&"u".into(), Some(Duration::ZERO))));
    metrics.entry("r", &entry("key-auth")).decided(Effect::Deny, Some("x"), 1);
    metrics.connections(Stats {
        live: 1,
        idle: 0,
        accepted: 1,
        evicted: [1; 5],
        refused: [1; 2],
        failures: [1; 2],
    });
    metrics.edge_refused("x");
    route.retried("u", 1);
    metrics.targets([("u", "127.0.0.1:80".parse().unwrap(), true, 1)].into_iter());
    let counters = Counters::default();
    let _held = counters.get(&"audit".into(), "x");
    metrics.plugins(&counters);
    metrics.stores([("main", true, [("x", 1)])].into_iter());
    metrics.consumers(Some(true), Some((1, 1)), [("loaded", 1)].into_iter());
    metrics.ends([(false, labels("a"), 1), (true, labels("a"), 1)].into_iter());
    metrics.reloaded(true, 2);
    metrics.buffered(0, 1);
    let _ = metrics.encode();
    let mut registered: Vec<String> =
        metrics.families.gather().iter().map(|family| family.name().to_owned()).collect();
    let mut listed: Vec<&str> = Families::ROWS.iter().map(|(name, ..)| *name).collect();
    registered.sort_unstable();
    listed.sort_unstable();
    assert_eq!(registered, listed);

    let rows = Families::ROWS.iter().map(|(name, vec, labels, help)| {
        let kind = match *vec {
            "IntCounterVec" | "CounterVec" => "counter",
            "HistogramVec" => "histogram",
            _ => "gauge",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
    });
    let expected: Vec<String> = rows.collect();
    let document = include_str!("../../docs/metrics.md");
    let written: Vec<&str> = document.lines().filter(|line| line.starts_with("| `palisade_")).collect();
    assert_eq!(written, expected, "docs/metrics.md should hold:\n{}", expected.join("\n"));
}

fn labels(key: &str) -> [String; 3] {
    [key.to_owned(), "a.pem".to_owned(), "CN=\"a\"".to_owned()]
}

#[test]
fn the_ends_of_certificates_are_those_of_the_last_load() {
    let metrics = Metrics::new();
    let shown = || -> Vec<String> {
        let of_certificates =
            |line: &&str| line.starts_with("palisade_certificate_") || line.starts_with("palisade_crl_");
        metrics.encode().lines().filter(of_certificates).map(str::to_owned).collect()
    };
    // Labels are in the order of their names.
    let certificate = |key: &str, end| {
        format!(
            r#"palisade_certificate_expiry_timestamp_seconds{{file="a.pem",key="{key}",subject="CN=\"a\""}} {end}"#
        )
    };
    let list = |key: &str, end| {
        format!(
            r#"palisade_crl_next_update_timestamp_seconds{{file="a.pem",issuer="CN=\"a\"",key="{key}"}} {end}"#
        )
    };
    metrics.ends([(false, labels("a"), 7), (false, labels("a"), 5), (false, labels("b"), 9)].into_iter());
    assert_eq!(shown(), [certificate("a", 5), certificate("b", 9)], "the first of a file counts");
    metrics.ends([(false, labels("b"), 11), (true, labels("a"), -1)].into_iter());
    assert_eq!(shown(), [certificate("b", 11), list("a", -1)]);
    metrics.ends([].into_iter());
    assert!(shown().is_empty());
}
