use super::*;
use crate::coding::tests::gzip;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Kit},
};

fn kit() -> Kit {
    Kit::of(Descriptor::of::<ContentType>())
}

fn typed(value: &str, body: impl Into<Bytes>) -> Case {
    Case::new("POST", "/").header("content-type", value).body(body)
}

#[test]
fn what_is_on_the_list_passes() {
    let plugin = kit().build("{allow: [application/json, application/*+json, text/*]}").unwrap();
    for value in
        ["application/json", "APPLICATION/json; charset=utf-8", "application/problem+json", "text/csv"]
    {
        plugin.run(typed(value, "1")).passed();
    }
    for (value, reason) in [
        ("application/xml", "content_type_refused"),
        ("application/jsonx", "content_type_refused"),
        ("application/json, text/plain", "content_type_malformed"),
        ("json", "content_type_malformed"),
        ("", "content_type_malformed"),
    ] {
        plugin.run(typed(value, "1")).denied(415, reason);
        // The head alone is enough.
        let announced = Case::new("POST", "/").header("content-type", value).header("content-length", "1");
        let denial = plugin.run(announced).denied(415, reason);
        let accept = denial.headers().iter().find(|(name, _)| name == ACCEPT).map(|(_, value)| value.clone());
        assert_eq!(accept.unwrap(), "application/json, application/*+json, text/*");
    }
    let twice = typed("text/plain", "1").header("content-type", "text/plain");
    plugin.run(twice).denied(415, "content_type_malformed");
    plugin.run(Case::new("POST", "/").body("1")).denied(415, "content_type_missing");
    // Where there is no body nothing is said of one.
    plugin.run(Case::get("/")).passed();
    plugin.run(Case::get("/").header("content-type", "application/xml")).passed();
    plugin.run(Case::new("POST", "/").header("content-length", "0")).passed();
}

#[test]
fn bodies_are_what_they_say() {
    let plugin = kit().build("{allow: [application/*, multipart/form-data, text/*, image/*]}").unwrap();
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n";
    for (value, body) in [
        ("application/json", "{\"a\":[1,\"\u{e4}\"]}"),
        ("application/x-www-form-urlencoded", "a=1&b=%C3%A4+x"),
        ("multipart/form-data; boundary=b", part),
        ("multipart/form-data; boundary=\"b\"", &part.replace("\r\n1\r\n", "\r\n\r\n--c\r\n\r\n")),
        ("multipart/form-data; boundary=b", "--b\r\n\r\n\r\n--b--"),
        ("application/xml", "\u{feff} <a/>"),
        ("text/plain", "gr\u{fc}n"),
        ("text/plain; charset=us-ascii", "green"),
        ("application/pdf", "%PDF-1.7"),
        ("image/gif", "GIF89a"),
        ("image/x-icon", "whatever"),
        ("application/octet-stream", "\0"),
    ] {
        plugin.run(typed(value, body.to_owned())).passed();
    }
    for (value, body) in [
        ("application/json", "a=1"),
        ("application/json", "{} {}"),
        ("application/json; charset=utf-16", "{}"),
        ("application/x-www-form-urlencoded", "{\"a\": 1}"),
        ("application/x-www-form-urlencoded", "a=%4"),
        ("application/x-www-form-urlencoded", "a=%zz"),
        ("application/x-www-form-urlencoded", "a=\u{e4}"),
        ("multipart/form-data", part),
        ("multipart/form-data; boundary=c", part),
        ("multipart/form-data; boundary=b; boundary=b", part),
        ("multipart/form-data; boundary=\"b \"", part),
        ("multipart/form-data; boundary=b", &part.replace("\r\n", "\n")),
        ("multipart/form-data; boundary=b", "--b\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", &format!("preamble\r\n{part}")),
        ("multipart/form-data; boundary=b", &format!("{part}epilogue")),
        ("multipart/form-data; boundary=b", part.trim_end_matches("--\r\n")),
        ("multipart/form-data; boundary=b", &part.replace("--b\r\nC", "--b \r\nC")),
        ("multipart/form-data; boundary=b", &part.replace("form-data;", "form-data;\r\n")),
        (
            "multipart/form-data; boundary=b",
            &part.replace("\r\n\r\n1", "\r\nContent-Disposition: x\r\n\r\n1"),
        ),
        ("multipart/form-data; boundary=b", &part.replace("\r\n\r\n1", "1")),
        ("application/xml", "{}"),
        ("text/plain; charset=us-ascii", "gr\u{fc}n"),
        ("text/plain; charset=utf-7", "+ADw-"),
        ("text/plain", "a\0b"),
        ("application/pdf", "<script>"),
        ("image/png", "GIF89a"),
    ] {
        plugin.run(typed(value, body.to_owned())).denied(400, "content_type_lies");
    }
    plugin.run(typed("application/json", &b"\"\xff\""[..])).denied(400, "content_type_lies");
    let plugin = kit().build("{allow: [application/json], verify: false}").unwrap();
    assert_eq!(plugin.built.plugin().request_body(), BodyNeed::Stream);
    assert!(plugin.built.plugin().keeps_request_body());
    plugin.run(typed("application/json", "a=1")).passed();
    plugin.run(typed("text/plain", "1")).denied(415, "content_type_refused");
}

#[test]
fn codings_are_refused_or_taken_off_under_caps() {
    let coded =
        |coding: &str, body: Bytes| typed("application/json", body).header("content-encoding", coding);
    let closed = kit().build("{allow: [application/json]}").unwrap();
    let denial = closed.run(coded("gzip", gzip(b"{}"))).denied(415, "encoding_refused");
    assert!(denial.headers().iter().any(|(name, value)| name == ACCEPT_ENCODING && value == "identity"));
    closed.run(coded("identity", "{}".into())).passed();
    let open = kit().build("{allow: [application/json], encodings: [gzip], max_body_size: 200KiB}").unwrap();
    let ran = open.run(coded("GZIP", gzip(b"{\"a\":1}"))).passed();
    assert_eq!(ran.request_body.bytes(), "{\"a\":1}");
    assert!(ran.ex.origin_changes().remove_headers.contains(&CONTENT_ENCODING));
    open.run(coded("gzip", gzip(b"a=1"))).denied(400, "content_type_lies");
    open.run(coded("gzip", "{}".into())).denied(400, "encoding_malformed");
    open.run(coded("br", gzip(b"{}"))).denied(415, "encoding_refused");
    let spaces = |count: usize| [&vec![b' '; count][..], b"1"].concat();
    open.run(coded("gzip", gzip(&spaces(60_000)))).passed();
    open.run(coded("gzip", gzip(&spaces(190_000)))).denied(413, "encoding_bomb");
    open.run(coded("gzip, gzip", gzip(&gzip(&spaces(300_000))))).denied(413, "encoding_bomb");
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("{}", "allow"),
        ("allow: []", "no body may come"),
        ("allow: [json]", "is not a media type"),
        ("{allow: [text/*], max_ratio: 0}", "nothing decoded"),
        ("{allow: [text/*], encodings: [zstd]}", "zstd"),
    ] {
        let error = kit().build(yaml).map(drop).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
}
