//! What follows from what authenticators found: any, all, anonymous, and the challenges.

use super::{Chain, Run, Slot, Stop};
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use palisade_contract::{
    Authentication, Built, Denial, Effect, Exchange, Fault, Mode, Presented, Principal, Tried,
};
use std::sync::Arc;

/// How several authenticators go together, by entry key in the order as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthRule {
    /// The first that finds a credential decides.
    Any(Vec<Arc<str>>),
    /// Every one must succeed; the first gives the principal, the others attach.
    All(Vec<Arc<str>>),
}

/// The authenticators of a chain.
#[derive(Debug)]
pub struct AuthPlan {
    /// Indices into the chain's slots, in the order in which they are asked.
    order: Vec<usize>,
    all: bool,
    challenges: Vec<HeaderValue>,
}

impl AuthPlan {
    pub(super) fn new(slots: &[Arc<Slot>], rule: Option<&AuthRule>) -> Self {
        let authenticators =
            || slots.iter().enumerate().filter(|(_, slot)| matches!(slot.built, Built::Authenticator(_)));
        let named = |keys: &[Arc<str>]| -> Vec<usize> {
            keys.iter()
                .filter_map(|key| {
                    authenticators().find(|(_, slot)| slot.info.key == *key).map(|(index, _)| index)
                })
                .collect()
        };
        let order = match rule {
            Some(AuthRule::Any(keys) | AuthRule::All(keys)) => named(keys),
            None => authenticators().map(|(index, _)| index).collect(),
        };
        let mut challenges: Vec<HeaderValue> = Vec::new();
        for slot in order.iter().filter_map(|index| slots.get(*index)) {
            if let Built::Authenticator(authenticator) = &slot.built
                && !challenges.contains(&authenticator.challenge())
            {
                challenges.push(authenticator.challenge());
            }
        }
        AuthPlan { order, all: matches!(rule, Some(AuthRule::All(_))), challenges }
    }

    /// True where the route has an authenticator.
    pub fn is_some(&self) -> bool {
        !self.order.is_empty()
    }

    /// A 401 with the challenges of the route's authenticators (RFC 9110 §11.6.1).
    fn challenge(&self, denial: Denial) -> Denial {
        if denial.status() != StatusCode::UNAUTHORIZED {
            return denial;
        }
        // An authenticator that says more than its challenge (what is wrong with a token) says it in its place.
        let said = |challenge: &HeaderValue| {
            denial.headers().iter().any(|(name, value)| {
                *name == WWW_AUTHENTICATE && value.as_bytes().starts_with(challenge.as_bytes())
            })
        };
        let left: Vec<HeaderValue> = self.challenges.iter().filter(|one| !said(one)).cloned().collect();
        left.into_iter().fold(denial, |denial, challenge| denial.header(WWW_AUTHENTICATE, challenge))
    }
}

/// Who may pass the authenticators of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// There are none: everybody.
    Unasked,
    /// Only who was proved.
    Proved,
    /// Everybody: who shows no credential, as this consumer.
    Anonymous(&'a str),
    /// Everybody where their conditions are not met, or because all are only monitored.
    Optional,
}

/// What one authenticator came to, after `mode`, `on_fault` and `when`.
enum Finding {
    Proved(Arc<Principal>),
    Nothing,
    /// There is a credential, and it is for another authenticator: somebody must take it.
    NotMine,
    /// Skipped by its condition, or refused in monitor mode: it does not count.
    NotCounted,
}

/// What an authenticator's answer says of the credential. What is refused otherwise than by 401 is genuine.
fn tried(found: &Result<Authentication, Fault>) -> Tried {
    match found {
        Ok(Authentication::Authenticated(_)) => Tried::Good,
        Ok(Authentication::Rejected(denial)) if denial.status() == StatusCode::UNAUTHORIZED => {
            if denial.is_genuine() { Tried::Stale } else { Tried::Bad }
        }
        _ => Tried::Open,
    }
}

impl Chain {
    /// Who may pass its authenticators.
    pub fn access(&self) -> Access<'_> {
        let plan = &self.auth;
        let asked: Vec<&Arc<Slot>> = plan.order.iter().filter_map(|index| self.slots.get(*index)).collect();
        let open = |slot: &&Arc<Slot>| slot.when.is_some() || slot.info.mode == Mode::Monitor;
        let anonymous = |slot: &&Arc<Slot>| slot.anonymous.is_some();
        if asked.is_empty() {
            return Access::Unasked;
        }
        let opened = if plan.all { asked.iter().all(anonymous) } else { asked.iter().any(anonymous) };
        match asked.iter().find_map(|slot| slot.anonymous.as_ref()) {
            Some(principal) if opened => Access::Anonymous(&principal.id),
            _ if asked.iter().all(open) => Access::Optional,
            _ => Access::Proved,
        }
    }

    /// Asks the authenticators. On success the exchange has its principal.
    pub(super) async fn authenticate(&self, ex: &mut Exchange, run: &mut Run) -> Option<Stop> {
        let plan = &self.auth;
        let (mut proved, mut anonymous, mut counted, mut left) = (Vec::new(), None, 0, None);
        for &index in &plan.order {
            let Some(slot) = self.slots.get(index) else { continue };
            let finding = match self.ask(ex, run, index, slot).await {
                Ok(finding) => finding,
                Err(stop) => return Some(stop),
            };
            match finding {
                Finding::NotCounted => continue,
                Finding::Proved(principal) => proved.push(principal),
                // In `all` an anonymous consumer stands in for this one authenticator.
                Finding::Nothing if plan.all => match &slot.anonymous {
                    Some(principal) => proved.push(principal.clone()),
                    None => return self.refuse_missing(ex, run, Some(index)),
                },
                // What is left to others and nobody takes is a wrong credential, not a missing one.
                Finding::NotMine if plan.all => return self.refuse_left(ex, run, index),
                Finding::NotMine => left = left.or(Some(index)),
                Finding::Nothing => anonymous = anonymous.or_else(|| slot.anonymous.clone()),
            }
            counted += 1;
            if !plan.all && !proved.is_empty() {
                break;
            }
        }
        if proved.is_empty() {
            if let Some(index) = left {
                return self.refuse_left(ex, run, index);
            }
            match anonymous {
                Some(principal) => proved.push(principal),
                // Every authenticator was skipped or is only monitored; the route says `auth: optional`.
                None if counted == 0 => return None,
                None => return self.refuse_missing(ex, run, plan.order.first().copied()),
            }
        }
        let mut proved = proved.into_iter();
        let host = ex.host_side();
        host.principal = proved.next();
        host.attached = proved.collect();
        None
    }

    async fn ask(
        &self,
        ex: &mut Exchange,
        run: &mut Run,
        index: usize,
        slot: &Slot,
    ) -> Result<Finding, Stop> {
        if !self.admits(ex, run, index, slot) {
            return Ok(Finding::NotCounted);
        }
        let Built::Authenticator(authenticator) = &slot.built else { return Ok(Finding::NotCounted) };
        let presented = if self.guards.is_empty() { None } else { authenticator.presented(ex) };
        if let Some(presented) = &presented
            && let Some(stop) = Box::pin(self.before(ex, run, presented)).await
        {
            return Err(stop);
        }
        ex.host_side().slot = slot.id;
        let found = authenticator.authenticate(ex).resolve().await;
        let watched = match &presented {
            Some(presented) => Box::pin(self.after(ex, run, presented, tried(&found))).await,
            None => None,
        };
        if let (Some(stop), Ok(Authentication::Authenticated(_))) = (watched, &found) {
            return Err(stop);
        }
        match found {
            Ok(Authentication::Authenticated(principal)) => {
                run.record(ex, slot, Effect::Authenticated, None, None);
                Ok(Finding::Proved(principal))
            }
            Ok(Authentication::NoCredential) => {
                let monitored = slot.info.mode == Mode::Monitor && slot.anonymous.is_none();
                let effect = if monitored { Effect::WouldDeny } else { Effect::NoCredential };
                run.record(ex, slot, effect, Some("credential_missing"), None);
                Ok(if monitored { Finding::NotCounted } else { Finding::Nothing })
            }
            Ok(Authentication::NotMine) => {
                let monitored = slot.info.mode == Mode::Monitor;
                run.record(ex, slot, Effect::NoCredential, Some("credential_for_another"), None);
                Ok(if monitored { Finding::NotCounted } else { Finding::NotMine })
            }
            Ok(Authentication::Rejected(denial)) => match run.denied(ex, slot, self.auth.challenge(denial)) {
                Some(stop) => Err(stop),
                None => Ok(Finding::NotCounted),
            },
            // Authenticate never lets a fault through (`on_fault: allow` is refused at load).
            Err(fault) => Err(run
                .faulted(ex, slot, fault)
                .unwrap_or_else(|| Stop::Faulted(Fault::internal("authenticator_fault")))),
        }
    }

    /// A credential that an authenticator has left to the others, and that none of them takes.
    fn refuse_left(&self, ex: &mut Exchange, run: &mut Run, index: usize) -> Option<Stop> {
        let slot = self.slots.get(index)?;
        let denial = Denial::unauthorized("credential_unsupported").message("This is no credential for this");
        run.record(ex, slot, Effect::Deny, Some("credential_unsupported"), None);
        Some(Stop::Denied(self.auth.challenge(denial)))
    }

    /// Asks whoever guards credentials whether this one is to be looked at.
    async fn before(&self, ex: &mut Exchange, run: &mut Run, presented: &Presented) -> Option<Stop> {
        for &index in &self.guards {
            let Some(slot) = self.slots.get(index) else { continue };
            if !self.admits_quietly(ex, run, index, slot) {
                continue;
            }
            ex.host_side().slot = slot.id;
            let verdict = slot.plugin().on_credential(ex, presented).resolve().await;
            if let Some(stop) = run.judged(ex, slot, verdict, true) {
                return Some(stop);
            }
        }
        None
    }

    /// Tells them what came of it. All of them hear it; the first that refuses is what counts.
    async fn after(
        &self,
        ex: &mut Exchange,
        run: &mut Run,
        presented: &Presented,
        tried: Tried,
    ) -> Option<Stop> {
        let mut stop = None;
        for &index in &self.guards {
            let Some(slot) = self.slots.get(index) else { continue };
            if !self.admits_quietly(ex, run, index, slot) {
                continue;
            }
            ex.host_side().slot = slot.id;
            let verdict = slot.plugin().on_authentication(ex, presented, tried).resolve().await;
            let refused = run.judged(ex, slot, verdict, true);
            stop = stop.or(refused);
        }
        stop
    }

    fn refuse_missing(&self, ex: &mut Exchange, run: &mut Run, index: Option<usize>) -> Option<Stop> {
        let denial = Denial::unauthorized("credential_missing")
            .message("This needs a credential, and the request has none");
        let slot = self.slots.get(index?)?;
        run.record(ex, slot, Effect::Deny, Some("credential_missing"), None);
        Some(Stop::Denied(self.auth.challenge(denial)))
    }
}
