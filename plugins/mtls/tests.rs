use super::*;
use palisade_contract::{
    Descriptor, Tls,
    testkit::{Case, Instance, Kit, Ran},
};
use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};
use sha2::{Digest, Sha256};
use std::time::Duration;

const DESCRIPTOR: Descriptor = Descriptor::authenticator::<Mtls>().with_credentials::<MtlsCredential>();

/// A certificate with these parts of a subject and these names.
fn certificate(subject: &[(DnType, &str)], names: &[SanType]) -> Arc<PeerCertificate> {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    params.subject_alt_names = names.to_vec();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    shown(made.der())
}

fn shown(der: &[u8]) -> Arc<PeerCertificate> {
    let sha256 = Sha256::digest(der).into();
    Arc::new(PeerCertificate { chain: vec![der.to_vec().into(), b"between".to_vec().into()], sha256 })
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn partner() -> Arc<PeerCertificate> {
    certificate(
        &[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Example, Inc."),
            (DnType::CommonName, "partner"),
        ],
        &[dns("Api.Partner.example"), SanType::Rfc822Name("ops@partner.example".try_into().unwrap())],
    )
}

fn ask(plugin: &Instance, shown: &Arc<PeerCertificate>) -> Ran {
    ask_at(plugin, shown, 1_800_000_000, false)
}

fn ask_at(plugin: &Instance, shown: &Arc<PeerCertificate>, at: u64, behind_proxy: bool) -> Ran {
    let case = Case::get("/").started(UNIX_EPOCH + Duration::from_secs(at)).client(|client| {
        client.behind_proxy = behind_proxy;
        client.tls = Some(Tls {
            version: "TLSv1.3".into(),
            cipher: "x".into(),
            server_name: None,
            alpn: None,
            certificate: Some(shown.clone()),
        });
    });
    plugin.run(case)
}

fn build(yaml: &str) -> Instance {
    Kit::of(DESCRIPTOR).build(yaml).unwrap()
}

#[test]
fn a_certificate_belongs_to_its_consumer() {
    let partner = partner();
    let print = hex::encode_upper(partner.sha256);
    let spiffe = certificate(&[], &[uri("spiffe://example.org/ns/shop")]);
    for (credential, shown) in [
        ("{subject: 'CN=partner, O=Example\\, Inc., C=DE'}", &partner),
        ("{subject: 'cn=partner,o=Example\\, Inc.,c=DE'}", &partner),
        ("{common_name: partner}", &partner),
        ("{dns: api.partner.EXAMPLE}", &partner),
        ("{email: ops@partner.example}", &partner),
        (&format!("{{fingerprint: '{print}'}}"), &partner),
        ("{spiffe: spiffe://example.org/ns/shop}", &spiffe),
        ("{uri: spiffe://example.org/ns/shop}", &spiffe),
    ] {
        let kit = Kit::of(DESCRIPTOR).consumer("acme", &["gold"], &[credential]);
        let plugin = kit.build("{}").unwrap();
        for _ in 0..2 {
            let principal = ask(&plugin, shown).authenticated();
            assert_eq!((&*principal.id, principal.groups().len()), ("acme", 1), "{credential}");
            assert_eq!(principal.credential.as_deref(), Some(&*hex::encode(shown.sha256)));
        }
        let other = certificate(&[(DnType::CommonName, "Partner")], &[dns("xapi.partner.example")]);
        ask(&plugin, &other).denied(401, "certificate_consumer_unknown");
    }
    let plugin = build("{}");
    plugin.run(Case::get("/")).no_credential();
    ask_at(&plugin, &partner, 1_800_000_000, true).no_credential();
}

#[test]
fn without_a_consumer_it_has_a_name_of_its_issuers() {
    let partner = partner();
    for (by, id) in [
        ("subject", "CN=partner,O=Example\\, Inc.,C=DE"),
        ("common_name", "partner"),
        ("dns", "api.partner.example"),
        ("email", "ops@partner.example"),
        ("fingerprint", &hex::encode(partner.sha256)),
    ] {
        let plugin = build(&format!("{{consumer_optional: true, principal: {by}}}"));
        let principal = ask(&plugin, &partner).authenticated();
        assert_eq!(*principal.id, format!("CN=partner,O=Example\\, Inc.,C=DE|{id}"));
        assert!(principal.consumer.is_none());
        assert_eq!(principal.claim("dns"), Some(&serde_json::json!(["api.partner.example"])));
    }
    for by in ["uri", "spiffe"] {
        let plugin = build(&format!("{{consumer_optional: true, principal: {by}}}"));
        ask(&plugin, &partner).denied(401, "certificate_nameless");
    }
    let two = certificate(&[(DnType::CommonName, "a")], &[dns("a.test"), dns("b.test")]);
    ask(&build("{consumer_optional: true, principal: dns}"), &two).denied(401, "certificate_nameless");
    ask(&build("{consumer_optional: true}"), &certificate(&[], &[])).denied(401, "certificate_nameless");
}

#[test]
fn rules_let_in_what_they_say() {
    let partner = partner();
    let spiffe = |id: &str| certificate(&[], &[uri(id)]);
    for (rule, shown, holds) in [
        ("{dns: api.partner.example}", &partner, true),
        ("{dns: '*.partner.example'}", &partner, true),
        ("{dns: '*.example'}", &partner, true),
        ("{dns: '*.api.partner.example'}", &partner, false),
        ("{dns: partner.example}", &partner, false),
        ("{dns: '*.artner.example'}", &partner, false),
        ("{common_name: partner, dns: '*.partner.example'}", &partner, true),
        ("{common_name: other, dns: '*.partner.example'}", &partner, false),
        ("{issuer: 'CN=partner,O=Example\\, Inc.,C=DE'}", &partner, true),
        ("{issuer: 'CN=partner,O=Example,C=DE'}", &partner, false),
        ("{email: ops@partner.example}", &partner, true),
        ("{email: OPS@partner.example}", &partner, false),
        ("{spiffe: 'spiffe://example.org/ns/*'}", &spiffe("spiffe://example.org/ns/shop"), true),
        ("{spiffe: 'spiffe://example.org/*'}", &spiffe("spiffe://example.org/ns/shop"), true),
        ("{spiffe: 'spiffe://example.org/ns/*'}", &spiffe("spiffe://example.org/nsx/shop"), false),
        ("{spiffe: 'spiffe://example.org/ns/*'}", &spiffe("spiffe://example.org/ns"), false),
        ("{spiffe: 'spiffe://example.org/*'}", &spiffe("spiffe://example.org.evil/ns/shop"), false),
        // Not what a SPIFFE id may be.
        ("{spiffe: 'spiffe://example.org/*'}", &spiffe("spiffe://example.org/ns/../admin"), false),
        ("{spiffe: 'spiffe://example.org/*'}", &spiffe("SPIFFE://example.org/ns"), false),
        ("{spiffe: 'spiffe://example.org/*'}", &spiffe("spiffe://example.org/a%2fb"), false),
        ("{spiffe: 'spiffe://example.org/*'}", &spiffe("spiffe://example.org//b"), false),
    ] {
        let plugin = build(&format!("{{consumer_optional: true, principal: fingerprint, allow: [{rule}]}}"));
        let ran = ask(&plugin, shown);
        if holds {
            ran.authenticated();
        } else {
            ran.denied(401, "certificate_not_allowed");
        }
    }
}

#[test]
fn hostile_certificates_are_refused() {
    let open = build("{consumer_optional: true, principal: fingerprint}");
    for der in [&b""[..], b"0", b"hunter2", &[0x30, 0x82, 0xff, 0xff, 0x00]] {
        ask(&open, &shown(der)).denied(401, "certificate_malformed");
    }
    let mut trailing = partner().chain[0].to_vec();
    trailing.push(0);
    ask(&open, &shown(&trailing)).denied(401, "certificate_malformed");
    let many: Vec<_> = (0..100).map(|index| dns(&format!("n{index}.test"))).collect();
    ask(&open, &certificate(&[], &many)).denied(401, "certificate_malformed");
    for name in ["a b.test", "a\0.test", "a\n.test"] {
        ask(&open, &certificate(&[], &[uri(name)])).denied(401, "certificate_malformed");
    }
    // Before and after its time.
    ask_at(&open, &partner(), 1_500_000_000, false).denied(401, "certificate_expired");
    ask_at(&open, &partner(), 2_300_000_000, false).denied(401, "certificate_expired");
    // Two of a kind are none.
    let two = certificate(&[], &[uri("spiffe://example.org/a"), uri("spiffe://example.org/b")]);
    let plugin = build("{consumer_optional: true, principal: spiffe}");
    ask(&plugin, &two).denied(401, "certificate_nameless");
    // A name that only looks like two parts is one.
    let forged = certificate(&[(DnType::OrganizationName, "Evil,CN=partner")], &[]);
    let kit = Kit::of(DESCRIPTOR).consumer("acme", &[], &["{subject: 'CN=partner,O=Evil'}"]);
    ask(&kit.build("{}").unwrap(), &forged).denied(401, "certificate_consumer_unknown");
    let principal = ask(&build("{consumer_optional: true}"), &forged).authenticated();
    assert_eq!(&*principal.id, "O=Evil\\,CN\\=partner|O=Evil\\,CN\\=partner");
    // What two consumers are known by is nobody's.
    let kit = Kit::of(DESCRIPTOR).consumer("acme", &[], &["{common_name: partner}"]).consumer(
        "evil",
        &[],
        &["{dns: api.partner.example}"],
    );
    ask(&kit.build("{consumer_optional: true}").unwrap(), &partner()).denied(401, "certificate_ambiguous");
    let denial = ask(&build("{}"), &partner()).denied(401, "certificate_consumer_unknown");
    assert_eq!(denial.public_message(), "The certificate is not good here");
}

#[test]
fn a_name_that_looks_alike_is_another() {
    let credentials = [
        "{dns: api.partner.example}",
        "{email: ops@partner.example}",
        "{spiffe: spiffe://example.org/ns/shop}",
        "{common_name: partner}",
    ];
    let plugin = Kit::of(DESCRIPTOR).consumer("acme", &[], &credentials).build("{}").unwrap();
    ask(&plugin, &certificate(&[], &[dns("api.partner.example")])).authenticated();
    let email = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    for name in [
        dns("api.partner.example.evil.test"),
        dns("xapi.partner.example"),
        dns("partner.example"),
        dns("*.partner.example"),
        dns("api.partner.example."),
        dns("api.partner.example,x.test"),
        dns("api.partner.example%00"),
        dns("ops@partner.example"),
        uri("api.partner.example"),
        uri("https://api.partner.example"),
        email("OPS@partner.example"),
        email("ops@partner.example.evil.test"),
        email("ops@partner.example,x@partner.example"),
        email("api.partner.example"),
        uri("spiffe://example.org/ns/Shop"),
        uri("spiffe://example.org/ns/shop/x"),
        uri("spiffe://example.org/ns/sho"),
    ] {
        let shown = certificate(&[(DnType::OrganizationName, "partner")], std::slice::from_ref(&name));
        ask(&plugin, &shown).denied(401, "certificate_consumer_unknown");
    }
    for name in ["Partner", "partner ", "partne", "partner,partner", "api.partner.example"] {
        let shown = certificate(&[(DnType::CommonName, name)], &[]);
        ask(&plugin, &shown).denied(401, "certificate_consumer_unknown");
    }
}

#[test]
fn the_origin_is_told_of_it() {
    let plugin = build(
        "{consumer_optional: true, forward: [x-forwarded-client-cert, client-cert, client-cert-chain]}",
    );
    let partner = partner();
    let ran = ask(&plugin, &partner);
    let told: Vec<(String, String)> = ran
        .ex
        .origin_changes()
        .set_headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let print = hex::encode(partner.sha256);
    let expect =
        format!("Hash={print};Subject=\"CN=partner,O=Example\\\\, Inc.,C=DE\";DNS=api.partner.example");
    assert_eq!(told[0], ("x-forwarded-client-cert".to_owned(), expect));
    assert!(told[1].0 == "client-cert" && told[1].1.starts_with(":MII") && told[1].1.ends_with(':'));
    assert_eq!(told[2], ("client-cert-chain".to_owned(), ":YmV0d2Vlbg==:".to_owned()));
    let odd = certificate(&[(DnType::CommonName, "x")], &[uri("https://a.test/?b=\"c\";d,e")]);
    let ran = ask(&build("{consumer_optional: true, forward: [x-forwarded-client-cert]}"), &odd);
    let (_, value) = &ran.ex.origin_changes().set_headers[0];
    assert!(value.to_str().unwrap().ends_with(";URI=\"https://a.test/?b=\\\"c\\\";d,e\""), "{value:?}");
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("allow: []", "no certificate would be let in"),
        ("allow: [{}]", "allow[0]: a rule without a field"),
        ("allow: [{subject: partner}]", "allow[0].subject: `partner` cannot be"),
        ("allow: [{subject: 'XX=partner'}]", "as RFC 4514 does"),
        ("allow: [{dns: 'a.*.b'}]", "cannot be in a certificate as `dns`"),
        ("allow: [{dns: ''}]", "cannot be in a certificate as `dns`"),
        ("allow: [{spiffe: 'https://a'}]", "write it as `spiffe://"),
        ("allow: [{fingerprint: abc}]", "64 hex digits"),
        ("allow: [{email: 'a b'}]", "without spaces"),
        ("allow: [{subjct: a}]", "did you mean `subject`"),
        ("forward: [cert]", "cert"),
        ("principal: issuer", "issuer"),
    ] {
        let error = Kit::of(DESCRIPTOR).build(yaml).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
    let build =
        |credential: &str| Kit::of(DESCRIPTOR).consumer("a", &[], &[credential]).build("{}").map(drop);
    for (credential, words) in [
        ("{}", "known by one field"),
        ("{dns: a.test, email: a@b}", "known by one field"),
        ("{dns: '*.a.test'}", "cannot be in a certificate as `dns`"),
        ("{fingerprint: '00'}", "64 hex digits"),
    ] {
        let error = build(credential).unwrap_err();
        assert!(error.contains(words) && error.contains("consumers.a.mtls"), "{credential}: {error}");
    }
    let twice =
        Kit::of(DESCRIPTOR).consumer("a", &[], &["{dns: a.test}"]).consumer("b", &[], &["{dns: A.test}"]);
    assert!(twice.build("{}").unwrap_err().contains("is the consumer `a` already"));
}
