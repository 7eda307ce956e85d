//! Calls to dependencies that are large, slow, elsewhere, or not who they should be.

use super::*;
use pingora::{listeners::tls::Acceptor, protocols::l4::stream::Stream as L4Stream};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer, server::WebPkiClientVerifier};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that answers every request with the same bytes, and then does nothing; it ends when this is dropped.
struct Server {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    async fn says(answer: impl Into<Vec<u8>>) -> Server {
        Server::over(None, answer).await
    }

    async fn over(own: Option<&CertifiedKey<KeyPair>>, answer: impl Into<Vec<u8>>) -> Server {
        Server::speaking(own.map(tls_of), answer).await
    }

    async fn speaking(tls: Option<Arc<ServerConfig>>, answer: impl Into<Vec<u8>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let opened = Arc::new(AtomicUsize::new(0));
        let (count, accepted, answer) = (asked.clone(), opened.clone(), Arc::<[u8]>::from(answer.into()));
        let serving = tokio::spawn(async move {
            let mut held = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (count, answer, tls) = (count.clone(), answer.clone(), tls.clone());
                held.spawn(async move {
                    match tls {
                        None => serve(tcp, &count, &answer).await,
                        Some(config) => {
                            let acceptor = Acceptor::from_server_config(config);
                            let Ok(stream) = acceptor.tls_handshake(L4Stream::from(tcp)).await else {
                                return;
                            };
                            serve(stream, &count, &answer).await
                        }
                    }
                });
            }
        });
        Server { address, opened, asked, serving }
    }

    fn uri(&self, scheme: &str) -> String {
        format!("{scheme}://{}/keys?a=b", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn tls_of(own: &CertifiedKey<KeyPair>) -> Arc<ServerConfig> {
    asking(own, None)
}

/// A server's TLS that asks for a client's certificate, where it is told whose.
fn asking(own: &CertifiedKey<KeyPair>, client: Option<&CertifiedKey<KeyPair>>) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            let asked = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(asked.build().unwrap())
        }
    };
    Arc::new(config.with_single_cert(vec![own.cert.der().clone()], key).unwrap())
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, count: &AtomicUsize, answer: &[u8]) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        count.fetch_add(1, Ordering::SeqCst);
        if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

fn settings() -> HttpSettings {
    HttpSettings { timeout: PATIENCE, max_bytes: 100, ca: None, identity: None }
}

async fn ask(uri: &str, settings: &HttpSettings) -> Result<Response<Bytes>, HttpError> {
    let client = Tokio::current().http(settings).unwrap();
    client.send(Request::get(uri).body(Bytes::new()).unwrap()).await
}

fn whole(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length))
}

fn chunked(length: usize) -> String {
    let chunk = |size: usize| format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(length - 1), chunk(1))
}

#[tokio::test]
async fn an_answer_has_its_limit_to_the_byte() {
    for make in [whole, chunked] {
        let server = Server::says(make(100)).await;
        let answer = ask(&server.uri("http"), &settings()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 100));
        let server = Server::says(make(101)).await;
        let error = ask(&server.uri("http"), &settings()).await.unwrap_err();
        assert!(matches!(error, HttpError::TooLarge), "{error}");
    }
    // It is not read to its end to find out.
    let endless = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\nx".to_owned()).await;
    let short = HttpSettings { timeout: Duration::from_millis(100), ..settings() };
    let error = ask(&endless.uri("http"), &short).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge | HttpError::Timeout), "{error}");
}

#[tokio::test]
async fn the_whole_call_has_its_time() {
    let short = HttpSettings { timeout: Duration::from_millis(200), ..settings() };
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx"] {
        let server = Server::says(answer).await;
        let begun = Instant::now();
        let error = ask(&server.uri("http"), &short).await.unwrap_err();
        assert!(matches!(error, HttpError::Timeout), "{answer}: {error}");
        assert!(begun.elapsed() >= short.timeout && begun.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for answer in [
        "no",
        "HTTP/1.1 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let server = Server::says(format!("{answer}{}", "\r\n".repeat(9))).await;
        let error = ask(&server.uri("http"), &settings()).await.unwrap_err();
        assert!(matches!(error, HttpError::Failed(_)), "{answer}: {error}");
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let error = ask(&format!("http://{closed}/"), &settings()).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn where_a_call_goes_is_not_the_answers_decision() {
    let elsewhere = Server::says(whole(2)).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = elsewhere.uri("http");
        let server =
            Server::says(format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"))
                .await;
        let answer = ask(&server.uri("http"), &settings()).await.unwrap();
        assert!(answer.status().is_redirection());
        assert_eq!(answer.headers()["location"], location);
    }
    assert_eq!(elsewhere.asked(), 0);
}

#[tokio::test]
async fn calls_of_one_client_share_a_connection() {
    let server = Server::says(whole(2)).await;
    let client = Tokio::current().http(&settings()).unwrap();
    for count in 1..4 {
        let request = Request::get(server.uri("http")).body(Bytes::new()).unwrap();
        client.send(request).await.unwrap();
        assert_eq!((server.asked(), server.opened.load(Ordering::SeqCst)), (count, 1));
    }
}

#[tokio::test]
async fn a_dependency_must_prove_who_it_is() {
    let make = |name: &str| generate_simple_self_signed([name.to_owned()]).unwrap();
    let (own, misnamed, stranger) = (make("127.0.0.1"), make("login.test"), make("127.0.0.1"));
    let dir = tempfile::tempdir().unwrap();
    let trusting = |pair: &CertifiedKey<KeyPair>| {
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, pair.cert.pem()).unwrap();
        HttpSettings { ca: Some(path), ..settings() }
    };
    let good = Server::over(Some(&own), whole(2)).await;
    ask(&good.uri("https"), &trusting(&own)).await.unwrap();
    assert_eq!(good.asked(), 1);
    let wrong = Server::over(Some(&misnamed), whole(2)).await;
    for (server, settings) in [
        (&good, settings()),
        (&good, trusting(&stranger)),
        (&wrong, trusting(&misnamed)),
        (&wrong, settings()),
    ] {
        let error = ask(&server.uri("https"), &settings).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
    assert_eq!((good.asked(), wrong.asked()), (1, 0), "nothing was asked over such a connection");
    // Plain text is not spoken where TLS is written.
    let plain = Server::says(whole(2)).await;
    assert!(matches!(
        ask(&plain.uri("https"), &short()).await,
        Err(HttpError::Failed(_) | HttpError::Timeout)
    ));
    assert_eq!(plain.asked(), 0);
}

fn short() -> HttpSettings {
    HttpSettings { timeout: Duration::from_millis(500), ..settings() }
}

#[tokio::test]
async fn a_dependency_that_asks_who_is_calling_is_told() {
    let make = |name: &str| generate_simple_self_signed([name.to_owned()]).unwrap();
    let (own, gateway, other) = (make("127.0.0.1"), make("gateway.test"), make("gateway.test"));
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, own.cert.pem()).unwrap();
    let server = Server::speaking(Some(asking(&own, Some(&gateway))), whole(2)).await;
    let settings = |certificate: String, key: String| {
        let files = HttpIdentity { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        HttpSettings { ca: Some(ca.clone()), identity: Some(files), ..short() }
    };
    let of = |pair: &CertifiedKey<KeyPair>| settings(pair.cert.pem(), pair.signing_key.serialize_pem());
    ask(&server.uri("https"), &of(&gateway)).await.unwrap();
    assert_eq!(server.asked(), 1);
    ask(&server.uri("https"), &of(&other)).await.unwrap_err();
    let nobody = HttpSettings { identity: None, ..of(&gateway) };
    ask(&server.uri("https"), &nobody).await.unwrap_err();
    assert_eq!(server.asked(), 1);
    // Files that are of no use are said, and what stands in them is not.
    let (certificate, key) = (gateway.cert.pem(), gateway.signing_key.serialize_pem());
    for (certificate, key, words) in [
        (String::new(), key, "holds no certificate"),
        (certificate.clone(), String::new(), "holds no private key"),
        (certificate.clone(), certificate.clone(), "holds no private key"),
        (certificate, other.signing_key.serialize_pem(), "is not the key of"),
    ] {
        let error = Tokio::current().http(&settings(certificate, key)).map(drop).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let told = || {
        let settings = HttpSettings { ca: Some(file.clone()), ..settings() };
        Tokio::current().http(&settings).map(drop).unwrap_err()
    };
    assert!(told().starts_with("cannot read `"));
    for (text, words) in [
        ("", "holds no certificate"),
        ("hello", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is not PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be an authority"),
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(told().contains(words), "{text}: {}", told());
    }
}

/// Says when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.take().map(|dropped| dropped.send(()));
    }
}

#[tokio::test]
async fn work_ends_with_its_task_and_a_panic_ends_nothing_else() {
    let host = Tokio::current();
    let (send, dropped) = oneshot::channel();
    let held = Dropped(Some(send));
    let task = host.spawn(
        "waits",
        Box::pin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }),
    );
    let (send, panicked) = oneshot::channel();
    let held = Dropped(Some(send));
    let _panics = host.spawn(
        "panics",
        Box::pin(async move {
            let _held = held;
            panic!("on purpose");
        }),
    );
    panicked.await.unwrap();
    drop(task);
    tokio::time::timeout(PATIENCE, dropped).await.expect("the end of the work").unwrap();
    host.sleep(Duration::from_millis(1)).await;
}
