//! What a client is told (RFC 6750 §3).

use super::refusal::Refusal;
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use palisade_contract::{ConfigError, Denial};

/// The challenges of one entry.
pub(crate) struct Challenges {
    /// Without a token: nothing is said of an error.
    pub(crate) missing: HeaderValue,
    invalid: HeaderValue,
    scope: HeaderValue,
}

impl Challenges {
    pub(crate) fn new(realm: &str, scopes: &[String], errors: &mut Vec<ConfigError>) -> Self {
        let fits = |byte: u8| (b' '..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
        if !realm.bytes().all(fits) {
            let error = ConfigError::at("realm", "the realm has characters that a challenge cannot have");
            errors.push(error.help("write letters, digits and spaces"));
        }
        for (index, scope) in scopes.iter().enumerate() {
            if scope.is_empty() || !scope.bytes().all(|byte| fits(byte) && byte != b' ') {
                let error =
                    ConfigError::at(format!("required_scopes[{index}]"), format!("`{scope}` is not a scope"));
                errors.push(error.help("a scope has visible ASCII characters without quotes and spaces"));
            }
        }
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("Bearer"));
        let plain = format!("Bearer realm=\"{realm}\"");
        let invalid =
            format!("{plain}, error=\"invalid_token\", error_description=\"the token is not valid\"");
        let scope = format!("{plain}, error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" "));
        Challenges { missing: value(&plain), invalid: value(&invalid), scope: value(&scope) }
    }

    /// The answer to a token that is refused.
    pub(crate) fn denial(&self, refusal: Refusal) -> Denial {
        let (reason, detail) = refusal.told();
        if refusal == Refusal::Scope {
            let denial = Denial::new(StatusCode::FORBIDDEN, reason).message("This needs another scope");
            return denial.detail(detail).header(WWW_AUTHENTICATE, self.scope.clone());
        }
        let denial = Denial::unauthorized(reason).message("The token is not valid here").detail(detail);
        let denial = denial.header(WWW_AUTHENTICATE, self.invalid.clone());
        if refusal.is_of_genuine() { denial.genuine() } else { denial }
    }
}
