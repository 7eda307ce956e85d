//! TLS of listeners: certificates by SNI, client certificates, reloaded with the configuration.

mod certificates;
mod client_auth;
mod hosts;

pub use hosts::Hosts;

use crate::conf::model::{At, Listener, ListenerTls};
use certificates::Certificates;
use client_auth::ClientRules;
use palisade_contract::ConfigError;
use rustls::{ServerConfig, crypto::ring};
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
}

/// Reads the certificates of all listeners, or says everything that is wrong with them.
///
/// # Errors
/// Files that cannot be read or used, and keys that do not fit.
pub fn terms(listeners: &BTreeMap<Arc<str>, At<Listener>>) -> Result<Terms, Vec<ConfigError>> {
    let (mut read, mut errors) = (Vec::new(), Vec::new());
    for (name, listener) in listeners {
        let Some(written) = &listener.value.tls else { continue };
        match Read::new(written, listener) {
            Ok(found) => read.push((name, listener.value.http2, found)),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let hosts = |own: &Read| {
        let others = read
            .iter()
            .map(|(_, _, other)| other)
            .filter(|other| other.clients.as_ref().is_some_and(|rules| own.clients.as_ref() != Some(rules)));
        let elsewhere = others.map(|other| other.certificates.clone()).collect();
        Arc::new(Hosts::new(own.certificates.clone(), own.clients.is_some(), elsewhere))
    };
    let all = read.iter().map(|(name, http2, own)| {
        let mut config = own.config.clone();
        config.alpn_protocols =
            if *http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        ((*name).clone(), Arc::new(Term { config: Arc::new(config), hosts: hosts(own) }))
    });
    Ok(all.collect())
}

/// A name of SNI as it is compared.
pub fn server_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The files of one listener.
struct Read {
    config: ServerConfig,
    certificates: Arc<Certificates>,
    clients: Option<ClientRules>,
}

impl Read {
    fn new(tls: &ListenerTls, place: &At<Listener>) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let certificates = Arc::new(Certificates::load(&tls.certificates, &mut errors));
        let error = |field: &str, message| {
            ConfigError::at(format!("{}.tls{field}", place.path), message).place(place.place.clone())
        };
        let clients = tls.client_auth.as_ref().and_then(|auth| match ClientRules::read(auth) {
            Ok(rules) => Some(rules),
            Err(message) => {
                errors.push(error(".client_auth.ca", message));
                None
            }
        });
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        match builder {
            Ok(builder) if errors.is_empty() => {
                let builder = match &clients {
                    None => builder.with_no_client_auth(),
                    Some(rules) => builder.with_client_cert_verifier(rules.verifier.clone()),
                };
                Ok(Read { config: builder.with_cert_resolver(certificates.clone()), certificates, clients })
            }
            builder => {
                let failed = builder.err().map(|failed| format!("TLS cannot be set up: {failed}"));
                errors.extend(failed.map(|message| error("", message)));
                Err(errors)
            }
        }
    }
}
