//! What a reload is begun by, and what it refuses.

use crate::{
    client::Client,
    harness::{Gateway, until},
    tls::{certificate, handshake, trusting},
};
use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

const ONE: &str = "routes: {one: {paths: [/one], plugins: {request-termination: {status_code: 201}}}}";
const TWO: &str = "routes: {two: {paths: [/two], plugins: {request-termination: {status_code: 202}}}}";
const SERVING: &str = "is serving";
const KEPT: &str = "was not reloaded";

/// Waits until what was written is clearly older than what happens next. What has changed just before a configuration is
/// read may have changed just after, as far as the clock of a file system tells, and would count as a change.
fn aged() {
    std::thread::sleep(Duration::from_millis(200));
}

fn start(conf: &str) -> Gateway {
    let prepared = Gateway::prepare(conf);
    aged();
    prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
}

#[test]
fn watched_files_are_read_again() {
    let gateway = start(&format!("watch: true\n{ONE}"));
    gateway.get("/one").expect(201);
    gateway.rewrite(&format!("watch: true\n{TWO}"));
    gateway.wait_for_log(SERVING, 1);
    gateway.get("/two").expect(202);
}

#[test]
fn watching_begins_and_ends_with_the_configuration_that_says_so() {
    let gateway = Gateway::start(ONE);
    gateway.rewrite(&format!("watch: true\n{ONE}"));
    aged();
    gateway.hangup(SERVING);
    gateway.rewrite(&format!("watch: true\n{TWO}"));
    gateway.wait_for_log(SERVING, 2);
    gateway.rewrite(TWO);
    gateway.wait_for_log(SERVING, 3);
    gateway.rewrite(ONE);
    gateway.get("/two").expect(202);
    gateway.hangup(SERVING);
    gateway.get("/one").expect(201);
    assert_eq!(gateway.log().matches("files have changed").count(), 2, "{}", gateway.log());
}

/// Puts a file in the place of another one at once.
fn put(path: &Path, text: &str) {
    let half = path.with_extension("half");
    fs::write(&half, text).unwrap();
    fs::rename(half, path).unwrap();
}

#[test]
fn what_is_named_elsewhere_is_watched_as_well() {
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |name: &str| elsewhere.path().join(name);
    let (first, second) = (certificate("a.test"), certificate("a.test"));
    for (folder, made) in [("v1", &first), ("v2", &second)] {
        fs::create_dir(at(folder)).unwrap();
        put(&at(folder).join("tls.crt"), &made.cert.pem());
        put(&at(folder).join("tls.key"), &made.signing_key.serialize_pem());
    }
    // As a mounted secret is: the folder is swapped whole.
    symlink("v1", at("live")).unwrap();
    let keys = fs::read_to_string("conf/examples/payments/bank.jwks.json").unwrap();
    put(&at("keys.json"), &keys);
    put(&at("secret"), "one");
    put(&at("404.txt"), "nothing");
    let conf = "
watch: true
listeners: {tls: {address: 127.0.0.1:0, tls: {certificates: [{certificate: AT/live/tls.crt, key: AT/live/tls.key}]}}}
errors: {404: {content_type: text/plain, file: AT/404.txt}}
routes:
  one: {paths: [/one], headers: {x-secret: '${file:AT/secret}'}, plugins: {request-termination: {status_code: 201}}}
  tokens: {paths: [/tokens], upstream: demo, plugins: {jwt: {jwks: AT/keys.json, audience: shop}}}
"
    .replace("AT", elsewhere.path().to_str().unwrap());
    let gateway = start(&conf);
    let tls = gateway.at("listener tls");
    assert!(handshake(tls, "a.test", trusting(&first, &[])).is_ok());
    gateway.request("GET", "/one", &["x-secret: one"]).expect(201);

    put(&at("secret"), "two");
    gateway.wait_for_log(SERVING, 1);
    gateway.request("GET", "/one", &["x-secret: two"]).expect(201);
    put(&at("404.txt"), "nothing at all");
    gateway.wait_for_log(SERVING, 2);
    assert_eq!(gateway.get("/none").expect(404).text(), "nothing at all");
    put(&at("keys.json"), &keys.replace('\n', "\n "));
    gateway.wait_for_log(SERVING, 3);
    symlink("v2", at("next")).unwrap();
    fs::rename(at("next"), at("live")).unwrap();
    gateway.wait_for_log(SERVING, 4);
    until("the new certificate", || handshake(tls, "a.test", trusting(&second, &[])).ok());
    // What stands beside them is nothing to this gateway.
    put(&at("neighbour"), "text");
    put(&at("secret"), "three");
    gateway.wait_for_log(SERVING, 5);
    assert_eq!(gateway.log().matches("files have changed").count(), 5, "{}", gateway.log());
}

#[test]
fn what_only_a_new_process_can_change_is_refused_and_says_so() {
    let admin = "admin: {address: 127.0.0.1:0}\n";
    let gateway = Gateway::start(&format!("{admin}{ONE}"));
    let made = certificate("a.test");
    for (name, text) in [("tls.crt", made.cert.pem()), ("tls.key", made.signing_key.serialize_pem())] {
        gateway.put(&format!("certs/{name}"), &text);
    }
    let base = fs::read_to_string(gateway.dir().join("conf/base.yaml")).unwrap();
    let tls = "tls: {certificates: [{certificate: certs/tls.crt, key: certs/tls.key}]}";
    for (from, to, place, what) in [
        (
            "address: 127.0.0.1:0",
            &*format!("address: 127.0.0.1:0, {tls}"),
            "base.yaml:4:",
            "whether they speak TLS",
        ),
        ("demo: true", "demo: false", "conf: demo", "`demo`"),
    ] {
        let before = gateway.log().len();
        gateway.put("base.yaml", &base.replace(from, to));
        gateway.hangup(KEPT);
        let said = gateway.log().split_off(before);
        for part in [place, what, "cannot change while the gateway runs"] {
            assert!(said.contains(part), "`{part}` is not in {said}");
        }
        gateway.get("/one").expect(201);
    }
    gateway.put("base.yaml", &base);
    for (conf, place, what) in [
        (format!("{admin}{ONE}\nlisteners: {{more: {{address: 127.0.0.1:0}}}}"), "test.yaml:3:", "listeners"),
        (format!("admin: {{address: 127.0.0.2:0}}\n{ONE}"), "test.yaml:1:", "`admin`"),
        (format!("admin: {{address: 127.0.0.1:0, probes: 127.0.0.1:0}}\n{ONE}"), "test.yaml:1:", "`admin`"),
        (format!("{admin}{ONE}\nrun_dir: elsewhere"), "conf: run_dir", "`run_dir`"),
        (ONE.to_owned(), "conf: admin", "`admin`"),
    ] {
        let before = gateway.log().len();
        gateway.rewrite(&conf);
        gateway.hangup(KEPT);
        let log = gateway.log();
        let said = &log[before..];
        for part in [place, what, "cannot change while the gateway runs", "`palisade upgrade`"] {
            assert!(said.contains(part), "`{part}` is not in {said}");
        }
        gateway.get("/one").expect(201);
    }
    assert!(
        Client::connect(gateway.at("admin")).request("GET", "/healthz", &["Host: localhost"]).status == 200
    );
    gateway.rewrite(&format!("{admin}{TWO}"));
    gateway.hangup(SERVING);
    gateway.get("/two").expect(202);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrong = |more: &str| {
        format!(
            "
listeners: {{tls: {{address: 127.0.0.1:0, tls: {{certificates: [{{certificate: none.pem, key: none.key}}]}}}}}}
routes:
  a: {{paths: [/a], upstream: nowhere}}
  b: {{paths: [/b], {more}upstream: demo, plugins: {{cors: {{origins: []}}}}}}
"
        )
    };
    let gateway = Gateway::start(ONE);
    for more in ["", "methds: [GET], "] {
        let (code, started) = Gateway::prepare(&wrong(more)).refused();
        assert_eq!(code, 1);
        let before = gateway.log().len();
        gateway.rewrite(&wrong(more));
        gateway.hangup(KEPT);
        for text in [&started, &gateway.log()[before..]] {
            for part in ["cannot read `conf/none.pem`", "`nowhere`", "no origin may call"] {
                assert!(text.contains(part), "`{part}` is not in {text}");
            }
            assert_eq!(text.contains("`methds`"), !more.is_empty(), "{text}");
        }
        gateway.get("/one").expect(201);
    }
}
