//! Fetching keys: from a JWK Set's address, or from an issuer, whose metadata tell that address.

use super::{
    json,
    keyset::{KeySet, Origin},
};
use crate::tokens::address;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::ACCEPT};
use palisade_contract::HttpClient;
use serde_json::Value;
use std::sync::Arc;

/// The most bytes of an answer.
pub(super) const MAX_ANSWER: usize = 256 * 1024;

/// Where keys are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// A JWK Set.
    Keys(Uri),
    /// An issuer (OpenID Connect Discovery 1.0 §4): its name, and where its metadata are.
    Issuer(String, Uri),
}

/// Fetches keys, once each time that it is asked.
pub(super) struct Fetcher {
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) location: Location,
}

impl Location {
    /// The location of an issuer's metadata.
    pub(super) fn of_issuer(issuer: &str) -> Result<Self, String> {
        let uri = address(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
        Ok(Location::Issuer(issuer.to_owned(), uri))
    }
}

/// An address to fetch from: `https`, or `http` on this machine.
pub(super) fn address(text: &str) -> Result<Uri, String> {
    address::read(text, "is not fetched over TLS: anybody on the way could give us keys")
}

impl Fetcher {
    /// The keys as they are now, and the text that they stand in.
    pub(super) async fn fetch(&self) -> Result<(KeySet, Bytes), String> {
        let keys = match &self.location {
            Location::Keys(uri) => uri.clone(),
            Location::Issuer(issuer, uri) => self.discover(issuer, uri).await?,
        };
        let text = self.get(&keys).await?;
        let set = KeySet::read(&text, Origin::Fetched).map_err(|error| format!("{keys}: {error}"))?;
        Ok((set, text))
    }

    /// Where an issuer's keys are. The metadata must be the issuer's own (OpenID Connect Discovery 1.0 §4.3).
    async fn discover(&self, issuer: &str, uri: &Uri) -> Result<Uri, String> {
        let text = self.get(uri).await?;
        let metadata = json::object(&text).ok_or_else(|| format!("{uri}: it is not a JSON object"))?;
        match metadata.get("issuer") {
            Some(Value::String(found)) if found == issuer => {}
            Some(Value::String(found)) => return Err(format!("{uri}: it is about the issuer `{found}`")),
            _ => return Err(format!("{uri}: it names no issuer")),
        }
        let Some(Value::String(keys)) = metadata.get("jwks_uri") else {
            return Err(format!("{uri}: it has no `jwks_uri`"));
        };
        let keys = address(keys).map_err(|error| format!("{uri}: jwks_uri: {error}"))?;
        // Somebody far away does not send us to addresses of this machine.
        if keys.scheme_str() != Some("https") && uri.scheme_str() == Some("https") {
            return Err(format!("{uri}: jwks_uri: `{keys}` is not an `https` address"));
        }
        Ok(keys)
    }

    async fn get(&self, uri: &Uri) -> Result<Bytes, String> {
        let request = Request::get(uri.clone()).header(ACCEPT, "application/json").body(Bytes::new());
        let request = request.map_err(|error| format!("{uri}: {error}"))?;
        let answer = self.client.send(request).await.map_err(|error| format!("{uri}: {error}"))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{uri}: it answers {}", answer.status().as_u16()));
        }
        Ok(answer.into_body())
    }
}
