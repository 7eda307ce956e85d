//! Framing of HTTP/1 (RFC 9112): what can be read in two ways is refused and closes the connection.
//!
//! Cases: CVE-2025-4366, CVE-2026-2833, CVE-2026-2835 (smuggling through Pingora), CVE-2025-55315 (a line feed in a
//! chunk extension), CVE-2026-58055 (an upgrade beside a length), TE.0, 0.CL, and `Expect` that is not understood.

use crate::gate::Gate;

/// A POST with these lines, and what follows its head.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /MARK HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

macro_rules! refused {
    ($($(#[$about:meta])* $name:ident: $reason:literal, [$($request:expr),+ $(,)?];)+) => {$(
        $(#[$about])*
        #[test]
        fn $name() {
            let gate = Gate::shared();
            for request in [$($request.to_owned()),+] {
                gate.refuses(request, 400, $reason);
            }
        }
    )+};
}

refused! {
    /// CL.TE and TE.CL.
    content_length_with_transfer_encoding_is_refused: "framing_length_and_coding", [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"),
    ];
    more_than_one_content_length_is_refused: "framing_length_repeated", [
        post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        post("Content-Length: 0\r\ncontent-length: 5\r\n", "hello"),
    ];
    a_content_length_that_is_not_digits_is_refused: "framing_length_malformed", [
        post("Content-Length: 5, 5\r\n", "hello"),
        post("Content-Length: +5\r\n", "hello"),
        post("Content-Length: -5\r\n", "hello"),
        post("Content-Length: 0x5\r\n", "hello"),
        post("Content-Length: 5 5\r\n", "hello"),
        post("Content-Length: 5_0\r\n", "hello"),
        post("Content-Length: \r\n", "hello"),
        post("Content-Length: 5.0\r\n", "hello"),
        post("Content-Length: \"5\"\r\n", "hello"),
    ];
    a_content_length_that_overflows_is_refused: "framing_length_malformed", [
        post("Content-Length: 18446744073709551621\r\n", "hello"),
        post("Content-Length: 99999999999999999999999999\r\n", "hello"),
    ];
    /// TE.TE, CVE-2026-2835: `chunked, chunked` and two lines.
    more_than_one_transfer_encoding_is_refused: "framing_coding_repeated", [
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ];
    any_coding_but_chunked_is_refused: "framing_coding_unknown", [
        post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: \r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
    ];
    transfer_encoding_on_http_1_0_is_refused: "framing_coding_http10", [
        "POST /MARK HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    white_space_before_a_colon_is_refused: "header_name", [
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        post("Content-Length\t: 5\r\n", "hello"),
    ];
    white_space_in_a_name_is_refused: "header_name", [post("X Y: 1\r\n", "")];
    white_space_before_the_first_field_is_refused: "header_folded", [
        "GET /MARK HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /MARK HTTP/1.1\r\n\tHost: a\r\n\r\n",
    ];
    a_folded_field_is_refused: "header_folded", [
        post("X: a\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("X: a\r\n\tb\r\n", ""),
    ];
    a_bare_cr_in_the_head_is_refused: "header_control_character", [
        post("X: a\rTransfer-Encoding: chunked\r\n", ""),
        post("X: a\r\r\n", ""),
    ];
    a_bare_lf_in_the_head_is_refused: "framing_bare_lf", [
        post("X: a\nTransfer-Encoding: chunked\r\n", ""),
        "GET /MARK HTTP/1.1\nHost: a\r\n\r\n",
        "GET /MARK HTTP/1.1\r\nHost: a\r\n\n",
    ];
    a_nul_in_the_head_is_refused: "header_control_character", [post("X: a\0b\r\n", "")];
    a_nul_in_a_name_is_refused: "header_name", [post("X\0: a\r\n", "")];
    a_control_character_in_a_value_is_refused: "header_control_character", [
        post("X: a\x0bb\r\n", ""),
        post("X: a\x7fb\r\n", ""),
    ];
    a_name_that_is_no_token_is_refused: "header_name", [
        post("X(: 1\r\n", ""),
        post("X@Y: 1\r\n", ""),
        post(": 1\r\n", "").replace("\r\n: 1", "\r\n@: 1"),
    ];
    an_underscore_in_a_name_is_refused: "header_underscore", [
        post("Content_Length: 5\r\n", ""),
        post("x_real_ip: 10.0.0.1\r\n", ""),
    ];
    a_line_without_a_colon_is_refused: "header_malformed", [post("Nonsense\r\n", "")];
    /// CVE-2026-58055.
    an_upgrade_with_a_length_is_refused: "framing_upgrade_body", [
        post("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", "hello"),
        post("Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ];
    a_body_on_trace_is_refused: "framing_trace_body", [
        "TRACE /MARK HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "TRACE /MARK HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    a_target_without_a_leading_slash_is_refused: "target_malformed", [
        "GET MARK HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET admin/MARK HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ?MARK HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    a_scheme_that_is_not_http_is_refused: "target_malformed", [
        "GET ftp://a/MARK HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET file:///MARK HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    an_asterisk_for_another_method_than_options_is_refused: "target_malformed", [
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    a_request_line_of_other_parts_is_refused: "request_line", [
        "GET /MARK\r\nHost: a\r\n\r\n",
        "GET  /MARK HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /MARK HTTP/1.1 x\r\nHost: a\r\n\r\n",
        "GET /MARK ICAP/1.0\r\nHost: a\r\n\r\n",
    ];
    a_fragment_in_the_target_is_refused: "target_fragment", ["GET /MARK#x HTTP/1.1\r\nHost: a\r\n\r\n"];
}

#[test]
fn connect_is_refused() {
    Gate::shared().refuses("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "connect_refused");
}

#[test]
fn another_version_is_refused() {
    let gate = Gate::shared();
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.01"] {
        gate.refuses(format!("GET /MARK {version}\r\nHost: a\r\n\r\n"), 505, "http_version");
    }
}

#[test]
fn an_expectation_that_is_not_known_is_refused() {
    let gate = Gate::shared();
    gate.refuses(
        post("Expect: 100-continue, x\r\nContent-Length: 5\r\n", "hello"),
        417,
        "expectation_unknown",
    );
}

/// What is wrong with a body is found when its head may have gone to an origin already: nobody is answered with
/// anything but the refusal, the connection ends, and the origin sees no whole request.
fn breaks_off(body: &str, reason: &str) {
    let gate = Gate::shared();
    let behind = "GET /MARK/behind HTTP/1.1\r\nHost: a\r\n\r\n";
    let (answer, mut client, mark) = gate.answer(chunked(body) + behind);
    assert_eq!((answer.status, &*answer.reason()), (400, reason), "{body:?}");
    assert!(client.is_closed(), "{body:?}");
    assert_eq!(gate.seen(&mark), Vec::<String>::new(), "{body:?}");
}

macro_rules! broken {
    ($($(#[$about:meta])* $name:ident: $reason:literal, [$($body:literal),+ $(,)?];)+) => {$(
        $(#[$about])*
        #[test]
        fn $name() {
            for body in [$($body),+] {
                breaks_off(body, $reason);
            }
        }
    )+};
}

broken! {
    a_chunk_size_with_a_sign_is_refused: "chunk_size", ["+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n"];
    a_chunk_size_with_a_prefix_is_refused: "chunk_size", ["0x5\r\nhello\r\n0\r\n\r\n"];
    a_chunk_size_with_spaces_is_refused: "chunk_size", [" 5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n"];
    a_chunk_size_with_an_underscore_is_refused: "chunk_size", ["1_0\r\n0123456789abcdef\r\n0\r\n\r\n"];
    a_chunk_size_of_more_than_16_digits_is_refused: "chunk_size", ["00000000000000005\r\nhello\r\n0\r\n\r\n"];
    a_chunk_size_that_overflows_is_refused: "chunk_size", ["fffffffffffffffff\r\nhello\r\n0\r\n\r\n"];
    /// Pingora reads an empty line as the last chunk.
    an_empty_chunk_size_is_refused: "chunk_size", ["\r\n0\r\n\r\n", "5\r\nhello\r\n\r\n\r\n"];
    chunk_data_that_does_not_end_in_crlf_is_refused: "chunk_framing", [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
    ];
    /// CVE-2025-55315.
    a_line_break_in_a_chunk_extension_is_refused: "chunk_extension", [
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;\nxx\r\nhello\r\n0\r\n\r\n",
    ];
    a_bare_cr_in_a_chunk_extension_is_refused: "chunk_framing", ["5;a\rb\r\nhello\r\n0\r\n\r\n"];
    a_nul_in_a_chunk_extension_is_refused: "chunk_extension", ["5;a\0b\r\nhello\r\n0\r\n\r\n"];
    a_nul_in_the_chunk_framing_is_refused: "chunk_size", ["5\0\r\nhello\r\n0\r\n\r\n", "\x005\r\nhello\r\n0\r\n\r\n"];
    a_bare_cr_after_a_chunk_size_is_refused: "chunk_framing", ["5\rhello\r\n0\r\n\r\n"];
    a_bare_cr_in_the_trailers_is_refused: "chunk_framing", ["0\r\nx: a\rb\r\n\r\n"];
    a_nul_in_the_trailers_is_refused: "header_control_character", ["0\r\nx: a\0b\r\n\r\n"];
    a_bare_lf_after_a_chunk_size_is_refused: "chunk_size", ["5\nhello\r\n0\r\n\r\n"];
    a_bare_lf_in_the_trailers_is_refused: "framing_bare_lf", ["5\r\nhello\r\n0\r\n\n", "0\r\nx: y\n\r\n"];
    framing_in_a_trailer_is_refused: "trailer_forbidden", [
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nHost: b\r\n\r\n",
    ];
    credentials_in_a_trailer_are_refused: "trailer_forbidden", [
        "0\r\nAuthorization: Bearer x\r\n\r\n",
        "0\r\nCookie: a=b\r\n\r\n",
    ];
    what_says_of_which_form_a_body_is_is_refused_in_a_trailer: "trailer_forbidden", [
        "0\r\nContent-Type: text/html\r\n\r\n",
        "0\r\nContent-Encoding: gzip\r\n\r\n",
        "0\r\nContent-Range: bytes 0-1/2\r\n\r\n",
        "0\r\nTrailer: x\r\n\r\n",
    ];
    fields_of_one_hop_in_a_trailer_are_refused: "trailer_forbidden", [
        "0\r\nConnection: x-api-key\r\n\r\n",
        "0\r\nUpgrade: websocket\r\n\r\n",
        "0\r\nTE: trailers\r\n\r\n",
        "0\r\nKeep-Alive: timeout=5\r\n\r\n",
        "0\r\nProxy-Authorization: Basic x\r\n\r\n",
    ];
    what_changes_how_a_request_is_served_is_refused_in_a_trailer: "trailer_forbidden", [
        "0\r\nExpect: 100-continue\r\n\r\n",
        "0\r\nCache-Control: no-cache\r\n\r\n",
        "0\r\nPragma: no-cache\r\n\r\n",
        "0\r\nMax-Forwards: 1\r\n\r\n",
        "0\r\nRange: bytes=0-1\r\n\r\n",
        "0\r\nIf-None-Match: *\r\n\r\n",
        "0\r\nSet-Cookie: a=b\r\n\r\n",
        "0\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
        "0\r\nX-Original-URL: /admin\r\n\r\n",
    ];
    owned_fields_in_a_trailer_are_refused: "trailer_forbidden", [
        "0\r\nX-Consumer-Id: admin\r\n\r\n",
        "0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    ];
    an_underscore_in_a_trailer_is_refused: "header_underscore", ["0\r\nx_consumer_id: admin\r\n\r\n"];
    a_trailer_that_is_no_field_is_refused: "header_malformed", ["0\r\nnonsense\r\n\r\n"];
    a_folded_trailer_is_refused: "header_folded", ["0\r\nx: y\r\n z\r\n\r\n"];
}

#[test]
fn leading_empty_lines_are_passed_over() {
    let seen = Gate::shared().passes("\r\n\r\nGET /MARK HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(seen.starts_with("GET /mark"), "{seen}");
}

#[test]
fn chunked_in_any_case_works() {
    let gate = Gate::shared();
    for coding in ["chunked", "Chunked", "CHUNKED", "  chunked  "] {
        let seen = gate.passes(post(&format!("transfer-encoding: {coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n"));
        assert!(seen.contains("hello"), "{seen}");
    }
}

#[test]
fn chunk_extensions_and_upper_case_sizes_work() {
    let seen = Gate::shared().passes(chunked("A;name=\"value\";x\r\n0123456789\r\n000\r\n\r\n"));
    assert!(seen.contains("0123456789") && !seen.contains("name="), "{seen}");
}

/// Origins differ in what they make of trailers: none gets any.
#[test]
fn trailers_do_not_reach_the_origin() {
    let seen = Gate::shared().passes(chunked("5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n"));
    assert!(seen.contains("hello") && !seen.to_lowercase().contains("checksum"), "{seen}");
}

#[test]
fn obs_text_reaches_the_origin() {
    let seen = Gate::shared().passes(&b"GET /MARK HTTP/1.1\r\nHost: a\r\nX-Name: caf\xe9\r\n\r\n"[..]);
    // The origin's helper shows what is no UTF-8 like this.
    assert!(seen.contains("x-name: caf\u{fffd}\r\n"), "{seen}");
}

#[test]
fn a_length_of_zero_and_one_with_leading_zeros_work() {
    let gate = Gate::shared();
    gate.passes(post("Content-Length: 0\r\n", ""));
    gate.passes(post("Content-Length: 0005\r\n", "hello"));
}

#[test]
fn asterisk_form_and_absolute_form_work() {
    let gate = Gate::shared();
    let seen = gate.passes("GET http://a/MARK?x=y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(seen.starts_with("GET /mark") && seen.contains("?x=y HTTP/1.1\r\n"), "{seen}");
    let (answer, ..) = gate.answer("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_ne!(answer.status, 400);
}
