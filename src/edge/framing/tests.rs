use super::*;

#[test]
fn a_head_is_read_again_only_where_something_has_changed() {
    let limits = HeadLimits { bytes: 2000, count: 100, target: 300 };
    let long = format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(500));
    for whole in [long, format!("GET /{}", "x".repeat(1000)), format!("{}\r\n", "y".repeat(3000))] {
        let bytes = whole.as_bytes();
        let mut reads = 0;
        for end in 1..=bytes.len() {
            let more = says_more(&bytes[..end], end - 1, &limits);
            reads += usize::from(more);
            // What is not read again says the same as before.
            if !more {
                assert_eq!(
                    scan(&bytes[..end], &limits),
                    scan(&bytes[..end - 1], &limits),
                    "{end} of {whole}"
                );
            }
            if scan(&bytes[..end], &limits) != Ok(None) {
                assert!(more, "{end} of {whole}");
                break;
            }
        }
        assert!(reads <= 6, "{reads}");
    }
}

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, count: 20, target: 1024 };

fn reason(text: &str) -> Result<Option<Head>, &'static str> {
    scan(text.as_bytes(), &LIMITS).map_err(|refusal| refusal.reason)
}

fn with(fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn what_is_ambiguous_is_refused() {
    for (fields, expected) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "framing_length_and_coding"),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", "framing_length_repeated"),
        ("Content-Length: 1\r\ncontent-length: 2\r\n", "framing_length_repeated"),
        ("Content-Length: 1, 1\r\n", "framing_length_malformed"),
        ("Content-Length: +1\r\n", "framing_length_malformed"),
        ("Content-Length: -1\r\n", "framing_length_malformed"),
        ("Content-Length: 0x1\r\n", "framing_length_malformed"),
        ("Content-Length: 1_0\r\n", "framing_length_malformed"),
        ("Content-Length: 1 0\r\n", "framing_length_malformed"),
        ("Content-Length: 1.0\r\n", "framing_length_malformed"),
        ("Content-Length:\r\n", "framing_length_malformed"),
        ("Content-Length: 99999999999999999999\r\n", "framing_length_malformed"),
        ("Transfer-Encoding: gzip\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding: gzip, chunked\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding: chunked, chunked\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding: identity\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding:\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding: \"chunked\"\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding: chunked;q=1\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding: xchunked\r\n", "framing_coding_unknown"),
        ("Transfer-Encoding: \x0bchunked\r\n", "header_control_character"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "framing_coding_repeated"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "framing_coding_repeated"),
        ("Transfer-Encoding : chunked\r\n", "header_name"),
        ("Transfer Encoding: chunked\r\n", "header_name"),
        (" Transfer-Encoding: chunked\r\n", "header_folded"),
        ("\tX: 1\r\n", "header_folded"),
        ("X: 1\r\n folded\r\n", "header_folded"),
        ("X: 1\n", "framing_bare_lf"),
        ("X: 1\nY: 2\r\n", "framing_bare_lf"),
        ("X: 1\rY: 2\r\n", "header_control_character"),
        ("X: a\0b\r\n", "header_control_character"),
        ("X\0: ab\r\n", "header_name"),
        (": x\r\n", "header_name"),
        ("X\r\n", "header_malformed"),
        ("X(Y): 1\r\n", "header_name"),
        ("X\u{e4}: 1\r\n", "header_name"),
        ("X_Y: 1\r\n", "header_underscore"),
        ("Content_Length: 1\r\n", "header_underscore"),
        ("Host: b\r\n", "host_repeated"),
        ("Expect: 200-ok\r\n", "expectation_unknown"),
        ("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\n", "framing_upgrade_body"),
        ("Upgrade: h2c\r\nTransfer-Encoding: chunked\r\n", "framing_upgrade_body"),
    ] {
        assert_eq!(reason(&with(fields)), Err(expected), "{fields:?}");
    }
}

#[test]
fn request_lines_that_are_refused() {
    for (line, expected) in [
        ("GET admin HTTP/1.1", "target_malformed"),
        ("GET  /a HTTP/1.1", "request_line"),
        ("GET /a  HTTP/1.1", "request_line"),
        ("GET /a b HTTP/1.1", "request_line"),
        ("GET\t/a\tHTTP/1.1", "request_line"),
        ("GET /a\tHTTP/1.1", "request_line"),
        ("GET /a", "request_line"),
        ("GET /a HTTP/1.1 ", "request_line"),
        (" GET /a HTTP/1.1", "request_line"),
        ("GET /a http/1.1", "request_line"),
        ("GET /a HTTP/2.0", "http_version"),
        ("GET /a HTTP/1.2", "http_version"),
        ("GET /a HTTP/0.9", "http_version"),
        ("GET /a HTTP/1.10", "http_version"),
        ("G(T /a HTTP/1.1", "method_malformed"),
        (" /a HTTP/1.1", "method_malformed"),
        ("CONNECT a:443 HTTP/1.1", "connect_refused"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG /a HTTP/1.1", "method_malformed"),
        ("GET * HTTP/1.1", "target_malformed"),
        ("GET ftp://a/x HTTP/1.1", "target_malformed"),
        ("GET http:///x HTTP/1.1", "target_malformed"),
        ("GET http://u@a/x HTTP/1.1", "target_malformed"),
        ("GET /a#b HTTP/1.1", "target_fragment"),
        ("GET /a\x01 HTTP/1.1", "target_control_character"),
        ("GET a:80 HTTP/1.1", "target_malformed"),
        ("GET /a<b HTTP/1.1", "target_malformed"),
        ("GET /a?b> HTTP/1.1", "target_malformed"),
        ("GET /a`b HTTP/1.1", "target_malformed"),
        ("GET /a?\"b HTTP/1.1", "target_malformed"),
    ] {
        assert_eq!(reason(&format!("{line}\r\nHost: a\r\n\r\n")), Err(expected), "{line:?}");
    }
}

#[test]
fn hosts() {
    for host in ["a", "a:80", "shop.example.com:8443", "[::1]", "[::1]:80", "127.0.0.1"] {
        assert!(reason(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(), "{host}");
    }
    for host in [
        "", "a b", "a/b", "a@b", "a:b", "a:", "a:99999", "a,b", "[::1", "[x]", "::1", "a?b", "a#b", "a\\b",
        "\u{e4}",
    ] {
        assert_eq!(
            reason(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")),
            Err("host_malformed"),
            "{host}"
        );
    }
    assert_eq!(reason("GET / HTTP/1.1\r\n\r\n"), Err("host_missing"));
    assert_eq!(reason("GET / HTTP/1.0\r\n\r\n"), Err("host_missing"));
    assert!(reason("GET / HTTP/1.0\r\nHost: a\r\n\r\n").unwrap().unwrap().close);
    assert_eq!(
        reason("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err("framing_coding_http10")
    );
    assert_eq!(reason("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), Err("framing_trace_body"));
}

#[test]
fn what_is_legal_passes() {
    for (text, framing) in [
        ("GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("POST / HTTP/1.1\r\nhost:a\r\ncontent-length:5\r\n\r\n", Framing::Length(5)),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked(Chunks::new())),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\ty\r\n\r\n", Framing::Length(0)),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n",
            Framing::Raw,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", Framing::Length(0)),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            Framing::Length(0),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            Framing::Length(0),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            Framing::Length(0),
        ),
    ] {
        let head = reason(text).unwrap().unwrap();
        assert_eq!((head.length, head.framing), (text.len(), framing), "{text:?}");
    }
}

#[test]
fn limits_hold() {
    assert_eq!(
        reason(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1100))),
        Err("uri_too_long")
    );
    assert_eq!(reason(&format!("GET /{}", "x".repeat(1100))), Err("uri_too_long"));
    assert_eq!(reason(&with(&"X: 1\r\n".repeat(21))), Err("header_count"));
    assert_eq!(reason(&with(&format!("X: {}\r\n", "y".repeat(5000)))), Err("header_bytes"));
    assert_eq!(reason(&"X".repeat(900)), Ok(None));
}

fn chunked(text: &str) -> Result<(String, usize, bool), &'static str> {
    let mut framing = Framing::Chunked(Chunks::new());
    let mut content = Vec::new();
    let taken = framing
        .advance(text.as_bytes(), &mut |piece| content.extend_from_slice(piece))
        .map_err(|refusal| refusal.reason)?;
    Ok((String::from_utf8(content).unwrap(), taken, framing.is_done()))
}

#[test]
fn chunked_bodies() {
    assert_eq!(chunked("3\r\nabc\r\n0\r\n\r\nGET"), Ok(("abc".to_owned(), 13, true)));
    assert_eq!(
        chunked("3;x=y\r\nabc\r\nA\r\n0123456789\r\n0;z\r\nX: y\r\n\r\n").map(|found| found.2),
        Ok(true)
    );
    assert_eq!(chunked("0000000000000003\r\nabc\r\n0\r\n\r\n").map(|found| found.2), Ok(true));
    for (text, expected) in [
        ("\r\n", "chunk_size"),
        ("g\r\n", "chunk_size"),
        ("-1\r\n", "chunk_size"),
        ("+1\r\n", "chunk_size"),
        ("0x1\r\n", "chunk_size"),
        ("1_0\r\n", "chunk_size"),
        (" 1\r\n", "chunk_size"),
        ("1 \r\n", "chunk_size"),
        ("1\n", "chunk_size"),
        ("00000000000000001\r\n", "chunk_size"),
        ("ffffffffffffffff1\r\n", "chunk_size"),
        (";x\r\n", "chunk_size"),
        ("1;a\nb\r\n", "chunk_extension"),
        ("1;a\0b\r\n", "chunk_extension"),
        ("1;a\x7fb\r\n", "chunk_extension"),
        ("1\rx", "chunk_framing"),
        ("1;x\ry", "chunk_framing"),
        ("1\r\nab\r\n", "chunk_framing"),
        ("1\r\na\n", "chunk_framing"),
        ("1\r\na\rx", "chunk_framing"),
        ("0\r\n\n", "framing_bare_lf"),
        ("0\r\nX: 1\n", "framing_bare_lf"),
        ("0\r\nContent-Length: 1\r\n", "trailer_forbidden"),
        ("0\r\nhost: b\r\n", "trailer_forbidden"),
        ("0\r\nX-Consumer-Id: bob\r\n", "trailer_forbidden"),
        ("0\r\nAuthorization: x\r\n", "trailer_forbidden"),
        ("0\r\nIf-Match: x\r\n", "trailer_forbidden"),
        ("0\r\nRange: bytes=0-1\r\n", "trailer_forbidden"),
        ("0\r\nX.Real.IP: 1\r\n", "trailer_forbidden"),
        ("0\r\n X: 1\r\n", "header_folded"),
        ("0\r\nX\r\n", "header_malformed"),
        ("0\r\nX Y: 1\r\n", "header_name"),
    ] {
        assert_eq!(chunked(text).map(|_| ()), Err(expected), "{text:?}");
    }
    assert_eq!(chunked(&format!("1;{}\r\n", "x".repeat(2000))).map(|_| ()), Err("chunk_extension"));
    assert_eq!(chunked(&format!("0\r\n{}", "X: y\r\n".repeat(3000))).map(|_| ()), Err("trailer_bytes"));
}

proptest::proptest! {
    /// Where a chunked body is cut into pieces makes no difference.
    #[test]
    fn pieces_make_no_difference(text in "[0-9a-c;\r\nX:]{0,40}", cut in 0usize..40) {
        let whole = {
            let mut framing = Framing::Chunked(Chunks::new());
            framing.advance(text.as_bytes(), &mut |_| {}).map(|taken| (taken, framing))
        };
        let cut = cut.min(text.len());
        let mut framing = Framing::Chunked(Chunks::new());
        let pieces = framing.advance(&text.as_bytes()[..cut], &mut |_| {}).and_then(|first| {
            if first < cut { return Ok(first) }
            framing.advance(&text.as_bytes()[cut..], &mut |_| {}).map(|second| first + second)
        }).map(|taken| (taken, framing));
        proptest::prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = scan(&bytes, &LIMITS);
    }
}

/// Reads a head as it comes in, as a connection does.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<Head>, Refusal> {
    for end in cuts.iter().copied().filter(|cut| *cut < bytes.len()).chain([bytes.len()]) {
        match scan(&bytes[..end], &LIMITS) {
            Ok(None) => {}
            verdict => return verdict,
        }
    }
    Ok(None)
}

#[test]
fn a_head_is_judged_alike_however_it_is_cut() {
    let long = |count: usize| "x".repeat(count);
    for text in [
        with("X: 1\r\n"),
        with("Content-Length: 5\r\n") + "hello",
        with("X: 1\nY: 2\r\n"),
        with("Host: b\r\nContent-Length: x\r\n"),
        with(&"X: 1\r\n".repeat(21)),
        with(&format!("X: {}\r\nbad\r\n", long(5000))),
        with(&format!("bad\r\nX: {}\r\n", long(5000))),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(1100)),
        format!("GET /{}\n", long(1100)),
        format!("GET /{}\n", long(5000)),
        format!("{} / HTTP/1.1\r\n\r\n", long(60)),
        format!("{}\n", long(1060)),
        format!("{}\n", long(1080)),
        long(5000),
    ] {
        let whole = in_pieces(text.as_bytes(), &[]);
        let each: Vec<usize> = (1..text.len()).collect();
        assert_eq!(in_pieces(text.as_bytes(), &each), whole, "{text:?} byte by byte");
        for cut in each {
            assert_eq!(in_pieces(text.as_bytes(), &[cut]), whole, "{text:?} cut at {cut}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_head_is_judged_alike_however_it_is_cut(
        lines in proptest::collection::vec("(Host: a|X: 1|Content-Length: [0-9x]|Transfer-Encoding: chunked| X|X_: 1|)(\r\n|\n|\r)", 0..8),
        cuts in proptest::collection::btree_set(1usize..200, 0..6),
    ) {
        let text = format!("POST / HTTP/1.1\r\n{}", lines.concat());
        let cuts: Vec<usize> = cuts.into_iter().collect();
        proptest::prop_assert_eq!(in_pieces(text.as_bytes(), &cuts), in_pieces(text.as_bytes(), &[]));
    }
}
