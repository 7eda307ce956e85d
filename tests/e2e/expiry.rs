//! Certificates that end: what is said of them, and where.

use crate::{
    authority::Authority,
    harness::{Gateway, until},
    life::admin,
    mtls::write_pair,
};
use rcgen::{CertificateParams, CertifiedKey, KeyPair};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn dated(year: i32) -> CertifiedKey<KeyPair> {
    let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 2, 3);
    params.not_after = rcgen::date_time_ymd(year, 2, 3);
    let signing_key = KeyPair::generate().unwrap();
    CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

fn conf(certificates: &str) -> String {
    format!(
        "
admin: {{address: 127.0.0.1:0}}
limits: {{connections: 1000000}}
listeners:
  secure:
    address: 127.0.0.1:0
    tls:
      certificates: [{certificates}]
      client_auth: {{mode: optional, ca: certs/ca.pem, crl: [certs/ca.crl]}}
upstreams:
  shop:
    targets: [{{address: 127.0.0.1:1}}]
    tls: {{ca: certs/ca.pem, certificate: certs/good.pem, key: certs/good.key}}
"
    )
}

#[test]
fn certificates_that_end_are_in_the_log_the_metrics_and_what_check_says() {
    let (old, good) = (
        "{certificate: certs/old.pem, key: certs/old.key}",
        "{certificate: certs/good.pem, key: certs/good.key}",
    );
    let authority = Authority::new("partners");
    let prepared = Gateway::prepare(&conf(&format!("{old}, {good}")));
    write_pair(&prepared, "old", &dated(2020));
    write_pair(&prepared, "good", &dated(4000));
    prepared.write("certs/ca.pem", &(authority.certificate.pem() + &dated(2019).cert.pem()));
    prepared.write("certs/ca.crl", &authority.revoke(&[], SystemTime::now() + DAY / 2));

    let (code, said, warned) = prepared.check();
    assert_eq!(code, 0, "{warned}");
    let said: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    let old_line =
        "listeners.secure.tls.certificates[0]: `conf/certs/old.pem` is good until 2020-02-03T00:00:00Z";
    assert_eq!(said[0], old_line);
    assert!(said[1].contains("certificates[1]: `conf/certs/good.pem` is good until 4000-02-03"), "{said:?}");
    assert!(said[2].contains("client_auth.crl[0]: `conf/certs/ca.crl` is good until "), "{said:?}");
    assert!(said[3].starts_with("upstreams.shop.tls.certificate: "), "{said:?}");

    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let log = gateway.log();
    for text in [&warned, &log] {
        let line = |file: &str| text.lines().find(|line| line.contains(file)).unwrap_or_default();
        let (old, ca, crl) = (line("old.pem"), line("ca.pem"), line("ca.crl"));
        assert!(old.contains("ERROR") && old.contains("has expired on 2020-02-03"), "{text}");
        assert!(ca.contains("WARN") && ca.contains("has expired on 2019-02-03"), "{text}");
        assert!(
            crl.contains("WARN") && crl.contains("CN=partners") && crl.contains("must be renewed by"),
            "{text}"
        );
        assert!(!text.contains("good.pem"), "{text}");
    }
    // As far as this machine has a limit that is below what so many connections need.
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    let said =
        log.lines().any(|line| line.contains("WARN") && line.contains("write `limits: {connections: "));
    assert_eq!(said, hard < 2_000_200, "{log}");

    let metrics = || admin(&gateway, "GET", "/metrics", None).expect(200).text();
    let before = metrics();
    let ends = |key: &str, text: &str| -> Vec<String> {
        let of_key =
            |line: &&str| line.contains("timestamp_seconds{") && line.contains(&format!("key=\"{key}\""));
        text.lines().filter(of_key).map(|line| line.rsplit_once(' ').unwrap().1.to_owned()).collect()
    };
    assert_eq!(ends("listeners.secure.tls.certificates[0]", &before), ["1580688000"]);
    assert_eq!(ends("listeners.secure.tls.certificates[1]", &before), ["64063440000"]);
    assert_eq!(ends("upstreams.shop.tls.certificate", &before), ["64063440000"]);
    assert_eq!(ends("listeners.secure.tls.client_auth.ca", &before).len(), 2, "{before}");
    assert_eq!(ends("upstreams.shop.tls.ca", &before).len(), 2, "{before}");
    assert_eq!(ends("listeners.secure.tls.client_auth.crl[0]", &before).len(), 1, "{before}");

    gateway.hangup("is serving");
    gateway.wait_for_log("old.pem` has expired on", 2);
    gateway.rewrite(&conf(good).replace(", crl: [certs/ca.crl]", ""));
    gateway.hangup("is serving");
    let after = until("the metrics of the new certificates", || {
        Some(metrics()).filter(|text| ends("listeners.secure.tls.certificates[1]", text).is_empty())
    });
    assert_eq!(ends("listeners.secure.tls.certificates[0]", &after), ["64063440000"]);
    assert!(!after.contains("old.pem") && !after.contains("palisade_crl_"), "{after}");
}
