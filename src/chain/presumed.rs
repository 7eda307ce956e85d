//! Who calls is taken as proved: for trials of what follows from it.

use super::Slot;
use http::HeaderValue;
use palisade_contract::{
    Authentication, Authenticator, Built, CredentialPlace, EntryInfo, Exchange, Hooks, Mode, Plugin,
    Principal, Step,
};
use std::sync::Arc;

/// Stands in the place of an authenticator.
struct Presumed(Arc<Principal>);

impl Plugin for Presumed {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }
}

impl Authenticator for Presumed {
    fn authenticate<'a>(&'a self, _: &'a mut Exchange) -> Step<'a, Authentication> {
        Step::Now(Ok(Authentication::Authenticated(self.0.clone())))
    }

    fn credential_places(&self) -> Vec<CredentialPlace> {
        Vec::new()
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("")
    }
}

impl Slot {
    /// The same entry, with an authenticator that always finds this principal.
    pub(super) fn presuming(&self, principal: &Arc<Principal>) -> Slot {
        let written = &self.info;
        let info = EntryInfo::new(
            written.key.clone(),
            written.plugin,
            written.scope,
            written.place.clone(),
            Mode::Enforce,
        );
        Slot {
            id: self.id,
            info: Arc::new(info),
            stage: self.stage,
            rank: self.rank,
            built: Built::Authenticator(Arc::new(Presumed(principal.clone()))),
            on_fault: self.on_fault,
            when: None,
            anonymous: None,
            metrics: self.metrics.clone(),
        }
    }
}
