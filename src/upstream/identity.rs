//! TLS to an origin: who is believed, and what we show.

use crate::conf::model::{At, Upstream as Written};
use palisade_contract::ConfigError;
use pingora::{
    protocols::tls::CaType,
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};

/// What an upstream's `tls` comes to.
pub(super) struct Identity {
    /// Who may have signed the origin's certificate; none: the system's authorities.
    pub(super) ca: Option<Arc<CaType>>,
    /// Our certificate and key.
    pub(super) own: Option<Arc<CertKey>>,
    /// Tells identities apart in the connection pool.
    pub(super) fingerprint: [u8; 32],
}

impl Identity {
    pub(super) fn load(written: &At<Written>) -> Result<Option<Self>, Vec<ConfigError>> {
        let Some(tls) = &written.value.tls else { return Ok(None) };
        let error = |field: &str, message: String| {
            let path = format!("{}.tls.{field}", written.path);
            ConfigError::at(path, message).place(written.place.clone())
        };
        let mut errors = Vec::new();
        let mut seen = Sha256::new();
        let ca = tls.ca.as_deref().and_then(|path| match authorities(path) {
            Ok(found) => {
                found.iter().for_each(|der| seen.update(der));
                Some(Arc::from(
                    found.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect::<Vec<_>>(),
                ))
            }
            Err(message) => {
                errors.push(error("ca", message));
                None
            }
        });
        let own = tls.identity.as_ref().and_then(|files| match pair(&files.certificate, &files.key) {
            Ok((chain, key)) => {
                seen.update([0]);
                chain.iter().for_each(|der| seen.update(der));
                Some(Arc::new(CertKey::new(chain, key)))
            }
            Err(message) => {
                errors.push(error("certificate", message));
                None
            }
        });
        if errors.is_empty() {
            Ok(Some(Identity { ca, own, fingerprint: seen.finalize().into() }))
        } else {
            Err(errors)
        }
    }
}

fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let found = certificates(path)?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| {
            format!("`{}` holds a certificate that cannot be an authority: {error}", path.display())
        })?;
    }
    Ok(found.iter().map(|der| der.to_vec()).collect())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("`{}` is not PEM: {error}", path.display()))?;
    if found.is_empty() { Err(format!("`{}` holds no certificate", path.display())) } else { Ok(found) }
}

fn pair(certificate: &Path, key: &Path) -> Result<(Vec<Vec<u8>>, Vec<u8>), String> {
    let chain = certificates(certificate)?;
    let text = std::fs::read(key).map_err(|error| format!("cannot read `{}`: {error}", key.display()))?;
    let key_der = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| format!("`{}` holds no private key: {error}", key.display()))?;
    let provider = rustls::crypto::ring::default_provider();
    let signer = provider
        .key_provider
        .load_private_key(key_der.clone_key())
        .map_err(|error| format!("`{}`: {error}", key.display()))?;
    rustls::sign::CertifiedKey::new(chain.clone(), signer)
        .keys_match()
        .map_err(|_| format!("`{}` is not the key of `{}`", key.display(), certificate.display()))?;
    Ok((chain.iter().map(|der| der.to_vec()).collect(), key_der.secret_der().to_vec()))
}
