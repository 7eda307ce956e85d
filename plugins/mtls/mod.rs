//! `mtls`: a client's certificate, which the listener has verified.

mod certificate;
mod forward;
mod name;
mod rules;
#[cfg(test)]
mod tests;

pub use rules::MtlsCredential;

use certificate::Certificate;
use forward::Forward;
use http::{HeaderName, HeaderValue};
use lru::LruCache;
use palisade_contract::{
    Authentication, Authenticator, BuildEnv, ConfigError, ConfigErrors, CredentialPlace, Denial, Exchange,
    Hooks, PeerCertificate, Plugin, PluginKind, Presented, Principal, Stage, Step,
};
use parking_lot::Mutex;
use rules::{Allowed, Consumers, Kind, Owner, Rule};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// What was found out about a certificate is remembered, for so many in each part.
const REMEMBERED: NonZeroUsize = match NonZeroUsize::new(512) {
    Some(size) => size,
    None => NonZeroUsize::MIN,
};
/// They are in so many parts, so that threads seldom wait for one another.
const PARTS: usize = 16;

/// Identifies callers by the certificate that their connection has shown. The listener verifies it against its
/// authorities and lists of revoked ones (`client_auth`, with `mode: optional` where only some routes ask for one); this
/// says on a route which certificates are let in, and whose they are.
///
/// A connection of a trusted proxy shows the proxy's certificate, which identifies none of its clients: there a request
/// is one without a credential. The claims `subject`, `issuer`, `common_name`, `dns`, `uri`, `email`, `spiffe`, `serial`
/// and `fingerprint` are there for `acl` and conditions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One of these must hold for a certificate; absent: whatever the listener takes.
    allow: Option<Vec<Rule>>,
    /// Let certificates pass that belong to no consumer; their principal is `ISSUER|…`, see `principal`.
    consumer_optional: bool,
    /// What the principal of a certificate without a consumer is called by. A certificate that does not say it, or of a
    /// list says several, is refused.
    principal: PrincipalBy,
    /// How the origin is told of the certificate; absent: it is not. Clients' own of these headers never pass.
    forward: Vec<Forward>,
}

/// What a principal is called by.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields of a certificate")]
pub enum PrincipalBy {
    #[default]
    Subject,
    CommonName,
    Dns,
    Uri,
    Email,
    Spiffe,
    Fingerprint,
}

impl PrincipalBy {
    fn kind(self) -> Kind {
        match self {
            PrincipalBy::Subject => Kind::Subject,
            PrincipalBy::CommonName => Kind::CommonName,
            PrincipalBy::Dns => Kind::Dns,
            PrincipalBy::Uri => Kind::Uri,
            PrincipalBy::Email => Kind::Email,
            PrincipalBy::Spiffe => Kind::Spiffe,
            PrincipalBy::Fingerprint => Kind::Fingerprint,
        }
    }
}

/// The plugin.
pub struct Mtls {
    allow: Option<Vec<Allowed>>,
    consumers: Consumers,
    consumer_optional: bool,
    principal: Kind,
    forward: Vec<Forward>,
    parts: Vec<Mutex<LruCache<[u8; 32], Arc<Known>>>>,
}

/// What follows from a certificate.
struct Known {
    validity: (i64, i64),
    found: Result<(Arc<Principal>, Told), Refusal>,
}

/// What the origin is told.
type Told = Vec<(HeaderName, HeaderValue)>;

/// A reason code, and a word for the operator.
type Refusal = (&'static str, &'static str);

impl PluginKind for Mtls {
    const NAME: &'static str = "mtls";
    const SUMMARY: &'static str = "Identifies callers by the client certificate of their connection.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authenticate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        if config.allow.as_ref().is_some_and(Vec::is_empty) {
            let error = ConfigError::at("allow", "no certificate would be let in");
            errors.push(
                error.help("write a rule such as `{dns: \"*.partner.example\"}`, or leave `allow` out"),
            );
        }
        let allow = config.allow.map(|rules| {
            let rules = rules.into_iter().enumerate();
            rules.map(|(index, rule)| Allowed::read(rule, &format!("allow[{index}]"), &mut errors)).collect()
        });
        let consumers = Consumers::read(env, &mut errors);
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(Mtls {
            allow,
            consumers,
            consumer_optional: config.consumer_optional,
            principal: config.principal.kind(),
            forward: config.forward,
            parts: (0..PARTS).map(|_| Mutex::new(LruCache::new(REMEMBERED))).collect(),
        })
    }
}

impl Mtls {
    /// Only what the listener has verified comes here, so that a client without a good certificate fills nothing.
    fn known(&self, shown: &PeerCertificate) -> Arc<Known> {
        let part = shown.sha256.first().and_then(|byte| self.parts.get(usize::from(*byte) % PARTS));
        if let Some(known) = part.and_then(|part| part.lock().get(&shown.sha256).cloned()) {
            return known;
        }
        let known = Arc::new(self.judge(shown));
        if let Some(part) = part {
            part.lock().put(shown.sha256, known.clone());
        }
        known
    }

    fn judge(&self, shown: &PeerCertificate) -> Known {
        let Some(certificate) = Certificate::read(shown) else {
            let refusal = ("certificate_malformed", "the certificate cannot be read");
            return Known { validity: (i64::MIN, i64::MAX), found: Err(refusal) };
        };
        let found = self.principal(&certificate).map(|principal| {
            let headers = self.forward.iter().filter_map(|forward| forward.header(&certificate, shown));
            (Arc::new(principal), headers.collect())
        });
        Known { validity: certificate.validity, found }
    }

    fn principal(&self, certificate: &Certificate) -> Result<Principal, Refusal> {
        if self.allow.as_ref().is_some_and(|rules| !rules.iter().any(|rule| rule.admits(certificate))) {
            return Err(("certificate_not_allowed", "no rule of `allow` holds for the certificate"));
        }
        let consumer = match self.consumers.owner(certificate) {
            Owner::One(consumer) => Some(consumer),
            Owner::Several => {
                return Err((
                    "certificate_ambiguous",
                    "the certificate says what two consumers are known by",
                ));
            }
            Owner::Nobody if self.consumer_optional => None,
            Owner::Nobody => {
                return Err(("certificate_consumer_unknown", "the certificate belongs to no consumer"));
            }
        };
        let id = match (&consumer, self.principal.of(certificate)) {
            (Some(consumer), _) => consumer.name.clone(),
            (None, [one]) if !one.is_empty() => format!("{}|{one}", certificate.issuer).into(),
            (None, _) => {
                let detail = "the certificate does not say what `principal` asks for, or says several";
                return Err(("certificate_nameless", detail));
            }
        };
        Ok(Principal {
            id,
            consumer,
            credential: Some(certificate.fingerprint.as_str().into()),
            claims: Arc::new(certificate.claims()),
            anonymous: false,
        })
    }
}

impl Plugin for Mtls {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn writes_to_origin(&self) -> Vec<HeaderName> {
        self.forward.iter().map(|forward| forward.name()).collect()
    }
}

impl Authenticator for Mtls {
    /// A certificate is nowhere in a request.
    fn credential_places(&self) -> Vec<CredentialPlace> {
        Vec::new()
    }

    fn presented(&self, ex: &Exchange) -> Option<Presented> {
        let client = ex.client();
        let shown = client.tls.as_ref()?.certificate.as_ref().filter(|_| !client.behind_proxy)?;
        Some(Presented::credential(&shown.sha256))
    }

    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication> {
        let client = ex.client();
        let shown = client.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
        let Some(shown) = shown.filter(|_| !client.behind_proxy) else {
            return Step::Now(Ok(Authentication::NoCredential));
        };
        let known = self.known(shown);
        let now = seconds(ex.started());
        let found = if now < known.validity.0 || now > known.validity.1 {
            // A connection may last longer than its certificate.
            Err(&("certificate_expired", "the certificate does not hold now"))
        } else {
            known.found.as_ref()
        };
        Step::Now(Ok(match found {
            Ok((principal, headers)) => {
                ex.to_origin().set_headers.extend(headers.iter().cloned());
                Authentication::Authenticated(principal.clone())
            }
            Err((reason, detail)) => {
                let denial = Denial::unauthorized(reason).message("The certificate is not good here");
                // Whoever shows it has its key, and the listener has verified it.
                Authentication::Rejected(denial.detail(*detail).genuine())
            }
        }))
    }

    /// There is no scheme for what happens below HTTP; a 401 must have one all the same.
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Certificate realm=\"client certificate\"")
    }
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}
