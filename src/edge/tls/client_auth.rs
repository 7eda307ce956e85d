//! Which certificates of clients a listener believes.

use crate::{conf::model::ClientAuth, pem};
use rustls::{
    crypto::ring,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The rules of a listener. They are equal where they say the same of every certificate.
#[derive(Debug, Clone)]
pub(super) struct ClientRules {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Of all that was read.
    digest: [u8; 32],
}

impl ClientRules {
    /// Reads the files that the rules are made of.
    pub(super) fn read(written: &ClientAuth) -> Result<Self, String> {
        let mut digest = Sha256::new_with_prefix([u8::from(written.required)]);
        let (roots, found) = pem::authorities(&written.ca)?;
        found.iter().for_each(|certificate| digest.update(certificate));
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if written.required { builder } else { builder.allow_unauthenticated() };
        let verifier =
            builder.build().map_err(|error| format!("`{}` cannot be used: {error}", written.ca.display()))?;
        Ok(ClientRules { verifier, digest: digest.finalize().into() })
    }
}

impl PartialEq for ClientRules {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}
