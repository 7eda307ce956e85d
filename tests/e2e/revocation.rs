//! Client certificates that are revoked.

use crate::{
    authority::Authority,
    harness::{Gateway, until},
    mtls::{presenting, write_pair},
    resumption::visit,
    tls::certificate,
};
use std::time::{Duration, SystemTime};

#[test]
fn a_revoked_certificate_is_refused_from_the_reload_on() {
    let (server, partners) = (certificate("a.test"), Authority::new("partners"));
    let prepared = Gateway::prepare(
        "
watch: true
listeners:
  secure:
    address: 127.0.0.1:0
    tls:
      certificates: [{certificate: certs/a.pem, key: certs/a.key}]
      client_auth: {mode: optional, ca: certs/ca.pem, crl: [certs/ca.crl]}
routes: {echo: {paths: [/echo/*], upstream: demo}}
",
    );
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
    let (good, bad) = (partners.sign("good"), partners.sign("bad"));
    write_pair(&prepared, "a", &server);
    prepared.write("certs/ca.pem", &partners.certificate.pem());
    prepared.write("certs/ca.crl", &partners.revoke(&[], tomorrow));
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = gateway.at("listener secure");
    let [good, bad] = [good, bad].map(|shown| (presenting(&server, Some(&shown)), shown));
    for (client, _) in [&good, &bad] {
        // The second time with a ticket.
        assert!(visit(address, client).is_some() && visit(address, client).is_some());
    }
    gateway.put("certs/ca.crl", &partners.revoke(&[&bad.1], tomorrow));
    until("the revocation", || visit(address, &bad.0).is_none().then_some(()));
    assert!(visit(address, &good.0).is_some());
    assert!(visit(address, &presenting(&server, None)).is_some());
    // A list that nobody renews is no list.
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    gateway.put("certs/ca.crl", &partners.revoke(&[], yesterday));
    until("the end of the list", || visit(address, &good.0).is_none().then_some(()));
    assert!(visit(address, &presenting(&server, None)).is_some());
    gateway.put("certs/ca.crl", "no list");
    gateway.wait_for_log("holds no list of revoked certificates", 1);
    gateway.put("certs/ca.crl", &partners.revoke(&[], tomorrow));
    until("the new list", || visit(address, &good.0));
    assert!(visit(address, &bad.0).is_some());
}
