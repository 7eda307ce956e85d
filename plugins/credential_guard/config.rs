//! What an operator writes.

use super::{
    record::{Terms, nanos},
    state::Limits,
    table::Room,
};
use palisade_contract::{ConfigError, conf::HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest window and lockout, and the longest that a success is remembered.
const MAX_TIME: Duration = Duration::from_secs(86_400);
const MAX_REMEMBER: Duration = Duration::from_secs(30 * 86_400);

/// Stops guessing of credentials: brute force, and stuffing of stolen ones. It counts the credentials that authenticators
/// refuse with 401, and refuses the next ones with 429 and `Retry-After` before anything is verified. A request without a
/// credential is nothing to it. Works in front of every authenticator, also of your own ones; whatever `any`, `all` or
/// `anonymous` make of a bad credential, it counts.
///
/// Each limit lets so many failures pass at once and forgets them evenly over its window. Then each failure begins a
/// lockout: as long as one more failure takes to be forgotten and `delay` at least, twice as long each time, up to
/// `max_lockout`; after as long a time without one it begins anew.
///
/// | Counted | By | What follows |
/// |---|---|---|
/// | `ip` | address, IPv6 by /64 | no more credentials of strangers are looked at from there. A flood of bad signatures buys as many verifications as this says, and 64 that are under way at most |
/// | `account` | a user name or key id from one address | nobody tries this account from this address. The same wrong credential again counts once: it is no other guess |
/// | `credential` | the credential itself, on a route | it is refused unseen: who keeps on sending an expired key, or from many addresses the same stolen one |
/// | `account_everywhere` | a user name or key id, from all addresses | nobody is refused. From an address that nobody has succeeded from for this account, one failure is enough for `account` |
/// | `all` | everything that fails | nobody is refused. Of `ip`, a quarter is enough |
///
/// **Nobody can lock out somebody elsewhere.** What is counted over many addresses never refuses; it only makes what is counted for
/// one address stricter. A client is known once it has succeeded, by its account and address (where the scheme has no
/// account: by its credential and address), for as long as `remember` says. A known client is not bound by what others fail
/// from its address either. Two things an attacker can do to those who share his address, and to nobody else: strangers wait with
/// him when the address is locked out, and the holder of a user name that he guesses at from there waits too. A success forgets what has failed for its account from its address,
/// and nothing of the address's own failures: a login of one's own buys no guesses.
///
/// **A credential that is genuine and refused is no guess**: a token that has expired or is for somebody else, a signature
/// that was seen before, a certificate that belongs to no consumer, or whatever was good from its address a while ago.
/// Clients behind one address send their tokens until these have expired. It counts for `credential` alone, so that who goes on
/// sending it is refused unseen; that is the event `stale`.
///
/// User names of `basic-auth` and of `hmac-auth` are accounts. What a token claims before it is verified is none: anybody
/// could claim to be anybody.
///
/// Records are bounded by `max_keys`. Where there is no room the ones that have done least go first and lockouts never,
/// so that whoever floods the table frees nobody, himself least; where all are locked out, new strangers share one record, and known
/// clients pass.
///
/// With `store` several gateways count together; what they share is failures of addresses and accounts, lockouts and successes.
/// Credentials are counted by each for itself: what stands for a password must not leave the process. A client that is known
/// here is not asked for there. Where the store does not answer each gateway goes on by what it has counted itself, which it
/// does in any case; that is the event `store_failed`. In a cluster of which a node is gone that is so for what lies there, and
/// of what a store did not take, because it is full, for as long as it counts here.
///
/// Lockouts are in the admin API, which can end them: `GET /lockouts`, `DELETE /lockouts?ip=…`, `?account=…` or `?all=true`, both
/// with its token. A lockout, and what is refused by one, is in the request's record under `findings`. Events in the
/// metrics: `failures`, `stale`, `refused`, `lockout_ip`, `lockout_account`, `lockout_credential`, `attack`, `account_attack`,
/// `counted_together` (there was no room for a record) and `store_failed`. What is known survives reloads and upgrades.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Failures from one address.
    ip: Limit,
    /// Failures for one account from one address.
    account: Limit,
    /// Failures of one credential.
    credential: Limit,
    /// Failures for one account from everywhere.
    account_everywhere: Limit,
    /// All failures.
    all: Limit,
    /// The first lockout, at least.
    delay: HumanDuration,
    /// The longest lockout.
    max_lockout: HumanDuration,
    /// How long a success makes a client known.
    remember: HumanDuration,
    /// How many addresses, accounts and credentials that have failed are remembered, and as many successes; each takes 100
    /// bytes.
    max_keys: usize,
    /// A store to count together with other gateways.
    pub(super) store: Option<String>,
}

/// How many failures are too many.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// So many …
    failures: u32,
    /// … in this time.
    window: HumanDuration,
}

const fn limit(failures: u32, seconds: u64) -> Limit {
    Limit { failures, window: HumanDuration(Duration::from_secs(seconds)) }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ip: limit(20, 60),
            account: limit(5, 300),
            credential: limit(3, 300),
            account_everywhere: limit(30, 600),
            all: limit(600, 60),
            delay: HumanDuration(Duration::from_secs(1)),
            max_lockout: HumanDuration(Duration::from_secs(900)),
            remember: HumanDuration(Duration::from_secs(86_400)),
            max_keys: 200_000,
            store: None,
        }
    }
}

impl Config {
    /// What is wrong is added to `errors`.
    pub(super) fn limits(&self, errors: &mut Vec<ConfigError>) -> Limits {
        let named = [
            ("ip", self.ip),
            ("account", self.account),
            ("credential", self.credential),
            ("account_everywhere", self.account_everywhere),
            ("all", self.all),
        ];
        for (field, limit) in named {
            if !(1..=1_000_000).contains(&limit.failures) {
                let error = ConfigError::at(format!("{field}.failures"), "it is from 1 to 1000000");
                errors.push(error.help("with 0 the first failure would be one too many before it came"));
            }
            span(errors, &format!("{field}.window"), limit.window, Duration::from_secs(1), MAX_TIME);
        }
        span(errors, "delay", self.delay, Duration::from_millis(1), MAX_TIME);
        span(errors, "max_lockout", self.max_lockout, Duration::from_secs(1), MAX_TIME);
        span(errors, "remember", self.remember, Duration::from_secs(1), MAX_REMEMBER);
        if self.delay.0 > self.max_lockout.0 {
            let error = ConfigError::at("delay", "the first lockout is longer than `max_lockout`");
            errors.push(error.help("write a shorter one: `1s` is the default"));
        }
        if !(1_000..=100_000_000).contains(&self.max_keys) {
            errors.push(ConfigError::at("max_keys", "`max_keys` is from 1000 to 100000000"));
        }
        let terms =
            |limit: Limit| Terms::new(limit.failures, limit.window.0, self.delay.0, self.max_lockout.0);
        // Where nobody is locked out it is a state, which lasts as long as the failures do.
        let state = |limit: Limit| Terms::new(limit.failures, limit.window.0, limit.window.0, limit.window.0);
        Limits {
            ip: terms(self.ip),
            pair: terms(self.account),
            credential: terms(self.credential),
            account: state(self.account_everywhere),
            all: state(self.all),
            room: Room { keys: self.max_keys, most: nanos(self.max_lockout.0) },
            remember: nanos(self.remember.0),
        }
    }
}

fn span(errors: &mut Vec<ConfigError>, field: &str, time: HumanDuration, least: Duration, most: Duration) {
    if !(least..=most).contains(&time.0) {
        let (least, most) = (HumanDuration(least), HumanDuration(most));
        errors.push(ConfigError::at(field, format!("`{time}` is not from `{least}` to `{most}`")));
    }
}
