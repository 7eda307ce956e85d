//! Clients behind a proxy that says who they are before it says anything else.

use crate::{
    client::{Client, head},
    harness::Gateway,
    tls::{certificate, trusting},
};
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

const LISTENERS: &str = "
client_ip: {trusted_proxies: [127.0.0.1/32, 192.0.2.200/32]}
listeners:
  behind: {address: 127.0.0.1:0, proxy_protocol: true, limits: {connections_per_ip: 2}}
  direct: {address: 127.0.0.1:0}
  secure:
    address: 127.0.0.1:0
    proxy_protocol: true
    tls: {certificates: [{certificate: a.pem, key: a.key}]}
routes:
  echo: {paths: [/echo/*], upstream: demo}
  closed: {paths: [/closed/*], upstream: demo, plugins: {ip-restriction: {deny: [192.0.2.66/32]}}}
";

const ONE: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n";

fn two(command: u8, ip: [u8; 4]) -> Vec<u8> {
    let [a, b, c, d] = ip;
    let head = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, 0x11, 0, 16, a, b, c, d, 127, 0, 0, 1]].concat();
    [&head[..], &[15, 160, 0, 80, 4, 0, 1, 0]].concat()
}

fn start() -> (Gateway, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let own = certificate("a.test");
    let prepared = Gateway::prepare(LISTENERS);
    prepared.write("a.pem", &own.cert.pem());
    prepared.write("a.key", &own.signing_key.serialize_pem());
    (prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref()), own)
}

fn behind(address: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::connect(address);
    client.send(header);
    client
}

#[test]
fn the_address_that_a_proxy_names_is_the_clients() {
    let (gateway, _) = start();
    let address = gateway.at("listener behind");
    for (header, ip) in [
        (ONE.to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::9 ::1 4000 80\r\n".to_vec(), "2001:db8::9"),
        (two(0x21, [192, 0, 2, 8]), "192.0.2.8"),
        // The proxy's own: a check of health, or it does not know.
        (two(0x20, [192, 0, 2, 8]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let mut client = behind(address, &header);
        for _ in 0..2 {
            // It is no proxy of HTTP: what the client says of others is not believed.
            let answer = client.request("GET", "/echo/", &["X-Forwarded-For: 9.9.9.9"]).expect(200);
            assert_eq!(answer.echoed("x-real-ip").as_deref(), Some(ip));
            assert_eq!(answer.echoed("x-forwarded-for").as_deref(), Some(ip));
        }
    }
    // Behind a proxy of HTTP that is trusted itself, what that one says is.
    let mut chain = behind(address, &two(0x21, [192, 0, 2, 200]));
    let answer = chain.request("GET", "/echo/", &["X-Forwarded-For: 9.9.9.9"]).expect(200);
    assert_eq!(answer.echoed("x-real-ip").as_deref(), Some("9.9.9.9"));
    let mut denied = behind(address, &two(0x21, [192, 0, 2, 66]));
    denied.request("GET", "/closed/", &[]).expect(403);
    let lines = gateway.audit(12);
    for client in ["192.0.2.7", "2001:db8::9", "9.9.9.9", "192.0.2.66"] {
        assert!(lines.iter().any(|line| line["client"] == client), "{client}: {lines:?}");
    }
}

#[test]
fn connections_are_counted_by_the_address_that_is_named() {
    let (gateway, _) = start();
    let address = gateway.at("listener behind");
    let held: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = behind(address, ONE);
            client.request("GET", "/echo/", &[]).expect(200);
            client
        })
        .collect();
    assert!(behind(address, ONE).is_ended(), "the third");
    behind(address, &two(0x21, [192, 0, 2, 8])).request("GET", "/echo/", &[]).expect(200);
    drop(held);
    crate::harness::until("room", || {
        let mut client = behind(address, ONE);
        client.try_send("GET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n").then_some(())?;
        (!client.is_ended()).then_some(())
    });
}

#[test]
fn what_is_no_header_or_nobody_trusted_is_closed() {
    let (gateway, _) = start();
    let address = gateway.at("listener behind");
    for bytes in ["GET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 192.0.2.7 127.0.0.1 04000 80\r\n"] {
        let mut client = Client::connect(address);
        client.send(bytes);
        assert_eq!(client.rest(), "", "{bytes}");
    }
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let tcp = TcpStream::from(socket);
    tcp.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let mut stranger = Client::over(tcp.try_clone().unwrap(), tcp);
    stranger.try_send(ONE);
    assert_eq!(stranger.rest(), "");
    // A header where none is expected is a request line that is none.
    let mut direct = Client::connect(gateway.at("listener direct"));
    direct.send(ONE);
    assert!(direct.rest().starts_with("HTTP/1.1 400 "));
    let lines = gateway.audit(4);
    let reasons: Vec<_> = lines.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert_eq!(
        reasons.iter().filter(|reason| **reason == "proxy_protocol_malformed").count(),
        2,
        "{lines:?}"
    );
    assert!(reasons.contains(&"proxy_protocol_untrusted"), "{lines:?}");
}

#[test]
fn tls_comes_after_the_header() {
    let (gateway, own) = start();
    let address = gateway.at("listener secure");
    for header in [ONE.to_vec(), two(0x21, [192, 0, 2, 7])] {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let mut tls = ClientConnection::new(Arc::new(trusting(&own, &[])), name).unwrap();
        // In one piece with the first bytes of TLS.
        let mut first = header.clone();
        tls.write_tls(&mut first).unwrap();
        tcp.write_all(&first).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).unwrap();
        }
        let mut client = Client::over(StreamOwned::new(tls, tcp.try_clone().unwrap()), tcp);
        let answer = client.request("GET", "/echo/", &["Host: a.test"]).expect(200);
        assert_eq!(answer.echoed("x-real-ip").as_deref(), Some("192.0.2.7"));
        assert_eq!(answer.echoed("x-forwarded-proto").as_deref(), Some("https"));
    }
}

#[test]
fn a_reload_says_where_proxies_are_believed() {
    let conf = |protocol: bool, trusted: &str| {
        format!(
            "
client_ip: {{trusted_proxies: [{trusted}]}}
listeners: {{behind: {{address: 127.0.0.1:0, proxy_protocol: {protocol}}}}}
routes: {{echo: {{paths: [/echo/*], upstream: demo}}}}
"
        )
    };
    let gateway = Gateway::prepare(&conf(false, "127.0.0.1")).start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = gateway.at("listener behind");
    let reload = |conf: String| {
        gateway.rewrite(&conf);
        // What is said of a reload is said before listeners have what it says: the next one begins after that.
        gateway.hangup("is serving");
        gateway.hangup("is serving");
    };
    Client::connect(address).request("GET", "/echo/", &[]).expect(200);
    reload(conf(true, "127.0.0.1"));
    let answer = behind(address, ONE).request("GET", "/echo/", &[]).expect(200);
    assert_eq!(answer.echoed("x-real-ip").as_deref(), Some("192.0.2.7"));
    reload(conf(true, "192.0.2.1"));
    let mut distrusted = behind(address, ONE);
    distrusted.send(head("GET", "/echo/", &[]));
    assert_eq!(distrusted.rest(), "", "it is trusted no more");
}
