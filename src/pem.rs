//! Certificates, keys and lists of revoked certificates out of PEM files.

use crate::conf::model::{At, CertificateFiles};
use palisade_contract::ConfigError;
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::path::{Path, PathBuf};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A chain, its key, and both as they are used.
pub struct Pair {
    /// The leaf first; there is one at least.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf.
    pub key: PrivateKeyDer<'static>,
    /// For handshakes.
    pub certified: CertifiedKey,
}

/// Reads a chain and its key.
///
/// # Errors
/// What is wrong with the files, or that they do not fit each other.
pub fn pair(files: &At<CertificateFiles>) -> Result<Pair, ConfigError> {
    let error = |message| wrong(files, message);
    let CertificateFiles { certificate, key: key_file } = &files.value;
    let chain = certificates(files, certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&text(files, key_file)?).map_err(|_| {
        error(format!("`{}` holds no private key", key_file.display()))
            .help("name a PEM file that has one without a passphrase (`-----BEGIN PRIVATE KEY-----`)")
    })?;
    let signer = ring::sign::any_supported_type(&key).map_err(|_| {
        error(format!("the key in `{}` cannot be used", key_file.display()))
            .help("use RSA of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519")
    })?;
    let certified = CertifiedKey::new(chain.clone(), signer);
    certified.keys_match().map_err(|_| {
        error(format!("`{}` is not the key of `{}`", key_file.display(), certificate.display()))
            .help("name the key that the first certificate of the file was made for")
    })?;
    Ok(Pair { chain, key, certified })
}

/// Reads the authorities of a file, and their certificates.
///
/// # Errors
/// What is wrong with the file.
pub fn authorities(file: &At<PathBuf>) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), ConfigError> {
    let found = certificates(file, &file.value)?;
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| {
            let file_name = file.value.display();
            wrong(file, format!("`{file_name}` holds a certificate that cannot be an authority: {error}"))
        })?;
    }
    Ok((roots, found))
}

/// Reads the lists of revoked certificates of a file; there is one at least.
///
/// # Errors
/// What is wrong with the file.
pub fn revocations(file: &At<PathBuf>) -> Result<Vec<CertificateRevocationListDer<'static>>, ConfigError> {
    let text = text(file, &file.value)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => {
            Err(wrong(file, format!("`{}` holds no list of revoked certificates", file.value.display()))
                .help("name a PEM file (`-----BEGIN X509 CRL-----`): `openssl crl -inform DER` makes one"))
        }
        Err(error) => Err(wrong(file, format!("`{}` is not PEM: {error}", file.value.display()))),
    }
}

/// All certificates of a file that `at` names; there is one at least, and each can be read.
pub(crate) fn certificates<T>(at: &At<T>, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let error = |message| wrong(at, message);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(at, file)?).collect();
    let found = found.map_err(|failed| error(format!("`{}` is not PEM: {failed}", file.display())))?;
    if found.is_empty() {
        return Err(error(format!("`{}` holds no certificate", file.display()))
            .help("name a PEM file (`-----BEGIN CERTIFICATE-----`)"));
    }
    if found.iter().any(|certificate| X509Certificate::from_der(certificate).is_err()) {
        return Err(error(format!("`{}` holds a certificate that cannot be read", file.display())));
    }
    Ok(found)
}

fn text<T>(at: &At<T>, file: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(file).map_err(|error| wrong(at, format!("cannot read `{}`: {error}", file.display())))
}

/// What a file should be.
const HELP: &str = "write the path of a PEM file, relative to the file that names it";

fn wrong<T>(at: &At<T>, message: String) -> ConfigError {
    ConfigError::at(&at.path, message).help(HELP).place(at.place.clone())
}
