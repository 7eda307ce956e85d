//! What an operator writes.

use palisade_contract::{ConfigError, conf::HumanDuration};
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Identifies a consumer by a signature over parts of the request, made with a shared secret:
/// `Authorization: hmac username="alice", algorithm="hmac-sha256", headers="date @request-target", signature="…"`, or with
/// the scheme `Signature` and `keyId` as the draft has it. The signed text has a line for each name of `headers`:
/// `name: value`, for `@request-target` (or `(request-target)`) `@request-target: get /path?query`, for `request-line` the
/// first line of the request. Paths are signed in their normal form, which is what the origin gets.
///
/// The date (`x-date`, else `date`) is always part of what is signed. A signature is good once, as long as its date lets it
/// pass: a client that sends the same request twice in a second signs a header of its own besides, such as `x-nonce`.
/// Where there is no room to remember more, or the store does not answer, requests are refused with 503
/// `replay_window_full`, or what [stores](../stores.md) say.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Remove the `Authorization` header before the request goes to the origin.
    pub(super) hide_credentials: bool,
    /// How much the client's clock and ours may differ, in whole seconds, from 1s to 1d.
    pub(super) clock_skew: HumanDuration,
    /// What must be signed. `date` is there by `x-date` too, and `@request-target` by `(request-target)` or `request-line`.
    pub(super) enforce_headers: Vec<String>,
    /// How requests may be signed.
    pub(super) algorithms: Vec<Algorithm>,
    /// The body must be that of a signed header `Digest: SHA-256=…`; a request without a body needs none. It is held until
    /// it is whole.
    pub(super) validate_request_body: bool,
    /// Refuse a signature that was seen before.
    pub(super) refuse_replays: bool,
    /// The most signatures that are remembered. One takes about 32 bytes.
    pub(super) replay_window: usize,
    /// The store that remembers signatures for several gateways; without it each gateway does for itself.
    pub(super) store: Option<String>,
    /// What the challenge of a 401 says.
    pub(super) realm: String,
}

/// How a request may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "hmac-sha256")]
    Sha256,
    /// HMAC with SHA-384.
    #[serde(rename = "hmac-sha384")]
    Sha384,
    /// HMAC with SHA-512.
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

impl Algorithm {
    pub(super) const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "hmac-sha256",
            Algorithm::Sha384 => "hmac-sha384",
            Algorithm::Sha512 => "hmac-sha512",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    pub(super) fn of_ring(self) -> hmac::Algorithm {
        match self {
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            hide_credentials: true,
            clock_skew: HumanDuration(Duration::from_secs(300)),
            enforce_headers: vec!["date".to_owned(), "@request-target".to_owned()],
            algorithms: Algorithm::ALL.to_vec(),
            validate_request_body: false,
            refuse_replays: true,
            replay_window: 1_000_000,
            store: None,
            realm: "palisade".to_owned(),
        }
    }
}

impl Config {
    /// What is wrong with it by itself.
    pub(super) fn wrong(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let at = |field: &str, message: String, help: &str| ConfigError::at(field, message).help(help);
        let skew = self.clock_skew.0;
        if skew > DAY || skew.subsec_nanos() != 0 || skew.is_zero() {
            errors.push(at(
                "clock_skew",
                format!("`{}` is no time here", self.clock_skew),
                "write whole seconds from `1s` to `1d`",
            ));
        }
        if self.algorithms.is_empty() {
            errors.push(at(
                "algorithms",
                "nothing could be signed".to_owned(),
                "leave `algorithms` out for all",
            ));
        }
        if self.replay_window == 0 {
            errors.push(at(
                "replay_window",
                "nothing could be remembered".to_owned(),
                "write `refuse_replays: false` to let replays pass",
            ));
        }
        let plain = |byte: u8| (b' '..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
        if !self.realm.bytes().all(plain) {
            errors.push(at(
                "realm",
                "the realm has characters that a challenge cannot have".to_owned(),
                "write letters, digits and spaces",
            ));
        }
        if self.store.is_some() && !self.refuse_replays {
            errors.push(at(
                "store",
                "nothing is remembered there".to_owned(),
                "leave `store` or `refuse_replays: false` out",
            ));
        }
        errors
    }
}
