//! TLS to an origin: who is believed, and what we show.

use crate::{
    conf::model::{At, Upstream as Written},
    pem::{self, Pair},
};
use palisade_contract::ConfigError;
use pingora::{
    protocols::tls::CaType,
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

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
        let (mut errors, mut seen) = (Vec::new(), Sha256::new());
        let ca = tls.ca.as_ref().and_then(|file| {
            let (_, found) = pem::authorities(file).map_err(|error| errors.push(error)).ok()?;
            found.iter().for_each(|der| seen.update(der));
            let parsed = found.into_iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509));
            Some(Arc::from(parsed.collect::<Vec<_>>()))
        });
        let own = tls.identity.as_ref().and_then(|files| {
            let Pair { chain, key, .. } = pem::pair(files).map_err(|error| errors.push(error)).ok()?;
            seen.update([0]);
            chain.iter().for_each(|der| seen.update(der));
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            Some(Arc::new(CertKey::new(chain, key.secret_der().to_vec())))
        });
        if errors.is_empty() {
            Ok(Some(Identity { ca, own, fingerprint: seen.finalize().into() }))
        } else {
            Err(errors)
        }
    }
}
