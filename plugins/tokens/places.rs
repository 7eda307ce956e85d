//! Where a token stands in a request.

use super::refusal::Refusal;
use crate::presented::{cookies, query_pairs};
use http::{HeaderName, header};
use palisade_contract::{ConfigError, CredentialPlace, Exchange, Presented};
use std::{borrow::Cow, sync::Arc};

const SCHEME: &[u8] = b"bearer";

/// As an operator writes it.
pub(crate) struct Written<'c> {
    pub(crate) header_names: &'c [String],
    pub(crate) cookie_names: &'c [String],
    pub(crate) query_names: &'c [String],
    pub(crate) hide_credentials: bool,
}

/// Where tokens are looked for.
pub(crate) struct Places {
    headers: Vec<HeaderName>,
    cookies: Vec<Arc<str>>,
    query: Vec<Arc<str>>,
    hide: bool,
}

impl Places {
    pub(crate) fn new(config: &Written<'_>, errors: &mut Vec<ConfigError>) -> Self {
        let mut headers: Vec<HeaderName> = Vec::new();
        for (index, text) in config.header_names.iter().enumerate() {
            let at = |message: &str| {
                ConfigError::at(format!("header_names[{index}]"), format!("`{text}` {message}"))
            };
            match HeaderName::from_bytes(text.as_bytes()) {
                Ok(name) if headers.contains(&name) => {
                    errors.push(at("is named twice").help("remove one; case does not matter"));
                }
                Ok(header::HOST | header::COOKIE | header::CONNECTION | header::CONTENT_LENGTH) => {
                    errors.push(
                        at("holds something else").help("write `authorization`, or a name of your own"),
                    );
                }
                Ok(_) if text.contains('_') => {
                    let error = at("would never be found: header names with `_` are refused");
                    errors.push(error.help("write `-` instead"));
                }
                Ok(name) => headers.push(name),
                Err(_) => errors.push(at("is not a name for a header")),
            }
        }
        if config.header_names.is_empty() && config.cookie_names.is_empty() && config.query_names.is_empty() {
            let error = ConfigError::new("the token is looked for nowhere");
            errors.push(error.help("write `header_names: [authorization]`, or remove it"));
        }
        let names = |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect();
        Places {
            headers,
            cookies: names(config.cookie_names),
            query: names(config.query_names),
            hide: config.hide_credentials,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<CredentialPlace> {
        CredentialPlace::all(&self.headers, &self.query, !self.cookies.is_empty())
    }

    /// What the request presents, good or not.
    pub(crate) fn presented(&self, ex: &Exchange) -> Option<Presented> {
        match self.find(ex) {
            Ok(token) => token.map(|token| Presented::credential(&token)),
            Err(_) => Presented::found_in(ex, &self.all()).or(Some(Presented::credential(b""))),
        }
    }

    /// The one token of the request. Two of them are one too many: an origin might take the other.
    pub(crate) fn find<'r>(&self, ex: &'r Exchange) -> Result<Option<Cow<'r, [u8]>>, Refusal> {
        let mut found: Option<Cow<'r, [u8]>> = None;
        let mut add = |token: Cow<'r, [u8]>| match found {
            None => {
                found = Some(token);
                Ok(())
            }
            Some(_) => Err(Refusal::Ambiguous),
        };
        for name in &self.headers {
            for value in ex.request.headers.get_all(name) {
                let Some(token) = token_of(value.as_bytes(), name == header::AUTHORIZATION) else { continue };
                if name == header::AUTHORIZATION && ex.request.headers.get_all(name).iter().nth(1).is_some() {
                    return Err(Refusal::Ambiguous);
                }
                add(Cow::Borrowed(token))?;
            }
        }
        if !self.cookies.is_empty() {
            for (name, value) in cookies(&ex.request.headers) {
                if self.cookies.iter().any(|known| known.as_bytes() == name) {
                    add(Cow::Borrowed(value))?;
                }
            }
        }
        if let (false, Some(query)) = (self.query.is_empty(), ex.query()) {
            for (name, value) in query_pairs(query) {
                if self.query.iter().any(|known| known.as_bytes() == &*name) {
                    add(value)?;
                }
            }
        }
        Ok(found)
    }

    /// Also what is no good token is not the origin's business.
    pub(crate) fn hide(&self, ex: &mut Exchange) {
        if !self.hide {
            return;
        }
        for name in &self.headers {
            let mut values = ex.request.headers.get_all(name).iter();
            if values.any(|value| token_of(value.as_bytes(), name == header::AUTHORIZATION).is_some()) {
                ex.to_origin().remove_headers.push(name.clone());
            }
        }
        let changes = ex.to_origin();
        changes.remove_query.extend(self.query.iter().cloned());
        changes.remove_cookies.extend(self.cookies.iter().cloned());
    }
}

/// What follows `Bearer` (RFC 6750 §2.1), or all of a header that may hold nothing else.
fn token_of(value: &[u8], with_scheme: bool) -> Option<&[u8]> {
    let after = value
        .split_at_checked(SCHEME.len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
        .map(|(_, rest)| rest);
    match after {
        Some([b' ', token @ ..]) => Some(token),
        Some([]) => Some(&[]),
        _ if with_scheme => None,
        _ => Some(value),
    }
}
