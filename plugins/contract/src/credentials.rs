//! Where requests hold credentials: what must never be written down.

use http::{HeaderName, header::COOKIE};
use std::sync::{Arc, OnceLock};

/// A place in a request where an authenticator looks for a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialPlace {
    /// A header field. A cookie is in `Cookie`.
    Header(HeaderName),
    /// A query parameter, by its decoded name.
    Query(Arc<str>),
}

impl CredentialPlace {
    /// The places of an authenticator that looks in these headers, in these query parameters, and perhaps in
    /// cookies.
    pub fn all(headers: &[HeaderName], query: &[Arc<str>], cookies: bool) -> Vec<Self> {
        let cookie = cookies.then_some(CredentialPlace::Header(COOKIE));
        let headers = headers.iter().cloned().map(CredentialPlace::Header);
        headers.chain(query.iter().cloned().map(CredentialPlace::Query)).chain(cookie).collect()
    }
}

/// All places where the authenticators of a snapshot look for credentials. They are complete once the snapshot
/// is; until then everything counts as one.
#[derive(Debug, Clone, Default)]
pub struct CredentialPlaces(Arc<OnceLock<Vec<CredentialPlace>>>);

impl CredentialPlaces {
    /// For the gateway: these are all. Only the first call counts.
    pub fn complete(&self, places: Vec<CredentialPlace>) {
        // There is one caller.
        let _ = self.0.set(places);
    }

    /// True for a header that may hold a credential.
    pub fn holds_header(&self, name: &HeaderName) -> bool {
        self.any(|place| matches!(place, CredentialPlace::Header(known) if known == name))
    }

    /// True for a query parameter that may hold a credential; case is ignored, to be safe.
    pub fn holds_query(&self, name: &str) -> bool {
        self.any(|place| matches!(place, CredentialPlace::Query(known) if known.eq_ignore_ascii_case(name)))
    }

    fn any(&self, is: impl Fn(&CredentialPlace) -> bool) -> bool {
        self.0.get().is_none_or(|places| places.iter().any(is))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_counts_as_a_credential_until_it_is_known_what_does() {
        let places = CredentialPlaces::default();
        let (key, other) = (HeaderName::from_static("apikey"), HeaderName::from_static("x"));
        assert!(places.holds_header(&other) && places.holds_query("x"));
        places.complete(vec![CredentialPlace::Header(key.clone()), CredentialPlace::Query("key".into())]);
        assert!(places.holds_header(&key) && !places.holds_header(&other));
        assert!(places.holds_query("KEY") && !places.holds_query("apikey"));
    }
}
