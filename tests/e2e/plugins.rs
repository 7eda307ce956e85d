//! Plugins of one's own: whole bodies judged and changed, faults and panics.

use crate::{
    bodies::{chunked, pattern},
    client::{Origin, Response, head},
    harness::Gateway,
    http2::{block_on, h2c, json, streamed},
};
use sha2::{Digest, Sha256};
use std::io::Read;

const JUDGED: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  echo:
    paths: [/echo/*]
    upstream: demo
    plugins: {test-request-body: {deny: EVIL, replace: SWAP, with: longer, times: 20000}}
  long: {paths: [/echo/long], upstream: demo, limits: {body_bytes: 4MiB}, plugins: {test-request-body: {}}}
";

fn post(gateway: &Gateway, body: &[u8], in_chunks: bool) -> Response {
    let mut client = gateway.connect();
    if in_chunks {
        client.send(head("POST", "/echo/", &["Transfer-Encoding: chunked"])).send(chunked(body));
    } else {
        client.send(head("POST", "/echo/", &[&format!("Content-Length: {}", body.len())])).send(body);
    }
    client.response()
}

#[test]
fn request_bodies_are_judged_before_the_origin_sees_a_byte() {
    let gateway = Gateway::start_with_test_plugins(JUDGED);
    for in_chunks in [false, true] {
        assert_eq!(post(&gateway, b"this is EVIL", in_chunks).expect(403).reason(), "evil_request");
        let swapped = post(&gateway, b"please SWAP this", in_chunks).expect(200).json();
        assert_eq!(swapped["body"]["length"], 120_000);
        assert_eq!(swapped["body"]["sha256"], hex::encode(Sha256::digest("longer".repeat(20_000))));
        for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20] {
            let body = pattern(size);
            let echo = post(&gateway, &body, in_chunks).expect(200).json();
            assert_eq!(echo["body"]["sha256"], hex::encode(Sha256::digest(&body)), "{in_chunks} {size}");
        }
    }
    for size in [1, 65_535, 65_536, 65_537, 1 << 20] {
        for in_chunks in [false, true] {
            let (mut client, body) = (gateway.connect(), pattern(size));
            let framing = if in_chunks {
                "Transfer-Encoding: chunked".into()
            } else {
                format!("Content-Length: {size}")
            };
            client.send(head("POST", "/echo/", &[&framing, "Expect: 100-continue"]));
            client.response().expect(100);
            client.send(if in_chunks { chunked(&body) } else { body.clone() });
            let echo = client.response().expect(200).json();
            assert_eq!(echo["body"]["sha256"], hex::encode(Sha256::digest(&body)), "{in_chunks} {size}");
        }
    }
    let mut client = gateway.connect();
    client.send(head("POST", "/echo/", &["Content-Length: 4", "Expect: 100-continue"]));
    client.response().expect(100);
    client.send("EVIL");
    client.response().expect(403);
    // A plugin that holds no more than a MiB gets no more, whatever the route allows.
    for in_chunks in [false, true] {
        let mut client = gateway.connect();
        let (path, body) = ("/echo/long", pattern((1 << 20) + 1));
        match in_chunks {
            true => client.send(head("POST", path, &["Transfer-Encoding: chunked"])).try_send(chunked(&body)),
            false => client.send(head("POST", path, &["Content-Length: 1048577"])).try_send(&body),
        };
        client.response().expect(413);
    }
    // What is too long need not be sent to be refused.
    let mut client = gateway.connect();
    client.send(head("POST", "/echo/", &["Content-Length: 1048577", "Expect: 100-continue"]));
    client.response().expect(413);
}

#[test]
fn a_refused_body_never_reaches_the_origin() {
    let origin = Origin::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = Gateway::start_with_test_plugins(
        &"
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {raw: {paths: [/*], upstream: raw, plugins: {test-request-body: {deny: EVIL, replace: SWAP, with: swapped}}}}
"
        .replace("ORIGIN", &origin.address.to_string()),
    );
    post(&gateway, b"EVIL", false).expect(403);
    post(&gateway, b"EVIL", true).expect(403);
    assert!(origin.is_untouched());
    post(&gateway, b"SWAP", true).expect(200);
    let request = origin.received().to_ascii_lowercase();
    assert!(
        request.contains("\r\ncontent-length: 7\r\n") && request.ends_with("\r\n\r\nswapped"),
        "{request}"
    );
    assert!(!request.contains("transfer-encoding"), "{request}");
}

#[test]
fn request_bodies_are_judged_over_http2() {
    let gateway = Gateway::start_with_test_plugins(JUDGED);
    let url = format!("http://{}/echo/", gateway.at("listener h2"));
    block_on(async {
        let client = h2c();
        for (body, status, length) in [
            (b"this is EVIL".to_vec(), 403, 0),
            (b"please SWAP this".to_vec(), 200, 120_000),
            (Vec::new(), 200, 0),
            (pattern(1), 200, 1),
            (pattern(65_535), 200, 65_535),
            (pattern(65_536), 200, 65_536),
            (pattern(65_537), 200, 65_537),
            (pattern(1 << 20), 200, 1 << 20),
            (pattern((1 << 20) + 1), 413, 0),
        ] {
            for sent in [reqwest::Body::from(body.clone()), streamed(body.clone())] {
                let answer = client.post(&url).body(sent).send().await.unwrap();
                let found = answer.status();
                let answer = json(answer).await;
                assert_eq!(found, status, "{} bytes: {answer}", body.len());
                if status == 200 {
                    assert_eq!(answer["body"]["length"], length);
                }
            }
        }
    });
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what the demonstration compresses is small")]
fn response_bodies_are_judged_and_changed_also_when_compressed() {
    let gateway = Gateway::start_with_test_plugins(
        "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  swapped: {paths: [/gzip], hosts: [swap.test], upstream: demo, plugins: {test-response-body: {replace: sunflower, with: tulip}}}
  refused: {paths: [/gzip], hosts: [deny.test], upstream: demo, plugins: {test-response-body: {deny: sunflower}}}
  kept: {paths: ['/*'], upstream: demo, plugins: {test-response-body: {deny: nowhere}}}
",
    );
    let swapped = gateway.request("GET", "/gzip", &["Host: swap.test"]).expect(200);
    assert_eq!(swapped.text(), "tulip");
    assert_eq!(swapped.header("content-encoding"), None);
    let refused = gateway.request("GET", "/gzip", &["Host: deny.test"]).expect(502);
    assert_eq!(refused.reason(), "evil_response");
    let kept = gateway.get("/gzip").expect(200);
    assert_eq!(kept.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&kept.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("sunflower"));
    for size in [0, 1, 65_537, 1 << 20] {
        assert_eq!(gateway.get(&format!("/bytes/{size}")).expect(200).body, pattern(size));
    }
    assert_eq!(gateway.get("/bytes/1048577").expect(502).reason(), "response_too_large");
    assert_eq!(gateway.get("/stream?chunks=20&bytes=1000").expect(200).body.len(), 20_000);
    assert!(gateway.request("HEAD", "/bytes/10", &[]).expect(200).body.is_empty());
    gateway.get("/status/204").expect(204);
    block_on(async {
        let url = format!("http://{}/bytes/70000", gateway.at("listener h2"));
        let answer = h2c().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
        let length = answer.headers().get("content-length").cloned();
        let body = answer.bytes().await.unwrap();
        assert!(body == pattern(70_000), "{} of {length:?}", body.len());
    });
}

#[test]
fn a_fetched_response_is_asked_for_by_the_judged_head_alone() {
    let origin = Origin::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::start_with_test_plugins(
        &"
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  raw:
    paths: [/b/*]
    strip_prefix: /b
    upstream: raw
    plugins: {key-auth: {key_in_query: true}, test-response-body: {deny: nothing}}
"
        .replace("ORIGIN", &origin.address.to_string()),
    );
    let forged = [
        "x-consumer-groups: admins",
        "x-consumer-custom: admins",
        "x-original-url: /admin",
        "x-kept: yes",
        "accept-encoding: gzip;q=1, x-odd, br",
    ];
    gateway.request("GET", "/a/../b/%7Ec?apikey=alice-key&a=1", &forged).expect(200);
    block_on(async {
        let url = format!("http://{}/b/%7Ec?apikey=alice-key&a=1", gateway.at("listener h2"));
        let mut request = h2c().get(url);
        for (name, value) in forged.iter().filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    });
    for _ in 0..2 {
        let request = origin.received();
        assert!(request.starts_with("GET /~c?a=1 HTTP/1.1\r\n"), "{request}");
        let request = request.to_ascii_lowercase();
        assert!(
            request.contains("\r\nx-consumer-groups: gold\r\n") && request.contains("\r\nx-kept: yes\r\n")
        );
        assert!(request.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{request}");
        // In a coding that is not known the answer could not be read.
        assert!(request.contains("\r\naccept-encoding: gzip;q=1, br\r\n"), "{request}");
        for absent in ["admin", "custom", "alice-key", "content-length"] {
            assert!(!request.contains(absent), "`{absent}` in {request}");
        }
    }
}

#[test]
fn both_bodies_are_judged_of_one_exchange() {
    let gateway = Gateway::start_with_test_plugins(
        "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  echo:
    paths: [/echo/*]
    upstream: demo
    plugins:
      test-request-body: {replace: SWAP, with: longer, times: 20}
      test-response-body: {deny: EVIL}
",
    );
    for in_chunks in [false, true] {
        assert_eq!(post(&gateway, b"SWAP", in_chunks).expect(200).json()["body"]["length"], 120);
        assert_eq!(post(&gateway, &pattern(70_000), in_chunks).expect(200).json()["body"]["length"], 70_000);
        assert_eq!(post(&gateway, b"EVIL", in_chunks).expect(502).reason(), "evil_response");
    }
    block_on(async {
        let url = format!("http://{}/echo/", gateway.at("listener h2"));
        for (body, length) in [(b"SWAP".to_vec(), 120), (pattern(70_000), 70_000)] {
            for sent in [reqwest::Body::from(body.clone()), streamed(body.clone())] {
                let answer = json(h2c().post(&url).body(sent).send().await.unwrap()).await;
                assert_eq!(answer["body"]["length"], length, "{answer}");
            }
        }
    });
}

#[test]
fn faults_fail_closed_and_panics_cost_one_request() {
    let gateway = Gateway::start_with_test_plugins(
        "
routes:
  fault: {paths: [/echo/fault], upstream: demo, plugins: {test-failing: {}}}
  allowed: {paths: [/echo/allowed], upstream: demo, plugins: {test-failing: {on_fault: allow}}}
  panic: {paths: [/echo/panic], upstream: demo, plugins: {test-failing: {panic: true, on_fault: allow}}}
",
    );
    for (path, status) in [("/echo/fault", 503), ("/echo/allowed", 200), ("/echo/panic", 500)] {
        gateway.get(path).expect(200);
        gateway.request("GET", path, &["x-fail: 1"]).expect(status);
        gateway.get(path).expect(200);
    }
    assert!(!gateway.request("GET", "/echo/panic", &["x-fail: 1"]).text().contains("asked to"));
    let lines = gateway.audit(10);
    let decisions: String = lines.iter().map(|line| line["decisions"].to_string()).collect();
    assert!(decisions.contains("fault_allowed"), "{decisions}");
    // What went wrong is told in the record, and to nobody else.
    assert!(decisions.contains(r#""detail":"test_fault: the source of it""#), "{decisions}");
    assert_eq!(lines.iter().filter(|line| line["status"] == 500).count(), 2);
}

#[test]
fn pieces_are_judged_and_changed_as_they_pass() {
    let origin = Origin::start(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n4\r\nfine\r\n0\r\nx-sum: 1\r\n\r\n",
    );
    let broken = Origin::start("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine evil");
    let gateway = Gateway::start_with_test_plugins(
        &"
upstreams: {raw: {targets: [{address: RAW}]}, broken: {targets: [{address: BROKEN}]}}
plugins: {test-pieces: {deny: evil, replace: fine, with: longer, times: 2}}
routes:
  raw: {paths: [/raw], upstream: raw}
  broken: {paths: [/broken], upstream: broken}
  echo: {paths: [/echo/*], upstream: demo}
"
        .replace("RAW", &origin.address.to_string())
        .replace("BROKEN", &broken.address.to_string()),
    );
    let raw = gateway.request("GET", "/raw", &["Accept-Encoding: gzip, br"]).expect(200);
    assert_eq!((raw.text().as_str(), raw.header("trailer")), ("longerlonger", None));
    // Pieces are read as they are.
    let asked = origin.received().to_ascii_lowercase();
    assert!(asked.contains("\r\naccept-encoding: identity\r\n") && !asked.contains("gzip"), "{asked}");
    let mut client = gateway.connect();
    client.send(head("POST", "/echo/", &["Transfer-Encoding: chunked"]));
    client.send("5\r\npiece\r\n").send("0\r\n\r\n");
    assert_eq!(client.response().expect(200).json()["body"]["text"], "piece");
    client.send(head("POST", "/echo/", &["Transfer-Encoding: chunked"]));
    client.send("4\r\nevil\r\n0\r\n\r\n");
    assert_eq!(client.response().expect(403).reason(), "evil_piece");
    // The head may be on its way already; what must not come is the piece.
    let mut client = gateway.connect();
    client.send(head("GET", "/broken", &["Connection: close"]));
    let rest = client.rest();
    assert!(!rest.contains("fine evil") && !rest.contains("longer"), "{rest}");
    let lines = gateway.audit(4);
    let refused = lines.iter().filter(|line| line["reason"] == "evil_piece");
    assert_eq!(refused.count(), 2, "{lines:#?}");
}

/// A body in one of three framings, and the answer: by its length or in chunks over HTTP/1.1, by its length over HTTP/2.
fn sent(gateway: &Gateway, path: &str, body: &'static str) -> [(u16, serde_json::Value); 3] {
    let plain = |in_chunks: bool| {
        let framing = match in_chunks {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", body.len()),
        };
        let mut client = gateway.connect();
        client.send(head("POST", path, &[&framing]));
        client.send(if in_chunks { chunked(body.as_bytes()) } else { body.into() });
        let answer = client.response();
        (answer.status, answer.json())
    };
    let url = format!("http://{}{path}", gateway.at("listener h2"));
    let over_http2 = block_on(async {
        let answer = h2c().post(url).body(body).send().await.unwrap();
        (answer.status().as_u16(), json(answer).await)
    });
    [plain(false), plain(true), over_http2]
}

#[test]
fn a_piece_that_becomes_longer_or_shorter_arrives_whole() {
    let gateway = Gateway::start_with_test_plugins(
        "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  echo: {paths: [/echo/*], upstream: demo, plugins: {test-pieces: {replace: fi, with: longer, times: 2, requests_only: true}}}
  kept: {paths: [/echo/kept], upstream: demo, plugins: {request-size-limiting: {allowed_payload_size: 9B}}}
  wrong: {paths: [/echo/wrong], upstream: demo, plugins: {test-pieces: {replace: fi, with: longer, keeps: true, requests_only: true}}}
",
    );
    // Who replaces nothing leaves a body the length that it announces.
    let kept = |body: &str| {
        let length = format!("Content-Length: {}", body.len());
        let mut client = gateway.connect();
        client.send(head("POST", "/echo/kept", &[&length, "Content-Type: text/plain"])).send(body);
        client.response().expect(200).echoed("content-length")
    };
    assert_eq!(kept("fi").as_deref(), Some("2"));
    let [(status, answer), ..] = sent(&gateway, "/echo/wrong", "fi");
    assert_eq!((status, answer["reason"].as_str()), (500, Some("request_body_changed")), "{answer}");
    for body in ["fi", "fi, and this is much longer than what it becomes", "what stays as it is"] {
        for (status, answer) in sent(&gateway, "/echo/", body) {
            assert_eq!(status, 200, "{answer}");
            // In chunks of one byte first, in which nothing is found.
            let text = answer["body"]["text"].as_str().unwrap();
            assert!(text == body || (body.starts_with("fi") && text == "longerlonger"), "{answer}");
        }
    }
    let [(_, by_length), _, (_, over_http2)] = sent(&gateway, "/echo/", "fi");
    for answer in [by_length, over_http2] {
        assert_eq!(answer["body"]["text"], "longerlonger", "{answer}");
    }
}

#[test]
fn who_reads_pieces_of_a_request_sees_them_where_the_response_is_read_whole() {
    let gateway = Gateway::start_with_test_plugins(
        "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  sized:
    paths: [/echo/sized]
    upstream: demo
    plugins: {request-size-limiting: {allowed_payload_size: 4B}, test-response-body: {deny: nowhere}}
  pieces:
    paths: [/echo/pieces]
    upstream: demo
    explain: {header: x-why, allow: [127.0.0.1]}
    plugins: {test-pieces: {deny: evil, replace: fi, with: longer, times: 2, requests_only: true}, test-response-body: {deny: nowhere}}
",
    );
    for (path, body, status, what) in [
        ("/echo/sized", "12345", 413, "payload_too_large"),
        ("/echo/sized", "1234", 200, "1234"),
        ("/echo/sized", "", 200, ""),
        ("/echo/pieces", "this is evil", 403, "evil_piece"),
        ("/echo/pieces", "fi", 200, "longerlonger"),
        ("/echo/pieces", "this stays", 200, "this stays"),
    ] {
        for (found, answer) in sent(&gateway, path, body) {
            assert_eq!(found, status, "{path} {body}: {answer}");
            let said = if status == 200 { &answer["body"]["text"] } else { &answer["reason"] };
            assert_eq!(said.as_str().unwrap_or_default(), what, "{path} {body}: {answer}");
        }
    }
    let explained = gateway.get("/echo/pieces").expect(200);
    let why = explained.header("x-why").unwrap();
    assert!(
        why.starts_with("route=pieces; ") && why.contains("test-pieces=continue conf/test.yaml:"),
        "{why}"
    );
}
