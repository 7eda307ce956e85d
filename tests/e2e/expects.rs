//! `Expect: 100-continue` over HTTP/2 (RFC 9110 §10.1.1): who waits for a word gets it, or the answer.

use crate::{
    h2c::Stream,
    harness::Gateway,
    http2::{block_on, h2c, json, streamed},
};
use serde_json::Value;

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {h2: {targets: [{address: ORIGIN}], protocol: http2}}
routes:
  streamed: {paths: [/echo/*], upstream: demo}
  whole: {paths: [/echo/whole], upstream: demo, plugins: {test-request-body: {}}}
  http2: {paths: [/echo/http2], upstream: h2}
  key: {paths: [/echo/key], upstream: demo, plugins: {key-auth: {}}}
";

fn gateway(demo: &palisade::demo::Demo) -> Gateway {
    Gateway::start_with_test_plugins(&CONF.replace("ORIGIN", &demo.address().to_string()))
}

fn text(body: &[u8]) -> Value {
    serde_json::from_slice::<Value>(body).unwrap()["body"]["text"].clone()
}

#[test]
fn who_waits_is_told_to_go_on() {
    block_on(async {
        let demo = palisade::demo::start().unwrap();
        let gateway = tokio::task::block_in_place(|| gateway(&demo));
        for path in ["/echo/", "/echo/whole", "/echo/http2"] {
            let mut stream = Stream::open_long(gateway.at("listener h2"), path, 4).await;
            assert_eq!(stream.interim().await, Some(100), "{path}");
            stream.piece("body");
            stream.end();
            let (status, body, _) = stream.answer().await;
            assert_eq!((status, text(&body)), (200, "body".into()), "{path}");
            assert_eq!(stream.again("/echo/").await, 200, "{path}: the connection lives on");
        }
    });
}

#[test]
fn who_is_refused_is_told_that_instead() {
    block_on(async {
        let demo = palisade::demo::start().unwrap();
        let gateway = tokio::task::block_in_place(|| gateway(&demo));
        for (path, length, status) in
            [("/echo/key", 4, 401), ("/echo/whole", 1 << 30, 413), ("/none", 4, 404)]
        {
            let mut stream = Stream::open_long(gateway.at("listener h2"), path, length).await;
            assert_eq!(stream.interim().await, None, "{path}");
            assert_eq!(stream.answer().await.0, status, "{path}");
        }
    });
}

/// Whoever does not wait gets no less, and many at once on one connection get their bodies back.
#[test]
fn who_does_not_wait_is_served_as_well() {
    block_on(async {
        let demo = palisade::demo::start().unwrap();
        let gateway = tokio::task::block_in_place(|| gateway(&demo));
        let client = h2c();
        for path in ["/echo/", "/echo/whole", "/echo/http2"] {
            let url = format!("http://{}{path}", gateway.at("listener h2"));
            let post = |number: usize| {
                let body = streamed(format!("body {number}").into_bytes());
                client.post(&url).header("expect", "100-continue").body(body).send()
            };
            for (number, answer) in futures::future::join_all((0..20).map(post)).await.into_iter().enumerate()
            {
                assert_eq!(json(answer.unwrap()).await["body"]["text"], format!("body {number}"), "{path}");
            }
        }
    });
}
