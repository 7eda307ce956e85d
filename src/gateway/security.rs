//! Whether what authenticates on a route is what the operations of an API ask for.

use super::{entries::Instance, operations::takes};
use crate::conf::model::{At, Auth, Route};
use http::header::COOKIE;
use palisade_contract::{
    Authenticator, Built, ConfigError, CredentialKind, CredentialPlace, Mode, Operation, Requirement,
};
use std::collections::BTreeSet;

/// More operations of one entry than these are not named.
const MAX_NAMED: usize = 10;

/// Refuses operations that ask for credentials which nothing on the route asks for.
pub(super) fn check(written: &At<Route>, running: &[&Instance], errors: &mut Vec<ConfigError>) {
    let doors: Vec<Door<'_>> = running.iter().filter_map(|instance| Door::of(instance)).collect();
    let auth = written.value.auth.as_ref().map(|auth| &auth.value);
    for instance in running {
        let operations = instance.built.plugin().operations().iter();
        let served = operations.filter(|operation| takes(&written.value, operation));
        let open = served.filter(|operation| operation.enforced && !operation.is_public());
        // An operation below several base paths is named once.
        let mut named = BTreeSet::new();
        for operation in open.filter(|operation| !is_guarded(operation, auth, &doors)) {
            if named.len() >= MAX_NAMED || !named.insert(operation.place.line) {
                continue;
            }
            let asked: Vec<String> = operation.security.iter().map(|set| shown(set)).collect();
            let keys: Vec<String> = doors.iter().map(|door| format!("`{}`", door.key)).collect();
            let here = match keys.as_slice() {
                [] => "the route has no authenticator".to_owned(),
                keys => format!("who has none gets past the route's authenticators ({})", keys.join(", ")),
            };
            let message = format!(
                "`{} {}` asks for {}, and {here}",
                operation.method,
                operation.path,
                asked.join(" or ")
            );
            let error = ConfigError::at(format!("{}.plugins.{}", written.path, instance.info.key), message);
            errors.push(
                error
                    .help("add an authenticator that asks for it and for nothing less, or write `security: ignore`")
                    .place(instance.info.place.clone())
                    .other("the operation", operation.place.clone()),
            );
        }
    }
}

fn shown(set: &[Requirement]) -> String {
    let names: Vec<String> = set.iter().map(|one| format!("`{}`", one.scheme)).collect();
    names.join(" with ")
}

/// An authenticator of the route.
struct Door<'r> {
    key: &'r str,
    authenticator: &'r dyn Authenticator,
    /// It lets in whoever has no credential.
    open: bool,
    /// It may be passed by: others are then asked.
    conditional: bool,
}

impl<'r> Door<'r> {
    fn of(instance: &'r Instance) -> Option<Self> {
        let Built::Authenticator(authenticator) = &instance.built else { return None };
        let common = &instance.common;
        let conditional = common.when.is_some();
        let open = common.mode == Mode::Monitor || common.anonymous.is_some();
        Some(Door { key: &instance.info.key, authenticator: &**authenticator, open, conditional })
    }

    /// True where nobody gets past it without a credential of its kind.
    fn is_solid(&self) -> bool {
        !self.open && !self.conditional
    }

    fn asks_for(&self, credential: &CredentialKind) -> bool {
        let looks_at = |place: CredentialPlace| self.authenticator.credential_places().contains(&place);
        match credential {
            CredentialKind::Header(name) => {
                name.parse().is_ok_and(|name| looks_at(CredentialPlace::Header(name)))
            }
            CredentialKind::Query(name) => looks_at(CredentialPlace::Query(name.clone())),
            // Which cookie it is, it does not say.
            CredentialKind::Cookie(_) => looks_at(CredentialPlace::Header(COOKIE)),
            CredentialKind::Http(scheme) => self.challenges(scheme),
            CredentialKind::Certificate => self.challenges("certificate"),
        }
    }

    fn challenges(&self, scheme: &str) -> bool {
        let challenge = self.authenticator.challenge();
        let first = challenge.to_str().ok().and_then(|text| text.split_ascii_whitespace().next());
        first.is_some_and(|first| first.eq_ignore_ascii_case(scheme))
    }
}

/// True where whoever gets past the route's authenticators has what one of the operation's sets asks for.
fn is_guarded(operation: &Operation, auth: Option<&Auth>, doors: &[Door<'_>]) -> bool {
    if matches!(auth, Some(Auth::Optional)) {
        return false;
    }
    if matches!(auth, Some(Auth::All(_))) {
        let asked =
            |one: &Requirement| doors.iter().any(|door| door.is_solid() && door.asks_for(&one.credential));
        return operation.security.iter().any(|set| set.iter().all(asked));
    }
    // One of them is enough to get in, so each must be.
    let enough = |door: &Door<'_>| {
        operation.security.iter().any(|set| match set.as_slice() {
            [one] => door.asks_for(&one.credential),
            _ => false,
        })
    };
    doors.iter().any(Door::is_solid) && doors.iter().all(|door| !door.open && enough(door))
}
