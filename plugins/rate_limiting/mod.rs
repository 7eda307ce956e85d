//! `rate-limiting`: how often one caller may call.

mod by;
mod carried;
mod counter;
mod fields;
mod index;
mod rate;
mod shard;
mod slices;
mod table;
#[cfg(test)]
mod tests;

use by::{By, Part};
use counter::{Limit, Period};
use http::StatusCode;
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Control, Counter, Denial, Exchange, Hooks, Plugin, PluginKind,
    ResponseHeader, Scope, Stage, Step,
};
use rate::Rate;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use table::{Table, Taken, Terms};

/// Limits how many requests pass for each caller. `second`, `minute`, `hour` and `day` are sliding windows, `rate` is
/// a token bucket. Several may be written: a request passes where all let it, and is counted in all or in none. Others
/// are refused with 429 and `Retry-After`.
///
/// In no span of a window's length pass more than it says. A place is free again when its request has left the window,
/// or a little later: at most a 25th of the window where the entry has one window or two, a 17th with three and an 11th
/// with four; with a `rate` beside them a 21st with one and a 15th with three. (Of numbers above 65 535: a 25th with one
/// window, a 12th with two, a 7th with three and a 5th with four.) So `Retry-After` of a lone `minute` says 63 s at
/// most, and a client that calls steadily as often as it may is refused some of its calls, 5 of 100; give those a `rate`, which is
/// exact, or a number that is a little larger.
///
/// An entry that counts by `ip`, `header`, `path` or `route` runs before authentication (stage screen), one that counts
/// by `consumer` or a claim after it (stage limit). Labels (`rate-limiting#burst`) put several entries on one route:
/// a request passes where all let it, and each tells its limits to the client. One that a later entry or another plugin
/// refuses has been counted by the entries before it; limits in one entry do not have that. An entry under `plugins` counts across all routes, one under a route for that route, one under a consumer for that
/// consumer on all routes.
///
/// Counts survive a reload and an upgrade, and a changed number applies to them; they begin anew where the entry's key or
/// what it counts by changes, and with a start. Each process counts for itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests in any second.
    second: Option<u32>,
    /// Requests in any minute.
    minute: Option<u32>,
    /// Requests in any hour.
    hour: Option<u32>,
    /// Requests in any day.
    day: Option<u32>,
    /// Requests that are given back evenly: `10/s`, `600/m`, `1000/h`, `10000/d`.
    rate: Option<Rate>,
    /// With `rate`: how many may come at once. By default what the rate gives in a second, and at least 1.
    burst: Option<u32>,
    /// What is counted by: `ip` (IPv6 by /64), `consumer`, `route`, `path`, `header:NAME`, `claim:NAME`
    /// (`claim:a.b` is `b` in `a`), or a list of them that counts each combination. Must be written but under a consumer. A client may write into a header
    /// what it likes: count by one where something in front of the gateway sets it.
    limit_by: Option<By>,
    /// `ip`: counts callers that are not known by their address. Without it they are counted together, and a route
    /// without an authenticator is refused at load.
    fallback: Option<Fallback>,
    /// Count refused requests too: whoever goes on calling stays refused.
    count_refused: bool,
    /// Leave out the fields `RateLimit` and `RateLimit-Policy`.
    hide_client_headers: bool,
    /// How many callers are counted one by one; each takes 150 bytes at most, and half of that with one window. Beyond it new callers share their
    /// counts with others until some have been idle for a whole window, and nobody's count is lost; their requests
    /// are the event `counted_together`.
    max_keys: usize,
}

/// What stands in for a caller who is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The client's address.
    Ip,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            second: None,
            minute: None,
            hour: None,
            day: None,
            rate: None,
            burst: None,
            limit_by: None,
            fallback: None,
            count_refused: false,
            hide_client_headers: false,
            max_keys: 1_000_000,
        }
    }
}

/// The plugin.
pub struct RateLimiting {
    table: Arc<Table>,
    limits: Box<[Limit]>,
    by: By,
    fallback: Option<Fallback>,
    terms: Terms,
    fields: Option<fields::Fields>,
    /// What the operator is told of each limit that refuses.
    details: Box<[String]>,
    /// Requests that were counted together with others', because the table is full.
    shared: Counter,
    /// For the log.
    key: Arc<str>,
}

impl PluginKind for RateLimiting {
    const NAME: &'static str = "rate-limiting";
    const SUMMARY: &'static str = "Limits how often each client or consumer may call.";
    const CONTROLS: &'static [Control] = &[Control::RateLimit];
    type Config = Config;

    fn stage(config: &Config) -> Stage {
        // Without `limit_by` it stands under a consumer, and counts by that.
        if config.limit_by.as_ref().is_none_or(By::is_of_caller) { Stage::Limit } else { Stage::Screen }
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let limits = limits(&config, &mut errors);
        let by = by(&config, env.entry.scope, &mut errors);
        if !(1_000..=100_000_000).contains(&config.max_keys) {
            errors.push(ConfigError::at("max_keys", "`max_keys` is from 1000 to 100000000"));
        }
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let table = env.keep_carried(&format!("{by:?}"), Table::new);
        table.prepare(&limits);
        let label = env.entry.key.split_once('#').map(|(_, label)| label);
        let detail = |limit: &Limit| format!("{} is used up", fields::name(limit, label));
        Ok(RateLimiting {
            fields: (!config.hide_client_headers).then(|| fields::Fields::of(&limits, label)),
            details: limits.iter().map(detail).collect(),
            table,
            limits,
            by,
            fallback: config.fallback,
            terms: Terms { max_keys: config.max_keys, count_refused: config.count_refused },
            shared: env.counter("counted_together"),
            key: env.entry.key.clone(),
        })
    }
}

fn limits(config: &Config, errors: &mut Vec<ConfigError>) -> Box<[Limit]> {
    let rate = config.rate.map(|rate| rate.limit(config.burst));
    let window = |period, quota: Option<u32>| quota.map(|quota| Limit { period, quota, every: 0 });
    let windows = [
        window(Period::Second, config.second),
        window(Period::Minute, config.minute),
        window(Period::Hour, config.hour),
        window(Period::Day, config.day),
    ];
    let limits: Box<[Limit]> = rate.into_iter().chain(windows.into_iter().flatten()).collect();
    if limits.is_empty() {
        errors.push(
            ConfigError::new("there is no limit")
                .help("write one or more of `second`, `minute`, `hour`, `day` and `rate`: `minute: 60`"),
        );
    }
    if config.burst.is_some() && config.rate.is_none() {
        let error = ConfigError::at("burst", "`burst` has no meaning without `rate`");
        errors.push(error.help("write `rate: 10/s`, or remove it"));
    }
    for limit in limits.iter().filter(|limit| limit.quota == 0) {
        let field = if limit.period == Period::Rate { "burst" } else { limit.period.name() };
        errors.push(
            ConfigError::at(field, format!("`{field}: 0` lets nobody pass"))
                .help("write 1 or more; `request-termination` refuses everything"),
        );
    }
    let counted = limits.iter().filter(|limit| limit.period != Period::Rate);
    for (short, long) in counted.clone().zip(counted.skip(1)).filter(|(short, long)| short.quota > long.quota)
    {
        let (short, long) = (short.period.name(), long.period.name());
        errors.push(
            ConfigError::at(short, format!("`{short}` allows more than `{long}`, and can never be reached"))
                .help(format!("remove `{short}`, or give `{long}` the larger number")),
        );
    }
    limits
}

fn by(config: &Config, scope: Scope, errors: &mut Vec<ConfigError>) -> By {
    let mut by = match (&config.limit_by, scope) {
        (Some(by), _) => by.clone(),
        (None, Scope::Consumer) => By(Vec::new()),
        (None, _) => {
            let error = ConfigError::at("limit_by", "it is not said what is counted by");
            errors.push(error.help("write `limit_by: ip` or `limit_by: consumer`"));
            By(Vec::new())
        }
    };
    // A consumer's entry is about that consumer, whatever else it counts by.
    if scope == Scope::Consumer && !by.0.contains(&Part::Consumer) {
        by.0.insert(0, Part::Consumer);
    }
    if config.fallback.is_some() && config.limit_by.as_ref().is_some_and(|by| !by.is_of_caller()) {
        let error = ConfigError::at("fallback", "`fallback` has no meaning where no caller is counted by");
        errors.push(error.help("remove it, or write `limit_by: consumer`"));
    }
    by
}

impl RateLimiting {
    fn judge(&self, ex: &Exchange, now: u64) -> Taken {
        let key = self.by.key(ex, self.fallback.is_some(), self.table.hasher());
        let taken = self.table.take(key, &self.limits, self.terms, now);
        if taken.shared {
            self.shared.add(1);
            if self.table.says_full(now) {
                log::warn!(
                    "{}: {} keys are counted, which is the most: new ones are counted together",
                    self.key,
                    self.terms.max_keys
                );
            }
        }
        taken
    }

    fn refuse(&self, taken: &Taken) -> Denial {
        let denial = Denial::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited")
            .message("Too many requests: wait, and try again")
            .header(http::header::RETRY_AFTER, fields::retry_after(&taken.standing));
        match self.details.get(taken.limit) {
            Some(detail) => denial.detail(detail.as_str()),
            None => denial,
        }
    }
}

impl Plugin for RateLimiting {
    fn hooks(&self) -> Hooks {
        if self.fields.is_some() { Hooks::REQUEST | Hooks::RESPONSE } else { Hooks::REQUEST }
    }

    fn needs_principal(&self) -> bool {
        self.by.is_of_caller() && self.fallback.is_none()
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let taken = self.judge(ex, self.table.at(ex.begun()));
        if self.fields.is_some() {
            *ex.state::<Option<Taken>>() = Some(taken);
        }
        if taken.refused { self.refuse(&taken).into() } else { Step::CONTINUE }
    }

    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        if let (Some(fields), Some(Some(taken))) = (&self.fields, ex.state_ref::<Option<Taken>>()) {
            fields.write(taken, head);
        }
        Step::CONTINUE
    }
}
