//! The fuzz targets over their corpus and over inputs made of it, the same ones each time. `ROUNDS=N` makes N times as
//! many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may panic"
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;

/// Runs a target over `fuzz/corpus/NAME`, of configurations also over the examples of the documentation, and over `count`
/// inputs made of that.
fn smoke(name: &str, run: fn(&[u8]), words: &[&[u8]], count: usize) {
    let own = format!("fuzz/corpus/{name}");
    let folders = [Path::new(&own), Path::new("docs/examples")];
    // Below those are files that the examples name.
    let corpus = if name == "conf" { &folders[..] } else { &folders[..1] };
    fuzz::smoke::smoke(name, run, &fuzz::smoke::Smoke { corpus, words, count, most: 5000 });
}

#[test]
fn framing() {
    let words: [&[u8]; 32] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\0",
        b"_",
        b"Host: a\r\n",
        b"Host: b\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"chunked",
        b"Upgrade: websocket\r\n",
        b"Upgrade: h2c\r\n",
        b"Connection: close, upgrade\r\n",
        b"Expect: 100-continue\r\n",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"GET ",
        b"POST ",
        b"OPTIONS * ",
        b"http://a/",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"If-Match: x\r\n",
        b"X.Real-IP: 1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    smoke("framing", fuzz::framing::run, &words, 1500);
}

#[test]
fn path() {
    let words: [&[u8]; 22] = [
        b"/",
        b"//",
        b".",
        b"..",
        b"/../",
        b";",
        b"%",
        b"%2",
        b"%25",
        b"%2e",
        b"%2F",
        b"%5C",
        b"%00",
        b"%20",
        b"\\",
        b"%C3%A9",
        b"%EF%BC%8F",
        b"%C0%AE",
        b"%FF",
        b"A",
        "\u{130}".as_bytes(),
        "\u{1ccf6}".as_bytes(),
    ];
    smoke("path", fuzz::path::run, &words, 60_000);
}

#[test]
fn conf() {
    let words: [&[u8]; 24] = [
        b"\n",
        b"  ",
        b": ",
        b"- ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"'",
        b"\"",
        b"#",
        b"&a",
        b"*a",
        b"!!str",
        b"|",
        b"${env:SET}",
        b"${env:NO:-x}",
        b"null",
        b"1e999",
        b"-1",
        b"99999999999999999999",
        b"10s",
        b"\t",
        b"\xff",
    ];
    smoke("conf", fuzz::conf::run, &words, 700);
}

#[test]
fn proxy_protocol() {
    let words: [&[u8]; 14] = [
        b"\r\n",
        b"\n",
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b" ",
        b"::1",
        b"127.0.0.1",
        b"65535",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x21\x11\0\x0c",
        b"\x20\0\0\0",
        b"\xff\xff",
    ];
    smoke("proxy_protocol", fuzz::proxy_protocol::run, &words, 4000);
}

#[test]
fn frames() {
    let words: [&[u8]; 14] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x01\x01\x05\0\0\0\x01\x82",
        b"\0\0\x06\x01\x2d\0\0\0\x01\0\0\0\0\0\x10",
        b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
        b"\0\0\x01\x09\0\0\0\0\x01\x82",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
        b"\xff\xff\xff",
        b"\x7f",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        b"\x0f",
        b"\x40\x01a\x01b",
        b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x82\x82\x82\x82\x82\x82\x82\x82",
    ];
    smoke("frames", fuzz::frames::run, &words, 1500);
}

#[test]
fn consumers() {
    let words: [&[u8]; 24] = [
        b"\n",
        b"\r\n",
        b"{}",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\u0061",
        b"null",
        b"\"name\":\"alice\"",
        b"\"groups\":[\"gold\"]",
        b"\"key-auth\":[]",
        b"\"key_sha256\"",
        b"\"key\":\"x\"",
        b"\"expires\":\"2027-01-31\"",
        b"\"id\":\"web\"",
        b"\"plugins\":{}",
        b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\0",
    ];
    smoke("consumers", fuzz::consumers::run, &words, 3000);
}
