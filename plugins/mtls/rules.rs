//! Which certificates are let in, and whose they are.

use super::{
    certificate::{Certificate, is_spiffe},
    name,
};
use palisade_contract::{BuildEnv, ConfigError, Consumer};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::HashMap, sync::Arc};

/// What a certificate must say: each field that is written must be in it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The subject, as RFC 4514 writes it: `CN=partner,O=Example,C=DE`.
    subject: Option<String>,
    /// The issuer, likewise.
    issuer: Option<String>,
    /// The only common name of the subject.
    common_name: Option<String>,
    /// A DNS name; `*.example.com` for any name below.
    dns: Option<String>,
    /// A URI.
    uri: Option<String>,
    /// An e-mail address.
    email: Option<String>,
    /// A SPIFFE id; `spiffe://example.org/ns/*` for any below.
    spiffe: Option<String>,
    /// The SHA-256 of the certificate, in hex; colons may stand in it.
    fingerprint: Option<String>,
}

/// What a consumer is known by: exactly one field. It is looked up as it is, without wildcards.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MtlsCredential {
    /// The subject, as RFC 4514 writes it: `CN=partner,O=Example,C=DE`.
    subject: Option<String>,
    /// The only common name of the subject.
    common_name: Option<String>,
    /// A DNS name.
    dns: Option<String>,
    /// A URI.
    uri: Option<String>,
    /// An e-mail address.
    email: Option<String>,
    /// A SPIFFE id.
    spiffe: Option<String>,
    /// The SHA-256 of the certificate, in hex; colons may stand in it.
    fingerprint: Option<String>,
}

/// A rule, in the form of what is in certificates.
pub(super) struct Allowed(Vec<Condition>);

struct Condition {
    kind: Kind,
    value: String,
    /// Anything that ends (a name) or begins (a SPIFFE id) like the value.
    below: bool,
}

/// What is said in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Subject,
    Issuer,
    CommonName,
    Dns,
    Uri,
    Email,
    Spiffe,
    Fingerprint,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Subject => "subject",
            Kind::Issuer => "issuer",
            Kind::CommonName => "common_name",
            Kind::Dns => "dns",
            Kind::Uri => "uri",
            Kind::Email => "email",
            Kind::Spiffe => "spiffe",
            Kind::Fingerprint => "fingerprint",
        }
    }

    /// What a certificate says of this kind.
    pub(super) fn of(self, certificate: &Certificate) -> &[String] {
        let one = std::slice::from_ref;
        match self {
            Kind::Subject => one(&certificate.subject),
            Kind::Issuer => one(&certificate.issuer),
            Kind::CommonName => certificate.common_name.as_slice(),
            Kind::Dns => &certificate.dns,
            Kind::Uri => &certificate.uri,
            Kind::Email => &certificate.email,
            Kind::Spiffe => certificate.spiffe.as_slice(),
            Kind::Fingerprint => one(&certificate.fingerprint),
        }
    }

    /// What an operator writes, as certificates say it; else what to write instead.
    fn read(self, text: &str) -> Result<String, &'static str> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        match self {
            Kind::Subject | Kind::Issuer => {
                name::written(text).ok_or("write it as RFC 4514 does: `CN=partner,O=Example,C=DE`")
            }
            Kind::Fingerprint => {
                let digits = text.replace(':', "").to_ascii_lowercase();
                let good = digits.len() == 64 && hex::decode(&digits).is_ok();
                good.then_some(digits)
                    .ok_or("write 64 hex digits: `openssl x509 -noout -fingerprint -sha256` shows them")
            }
            Kind::Dns if plain && !text.contains('*') => Ok(text.to_ascii_lowercase()),
            Kind::Dns => Err("write a name such as `partner.example.com`"),
            Kind::Spiffe if is_spiffe(text) => Ok(text.to_owned()),
            Kind::Spiffe => Err("write it as `spiffe://example.org/ns/shop`"),
            Kind::CommonName if !text.is_empty() => Ok(text.to_owned()),
            Kind::Uri | Kind::Email if plain => Ok(text.to_owned()),
            _ => Err("write what the certificate says, without spaces"),
        }
    }
}

impl Allowed {
    pub(super) fn read(rule: Rule, at: &str, errors: &mut Vec<ConfigError>) -> Self {
        let Rule { subject, issuer, common_name, dns, uri, email, spiffe, fingerprint } = rule;
        let written = [
            (Kind::Subject, subject),
            (Kind::Issuer, issuer),
            (Kind::CommonName, common_name),
            (Kind::Dns, dns),
            (Kind::Uri, uri),
            (Kind::Email, email),
            (Kind::Spiffe, spiffe),
            (Kind::Fingerprint, fingerprint),
        ];
        let mut conditions = Vec::new();
        for (kind, text) in written {
            let Some(text) = text else { continue };
            let (bare, below) = match kind {
                Kind::Dns => text.strip_prefix("*.").map_or((&*text, false), |rest| (rest, true)),
                Kind::Spiffe => text.strip_suffix("/*").map_or((&*text, false), |rest| (rest, true)),
                _ => (&*text, false),
            };
            match kind.read(bare) {
                Ok(value) => conditions.push(Condition { kind, value, below }),
                Err(help) => {
                    let field = format!("{at}.{}", kind.as_str());
                    let message = format!("`{text}` cannot be in a certificate as `{}`", kind.as_str());
                    errors.push(ConfigError::at(field, message).help(help));
                }
            }
        }
        if conditions.is_empty() && errors.is_empty() {
            let error = ConfigError::at(at, "a rule without a field lets every certificate in");
            errors.push(
                error.help(
                    "write what a certificate must say, or leave `allow` out for all of the listener's",
                ),
            );
        }
        Allowed(conditions)
    }

    pub(super) fn admits(&self, certificate: &Certificate) -> bool {
        self.0
            .iter()
            .all(|condition| condition.kind.of(certificate).iter().any(|found| condition.holds(found)))
    }
}

impl Condition {
    fn holds(&self, found: &str) -> bool {
        if !self.below {
            return found == self.value;
        }
        let rest = match self.kind {
            Kind::Dns => found.strip_suffix(&*self.value).and_then(|rest| rest.strip_suffix('.')),
            _ => found.strip_prefix(&*self.value).and_then(|rest| rest.strip_prefix('/')),
        };
        rest.is_some_and(|rest| !rest.is_empty())
    }
}

/// Consumers by what their certificates say.
pub(super) struct Consumers(HashMap<(Kind, String), Arc<Consumer>>);

/// What consumers may be known by.
const KNOWN_BY: [Kind; 7] =
    [Kind::Fingerprint, Kind::Spiffe, Kind::Uri, Kind::Dns, Kind::Email, Kind::Subject, Kind::CommonName];

/// Whose a certificate is.
pub(super) enum Owner {
    Nobody,
    One(Arc<Consumer>),
    /// It says what two consumers are known by.
    Several,
}

impl Consumers {
    pub(super) fn read(env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Self {
        let mut all: HashMap<(Kind, String), Arc<Consumer>> = HashMap::new();
        for (consumer, credential, place) in env.credentials::<MtlsCredential>() {
            let mut wrong = |message: String, help: &str| {
                let path = format!("consumers.{}.mtls", consumer.name);
                errors
                    .push(ConfigError { path, ..ConfigError::new(message).help(help).place(place.clone()) });
            };
            let written: Vec<_> =
                KNOWN_BY.into_iter().filter_map(|kind| Some((kind, credential.field(kind)?))).collect();
            let [(kind, text)] = &written[..] else {
                wrong(
                    "a consumer is known by one field of a certificate".to_owned(),
                    "write one of `subject`, `common_name`, `dns`, `uri`, `email`, `spiffe` and `fingerprint`; another \
                     one as another item",
                );
                continue;
            };
            match kind.read(text) {
                Err(help) => {
                    wrong(format!("`{text}` cannot be in a certificate as `{}`", kind.as_str()), help);
                }
                Ok(value) => match all.get(&(*kind, value.clone())) {
                    Some(other) => wrong(
                        format!("`{text}` is the consumer `{}` already", other.name),
                        "give each consumer a certificate of its own",
                    ),
                    None => {
                        all.insert((*kind, value), consumer.clone());
                    }
                },
            }
        }
        Consumers(all)
    }

    pub(super) fn owner(&self, certificate: &Certificate) -> Owner {
        let mut found: Option<&Arc<Consumer>> = None;
        for kind in KNOWN_BY {
            for value in kind.of(certificate) {
                let Some(consumer) = self.0.get(&(kind, value.clone())) else { continue };
                if found.is_some_and(|other| other.name != consumer.name) {
                    return Owner::Several;
                }
                found = Some(consumer);
            }
        }
        found.map_or(Owner::Nobody, |consumer| Owner::One(consumer.clone()))
    }
}

impl MtlsCredential {
    fn field(&self, kind: Kind) -> Option<&String> {
        match kind {
            Kind::Subject => self.subject.as_ref(),
            Kind::Issuer => None,
            Kind::CommonName => self.common_name.as_ref(),
            Kind::Dns => self.dns.as_ref(),
            Kind::Uri => self.uri.as_ref(),
            Kind::Email => self.email.as_ref(),
            Kind::Spiffe => self.spiffe.as_ref(),
            Kind::Fingerprint => self.fingerprint.as_ref(),
        }
    }
}
