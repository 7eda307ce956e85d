//! What must not be read in a record: credentials always, and what the configuration names.

use super::text;
use http::HeaderName;
use palisade_contract::CredentialPlaces;
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;

/// What stands in place of a value.
pub(super) const MASKED: &str = "[masked]";

/// Header names that hold credentials wherever they are used.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "api-key",
    "apikey",
    "x-api-key",
    "x-auth-token",
    "x-access-token",
    "x-amz-security-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-vault-token",
    "dpop",
];

/// Query parameters that hold credentials wherever they are used, without `-` and `_`.
const QUERY: &[&str] = &[
    "accesskey",
    "accesstoken",
    "apikey",
    "assertion",
    "auth",
    "authorization",
    "bearer",
    "clientassertion",
    "clientsecret",
    "code",
    "codeverifier",
    "credential",
    "idtoken",
    "jwt",
    "key",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "refreshtoken",
    "samlresponse",
    "secret",
    "session",
    "sessionid",
    "sig",
    "signature",
    "ticket",
    "token",
    "xamzcredential",
    "xamzsecuritytoken",
    "xamzsignature",
];

/// What is masked besides credentials.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mask {
    /// Of the headers that `headers` names: only that they were there is written.
    headers: Vec<String>,
    /// Query parameters, by decoded name; case is ignored.
    query: Vec<String>,
    /// Parameters of the route's path; they are masked in `path` as well.
    params: Vec<String>,
}

/// A mask, with what the snapshot's authenticators add to it.
#[derive(Debug)]
pub(super) struct Masks {
    headers: Vec<String>,
    query: Vec<String>,
    params: Vec<String>,
    places: CredentialPlaces,
}

impl Masks {
    pub(super) fn new(mask: Mask, places: CredentialPlaces) -> Self {
        let lower = |names: Vec<String>| names.iter().map(|name| name.to_lowercase()).collect();
        Masks { headers: lower(mask.headers), query: lower(mask.query), params: mask.params, places }
    }

    pub(super) fn masks_header(&self, name: &HeaderName) -> bool {
        HEADERS.contains(&name.as_str())
            || self.headers.iter().any(|masked| masked == name.as_str())
            || self.places.holds_header(name)
    }

    pub(super) fn masks_param(&self, name: &str) -> bool {
        self.params.iter().any(|masked| masked == name)
    }

    pub(super) fn has_params(&self) -> bool {
        !self.params.is_empty()
    }

    fn masks_query(&self, written: &str) -> bool {
        let spaced = written.replace('+', " ");
        let name = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy();
        // `user[password]` and `login.token` name the same thing as `password` and `token`.
        let parts = name.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'));
        let is_credential = |part: &str| {
            let plain: String =
                part.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
            QUERY.contains(&plain.as_str())
        };
        let lower = name.to_lowercase();
        self.query.contains(&lower) || self.places.holds_query(&name) || parts.into_iter().any(is_credential)
    }

    /// A query, with what is masked in it.
    pub(super) fn query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        // An origin may split at `;` as well.
        let pairs = || query.split_inclusive(['&', ';']);
        let name = |pair: &str| pair.split_once('=').map(|(name, _)| name.to_owned());
        if !pairs().any(|pair| name(pair).is_some_and(|name| self.masks_query(&name))) {
            return Cow::Borrowed(query);
        }
        let mut shown = String::with_capacity(query.len());
        for pair in pairs() {
            match name(pair).filter(|name| self.masks_query(name)) {
                Some(name) => {
                    shown.push_str(&name);
                    shown.push('=');
                    shown.push_str(MASKED);
                    shown.extend(pair.chars().last().filter(|end| matches!(end, '&' | ';')));
                }
                None => shown.push_str(pair),
            }
        }
        Cow::Owned(shown)
    }

    /// A path without the values of masked parameters.
    pub(super) fn path<'p>(&self, path: &'p str, hidden: &[&str]) -> Cow<'p, str> {
        if hidden.is_empty() {
            return Cow::Borrowed(path);
        }
        let shown = path.split('/').map(|part| if hidden.contains(&part) { MASKED } else { part });
        Cow::Owned(shown.collect::<Vec<_>>().join("/"))
    }
}

/// A header's values in one text, as a list field is written.
pub(super) fn joined(
    out: &mut Vec<u8>,
    values: http::header::GetAll<'_, http::HeaderValue>,
    room: usize,
) -> bool {
    let mut values = values.iter();
    match (values.next(), values.next()) {
        (Some(one), None) => text::string(out, one.as_bytes(), room),
        (first, second) => {
            let all: Vec<&[u8]> =
                first.into_iter().chain(second).chain(values).map(http::HeaderValue::as_bytes).collect();
            text::string(out, &all.join(&b", "[..]), room)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::CredentialPlace;

    fn masks() -> Masks {
        let places = CredentialPlaces::default();
        let key = HeaderName::from_static("x-clinic-key");
        places.complete(vec![CredentialPlace::Header(key), CredentialPlace::Query("k".into())]);
        let mask = Mask {
            headers: vec!["X-Tenant".to_owned()],
            query: vec!["Patient".to_owned()],
            params: vec!["name".to_owned()],
        };
        Masks::new(mask, places)
    }

    #[test]
    fn credentials_in_a_query_are_masked_however_they_are_written() {
        let masks = masks();
        for (query, expected) in [
            ("a=b&c=d", "a=b&c=d"),
            ("", ""),
            ("token", "token"),
            ("access_token=x&a=b", "access_token=[masked]&a=b"),
            ("a=b&Access-Token=x", "a=b&Access-Token=[masked]"),
            ("%61pi%4bey=x", "%61pi%4bey=[masked]"),
            ("api%5Fkey=x=y", "api%5Fkey=[masked]"),
            ("a=b;token=x;c=d", "a=b;token=[masked];c=d"),
            ("user[password]=x", "user[password]=[masked]"),
            ("user%5Bpassword%5D=x", "user%5Bpassword%5D=[masked]"),
            ("+token=x", "+token=[masked]"),
            ("login.token=x", "login.token=[masked]"),
            ("K=x&patient=y&PATIENT=z", "K=[masked]&patient=[masked]&PATIENT=[masked]"),
            ("monkey=x&tokens=3", "monkey=x&tokens=3"),
            ("%zz=1&%ff=2&=3&&", "%zz=1&%ff=2&=3&&"),
        ] {
            assert_eq!(masks.query(query), expected);
        }
    }

    #[test]
    fn what_holds_credentials_everywhere_is_masked_everywhere() {
        let places = CredentialPlaces::default();
        places.complete(Vec::new());
        let masks = Masks::new(Mask::default(), places);
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "api-key",
            "apikey",
            "x-api-key",
            "x-auth-token",
            "x-access-token",
            "x-amz-security-token",
            "x-csrf-token",
            "x-xsrf-token",
            "x-vault-token",
            "dpop",
        ] {
            assert!(masks.masks_header(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "api_key",
            "key",
            "access_token",
            "refresh_token",
            "id_token",
            "token",
            "jwt",
            "bearer",
            "code",
            "code_verifier",
            "client_secret",
            "client_assertion",
            "assertion",
            "secret",
            "password",
            "passwd",
            "pwd",
            "auth",
            "authorization",
            "credential",
            "private_key",
            "session",
            "session_id",
            "ticket",
            "SAMLResponse",
            "sig",
            "signature",
            "AccessKey",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "X-Amz-Signature",
        ] {
            assert_eq!(masks.query(&format!("{name}=x")), format!("{name}=[masked]"));
        }
    }

    #[test]
    fn headers_and_parameters() {
        let masks = masks();
        for (name, masked) in [
            ("authorization", true),
            ("cookie", true),
            ("x-clinic-key", true),
            ("x-tenant", true),
            ("user-agent", false),
        ] {
            assert_eq!(masks.masks_header(&HeaderName::from_static(name)), masked, "{name}");
        }
        assert!(masks.masks_param("name") && !masks.masks_param("id"));
        assert_eq!(masks.path("/p/ann/x/ann", &["ann"]), "/p/[masked]/x/[masked]");
    }
}
