//! A token as it was sent: its parts, before anything is proved.

use super::{json, verify::Payload};
use crate::tokens::{MAX_TOKEN, refusal::Refusal};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

/// The longest key id, in bytes.
const MAX_KID: usize = 256;

/// A token whose header is read and whose claims are not: they are of no use before the signature is verified.
pub(super) struct Unverified<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    /// What the signature is over.
    pub(super) message: &'t [u8],
    pub(super) signature: Vec<u8>,
    pub(super) payload: Payload<'t>,
}

impl<'t> Unverified<'t> {
    /// Reads a compact JWS (RFC 7515 §7.1): three parts, base64url without padding, a header in which nothing stands
    /// twice. Keys that the header itself brings (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
    pub(super) fn read(token: &'t [u8]) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::Malformed("the token is too long"));
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed("not three parts"));
        };
        let message = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = decode(header)?;
        let header = json::object(&header).ok_or(Refusal::Malformed("the header is not a JSON object"))?;
        // What must be understood (RFC 7515 §4.1.11) is not, and an unencoded or compressed payload neither.
        if ["crit", "b64", "enc", "zip"].iter().any(|name| header.contains_key(*name)) {
            return Err(Refusal::Malformed("the header asks for an extension"));
        }
        let Some(Value::String(algorithm)) = header.get("alg") else {
            return Err(Refusal::Algorithm("the header names no algorithm"));
        };
        // Names are exact: `none`, in whatever case, is not among them.
        let algorithm =
            algorithm.parse().map_err(|_| Refusal::Algorithm("the header names an unknown algorithm"))?;
        let kid = text(&header, "kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(Refusal::Malformed("the key id is too long"));
        }
        let typ = text(&header, "typ")?;
        let (signature, payload) = (decode(signature)?, Payload::sealed(payload));
        Ok(Unverified { algorithm, kid, typ, message, signature, payload })
    }
}

/// Without padding, white space, other alphabets, or bits that do not count.
pub(super) fn decode(part: &[u8]) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed("not base64url"))
}

fn text(header: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Malformed("a header field is not a string")),
    }
}
