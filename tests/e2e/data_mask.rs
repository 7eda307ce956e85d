//! `data-mask`: what an origin gives away does not reach the client, in whatever framing, coding or part it comes.

use crate::{
    client::{Client, Response, head},
    h2c::Stream,
    harness::Gateway,
    http2::{block_on, h2c},
    origin::{Origin, Request},
};
use bytes::Bytes;
use std::{io::Write, net::SocketAddr};

const CARD: &str = r#"{"card":"4111111111111111","n":1}"#;
const MASKED: &str = r#"{"card":"************1111","n":1}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// In chunks of so many bytes, with a trailer that is wrong by then.
fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend([piece, b"\r\n"].concat());
    }
    out.extend(b"0\r\nContent-Digest: sha-256=:AAAA:\r\n\r\n");
    out
}

/// An answer with a length.
fn length(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

const JSON: &str = "Content-Type: application/json\r\n";
const DESCRIBED: &str = "Content-Type: application/json\r\nServer: Oracle/9\r\nX-Powered-By: PHP/5\r\nETag: \"a\"\r\n\
    Digest: sha-256=AAAA\r\nRepr-Digest: sha-256=:AAAA:\r\nAccept-Ranges: bytes\r\n";

/// What the origin answers to the path behind `/held` or `/streamed`.
fn answer(request: &mut Request<'_>) -> bool {
    let path = request.path().to_owned();
    let what = path.rsplit('/').next().unwrap_or_default();
    let chunked = |fields: &str, size: usize, body: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        [head.into_bytes(), chunks(body.as_bytes(), size)].concat()
    };
    let sent = match what {
        "length" => length(DESCRIBED, CARD.as_bytes()),
        "chunked" => chunked(DESCRIBED, 7, CARD),
        "close" => {
            request.send(format!("HTTP/1.1 200 OK\r\n{JSON}Connection: close\r\n\r\n{CARD}"));
            return false;
        }
        "gzip" => length(&format!("{DESCRIBED}Content-Encoding: gzip\r\n"), &gzip(CARD.as_bytes())),
        "bomb" => length(&format!("{JSON}Content-Encoding: gzip\r\n"), &gzip(&[b' '; 200_000])),
        "plain" => length(DESCRIBED, b"{\"n\":1}"),
        "plain-gzip" => length(&format!("{JSON}Content-Encoding: gzip\r\n"), &gzip(b"{\"n\":1}")),
        "broken" => length(JSON, b"{\"card\":4111111111111111"),
        "key" => length("Content-Type: text/plain\r\n", b"x\n-----BEGIN PRIVATE KEY-----\nMIIE\n"),
        "pdf" => length("Content-Type: application/pdf\r\n", b"%PDF"),
        "image" => length("Content-Type: image/png\r\nAccept-Ranges: bytes\r\n", b"4111111111111111"),
        "large" => length(JSON, &[b' '; 100_000]),
        "lines" => chunked("Content-Type: application/x-ndjson\r\n", 11, &format!("{CARD}\n{{}}\n{CARD}\n")),
        "events" => {
            chunked("Content-Type: text/event-stream\r\n", 9, &format!("data: {CARD}\n\ndata: bye\n\n"))
        }
        "text" => chunked("Content-Type: text/plain\r\n", 3, "to alice@example.com, 4111 1111 1111 1111\n."),
        "part" => {
            let all = if request.text.to_ascii_lowercase().contains("\r\nrange:") { 206 } else { 200 };
            let head = format!("HTTP/1.1 {all} X\r\n{JSON}Content-Length: {}\r\n\r\n{CARD}", CARD.len());
            head.into_bytes()
        }
        "always-part" => format!("HTTP/1.1 206 X\r\n{JSON}Content-Length: 4\r\n\r\n4111").into_bytes(),
        "unchanged" => b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 33\r\n\r\n".to_vec(),
        "none" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        // To HEAD.
        "head" => format!("HTTP/1.1 200 OK\r\n{DESCRIBED}Content-Length: 33\r\n\r\n").into_bytes(),
        _ => length("", b"?"),
    };
    request.send(sent)
}

fn conf(address: SocketAddr) -> String {
    "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
consumers: {guest: {groups: [public]}}
routes:
  held:
    paths: [/held/*]
    upstream: raw
    plugins:
      key-auth: {anonymous: guest}
      data-mask: {find: [{kinds: [card, email]}, {kinds: [private-key], action: deny}], unless: {groups: [gold]}, max_body_size: 64KiB}
  streamed:
    paths: [/streamed/*]
    upstream: raw
    plugins: {data-mask: {stream: true, find: [{kinds: [card, email]}, {kinds: [private-key], action: deny}]}}
  watched: {paths: [/watched/*], upstream: raw, plugins: {data-mask: {mode: monitor}}}
"
    .replace("ORIGIN", &address.to_string())
}

/// The answer over HTTP/1.1 and over HTTP/2, which are the same.
fn get(gateway: &Gateway, target: &str, headers: &[&str]) -> Response {
    let answer = gateway.request("GET", target, headers);
    let (status, fields, body) = block_on(async {
        let mut request = h2c().get(format!("http://{}{target}", gateway.at("listener h2")));
        for (name, value) in headers.iter().filter_map(|header| header.split_once(": ")) {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        let (status, fields) = (answer.status().as_u16(), answer.headers().clone());
        (status, fields, answer.bytes().await.unwrap_or_default())
    });
    assert_eq!(answer.status, status, "{target}");
    if status == 200 {
        assert_eq!(answer.text(), String::from_utf8_lossy(&body), "{target}");
        let length = fields.get("content-length").map(|value| value.to_str().unwrap().to_owned());
        assert!(length.is_none_or(|length| length == body.len().to_string()), "{target}");
    }
    answer
}

#[test]
fn a_card_does_not_pass_in_any_framing() {
    let origin = Origin::start(answer);
    let gateway = Gateway::start(&conf(origin.address));
    for how in ["held", "streamed"] {
        for what in ["length", "chunked", "close"] {
            let answer = get(&gateway, &format!("/{how}/{what}"), &[]).expect(200);
            assert_eq!(answer.text(), MASKED, "{how} {what}");
            for name in
                ["server", "x-powered-by", "etag", "digest", "repr-digest", "accept-ranges", "content-digest"]
            {
                assert_eq!(answer.header(name), None, "{how} {what} {name}");
            }
        }
        let lines = get(&gateway, &format!("/{how}/lines"), &[]).expect(200).text();
        assert_eq!(lines, format!("{MASKED}\n{{}}\n{MASKED}\n"));
        let events = get(&gateway, &format!("/{how}/events"), &[]).expect(200).text();
        assert_eq!(events, format!("data: {MASKED}\n\ndata: bye\n\n"));
        let text = get(&gateway, &format!("/{how}/text"), &[]).expect(200).text();
        assert_eq!(text, "to ****, **** **** **** 1111\n.");
        assert_eq!(get(&gateway, &format!("/{how}/image"), &[]).expect(200).text(), "4111111111111111");
        assert_eq!(get(&gateway, &format!("/{how}/pdf"), &[]).expect(502).reason(), "data_mask_unreadable");
    }
    // What was not changed keeps what describes it.
    assert_eq!(get(&gateway, "/held/plain", &[]).expect(200).header("etag"), Some("\"a\""));
}

#[test]
fn compressed_answers_are_read_under_a_cap() {
    let origin = Origin::start(answer);
    let gateway = Gateway::start(&conf(origin.address));
    let accept = ["Accept-Encoding: gzip"];
    let answer = get(&gateway, "/held/gzip", &accept).expect(200);
    assert_eq!((answer.text(), answer.header("content-encoding")), (MASKED.to_owned(), None));
    let answer = gateway.request("GET", "/held/plain-gzip", &accept).expect(200);
    assert_eq!((answer.body, answer.headers.len() > 1), (gzip(b"{\"n\":1}"), true));
    assert_eq!(get(&gateway, "/held/bomb", &accept).expect(502).reason(), "response_too_large");
    assert_eq!(get(&gateway, "/held/large", &[]).expect(502).reason(), "response_too_large");
    // Who reads pieces asks for them as they are, and takes nothing else.
    assert_eq!(get(&gateway, "/streamed/gzip", &accept).expect(502).reason(), "upstream_encoding");
}

#[test]
fn what_cannot_be_masked_does_not_pass() {
    let origin = Origin::start(answer);
    let gateway = Gateway::start(&conf(origin.address));
    assert_eq!(get(&gateway, "/held/broken", &[]).expect(502).reason(), "data_mask_malformed");
    assert_eq!(get(&gateway, "/held/key", &[]).expect(502).reason(), "data_mask_denied");
    // What was begun is cut off, before what must not be seen.
    for what in ["broken", "key"] {
        let mut client = gateway.connect();
        client.send(head("GET", &format!("/streamed/{what}"), &[]));
        let text = client.rest();
        assert!(!text.contains("4111111111111111") && !text.contains("MIIE"), "{text}");
        assert!(!text.ends_with("\r\n0\r\n\r\n"), "the client sees that it is not whole: {text}");
    }
    // A part of what is asked for is asked for whole, and what is a part for all that is not read.
    let range = ["Range: bytes=5-9"];
    for how in ["held", "streamed"] {
        assert_eq!(get(&gateway, &format!("/{how}/part"), &range).expect(200).text(), MASKED);
        let part = get(&gateway, &format!("/{how}/always-part"), &range).expect(502);
        assert_eq!(part.reason(), "data_mask_partial");
    }
}

#[test]
fn answers_without_a_body_stay_well_formed() {
    let origin = Origin::start(answer);
    let gateway = Gateway::start(&conf(origin.address));
    for how in ["held", "streamed"] {
        // On one connection: nothing of an answer is taken for the next one.
        let mut client: Client = gateway.connect();
        for (method, what, status) in [("HEAD", "head", 200), ("GET", "unchanged", 304), ("GET", "none", 204)]
        {
            client.send(head(method, &format!("/{how}/{what}"), &[]));
            let answer = client.response_to(method).expect(status);
            for name in ["content-length", "transfer-encoding", "server", "digest"] {
                assert_eq!(answer.header(name), None, "{how} {what} {name}: {answer:?}");
            }
        }
        client.send(head("GET", &format!("/{how}/length"), &[]));
        assert_eq!(client.response().expect(200).text(), MASKED);
    }
}

#[test]
fn who_may_see_it_sees_it_and_the_record_says_what_was_found() {
    let origin = Origin::start(answer);
    let gateway = Gateway::start(&conf(origin.address));
    assert_eq!(get(&gateway, "/held/length", &["apikey: alice-key"]).expect(200).text(), CARD);
    assert_eq!(get(&gateway, "/held/length", &["apikey: bob-key"]).expect(200).text(), MASKED);
    assert_eq!(get(&gateway, "/watched/length", &[]).expect(200).text(), CARD);
    let lines = gateway.audit(6);
    let found = lines.iter().filter_map(|line| line["findings"].as_array().filter(|all| !all.is_empty()));
    let found: Vec<String> = found.map(|all| serde_json::to_string(all).unwrap()).collect();
    assert_eq!(found.len(), 4, "{lines:#?}");
    assert!(found.iter().all(|line| line.contains("\"card\":1") && !line.contains("4111")), "{found:?}");
}

#[test]
fn trailers_end_a_body_and_are_left_out() {
    block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(tcp).await.unwrap();
                    while let Some(Ok((request, mut answer))) = connection.accept().await {
                        let text = if request.uri().path().ends_with("key") {
                            "-----BEGIN PRIVATE KEY-----"
                        } else {
                            "no end: 4111111111111111"
                        };
                        let head = http::Response::builder().header("content-type", "text/plain");
                        let mut body = answer.send_response(head.body(()).unwrap(), false).unwrap();
                        body.send_data(Bytes::from_static(text.as_bytes()), false).unwrap();
                        let mut trailers = http::HeaderMap::new();
                        trailers.insert("x-secret", "4111111111111111".parse().unwrap());
                        body.send_trailers(trailers).unwrap();
                    }
                });
            }
        });
        let conf = conf(address).replace("targets:", "protocol: http2, targets:");
        let gateway = tokio::task::block_in_place(|| Gateway::start(&conf));
        for how in ["held", "streamed"] {
            let mut stream = Stream::open(gateway.at("listener h2"), &format!("/{how}/text"), None).await;
            let (status, body, trailers) = stream.answer().await;
            assert_eq!(
                (status, String::from_utf8(body).unwrap(), trailers.len()),
                (200, "no end: ************1111".to_owned(), 0)
            );
            let plain =
                tokio::task::block_in_place(|| gateway.get(&format!("/{how}/text")).expect(200).text());
            assert_eq!(plain, "no end: ************1111");
        }
        // A refusal at the very end is seen as one.
        let mut stream = Stream::open(gateway.at("listener h2"), "/streamed/key", None).await;
        let outcome = stream.outcome().await;
        assert!(!matches!(outcome, Ok(200)), "{outcome:?}");
    });
}
