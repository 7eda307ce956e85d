//! Tokens that are bound to a client's certificate (RFC 8705): who has the token alone has nothing.

use super::{claims::Claims, refusal::Refusal};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_contract::Exchange;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;

/// What is asked of tokens that are bound to a certificate, and of those that are not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// A token that is bound must come with its certificate; others may come with any or none.
    #[default]
    WhereBound,
    /// Every token must be bound, and come with its certificate.
    Required,
    /// Nothing is asked: for where somebody else has verified the certificate, and this gateway does not see it.
    Ignored,
}

/// The SHA-256 of the certificate that a token is bound to.
pub(crate) type Thumbprint = [u8; 32];

/// What `cnf.x5t#S256` says; none where it is not there.
pub(crate) fn thumbprint(claims: &Claims) -> Result<Option<Thumbprint>, Refusal> {
    const WRONG: Refusal = Refusal::ClaimInvalid("`cnf` does not say what a certificate's thumbprint is");
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let Value::Object(members) = confirmation else { return Err(WRONG) };
    let Some(member) = members.get("x5t#S256") else { return Ok(None) };
    let text = member.as_str().ok_or(WRONG)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| WRONG)?;
    bytes.try_into().map(Some).map_err(|_| WRONG)
}

/// The connection's certificate is the token's, where it must be. Behind a trusted proxy it is the proxy's, and never is.
pub(crate) fn check(binding: Binding, bound: Option<&Thumbprint>, ex: &Exchange) -> Result<(), Refusal> {
    let bound = match (binding, bound) {
        (Binding::Ignored, _) | (Binding::WhereBound, None) => return Ok(()),
        (Binding::Required, None) => return Err(Refusal::Bound("the token is bound to no certificate")),
        (_, Some(bound)) => bound,
    };
    let client = ex.client();
    let shown = client.tls.as_ref().and_then(|tls| tls.certificate.as_ref()).filter(|_| !client.behind_proxy);
    match shown {
        None => Err(Refusal::Bound("the token is bound to a certificate, and the connection has none")),
        Some(shown) if bool::from(shown.sha256.ct_eq(bound)) => Ok(()),
        Some(_) => Err(Refusal::Bound("the token is bound to another certificate than the connection's")),
    }
}
