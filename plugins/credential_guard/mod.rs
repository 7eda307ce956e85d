//! `credential-guard`: guesses get nowhere, and nobody can lock somebody else out.

mod carried;
mod config;
mod lockouts;
mod record;
mod shared;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod together;

use config::Config;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use palisade_contract::{
    BuildEnv, ConfigErrors, Control, Counter, Denial, Exchange, Hooks, Plugin, PluginKind, Presented, Stage,
    Step, Tried, Verdict,
};
use serde_json::json;
use shared::Shared;
use state::{Failed, Keys, Limits, Refused, Shown, State, Ticket};
use std::sync::Arc;
use table::Kind;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// For how long a lockout that the store has told is believed without asking again; a success likewise, for the store
/// remembers that much longer.
const BELIEVED: u64 = SECOND;
const BELIEVED_GOOD: u64 = 60 * SECOND;

/// The plugin.
pub struct CredentialGuard {
    state: Arc<State>,
    limits: Limits,
    shared: Option<Shared>,
    counters: Counters,
    /// For the record.
    key: Arc<str>,
}

struct Counters {
    failures: Counter,
    stale: Counter,
    refused: Counter,
    ip: Counter,
    account: Counter,
    credential: Counter,
    attack: Counter,
    account_attack: Counter,
    together: Counter,
    store_failed: Counter,
}

impl PluginKind for CredentialGuard {
    const NAME: &'static str = "credential-guard";
    const SUMMARY: &'static str = "Stops guessing of credentials, without locking anybody else out.";
    const CONTROLS: &'static [Control] = &[Control::RateLimit];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Screen
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let limits = config.limits(&mut errors);
        let store = config.store.as_ref().map(|name| env.store(name, "store")).transpose();
        let store = store.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let shared = store.map(|store| Shared::new(store, env.route, &env.entry.key));
        let state = env.keep_carried("state", State::new);
        *state.ends.lock() = shared.clone().map(|shared| (shared, limits));
        env.show_lockouts(&state);
        Ok(CredentialGuard {
            state,
            limits,
            shared,
            counters: Counters {
                failures: env.counter("failures"),
                stale: env.counter("stale"),
                refused: env.counter("refused"),
                ip: env.counter("lockout_ip"),
                account: env.counter("lockout_account"),
                credential: env.counter("lockout_credential"),
                attack: env.counter("attack"),
                account_attack: env.counter("account_attack"),
                together: env.counter("counted_together"),
                store_failed: env.counter("store_failed"),
            },
            key: env.entry.key.clone(),
        })
    }
}

/// A stranger's credential, while it is looked at.
type Held = Option<Ticket>;

impl CredentialGuard {
    fn keys(&self, ex: &Exchange, presented: &Presented) -> Keys {
        self.state.keys(ex.client().ip, ex.route().map_or("", |route| route), presented)
    }

    fn refuse(&self, ex: &mut Exchange, Refused(kind, wait): Refused) -> Denial {
        self.counters.refused.add(1);
        let (seconds, word) = (wait.div_ceil(SECOND).max(1), word(kind));
        ex.set_finding(&self.key, json!({"refused": word, "seconds": seconds}));
        // What is locked out is for the operator: it would tell what was wrong.
        Denial::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures")
            .message("Too many credentials were wrong: wait, and try again")
            .detail(format!("{word} is locked out"))
            .header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Lets a stranger's credential be looked at.
    fn admit(&self, ex: &mut Exchange, keys: &Keys, left: Option<u32>, now: u64) -> Result<(), Denial> {
        match self.state.admit(keys, &self.limits, left, now) {
            Ok(ticket) => {
                *ex.state::<Held>() = Some(ticket);
                Ok(())
            }
            Err(refused) => Err(self.refuse(ex, refused)),
        }
    }

    /// What is known here decides.
    fn judge(&self, ex: &mut Exchange, keys: &Keys, now: u64) -> Result<(), Denial> {
        if let Some(wait) = keys.account.and_then(|(_, pair)| self.state.locked(pair, now)) {
            return Err(self.refuse(ex, Refused(Kind::Pair, wait)));
        }
        self.admit(ex, keys, None, now)
    }

    /// Counts a failure here; then [`tell`](Self::tell) says what it has begun.
    fn fail(&self, keys: &Keys, now: u64) -> (Failed, bool) {
        let stranger = !self.state.is_good(keys.good, now);
        let failed = self.state.fail(keys, &self.limits, now);
        let counters = &self.counters;
        counters.failures.add(1);
        counters.attack.add(u64::from(failed.attack));
        counters.account_attack.add(u64::from(failed.everywhere));
        counters.together.add(u64::from(failed.together));
        if failed.attack {
            log::warn!("{}: so many credentials fail that it looks like an attack", self.key);
        }
        (failed, stranger)
    }

    /// Says which lockouts a failure has begun: in the record, the metrics and for who lists them.
    fn tell(&self, ex: &mut Exchange, presented: &Presented, keys: &Keys, failed: &Failed, now: u64) {
        let account = presented.name().map(|name| self.state.called(name, now));
        let begun = [
            (Kind::Credential, failed.credential, Some(keys.credential), &self.counters.credential),
            (Kind::Pair, failed.pair, keys.account.map(|(_, pair)| pair), &self.counters.account),
            (Kind::Ip, failed.ip, Some(keys.ip), &self.counters.ip),
        ];
        let mut locked = serde_json::Map::new();
        for (kind, wait, key, counter) in begun {
            let (Some(wait), Some(key)) = (wait, key) else { continue };
            counter.add(1);
            locked.insert(word(kind).to_owned(), wait.div_ceil(SECOND).into());
            let account = account.clone().filter(|_| kind == Kind::Pair);
            let stored = self.shared.as_ref().and_then(|shared| {
                let names = shared.names(keys.network, presented);
                names.stored(kind)
            });
            self.state.shown.lock().put(key, Shown { kind, network: keys.network, account, stored });
        }
        if locked.is_empty() && !failed.attack && !failed.everywhere {
            return;
        }
        let mut finding = json!({"locked_out": locked});
        if let Some(fields) = finding.as_object_mut() {
            fields.extend(account.map(|account| ("account".to_owned(), (*account).into())));
            fields.extend(failed.attack.then(|| ("attack".to_owned(), true.into())));
            fields.extend(failed.everywhere.then(|| ("account_attack".to_owned(), true.into())));
        }
        ex.set_finding(&self.key, finding);
    }
}

/// What is locked out, for the operator.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Ip => "ip",
        Kind::Pair => "account",
        _ => "credential",
    }
}

fn verdict(judged: Result<(), Denial>) -> Verdict {
    judged.map_or_else(Verdict::Deny, |()| Verdict::Continue)
}

impl Plugin for CredentialGuard {
    fn hooks(&self) -> Hooks {
        Hooks::CREDENTIAL
    }

    fn on_credential<'a>(&'a self, ex: &'a mut Exchange, presented: &'a Presented) -> Step<'a> {
        let (keys, now) = (self.keys(ex, presented), self.state.clock.now());
        if let Some(wait) = self.state.locked(keys.credential, now) {
            return self.refuse(ex, Refused(Kind::Credential, wait)).into();
        }
        let pair = keys.account.and_then(|(_, pair)| self.state.locked(pair, now));
        if pair.is_none() && self.state.is_good(keys.good, now) {
            return Step::CONTINUE;
        }
        match &self.shared {
            None => Step::Now(Ok(verdict(self.judge(ex, &keys, now)))),
            Some(shared) => Step::later(async move {
                let names = shared.names(keys.network, presented);
                Ok(verdict(self.judge_shared(ex, &keys, (shared, names), now).await))
            }),
        }
    }

    fn on_authentication<'a>(
        &'a self,
        ex: &'a mut Exchange,
        presented: &'a Presented,
        tried: Tried,
    ) -> Step<'a> {
        // A known client holds none: nothing is made for its requests.
        let held = ex.state_ref::<Held>().is_some().then(|| ex.state::<Held>().take()).flatten();
        if tried == Tried::Open {
            return Step::CONTINUE;
        }
        let (keys, now) = (self.keys(ex, presented), self.state.clock.now());
        // One that was good here and has no account is not a guess either: it has expired, or is revoked.
        let was_good = keys.account.is_none() && self.state.is_good(keys.good, now);
        if tried == Tried::Stale || (tried == Tried::Bad && was_good) {
            if was_good {
                self.state.good.remove(keys.good);
            }
            let failed = self.state.stale(&keys, &self.limits, now);
            self.counters.stale.add(1);
            self.tell(ex, presented, &keys, &failed, now);
            return Step::CONTINUE;
        }
        if tried == Tried::Good {
            let fresh = self.state.succeed(&keys, &self.limits, now);
            return match self.shared.as_ref().filter(|_| fresh) {
                None => Step::CONTINUE,
                Some(shared) => Step::later(async move {
                    let names = shared.names(keys.network, presented);
                    if let Err(error) = shared.succeed(&names, self.limits.remember).await {
                        self.failed_to_share(&error);
                    }
                    Ok(Verdict::Continue)
                }),
            };
        }
        match &self.shared {
            None => {
                let (failed, _) = self.fail(&keys, now);
                self.tell(ex, presented, &keys, &failed, now);
                Step::CONTINUE
            }
            Some(shared) => Step::later(async move {
                self.share_failure(ex, presented, &keys, shared, (held, now)).await;
                Ok(Verdict::Continue)
            }),
        }
    }
}
