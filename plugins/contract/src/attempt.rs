//! What is seen of an authenticator's work: what a request presents to it, and what came of that.
//!
//! For plugins that count failures, or refuse before a verification costs anything. They see what stands for a credential
//! and never the credential itself.

use http::header::COOKIE;
use ring::digest::{Context, SHA256};
use std::fmt;

use crate::{credentials::CredentialPlace, exchange::Exchange};

/// The longest account that is told apart from others, in bytes; of a longer one only so much counts.
const MAX_ACCOUNT: usize = 256;

/// What a request presents to one authenticator, before it is known whether it is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    credential: [u8; 32],
    account: Option<Box<str>>,
}

impl Presented {
    /// A credential by its bytes: a key, a token. Two that differ in anything are two.
    pub fn credential(bytes: &[u8]) -> Self {
        Presented::of_parts([bytes])
    }

    /// One of several parts: a user name and a password.
    pub fn of_parts<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        Presented { credential: context.finish().as_ref().try_into().unwrap_or_default(), account: None }
    }

    /// Names the account that it is about: a user name, a key's id. Only where the scheme has one beside the secret; what an
    /// unverified token claims is none.
    #[must_use]
    pub fn account(mut self, name: &str) -> Self {
        let end = name.floor_char_boundary(MAX_ACCOUNT);
        self.account = name.get(..end).map(Box::from);
        self
    }

    /// All that stands in these headers and query parameters; none where nothing does.
    pub fn found_in(ex: &Exchange, places: &[CredentialPlace]) -> Option<Self> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for place in places {
            match place {
                // Which of the cookies is one, only the authenticator knows.
                CredentialPlace::Header(name) if *name == COOKIE => {}
                CredentialPlace::Header(name) => {
                    parts.extend(ex.request.headers.get_all(name).iter().map(|value| value.as_bytes()));
                }
                CredentialPlace::Query(name) => {
                    let pairs = ex.query().unwrap_or_default().split('&');
                    let named = |pair: &&str| {
                        pair.split('=').next().is_some_and(|written| written.eq_ignore_ascii_case(name))
                    };
                    parts.extend(pairs.filter(named).map(str::as_bytes));
                }
            }
        }
        (!parts.is_empty()).then(|| Presented::of_parts(parts))
    }

    /// What stands for the credential: its SHA-256. Of a password that people choose it tells the password to whoever has
    /// time, so that it must not be written down, nor leave the process.
    pub fn digest(&self) -> &[u8; 32] {
        &self.credential
    }

    /// The account that it is about, where the scheme has one. It need not exist.
    pub fn name(&self) -> Option<&str> {
        self.account.as_deref()
    }
}

/// Nothing of it: a name may be a password in the wrong place.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented")
    }
}

/// What came of looking at a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// It is good.
    Good,
    /// It is not good: refused with 401.
    Bad,
    /// It is refused with 401, and genuine: it has expired, or is for something else ([`Denial::genuine`](crate::Denial)).
    Stale,
    /// That is not known: a dependency is down, there was nothing after all, or it is good and not enough.
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, RequestHeader};
    use http::HeaderName;
    use std::sync::Arc;

    fn exchange(target: &str, headers: &[(&'static str, &str)]) -> Exchange {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        let peer = ([127, 0, 0, 1], 1).into();
        let client = Client {
            ip: [127, 0, 0, 1].into(),
            peer,
            https: false,
            behind_proxy: false,
            proxies: Vec::new(),
            listener: "public".into(),
            port: 80,
            tls: None,
        };
        Exchange::new(request, Arc::new(client), "id".into())
    }

    #[test]
    fn what_is_presented_is_what_stands_in_its_places() {
        let places = [
            CredentialPlace::Header(HeaderName::from_static("apikey")),
            CredentialPlace::Header(COOKIE),
            CredentialPlace::Query("key".into()),
        ];
        let found = |target: &str, headers: &[(&'static str, &str)]| {
            Presented::found_in(&exchange(target, headers), &places)
        };
        assert_eq!(found("/?other=1&keys=2", &[("cookie", "a=b"), ("other", "x")]), None);
        let one = found("/", &[("apikey", "a")]).unwrap();
        assert_eq!(Some(one.clone()), found("/x?y=z", &[("apikey", "a"), ("cookie", "b=c")]));
        for (target, headers) in [
            ("/", &[("apikey", "b")][..]),
            ("/", &[("apikey", "a"), ("apikey", "a")]),
            ("/?key=a", &[]),
            ("/?KEY=a", &[("apikey", "a")]),
        ] {
            assert_ne!(found(target, headers).unwrap(), one, "{target} {headers:?}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown_and_names_are_bounded() {
        let presented = Presented::credential(b"hunter2").account("hunter2");
        assert_eq!(format!("{presented:?}"), "Presented");
        let long = Presented::credential(b"").account(&"ä".repeat(1000));
        assert!(long.name().unwrap().len() <= MAX_ACCOUNT);
        assert_eq!(presented.name(), Some("hunter2"));
    }
}
