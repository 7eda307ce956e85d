//! TLS of a listener: certificates by SNI, client certificates, reloaded with the configuration.

use crate::conf::model::{At, CertificateFiles, ListenerTls};
use palisade_contract::ConfigError;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use std::{collections::HashMap, path::Path, sync::Arc};

/// Builds what a TLS listener needs, or says everything that is wrong with its files.
pub fn server_config(
    tls: &ListenerTls,
    http2: bool,
    place: &At<crate::conf::model::Listener>,
) -> Result<Arc<ServerConfig>, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let resolver = Certificates::load(&tls.certificates, &mut errors);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions();
    let builder = match builder {
        Ok(builder) => builder,
        Err(error) => {
            errors.push(
                ConfigError::at(&place.path, format!("TLS cannot be set up: {error}"))
                    .place(place.place.clone()),
            );
            return Err(errors);
        }
    };
    let builder = match &tls.client_auth {
        None => Some(builder.with_no_client_auth()),
        Some(auth) => match client_verifier(&auth.ca, auth.required) {
            Ok(verifier) => Some(builder.with_client_cert_verifier(verifier)),
            Err(message) => {
                errors.push(
                    ConfigError::at(format!("{}.tls.client_auth.ca", place.path), message)
                        .place(place.place.clone()),
                );
                None
            }
        },
    };
    match builder {
        Some(builder) if errors.is_empty() => {
            let mut config = builder.with_cert_resolver(Arc::new(resolver));
            config.alpn_protocols =
                if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
            Ok(Arc::new(config))
        }
        _ => Err(errors),
    }
}

fn client_verifier(
    ca: &Path,
    required: bool,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(ca)? {
        roots.add(certificate).map_err(|error| {
            format!("`{}` holds a certificate that cannot be an authority: {error}", ca.display())
        })?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| format!("`{}` cannot be used: {error}", ca.display()))
}

/// Certificates by the names that they are for.
#[derive(Debug)]
struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Below `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    fn load(written: &[At<CertificateFiles>], errors: &mut Vec<ConfigError>) -> Self {
        let mut all = Certificates { exact: HashMap::new(), wildcard: HashMap::new(), default: None };
        for files in written {
            let (key, names) = match load_pair(&files.value) {
                Ok(loaded) => loaded,
                Err(message) => {
                    errors.push(ConfigError::at(&files.path, message).place(files.place.clone()));
                    continue;
                }
            };
            let key = Arc::new(key);
            for name in names {
                // The first certificate for a name is the one that was meant to come first.
                match name.strip_prefix("*.") {
                    Some(below) => all.wildcard.entry(below.to_owned()).or_insert_with(|| key.clone()),
                    None => all.exact.entry(name).or_insert_with(|| key.clone()),
                };
            }
            all.default.get_or_insert(key);
        }
        all
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| self.exact.get(name));
        let wildcard = || self.wildcard.get(name.as_ref()?.split_once('.')?.1);
        exact.or_else(wildcard).or(self.default.as_ref()).cloned()
    }
}

/// Reads a chain and its key, and the DNS names that the leaf is for.
fn load_pair(files: &CertificateFiles) -> Result<(CertifiedKey, Vec<String>), String> {
    let chain = read_certificates(&files.certificate)?;
    let text = std::fs::read(&files.key)
        .map_err(|error| format!("cannot read `{}`: {error}", files.key.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| format!("`{}` holds no private key in PEM", files.key.display()))?;
    let signer = ring::sign::any_supported_type(&key)
        .map_err(|error| format!("`{}` cannot be used: {error}", files.key.display()))?;
    let leaf = chain.first().cloned();
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|_| {
        format!("`{}` is not the key of `{}`", files.key.display(), files.certificate.display())
    })?;
    let names = leaf.and_then(|leaf| dns_names(&leaf)).unwrap_or_default();
    Ok((certified, names))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("`{}` is not PEM: {error}", path.display()))?;
    if found.is_empty() { Err(format!("`{}` holds no certificate", path.display())) } else { Ok(found) }
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
