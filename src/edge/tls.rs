//! TLS of listeners: certificates by SNI, client certificates, tickets, reloaded with the configuration.

mod certificates;
mod client_auth;
mod hosts;

pub use hosts::Hosts;

use crate::conf::model::{At, Listener, ListenerTls};
use certificates::Certificates;
use client_auth::{ClientRules, part};
use palisade_contract::ConfigError;
use rustls::{ServerConfig, crypto::ring, pki_types::CertificateDer, server::NoServerSessionStorage};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc};

/// TLS of each listener, by name.
pub type Terms = BTreeMap<Arc<str>, Arc<Term>>;

/// What a listener's connections are made by.
#[derive(Debug)]
pub struct Term {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// What a connection may be used for.
    pub hosts: Arc<Hosts>,
    clients: Option<ClientRules>,
    /// Of the certificates, and of the rules for those of clients.
    digest: [u8; 32],
}

impl Term {
    /// True where a connection with this chain of the client may be served: asked after the handshake, which takes
    /// what is in a ticket for proved.
    pub fn admits(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        self.clients.as_ref().is_none_or(|rules| rules.admit(chain))
    }
}

/// Reads the certificates of all listeners, or says everything that is wrong with them. Sessions that were begun
/// under `previous` can be resumed where certificates and rules are the same.
///
/// # Errors
/// Files that cannot be read or used, and keys that do not fit.
pub fn terms(
    listeners: &BTreeMap<Arc<str>, At<Listener>>,
    previous: Option<&Terms>,
) -> Result<Terms, Vec<ConfigError>> {
    let (mut read, mut errors) = (Vec::new(), Vec::new());
    for (name, listener) in listeners {
        let Some(written) = &listener.value.tls else { continue };
        match Read::new(written) {
            Ok(found) => read.push((name, listener, found)),
            Err(found) => errors.extend(found),
        }
    }
    let mut all = Terms::new();
    for (name, listener, own) in &read {
        let others = read
            .iter()
            .map(|(_, _, other)| other)
            .filter(|other| other.clients.as_ref().is_some_and(|rules| own.clients.as_ref() != Some(rules)));
        let elsewhere = others.map(|other| other.certificates.clone()).collect();
        let hosts = Arc::new(Hosts::new(own.certificates.clone(), own.clients.is_some(), elsewhere));
        let digest = own.digest();
        let last = previous.and_then(|previous| previous.get(*name)).filter(|last| last.digest == digest);
        match own.server_config(listener.value.http2, last) {
            Ok(config) => {
                let config = Arc::new(config);
                let term = Term { config, hosts, clients: own.clients.clone(), digest };
                all.insert((*name).clone(), Arc::new(term));
            }
            Err(error) => errors.push(
                ConfigError::at(format!("{}.tls", listener.path), format!("TLS cannot be set up: {error}"))
                    .place(listener.place.clone()),
            ),
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// A name of SNI as it is compared.
pub fn server_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The files of one listener.
struct Read {
    certificates: Arc<Certificates>,
    clients: Option<ClientRules>,
}

impl Read {
    fn new(tls: &ListenerTls) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let certificates = Arc::new(Certificates::load(&tls.certificates, &mut errors));
        let clients = tls.client_auth.as_ref().and_then(|auth| ClientRules::read(auth, &mut errors));
        if errors.is_empty() { Ok(Read { certificates, clients }) } else { Err(errors) }
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        if let Some(rules) = &self.clients {
            digest.update(rules.digest);
        }
        digest.update([0]);
        self.certificates.each(|certificate| part(&mut digest, certificate));
        digest.finalize().into()
    }

    /// Tickets are sealed with keys of this listener alone, which change every six hours; nothing is kept of a session.
    fn server_config(&self, http2: bool, last: Option<&Arc<Term>>) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(rules) => builder.with_client_cert_verifier(rules.verifier.clone()),
        };
        let mut config = builder.with_cert_resolver(self.certificates.clone());
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = match last {
            Some(last) => last.config.ticketer.clone(),
            None => ring::Ticketer::new()?,
        };
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(config)
    }
}
