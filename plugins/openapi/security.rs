//! Who may call an operation, as far as it is not for the gateway to see at load.

use super::{OpenApi, config::Security};
use http::{HeaderValue, header::WWW_AUTHENTICATE};
use palisade_contract::{CredentialKind, Denial, Exchange, Operation, Principal, Requirement};
use std::sync::Arc;

/// The caller is known where the operation asks for it, and has the scopes that it names.
pub(super) fn check(plugin: &OpenApi, ex: &Exchange, operation: Option<&Operation>) -> Result<(), Denial> {
    let Some(operation) = operation.filter(|operation| !operation.is_public()) else { return Ok(()) };
    if plugin.config.security == Security::Ignore {
        return Ok(());
    }
    let Some(principal) = ex.principal().filter(|principal| !principal.anonymous) else {
        return Err(Denial::unauthorized("openapi_security").detail("the operation asks for a credential"));
    };
    let callers: Vec<&Arc<Principal>> = std::iter::once(principal).chain(ex.attached()).collect();
    let is_token = |set: &&Vec<Requirement>| {
        set.iter().any(|one| matches!(&one.credential, CredentialKind::Http(scheme) if &**scheme == "bearer"))
    };
    // Who has come with a token is held to what is asked of tokens, also where something else would do.
    let with_token = callers.iter().any(|caller| !caller.claims.is_empty());
    let all = || operation.security.iter();
    let asked = with_token && all().any(|set| is_token(&set));
    let has = |scope: &str| {
        callers.iter().any(|caller| caller.words(&plugin.config.scope_claim).any(|word| word == scope))
    };
    let fits = |set: &Vec<Requirement>| set.iter().flat_map(|one| &one.scopes).all(|scope| has(scope));
    if all().filter(|set| !asked || is_token(set)).any(fits) {
        return Ok(());
    }
    let missing = all().flatten().flat_map(|one| &one.scopes).find(|scope| !has(scope));
    let denial = Denial::forbidden("openapi_scope")
        .message("The credential does not cover this operation")
        .detail(format!("the scope `{}` is missing", missing.map_or("", |scope| scope)));
    // RFC 6750 §3.1.
    let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
    Err(if asked { denial.header(WWW_AUTHENTICATE, challenge) } else { denial })
}
