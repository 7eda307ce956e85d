//! HTTP/2 and gRPC to origins over TLS: what is agreed on, who shares a connection, and what is not sent twice.

use crate::{
    client::head,
    h2c::{Stream, echo},
    harness::{Gateway, Prepared},
    http2::block_on,
    mtls::private,
    tls::certificate,
};
use h2::{Reason, server};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ServerConfig, crypto::ring};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What an origin saw of a request: the number of its connection, the name that was asked for, the protocol that was
/// agreed on, method and path.
type Seen = (usize, String, String, String);

/// An origin over TLS that resets streams and connections where the path says so.
#[derive(Clone)]
struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    handshakes: Arc<Mutex<usize>>,
}

impl Origin {
    async fn start(own: &CertifiedKey<KeyPair>, alpn: &[&str]) -> Origin {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], private(&own.signing_key))
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = Origin { address, seen: Arc::default(), handshakes: Arc::default() };
        let shared = origin.clone();
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, origin) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let tls = acceptor.accept(tcp).await.ok()?;
                    *origin.handshakes.lock().unwrap() += 1;
                    origin.serve(number, tls).await
                });
                number += 1;
            }
        });
        origin
    }

    async fn serve(
        &self,
        number: usize,
        tls: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    ) -> Option<()> {
        let name = tls.get_ref().1.server_name().unwrap_or_default().to_owned();
        let alpn = tls.get_ref().1.alpn_protocol().unwrap_or_default();
        let alpn = String::from_utf8(alpn.to_vec()).unwrap();
        let mut connection = server::handshake(tls).await.ok()?;
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            let path = request.uri().path().to_owned();
            let asked = format!("{} {path}", request.method());
            self.seen.lock().unwrap().push((number, name.clone(), alpn.clone(), asked));
            match &*path {
                "/reset" => answer.send_reset(Reason::INTERNAL_ERROR),
                "/refused" => answer.send_reset(Reason::REFUSED_STREAM),
                "/goaway" => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
                "/bye" => connection.abrupt_shutdown(Reason::NO_ERROR),
                _ => drop(tokio::spawn(echo(request, answer))),
            }
        }
        Some(())
    }

    /// What came since the last call.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Starts a gateway on a configuration; what asks it runs where it may block.
fn gateway(conf: &str, origin: SocketAddr, own: &CertifiedKey<KeyPair>) -> Gateway {
    let prepared: Prepared = Gateway::prepare(&conf.replace("ORIGIN", &origin.to_string()));
    prepared.write("certs/origin.pem", &own.cert.pem());
    prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
}

fn names() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["a.test".to_owned(), "b.test".to_owned()]).unwrap()
}

#[test]
fn grpc_over_tls_keeps_its_trailers() {
    block_on(async {
        let own = certificate("a.test");
        let origin = Origin::start(&own, &["h2", "http/1.1"]).await;
        let conf = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams:
  grpc: {targets: [{address: ORIGIN}], protocol: grpc, tls: {server_name: a.test, ca: certs/origin.pem}}
routes: {grpc: {paths: [/*], upstream: grpc}}
";
        let gateway = tokio::task::block_in_place(|| gateway(conf, origin.address, &own));
        let request = http::Request::post("http://gateway.test/shop.Cart/Add")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let address = gateway.at("listener h2");
        let mut stream = Stream::send(address, request.body(()).unwrap(), false).await;
        let mut sent = String::new();
        for number in 0..50 {
            let piece = format!("message {number}").repeat(100);
            stream.piece(&piece);
            sent += &piece;
        }
        stream.end();
        let (status, body, trailers) = stream.answer().await;
        assert_eq!((status, body == sent.as_bytes()), (200, true));
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-te"]),
            (&"7".parse().unwrap(), &"trailers".parse().unwrap())
        );
        let seen = origin.seen();
        assert_eq!(seen, [(0, "a.test".to_owned(), "h2".to_owned(), "POST /shop.Cart/Add".to_owned())]);
    });
}

#[test]
fn an_origin_that_does_not_offer_http2_is_not_spoken_to() {
    block_on(async {
        for alpn in [&["http/1.1"][..], &[]] {
            let own = certificate("a.test");
            let origin = Origin::start(&own, alpn).await;
            let conf = "
upstreams:
  h2: {targets: [{address: ORIGIN}], protocol: http2, tls: {server_name: a.test, ca: certs/origin.pem}}
  h1: {targets: [{address: ORIGIN}], tls: {server_name: a.test, ca: certs/origin.pem}, timeouts: {total: 1s}}
routes: {h2: {paths: [/*], upstream: h2}}
";
            tokio::task::block_in_place(|| {
                let gateway = gateway(conf, origin.address, &own);
                let reason = gateway.get("/").expect(502).reason();
                assert!(reason.starts_with("upstream_"), "{reason}");
                let posted =
                    gateway.connect().send(head("POST", "/", &["Content-Length: 1"]) + "x").response();
                assert_eq!(posted.status, 502);
                gateway.audit(2);
            });
            assert_eq!(origin.seen(), []);
        }
    });
}

#[test]
fn who_is_somebody_else_has_http2_connections_of_its_own() {
    block_on(async {
        let own = names();
        let origin = Origin::start(&own, &["h2"]).await;
        let conf = "
upstreams:
  one: {targets: [{address: ORIGIN}], protocol: http2, tls: {server_name: a.test, ca: certs/origin.pem}}
  same: {targets: [{address: ORIGIN}], protocol: grpc, tls: {server_name: a.test, ca: certs/origin.pem}}
  other: {targets: [{address: ORIGIN}], protocol: http2, tls: {server_name: b.test, ca: certs/origin.pem}}
  wary: {targets: [{address: ORIGIN}], protocol: http2, tls: {server_name: a.test}}
routes:
  one: {paths: [/one], upstream: one}
  same: {paths: [/same], upstream: same}
  other: {paths: [/other], upstream: other}
  wary: {paths: [/wary], upstream: wary}
";
        tokio::task::block_in_place(|| {
            let gateway = gateway(conf, origin.address, &own);
            let mut client = gateway.connect();
            for _ in 0..3 {
                for path in ["/one", "/same", "/other"] {
                    client.request("GET", path, &[]).expect(200);
                }
                // It does not believe the origin, however many connections wait that others believe.
                assert_eq!(gateway.get("/wary").expect(502).reason(), "upstream_tls");
            }
        });
        let seen = origin.seen();
        assert_eq!(seen.len(), 9, "{seen:?}");
        let mut connections = std::collections::BTreeSet::new();
        for (path, name) in [("/one", "a.test"), ("/same", "a.test"), ("/other", "b.test")] {
            let own: Vec<_> = seen.iter().filter(|seen| seen.3 == format!("GET {path}")).collect();
            assert!(
                own.iter().all(|seen| seen.0 == own[0].0 && seen.1 == name && seen.2 == "h2"),
                "{seen:?}"
            );
            assert!(connections.insert(own[0].0), "{path} has the connection of another: {seen:?}");
        }
    });
}

#[test]
fn what_is_reset_is_repeated_only_where_that_is_safe() {
    block_on(async {
        let own = certificate("a.test");
        let origin = Origin::start(&own, &["h2"]).await;
        let conf = "
upstreams:
  h2:
    targets: [{address: ORIGIN}]
    protocol: http2
    tls: {server_name: a.test, ca: certs/origin.pem}
    retries: {attempts: 1, on: [reset, connect_failure, '502'], budget: 100%}
routes: {h2: {paths: [/*], upstream: h2}}
";
        tokio::task::block_in_place(|| {
            let gateway = gateway(conf, origin.address, &own);
            for path in ["/reset", "/refused", "/goaway", "/bye"] {
                // With the pool filled, and on a connection of its own.
                for warm in [true, false] {
                    if warm {
                        gateway.get("/").expect(200);
                    }
                    origin.seen();
                    let post = head("POST", path, &["Content-Length: 1"]) + "x";
                    gateway.connect().send(post).response().expect(502);
                    assert_eq!(origin.seen().len(), 1, "POST {path} was sent again");
                }
                gateway.get(path).expect(502);
                assert!(origin.seen().len() >= 2, "GET {path} was not sent again");
            }
            gateway.get("/").expect(200);
        });
    });
}
