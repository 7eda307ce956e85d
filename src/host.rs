//! What plugins have outside of requests: HTTP calls, background work and time, on the gateway's runtime.

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use palisade_contract::{Host, HttpClient, HttpError, HttpIdentity, HttpSettings, Task, verdict::BoxFuture};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{error::Error, num::NonZero, panic::AssertUnwindSafe, path::Path, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore};

/// How long a connection to a dependency waits for its next call.
const IDLE: Duration = Duration::from_secs(60);
/// The most connections to one dependency that wait.
const IDLE_CONNECTIONS: usize = 4;

/// The runtime that background work runs on.
#[derive(Debug, Clone)]
pub struct Tokio {
    runtime: Handle,
    /// What is computed aside at a time: as much as there are processors.
    computing: Arc<Semaphore>,
}

impl Tokio {
    /// The runtime that this is called on.
    pub fn current() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Tokio { runtime: Handle::current(), computing: Arc::new(Semaphore::new(processors)) }
    }
}

impl Host for Tokio {
    fn http(&self, settings: &HttpSettings) -> Result<Arc<dyn HttpClient>, String> {
        Ok(Arc::new(Caller::new(settings)?))
    }

    fn spawn(&self, name: &str, work: BoxFuture<'static, ()>) -> Task {
        let name = name.to_owned();
        let running = self.runtime.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                log::error!("background work panicked and has ended: {name}");
            }
        });
        Task::new(move || running.abort())
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let (runtime, computing) = (self.runtime.clone(), self.computing.clone());
        Box::pin(async move {
            let Ok(turn) = computing.acquire_owned().await else { return };
            // The turn lasts as long as the work, although nobody may wait for it any more.
            let done = runtime.spawn_blocking(move || {
                work();
                drop(turn);
            });
            if done.await.is_err() {
                log::error!("what a plugin computed aside panicked");
            }
        })
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        // Made where it is polled: there is a timer there.
        Box::pin(async move { tokio::time::sleep(time).await })
    }
}

/// Calls one dependency.
struct Caller {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    max_bytes: usize,
}

impl Caller {
    fn new(settings: &HttpSettings) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots(settings.ca.as_deref())?);
        let tls = match &settings.identity {
            None => tls.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = identity(files)?;
                tls.with_client_auth_cert(chain, key).map_err(|_| {
                    format!("`{}` is not the key of `{}`", files.key.display(), files.certificate.display())
                })?
            }
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Ok(Caller { client, timeout: settings.timeout, max_bytes: settings.max_bytes })
    }
}

impl HttpClient for Caller {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, HttpError>> {
        let (client, max_bytes) = (self.client.clone(), self.max_bytes);
        let mut request = request.map(Full::new);
        let agent = HeaderValue::from_static(concat!("palisade/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(agent);
        let call = async move {
            let answer = client.request(request).await.map_err(|error| HttpError::Failed(causes(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, max_bytes).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    HttpError::TooLarge
                } else {
                    HttpError::Failed(causes(&*error))
                }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let timeout = self.timeout;
        Box::pin(async move { tokio::time::timeout(timeout, call).await.unwrap_or(Err(HttpError::Timeout)) })
    }
}

/// Who may have signed a dependency's certificate.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        // A system without authorities is found out by the first call over TLS.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| format!("`{shown}` is not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("`{shown}` holds a certificate that cannot be an authority: {error}"))?;
    }
    if roots.is_empty() { Err(format!("`{shown}` holds no certificate")) } else { Ok(roots) }
}

/// A client's certificate and its key.
fn identity(files: &HttpIdentity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
    };
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(&files.certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("`{certificate}` is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err(format!("`{certificate}` holds no certificate"));
    }
    let found = PrivateKeyDer::from_pem_slice(&read(&files.key)?);
    Ok((chain, found.map_err(|_| format!("`{key}` holds no private key"))?))
}

/// An error with what caused it.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
