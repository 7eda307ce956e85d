//! What a certificate says of who holds it.

use super::name;
use palisade_contract::PeerCertificate;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The most names of a certificate that are looked at.
const MOST_NAMES: usize = 64;

/// A certificate, read.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) common_name: Option<String>,
    pub(super) dns: Vec<String>,
    pub(super) uri: Vec<String>,
    pub(super) email: Vec<String>,
    pub(super) spiffe: Option<String>,
    pub(super) fingerprint: String,
    pub(super) serial: String,
    /// Seconds since 1970: it holds from the first to the second.
    pub(super) validity: (i64, i64),
}

impl Certificate {
    /// None for what is no certificate, or has more names than anybody needs.
    pub(super) fn read(shown: &PeerCertificate) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(shown.chain.first()?).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let (mut dns, mut uri, mut email) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(names) = parsed.subject_alternative_name().ok()? {
            let names = &names.value.general_names;
            if names.len() > MOST_NAMES {
                return None;
            }
            for name in names {
                match name {
                    GeneralName::DNSName(text) => dns.push(plain(text)?.to_ascii_lowercase()),
                    GeneralName::URI(text) => uri.push(plain(text)?.to_owned()),
                    GeneralName::RFC822Name(text) => email.push(plain(text)?.to_owned()),
                    _ => {}
                }
            }
        }
        let validity = parsed.validity();
        Some(Certificate {
            subject: name::text(parsed.subject()),
            issuer: name::text(parsed.issuer()),
            common_name: name::common_name(parsed.subject()),
            // A SPIFFE certificate has this one URI and no other.
            spiffe: match &uri[..] {
                [one] if is_spiffe(one) => Some(one.clone()),
                _ => None,
            },
            dns,
            uri,
            email,
            fingerprint: hex::encode(shown.sha256),
            serial: hex::encode(parsed.raw_serial()),
            validity: (validity.not_before.timestamp(), validity.not_after.timestamp()),
        })
    }

    /// As claims, for `acl` and conditions.
    pub(super) fn claims(&self) -> BTreeMap<String, Value> {
        let lists = [("dns", &self.dns), ("uri", &self.uri), ("email", &self.email)];
        let texts = [
            ("subject", Some(&self.subject)),
            ("issuer", Some(&self.issuer)),
            ("common_name", self.common_name.as_ref()),
            ("spiffe", self.spiffe.as_ref()),
            ("fingerprint", Some(&self.fingerprint)),
            ("serial", Some(&self.serial)),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, json!(text?))));
        let lists =
            lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, json!(list)));
        texts.chain(lists).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A name that can stand in a header and a log.
fn plain(text: &str) -> Option<&str> {
    let fits = !text.is_empty() && text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(text)
}

/// `spiffe://TRUST-DOMAIN/PATH`, as the SPIFFE ID standard has it.
pub(super) fn is_spiffe(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("spiffe://") else { return false };
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let of_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let segment = |text: &str| !text.is_empty() && text != "." && text != ".." && text.bytes().all(of_path);
    !domain.is_empty()
        && domain.bytes().all(of_domain)
        && path.is_none_or(|path| path.split('/').all(segment))
}
