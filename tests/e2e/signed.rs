//! `hmac-auth` with signatures that openssl makes and curl sends, and signatures that two gateways remember in Redis.

use crate::{
    harness::{Gateway, until},
    ports::Port,
};
use serde_json::Value;
use std::{
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const PASSWORD: &str = "of-the-store-hunter2";

/// The time of HTTP.
fn date() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap();
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl: apt-get install openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// The headers of a signed request.
fn signed(method: &str, target: &str, body: Option<&str>, more: &str) -> Vec<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let date = date();
    let mut text =
        format!("date: {date}\n@request-target: {} {target}\nx-nonce: {more}", method.to_lowercase());
    let mut names = "date @request-target x-nonce".to_owned();
    let mut headers = vec![format!("Date: {date}"), format!("X-Nonce: {more}")];
    if let Some(body) = body {
        let digest = STANDARD.encode(openssl(&["dgst", "-sha256", "-binary"], body.as_bytes()));
        text.push_str(&format!("\ndigest: SHA-256={digest}"));
        names.push_str(" digest");
        headers.push(format!("Digest: SHA-256={digest}"));
    }
    let mac = openssl(&["dgst", "-sha256", "-hmac", SECRET, "-binary"], text.as_bytes());
    headers.push(format!(
        "Authorization: hmac username=\"acme\", algorithm=\"hmac-sha256\", headers=\"{names}\", signature=\"{}\"",
        STANDARD.encode(mac)
    ));
    headers
}

/// The status and the body of what curl gets.
fn curl(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[String],
    body: Option<&str>,
) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "60", "-w", "\n%{http_code}", "-X", method]);
    for line in headers {
        curl.args(["-H", line]);
    }
    if let Some(body) = body {
        curl.args(["--data-binary", body]);
    }
    let done = curl.arg(format!("http://{address}{target}")).output().expect("apt-get install curl");
    let text = String::from_utf8(done.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_signed_request_passes_once_and_its_body_is_the_signed_one() {
    let gateway = Gateway::start(&format!(
        "
routes:
  signed: {{paths: [/echo/signed], upstream: demo, plugins: {{hmac-auth: {{}}}}}}
  whole: {{paths: [/echo/whole], upstream: demo, plugins: {{hmac-auth: {{validate_request_body: true}}}}}}
consumers: {{acme: {{hmac-auth: [{{username: acme, secret: {SECRET}}}]}}}}
"
    ));
    let address = gateway.address();
    let headers = signed("GET", "/echo/signed?a=1", None, "1");
    let (status, echo) = curl(address, "GET", "/echo/signed?a=1", &headers, None);
    assert_eq!(status, 200, "{echo}");
    let shown = echo.to_string();
    assert!(shown.contains("acme") && !shown.contains("authorization"), "{shown}");
    let again = curl(address, "GET", "/echo/signed?a=1", &headers, None);
    assert_eq!((again.0, again.1["reason"].as_str()), (401, Some("signature_replayed")));
    let other = curl(address, "GET", "/echo/signed?a=2", &signed("GET", "/echo/signed?a=1", None, "2"), None);
    assert_eq!((other.0, other.1["reason"].as_str()), (401, Some("signature_invalid")));
    let refused = gateway.get("/echo/signed").expect(401);
    assert_eq!(refused.header("www-authenticate"), Some("hmac realm=\"palisade\""));
    let post = |sent: &str, signed_body: Option<&str>, nonce: &str| {
        let headers = signed("POST", "/echo/whole", signed_body, nonce);
        let (status, body) = curl(address, "POST", "/echo/whole", &headers, Some(sent));
        (status, body["reason"].as_str().map(str::to_owned))
    };
    assert_eq!(post("a body", Some("a body"), "3"), (200, None));
    let mismatch = Some("digest_mismatch".to_owned());
    assert_eq!(post("b body", Some("a body"), "4"), (401, mismatch.clone()));
    assert_eq!(post("a body", None, "5"), (401, mismatch));
    let (status, _) = curl(address, "GET", "/echo/whole", &signed("GET", "/echo/whole", None, "6"), None);
    assert_eq!(status, 200);
    assert!(!gateway.log().contains(SECRET));
}

/// A redis-server. It is killed when this is dropped. As long as the one that was started on any port is there, nobody else
/// gets that.
pub struct Redis(pub Child, pub u16, #[allow(dead_code, reason = "it is held")] Option<Port>);

impl Redis {
    /// On this port, or on any.
    pub fn start(port: Option<u16>) -> Redis {
        Redis::start_with(port, &[])
    }

    /// The same, with more arguments.
    pub fn start_with(port: Option<u16>, more: &[&str]) -> Redis {
        let held = port.is_none().then(Port::free);
        let port = port.or_else(|| Some(held.as_ref()?.number())).unwrap();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--requirepass",
                PASSWORD,
            ])
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server: apt-get install redis-server");
        Redis(child, port, held)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_gateways_remember_together_and_refuse_while_the_store_is_gone() {
    let mut redis = Redis::start(None);
    let port = redis.1;
    let conf = format!(
        "
admin: {{address: 127.0.0.1:0}}
stores: {{main: {{redis: 'redis://:{PASSWORD}@127.0.0.1:{port}', timeout: 5s}}}}
routes: {{signed: {{paths: [/echo/signed], upstream: demo, plugins: {{hmac-auth: {{store: main}}}}}}}}
consumers: {{acme: {{hmac-auth: [{{username: acme, secret: {SECRET}}}]}}}}
"
    );
    let gateways = [Gateway::start(&conf), Gateway::start(&conf)];
    let mut nonce = 0;
    let mut next = || {
        nonce += 1;
        signed("GET", "/echo/signed", None, &nonce.to_string())
    };
    let ask = |gateway: &Gateway, headers: &[String]| {
        let (status, body) = curl(gateway.address(), "GET", "/echo/signed", headers, None);
        (status, body["reason"].as_str().unwrap_or_default().to_owned())
    };
    for gateway in &gateways {
        until("the store", || (ask(gateway, &next()).0 == 200).then_some(()));
    }
    let headers = next();
    assert_eq!(ask(&gateways[0], &headers).0, 200);
    assert_eq!(ask(&gateways[1], &headers), (401, "signature_replayed".to_owned()));
    let shown = |path: &str| {
        let mut admin = crate::client::Client::connect(gateways[0].at("admin"));
        admin.request("GET", path, &["Host: localhost"]).expect(200).text()
    };
    let stores = shown("/stores");
    assert!(stores.contains("\"up\":true") && stores.contains(&format!("127.0.0.1:{port}")), "{stores}");
    assert!(shown("/metrics").contains("palisade_store_up{store=\"main\"} 1"));
    redis.0.kill().unwrap();
    redis.0.wait().unwrap();
    let refused =
        until("the refusal", || Some(ask(&gateways[0], &next())).filter(|(status, _)| *status >= 500));
    assert!(matches!(refused.0, 502..=504), "{refused:?}");
    until("the breaker", || Some(ask(&gateways[0], &next())).filter(|found| found.1 == "store_unavailable"));
    let headers: Vec<_> = (0..20).map(|_| next()).collect();
    let mut times = Vec::new();
    for headers in &headers {
        let begun = Instant::now();
        assert_eq!(ask(&gateways[0], headers), (503, "store_unavailable".to_owned()));
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    // Nothing waits for the time that the store has: the half of them at least, on whatever machine.
    assert!(times[10] < Duration::from_secs(4), "{times:?}");
    // What the next probe finds takes the place of the connection that was lost.
    let stores = until("what the probe finds", || {
        Some(shown("/stores")).filter(|stores| stores.contains("nobody listens there"))
    });
    assert!(stores.contains("\"up\":false"), "{stores}");
    let metrics = shown("/metrics");
    assert!(metrics.contains("palisade_store_up{store=\"main\"} 0"), "{metrics}");
    assert!(metrics.contains("palisade_store_commands_total{outcome=\"down\",store=\"main\"}"), "{metrics}");
    // A reload with a store that is down is a reload like any.
    gateways[0].hangup("is serving");
    let _back = Redis::start(Some(port));
    for gateway in &gateways {
        until("the store again", || (ask(gateway, &next()).0 == 200).then_some(()));
    }
    let all = format!("{stores}{metrics}{}{}{}", shown("/stores"), shown("/routes"), gateways[0].log());
    assert!(!all.contains(PASSWORD) && !all.contains(SECRET), "{all}");
    gateways[0].wait_for_log("is there again", 1);
}
