use super::*;
use palisade_contract::{
    Descriptor, PeerCertificate, Tls,
    testkit::{Case, Kit},
};

fn kit() -> Kit {
    Kit::of(Descriptor::of::<Csrf>())
}

fn post(headers: &[(&str, &str)]) -> Case {
    let case = Case::new("POST", "/").header("host", "shop.example.com").client(|client| client.https = true);
    headers.iter().fold(case, |case, (name, value)| case.header(name, value))
}

const COOKIES: (&str, &str) = ("cookie", "session=1");

#[test]
fn changes_come_from_pages_of_the_service() {
    let plugin = kit().build("origins: [https://admin.example.com]").unwrap();
    for headers in [
        &[COOKIES, ("sec-fetch-site", "same-origin")][..],
        &[COOKIES, ("sec-fetch-site", "none")],
        &[COOKIES, ("origin", "https://shop.example.com")],
        &[COOKIES, ("origin", "https://admin.example.com")],
        &[COOKIES, ("origin", "https://admin.example.com"), ("sec-fetch-site", "same-site")],
        &[("authorization", "Bearer x")],
        &[],
    ] {
        plugin.run(post(headers)).passed();
    }
    for (headers, reason) in [
        (&[COOKIES, ("sec-fetch-site", "cross-site")][..], "csrf_cross_site"),
        (&[COOKIES, ("sec-fetch-site", "same-site")], "csrf_cross_site"),
        (&[COOKIES, ("sec-fetch-site", "Same-Origin")], "csrf_cross_site"),
        (&[COOKIES, ("sec-fetch-site", "")], "csrf_cross_site"),
        // What the browser says of the site goes before an origin that looks right.
        (
            &[COOKIES, ("origin", "https://shop.example.com"), ("sec-fetch-site", "cross-site")],
            "csrf_cross_site",
        ),
        (&[COOKIES, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], "csrf_origin"),
        (&[COOKIES, ("origin", "https://evil.example")], "csrf_origin"),
        (&[COOKIES, ("origin", "http://shop.example.com")], "csrf_origin"),
        (&[COOKIES, ("origin", "https://shop.example.com:8443")], "csrf_origin"),
        (&[COOKIES, ("origin", "https://shop.example.com.evil.example")], "csrf_origin"),
        (&[COOKIES, ("origin", "null")], "csrf_origin"),
        (&[COOKIES, ("origin", "")], "csrf_origin"),
        (&[COOKIES, ("origin", "https://")], "csrf_origin"),
        (&[("origin", "https://evil.example")], "csrf_origin"),
        (&[COOKIES], "csrf_origin"),
        (&[("authorization", "basic eDp5")], "csrf_origin"),
        (&[("authorization", "Negotiate x")], "csrf_origin"),
    ] {
        plugin.run(post(headers)).denied(403, reason);
    }
    let certificate = PeerCertificate { chain: Vec::new(), sha256: [0; 32] };
    let tls = Tls {
        version: "TLSv1.3".into(),
        cipher: "x".into(),
        server_name: None,
        alpn: None,
        certificate: Some(certificate.into()),
    };
    plugin.run(post(&[]).client(|client| client.tls = Some(tls))).denied(403, "csrf_origin");
    for method in ["GET", "HEAD", "OPTIONS"] {
        plugin.run(Case::new(method, "/").header("sec-fetch-site", "cross-site")).passed();
    }
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
        let case = Case::new(method, "/").header("sec-fetch-site", "cross-site");
        plugin.run(case).denied(403, "csrf_cross_site");
    }
    let plugin = kit().build("same_site: true").unwrap();
    plugin.run(post(&[COOKIES, ("sec-fetch-site", "same-site")])).passed();
    plugin.run(post(&[COOKIES, ("sec-fetch-site", "cross-site")])).denied(403, "csrf_cross_site");
}

const TOKEN: &str = "token: {secret: 0123456789abcdef0123456789abcdef, cookie: t}";

/// The token that a page gets.
fn token(yaml: &str, principal: &str) -> String {
    let plugin = kit().build(yaml).unwrap();
    let ran =
        plugin.run(Case::get("/").principal(principal, &[]).client(|client| client.https = true)).passed();
    let cookie = ran.head.headers.get(SET_COOKIE).unwrap().to_str().unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; SameSite=Strict; Secure"), "{cookie}");
    cookie.split_once('=').unwrap().1.split_once(';').unwrap().0.to_owned()
}

#[test]
fn a_token_is_sent_twice_and_is_ours() {
    let plugin = kit().build(TOKEN).unwrap();
    let (mine, other) = (token(TOKEN, "alice"), token(TOKEN, "mallory"));
    let foreign = token(&TOKEN.replace("0123", "3210"), "alice");
    let send = |header: Option<&str>, cookie: &str| {
        let case = post(&[("sec-fetch-site", "same-origin"), ("cookie", cookie)]).principal("alice", &[]);
        plugin.run(match header {
            Some(header) => case.header("x-csrf-token", header),
            None => case,
        })
    };
    let cookie = |token: &str| format!("a=b; t={token}");
    send(Some(&mine), &cookie(&mine)).passed();
    for (header, cookies) in [
        (None, cookie(&mine)),
        (Some(""), cookie("")),
        (Some("x"), cookie("x")),
        (Some("."), cookie(".")),
        (Some(&*mine), "a=b".to_owned()),
        (Some(&mine[1..]), cookie(&mine)),
        (Some(&*mine), cookie(&mine[1..])),
        (Some(&*other), cookie(&other)),
        (Some(&*foreign), cookie(&foreign)),
        (Some(&*mine), format!("t={mine}; t={mine}")),
        (Some(&*mine), format!("t={other}; t={mine}")),
    ] {
        send(header, &cookies).denied(403, "csrf_token");
    }
    // Without cookies there is nothing that another page could make use of.
    plugin.run(post(&[]).principal("alice", &[])).passed();
    // Who has a token of theirs gets no other one.
    let again = Case::get("/").principal("alice", &[]).header("cookie", &cookie(&mine));
    assert!(plugin.run(again).passed().head.headers.get(SET_COOKIE).is_none());
    let anew = Case::get("/").principal("alice", &[]).header("cookie", &cookie(&other));
    assert!(plugin.run(anew).passed().head.headers.get(SET_COOKIE).is_some());
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("origins: [shop.example.com]", "is not an origin"),
        ("origins: ['*']", "is not an origin"),
        ("origins: ['null']", "is not an origin"),
        ("origins: [https://shop.example.com/]", "is not an origin"),
        ("origins: [https://shop.example.com:443]", "is not an origin"),
        ("origins: [https://Shop.example.com]", "is not an origin"),
        ("token: {secret: short}", "32 bytes"),
        ("token: {secret: 0123456789abcdef0123456789abcdef, cookie: 'a b'}", "cookie"),
        ("token: {secret: 0123456789abcdef0123456789abcdef, header: 'a b'}", "header"),
        ("tokens: {}", "token"),
    ] {
        let error = kit().build(yaml).map(drop).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
        assert!(!error.contains("0123456789abcdef"), "{error}");
    }
}
