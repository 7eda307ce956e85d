//! How the origin is told of a certificate.

use super::certificate::Certificate;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue};
use palisade_contract::PeerCertificate;
use schemars::JsonSchema;
use serde::Deserialize;

/// A header that tells of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// `x-forwarded-client-cert: Hash=…;Subject="…";URI=…;DNS=…`, as Envoy writes it.
    XForwardedClientCert,
    /// `client-cert`: the certificate (RFC 9440).
    ClientCert,
    /// `client-cert-chain`: what was shown with it (RFC 9440).
    ClientCertChain,
}

impl Forward {
    pub(super) fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Forward::XForwardedClientCert => "x-forwarded-client-cert",
            Forward::ClientCert => "client-cert",
            Forward::ClientCertChain => "client-cert-chain",
        })
    }

    /// None where there is nothing to tell.
    pub(super) fn header(
        self,
        certificate: &Certificate,
        shown: &PeerCertificate,
    ) -> Option<(HeaderName, HeaderValue)> {
        // A byte sequence of RFC 8941.
        let bytes = |der: &[u8]| format!(":{}:", STANDARD.encode(der));
        let value = match self {
            Forward::ClientCert => bytes(shown.chain.first()?),
            Forward::ClientCertChain => {
                let rest = shown.chain.get(1..).filter(|rest| !rest.is_empty())?;
                rest.iter().map(|der| bytes(der)).collect::<Vec<_>>().join(", ")
            }
            Forward::XForwardedClientCert => elements(certificate),
        };
        Some((self.name(), HeaderValue::from_str(&value).ok()?))
    }
}

/// Values are quoted where they hold anything that ends one.
fn elements(certificate: &Certificate) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let value = |text: &str| {
        if text.contains([',', ';', '=', '"', '\\']) { quoted(text) } else { text.to_owned() }
    };
    let mut all = vec![
        format!("Hash={}", certificate.fingerprint),
        format!("Subject={}", quoted(&certificate.subject)),
    ];
    all.extend(certificate.uri.iter().map(|uri| format!("URI={}", value(uri))));
    all.extend(certificate.dns.iter().map(|dns| format!("DNS={}", value(dns))));
    all.join(";")
}
