//! Certificates and keys out of PEM files.

use crate::conf::model::CertificateFiles;
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::path::Path;

/// All certificates of a file; there is one at least.
///
/// # Errors
/// What is wrong with the file, for its operator.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(path)?).collect();
    let found = found.map_err(|error| format!("`{}` is not PEM: {error}", path.display()))?;
    if found.is_empty() { Err(format!("`{}` holds no certificate", path.display())) } else { Ok(found) }
}

/// A chain, the leaf first, and its key.
///
/// # Errors
/// What is wrong with the files, and where they do not fit each other.
pub fn pair(
    files: &CertificateFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, CertifiedKey), String> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&text(&files.key)?)
        .map_err(|_| format!("`{}` holds no private key in PEM", files.key.display()))?;
    let signer = ring::sign::any_supported_type(&key)
        .map_err(|error| format!("`{}` cannot be used: {error}", files.key.display()))?;
    let certified = CertifiedKey::new(chain.clone(), signer);
    certified.keys_match().map_err(|_| {
        format!("`{}` is not the key of `{}`", files.key.display(), files.certificate.display())
    })?;
    Ok((chain, key, certified))
}

/// The authorities of a file, and their certificates.
///
/// # Errors
/// What is wrong with the file.
pub fn authorities(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let found = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| {
            format!("`{}` holds a certificate that cannot be an authority: {error}", path.display())
        })?;
    }
    Ok((roots, found))
}

/// A file's bytes.
fn text(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}
