//! A route's plugins in order, and how they are run.
//!
//! The chain alone applies what every entry may say (`mode`, `on_fault`, `when`), decides what follows from
//! what authenticators found ([`auth`]), catches panics, and keeps the decision record. Plugins return; the
//! chain says whether the request goes on ([`Stop`]).
//!
//! Invariants:
//! - the order is stage, then registry, then key: never the configuration's;
//! - a hook that no entry of the chain uses costs nothing: per-hook lists are made when the chain is compiled;
//! - a panic costs the one request a 500 and is never let through by `on_fault`.

mod auth;
mod presumed;
mod run;
#[cfg(test)]
mod tests;

pub use auth::{Access, AuthPlan, AuthRule};
pub use run::Run;

use crate::{conf::model::OnFault, metrics::EntryMetrics, when::When};
use palisade_contract::{
    BodyNeed, Built, Denial, EntryInfo, Fault, Hooks, Operation, Plugin, Principal, Reply, Stage,
};
use std::{fmt, sync::Arc};

/// The most entries that one route may have: they are tracked in one machine word each way.
pub const MAX_ENTRIES: usize = 128;

/// One compiled entry.
pub struct Slot {
    /// Unique in the process: the key of a plugin's state in an exchange.
    pub id: usize,
    /// Which entry it is.
    pub info: Arc<EntryInfo>,
    /// Its stage.
    pub stage: Stage,
    /// Its place in the registry: the order inside a stage.
    pub rank: usize,
    /// The instance.
    pub built: Built,
    /// What a fault of the plugin does.
    pub on_fault: OnFault,
    /// The condition.
    pub when: Option<Arc<When>>,
    /// For authenticators: who a request without a credential passes as.
    pub anonymous: Option<Arc<Principal>>,
    /// Counters of this entry.
    pub metrics: Arc<EntryMetrics>,
}

impl Slot {
    /// The instance as a plugin.
    pub fn plugin(&self) -> &dyn Plugin {
        self.built.plugin()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} {})", self.stage.as_str(), self.info.key)
    }
}

/// Why a request does not go on.
#[derive(Debug)]
pub enum Stop {
    /// A plugin refused it.
    Denied(Denial),
    /// A plugin answered it.
    Replied(Reply),
    /// A plugin failed, or the gateway did.
    Faulted(Fault),
}

/// A route's plugins, compiled.
#[derive(Debug)]
pub struct Chain {
    slots: Box<[Arc<Slot>]>,
    /// Slots with a request hook before Authenticate, by index.
    screen: Box<[usize]>,
    /// Slots with a request hook after Authenticate.
    request: Box<[usize]>,
    /// Slots that have other hooks but no request hook, one bit each: they count as run once the part of the
    /// chain they stand in has passed.
    silent_screen: u128,
    silent_request: u128,
    request_body: Box<[usize]>,
    /// In reverse order.
    response: Box<[usize]>,
    response_body: Box<[usize]>,
    log: Box<[usize]>,
    /// Slots that see what authenticators look at, and what they say of it.
    guards: Box<[usize]>,
    auth: AuthPlan,
    request_body_need: BodyNeed,
    response_body_need: BodyNeed,
    /// Pieces of a request's body may become longer or shorter on their way.
    reframes_request: bool,
    preflight: bool,
}

impl Chain {
    /// The operations that its plugins know of an API.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.slots.iter().flat_map(|slot| slot.plugin().operations())
    }

    /// Compiles entries that are already merged by scope; `rule` says how the authenticators go together.
    /// At most [`MAX_ENTRIES`] (checked by the caller, which knows where they are written).
    pub fn new(mut slots: Vec<Arc<Slot>>, rule: Option<&AuthRule>) -> Self {
        slots.sort_by(|a, b| (a.stage, a.rank, &a.info.key).cmp(&(b.stage, b.rank, &b.info.key)));
        let with = |hook: Hooks, accept: &dyn Fn(&Slot) -> bool| -> Box<[usize]> {
            let used = |slot: &Slot| slot.plugin().hooks().contains(hook) && accept(slot);
            slots.iter().enumerate().filter(|(_, slot)| used(slot)).map(|(index, _)| index).collect()
        };
        let early = |slot: &Slot| slot.stage < Stage::Authenticate;
        // An entry with a condition always has its turn, so that the condition is looked at in its place.
        let asked = |slot: &Slot| {
            matches!(slot.built, Built::Plugin(_))
                && (slot.when.is_some() || slot.plugin().hooks().contains(Hooks::REQUEST))
        };
        let silent = |early_part: bool| {
            let part = slots.iter().enumerate().filter(|(_, slot)| !asked(slot) && early(slot) == early_part);
            part.fold(0, |mask, (index, _)| mask | run::bit(index))
        };
        let mut response = with(Hooks::RESPONSE, &|_| true);
        response.reverse();
        let mut response_body =
            with(Hooks::RESPONSE_BODY, &|slot| slot.plugin().response_body() != BodyNeed::None);
        response_body.reverse();
        let request_body = with(Hooks::REQUEST_BODY, &|slot| slot.plugin().request_body() != BodyNeed::None);
        let request_body_need = need(&slots, &request_body, Plugin::request_body);
        let mut pieces = request_body.iter().filter_map(|index| slots.get(*index));
        Chain {
            screen: with(Hooks::NONE, &|slot| asked(slot) && early(slot)),
            request: with(Hooks::NONE, &|slot| asked(slot) && !early(slot)),
            silent_screen: silent(true),
            silent_request: silent(false),
            reframes_request: request_body_need == BodyNeed::Stream
                && pieces.any(|slot| !slot.plugin().keeps_request_body()),
            request_body_need,
            response_body_need: need(&slots, &response_body, Plugin::response_body),
            preflight: slots.iter().any(|slot| slot.plugin().answers_preflight()),
            log: with(Hooks::LOG, &|_| true),
            guards: with(Hooks::CREDENTIAL, &|slot| {
                slot.stage == Stage::Screen && matches!(slot.built, Built::Plugin(_))
            }),
            auth: AuthPlan::new(&slots, rule),
            request_body,
            response,
            response_body,
            slots: slots.into(),
        }
    }

    /// The same entries, but the caller is known to be this one: whatever authenticates finds him, and nothing else
    /// about it counts. None where nothing authenticates. For trials.
    pub fn presuming(&self, principal: &Arc<Principal>) -> Option<Self> {
        if !self.auth.is_some() {
            return None;
        }
        let slots = self.slots.iter().map(|slot| match slot.built {
            Built::Authenticator(_) => Arc::new(slot.presuming(principal)),
            Built::Plugin(_) => slot.clone(),
        });
        Some(Chain::new(slots.collect(), None))
    }

    /// All entries, in order.
    pub fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// How its authenticators go together.
    pub fn auth(&self) -> &AuthPlan {
        &self.auth
    }

    /// What its plugins want of a request's body: the most demanding need.
    pub fn request_body_need(&self) -> BodyNeed {
        self.request_body_need
    }

    /// True where a request's body that streams past may change its length.
    pub fn reframes_request(&self) -> bool {
        self.reframes_request
    }

    /// What its plugins want of a response's body.
    pub fn response_body_need(&self) -> BodyNeed {
        self.response_body_need
    }

    /// True where a plugin answers CORS preflights.
    pub fn answers_preflight(&self) -> bool {
        self.preflight
    }

    /// True where a response hook may have to run.
    pub fn has_response_hooks(&self) -> bool {
        !self.response.is_empty()
    }
}

/// `Whole` beats `Stream` beats nothing; of several `Whole` the smallest limit holds.
fn need(slots: &[Arc<Slot>], users: &[usize], of: fn(&dyn Plugin) -> BodyNeed) -> BodyNeed {
    users.iter().filter_map(|index| slots.get(*index)).fold(BodyNeed::None, |need, slot| {
        match (need, of(slot.plugin())) {
            (BodyNeed::Whole { max: a }, BodyNeed::Whole { max: b }) => BodyNeed::Whole { max: a.min(b) },
            (whole @ BodyNeed::Whole { .. }, _) | (_, whole @ BodyNeed::Whole { .. }) => whole,
            (BodyNeed::Stream, _) | (_, BodyNeed::Stream) => BodyNeed::Stream,
            (BodyNeed::None, BodyNeed::None) => BodyNeed::None,
        }
    })
}
