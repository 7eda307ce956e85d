//! The certificates of a listener, by the names that they are for.

use crate::{
    conf::model::{At, CertificateFiles},
    pem::{self, Pair},
};
use palisade_contract::ConfigError;
use rustls::{
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{collections::HashMap, sync::Arc};

/// Certificates by the names that they are for.
#[derive(Debug, Default)]
pub struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Below `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
    /// As they are written.
    all: Vec<Arc<CertifiedKey>>,
}

/// How closely certificates name a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// As one of many (`*.`).
    Wildcard,
    /// Itself.
    Exactly,
}

impl Certificates {
    /// Reads what is written; what is wrong with it goes to the list.
    pub(super) fn load(written: &[At<CertificateFiles>], errors: &mut Vec<ConfigError>) -> Self {
        let mut all = Certificates::default();
        for files in written {
            match pem::pair(files) {
                Ok(Pair { chain, certified, .. }) => {
                    let names = chain.first().and_then(dns_names).unwrap_or_default();
                    all.add(Arc::new(certified), names);
                }
                Err(error) => errors.push(error),
            }
        }
        all
    }

    fn add(&mut self, key: Arc<CertifiedKey>, names: Vec<String>) {
        for name in names {
            // The first certificate for a name is the one that was meant to come first.
            match name.strip_prefix("*.") {
                Some(below) => self.wildcard.entry(below.to_owned()).or_insert_with(|| key.clone()),
                None => self.exact.entry(name).or_insert_with(|| key.clone()),
            };
        }
        self.default.get_or_insert_with(|| key.clone());
        self.all.push(key);
    }

    /// The certificate that is shown to a client that asks for `name` (lower case, without a final dot), or for none.
    pub fn choose(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        name.and_then(|name| self.find(name)).map(|(_, key)| key).or(self.default.as_ref())
    }

    /// How closely a certificate names the host; none: no certificate is for it.
    pub fn naming(&self, host: &str) -> Option<Named> {
        self.find(host).map(|(named, _)| named)
    }

    /// Looks at every certificate, in order.
    pub(super) fn each(&self, look: impl FnMut(&CertificateDer<'_>)) {
        self.all.iter().flat_map(|key| &key.cert).for_each(look);
    }

    fn find(&self, name: &str) -> Option<(Named, &Arc<CertifiedKey>)> {
        let exact = self.exact.get(name).map(|key| (Named::Exactly, key));
        let wildcard = || self.wildcard.get(name.split_once('.')?.1).map(|key| (Named::Wildcard, key));
        exact.or_else(wildcard)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(super::server_name);
        self.choose(name.as_deref()).cloned()
    }
}

/// The DNS names of a certificate's subject alternative name, lower case.
fn dns_names(leaf: &CertificateDer<'_>) -> Option<Vec<String>> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Some(dns.collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rustls::{crypto::ring, pki_types::PrivateKeyDer};

    /// Certificates for these names, in order.
    pub(in crate::edge::tls) fn certificates(names: &[&[&str]]) -> Arc<Certificates> {
        let mut all = Certificates::default();
        for names in names {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let signer = ring::sign::any_supported_type(&key).unwrap();
            let names = dns_names(made.cert.der()).unwrap();
            all.add(Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], signer)), names);
        }
        Arc::new(all)
    }

    #[test]
    fn the_closest_name_counts_and_the_first_certificate_stands_in() {
        let all = certificates(&[&["a.test"], &["*.B.test", "a.test"], &["x.b.test", "*.b.test"]]);
        let [first, second, third] = ["a.test", "y.b.test", "x.b.test"].map(|name| all.choose(Some(name)));
        assert!(
            !Arc::ptr_eq(first.unwrap(), second.unwrap()) && !Arc::ptr_eq(second.unwrap(), third.unwrap())
        );
        for (name, named, chosen) in [
            (Some("a.test"), Some(Named::Exactly), first),
            (Some("x.b.test"), Some(Named::Exactly), third),
            (Some("z.b.test"), Some(Named::Wildcard), second),
            (Some("y.x.b.test"), None, first),
            (Some("b.test"), None, first),
            (Some("test"), None, first),
            (Some(""), None, first),
            (None, None, first),
        ] {
            assert!(Arc::ptr_eq(all.choose(name).unwrap(), chosen.unwrap()), "{name:?}");
            assert_eq!(name.and_then(|name| all.naming(name)), named, "{name:?}");
        }
    }
}
