//! What bodies become.

use super::*;

#[test]
fn json_stays_json_and_what_is_not_changed_stays_as_it_was() {
    let plugin = build(
        "{find: [{kinds: [card]}, {kinds: [email, us-ssn], action: remove}, {kinds: [jwt, api-key]}], \
         fields: [{paths: ['customer.tax_id', 'items[].pin'], action: remove}, {paths: ['**.secret']}]}",
    );
    for (body, expected) in [
        // Strings, plain and with escapes, numbers, names.
        (r#"{"a": "4111111111111111"}"#, r#"{"a": "************1111"}"#),
        (r#"{"a" : "card 4111-1111-1111-1111, ok\n" }"#, r#"{"a" : "card ****-****-****-1111, ok\n" }"#),
        (r#"{"a":"\u0034111111111111111"}"#, r#"{"a":"************1111"}"#),
        (r#"{"a":"\n4111111111111111\t"}"#, r#"{"a":"************1111"}"#),
        (r#"{"a":4111111111111111}"#, r#"{"a":"************1111"}"#),
        (r#"[4.111111111111111e15]"#, r#"["************1111"]"#),
        (r#"[-1, 1.5, 4111111111111112, 1700000000000]"#, r#"[-1, 1.5, 4111111111111112, 1700000000000]"#),
        (r#"{"4111111111111111":1}"#, r#"{"************1111":1}"#),
        (r#""4111111111111111""#, r#""************1111""#),
        ("4111111111111111", "\"************1111\""),
        // Members and items go with their commas.
        (r#"{"a":"x@example.com","b":1}"#, r#"{"b":1}"#),
        (r#"{"a":1,"b":"x@example.com"}"#, r#"{"a":1}"#),
        (r#"{"a":1 , "b":"x@example.com" , "c":2 }"#, r#"{"a":1 , "c":2 }"#),
        (r#"{"a":"x@example.com"}"#, "{}"),
        (r#"["x@example.com", "y@example.com", 1]"#, r#"[ 1]"#),
        (r#"{"x@example.com":{"a":[1,2]},"b":1}"#, r#"{"b":1}"#),
        (r#""x@example.com""#, "null"),
        // A part of a string is a part.
        (r#"["to x@example.com, 078-05-1120"]"#, r#"["to [removed], [removed]"]"#),
        // Fields by their paths, whatever they hold.
        (r#"{"customer":{"tax_id":{"a":["b"]},"n":1}}"#, r#"{"customer":{"n":1}}"#),
        (r#"{"customer":{"n":1,"tax_id":null}}"#, r#"{"customer":{"n":1}}"#),
        (r#"{"\u0063ustomer":{"tax\u005fid":1}}"#, r#"{"\u0063ustomer":{}}"#),
        (r#"{"items":[{"pin":1,"a":2},{"pin":2}]}"#, r#"{"items":[{"a":2},{}]}"#),
        (r#"{"tax_id":1,"pin":2}"#, r#"{"tax_id":1,"pin":2}"#),
        (
            r#"{"a":[{"secret":{"x":[1,"y",true,null]}}]}"#,
            r#"{"a":[{"secret":{"x":["****","****","****",null]}}]}"#,
        ),
        // A name that stands twice is looked at twice: nobody can read what the other reader does not.
        (r#"{"secret":"a","secret":"b"}"#, r#"{"secret":"****","secret":"****"}"#),
        (r#"{"customer":{"tax_id":1},"customer":{"tax_id":2}}"#, r#"{"customer":{},"customer":{}}"#),
        // JSON in a string of JSON.
        (r#"{"a":"{\"b\":\"4111111111111111\"}"}"#, r#"{"a":"{\"b\":\"************1111\"}"}"#),
        (r#"{"a":"ghp_012345678901234567890123"}"#, r#"{"a":"****"}"#),
        ("\u{feff}{\"a\":4111111111111111}", "\u{feff}{\"a\":\"************1111\"}"),
    ] {
        assert_eq!(masked(&plugin, JSON, body), expected, "{body}");
        assert_eq!(masked(&plugin, "application/problem+json; charset=UTF-8", body), expected);
    }
}

#[test]
fn what_is_not_json_does_not_pass_where_something_could_be_in_it() {
    let plugin = build("{find: [{kinds: [card, email]}], fields: [{paths: [secret]}]}");
    let card = "4111111111111111";
    for body in [
        format!("{{\"a\":\"{card}\""),
        format!("{{\"a\":\"{card}\"}}x"),
        format!("{{\"a\":\"{card}\"}}{{}}"),
        format!("{{\"a\":\"{card}\",}}"),
        format!("{{'a':'{card}'}}"),
        format!("{{a:\"{card}\"}}"),
        format!("[\"{card}\" 1]"),
        format!("[\"{card}\"}}"),
        format!("[,\"{card}\"]"),
        format!("[\"{card}\n\"]"),
        format!("[\"{card}\",\"\\x41\"]"),
        format!("[\"{card}\",\"\\u00g0\"]"),
        format!("[\"{card}\",01]"),
        format!("[\"{card}\",1.]"),
        format!("[\"{card}\",+1]"),
        format!("[\"{card}\",NaN]"),
        format!("[\"{card}\",truex]"),
        format!("[\"{card}\",nul"),
        format!("\"{card}"),
        format!("/**/\"{card}\""),
        format!("callback({{\"a\":\"{card}\"}})"),
        format!("{}{card}", "[".repeat(300)),
        "{'secret':1}".to_owned(),
        "{secret:1}".to_owned(),
        "{\"a\":\"\\x34\"}".to_owned(),
        "{\"a\0\":1}".to_owned(),
    ] {
        plugin.run(answer(JSON, body.clone())).denied(502, "data_mask_malformed");
        plugin.run(answer("application/x-ndjson", body)).denied(502, "data_mask_malformed");
    }
    // An overlong digit, which is no UTF-8, and UTF-16.
    plugin.run(answer(JSON, &b"[\"\xc0\xb4111\"]"[..])).denied(502, "data_mask_malformed");
    let wide: Vec<u8> = format!("[{card}]").encode_utf16().flat_map(u16::to_le_bytes).collect();
    plugin.run(answer(JSON, wide.clone())).denied(502, "data_mask_malformed");
    plugin.run(answer("text/plain", wide)).denied(502, "data_mask_malformed");
    // Where nothing can be, nothing is read.
    for body in ["", "{", "not JSON"] {
        assert_eq!(masked(&plugin, JSON, body), body);
    }
}

#[test]
fn a_value_that_is_refused_refuses_the_response() {
    let plugin =
        build("{find: [{kinds: [private-key], action: deny}], fields: [{paths: [password], action: deny}]}");
    let key = "-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----";
    let denial = plugin.run(answer(JSON, format!("{{\"a\":\"{key}\"}}"))).denied(502, "data_mask_denied");
    assert_eq!(denial.private_detail(), Some("`private-key`"));
    assert!(!denial.public_message().contains("key"));
    plugin.run(answer(JSON, "{\"password\":{}}")).denied(502, "data_mask_denied");
    plugin.run(answer("text/plain", "-----BEGIN EC PRIVATE KEY-----")).denied(502, "data_mask_denied");
    assert_eq!(masked(&plugin, "text/plain", "-----BEGIN CERTIFICATE-----"), "-----BEGIN CERTIFICATE-----");
}

#[test]
fn lines_of_json_and_events_are_read_one_by_one() {
    let plugin = build("{find: [{kinds: [card, email]}], fields: [{paths: [pin], action: remove}]}");
    let lines = "{\"pin\":1}\n\n{\"a\":4111111111111111}\r\n\"x@example.com\"";
    let expected = "{}\n\n{\"a\":\"************1111\"}\r\n\"****\"";
    for kind in ["application/x-ndjson", "application/jsonl", "application/stream+json"] {
        assert_eq!(masked(&plugin, kind, lines), expected, "{kind}");
    }
    for (events, expected) in [
        ("data: 1\n\n", "data: 1\n\n"),
        (
            "event: a\ndata: {\"pin\":1,\ndata: \"b\":4111111111111111}\n\n",
            "event: a\ndata: {\ndata: \"b\":\"************1111\"}\n\n",
        ),
        ("data:x@example.com\r\n\r\ndata: y\r\r", "data: ****\n\ndata: y\r\r"),
        (": x@example.com\nid: 4111111111111111\n\n", ": ****\nid: ************1111\n\n"),
        ("data: [DONE]\n\n", "data: [DONE]\n\n"),
        ("\u{feff}data: x@example.com", "\u{feff}data: ****\n"),
        ("data\ndata: x@example.com\n\n", "data: \ndata: ****\n\n"),
    ] {
        assert_eq!(masked(&plugin, "text/event-stream", events), expected, "{events}");
    }
    let broken = plugin.run(answer("text/event-stream", "data: {'pin':1}\n\n"));
    broken.denied(502, "data_mask_malformed");
}

#[test]
fn text_is_read_line_by_line() {
    let plugin = build(
        "{find: [{kinds: [card, iban, email, jwt, bearer, api-key]}, {kinds: [private-key, stack-trace], action: remove}, \
         {name: staff, pattern: 'S-[0-9]{6}', keep_last: 2}]}",
    );
    for (body, expected) in [
        ("a 4111 1111 1111 1111, b", "a **** **** **** 1111, b"),
        ("<p>x@example.com</p>", "<p>****</p>"),
        ("GB29 NWBK 6016 1331 9268 19", "**** **** **** **** **** **"),
        ("id=S-123456;", "id=****56;"),
        ("authorization: Bearer abcdefgh.12345678", "authorization: Bearer ****"),
        ("Bearer authentication, bearer 123", "Bearer authentication, bearer 123"),
        ("t=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln&x", "t=****&x"),
        ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIn0"),
        ("AKIAIOSFODNN7EXAMPLE xAKIAIOSFODNN7EXAMPLE", "**** xAKIAIOSFODNN7EXAMPLE"),
        ("sk_live_0123456789abcdef, sk_live_x", "****, sk_live_x"),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nb",
            "a\n[removed]\nb",
        ),
        ("k=-----BEGIN OPENSSH PRIVATE KEY----- MIIE -----END OPENSSH PRIVATE KEY-----;", "k=[removed];"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\nwithout an end", "[removed]\n"),
        (
            "Error\njava.lang.Oops: x\n\tat a.b.C.d(C.java:1)\n\tat e.f.G.h(G.java:2)\n\nend\n",
            "Error\njava.lang.Oops: x\n[removed]\n\nend\n",
        ),
        (
            "Traceback (most recent call last):\n  File \"/a.py\", line 1, in b\n    c()\nKeyError: 'd'\n",
            "[removed]\nKeyError: 'd'\n",
        ),
        // A text that is JSON is read as JSON, whatever it says.
        ("{\"a\":4111111111111111}", "{\"a\":\"************1111\"}"),
        ("{a:4111111111111111}", "{a:************1111}"),
    ] {
        for kind in ["text/plain", "text/html; charset=iso-8859-1", "application/xml"] {
            assert_eq!(masked(&plugin, kind, body), expected, "{body}");
        }
    }
    let json = "{\"trace\":\"x\\n\\tat a.b.C.d(C.java:1)\\n\\tat e.f.G.h(G.java:2)\",\"a\":1}";
    assert_eq!(masked(&plugin, JSON, json), "{\"trace\":\"x\\n[removed]\\n\",\"a\":1}");
}

#[test]
fn corsicans_are_french() {
    let plugin = build("find: [{kinds: [fr-nir]}]");
    for (body, expected) in [
        ("1 55 08 2A 168 025 50", "* ** ** ** *** *** **"),
        ("{\"a\":\"155082a16802550\"}", "{\"a\":\"***************\"}"),
        ("1 55 08 2A 168 025 51", "1 55 08 2A 168 025 51"),
        ("x155082A16802550", "x155082A16802550"),
        ("255081416802538", "***************"),
    ] {
        assert_eq!(masked(&plugin, "text/plain", body), expected, "{body}");
    }
}

#[test]
fn what_is_found_is_counted_and_recorded_and_never_shown() {
    let kit = kit();
    let plugin =
        kit.build("{find: [{kinds: [card, email]}], fields: [{paths: [pin], action: remove}]}").unwrap();
    let body = r#"{"a":["4111111111111111","x@example.com, y@example.com"],"pin":12345}"#;
    let ran = plugin.run(answer(JSON, body)).passed();
    let [finding] = ran.ex.findings() else { panic!("{:?}", ran.ex.findings()) };
    assert_eq!(finding.what, serde_json::json!({"card": 1, "email": 2, "pin": 1}));
    assert_eq!([kit.counted("card"), kit.counted("email"), kit.counted("pin")], [1, 2, 1]);
    let ran = plugin.run(answer(JSON, r#"{"a":1}"#)).passed();
    assert!(ran.ex.findings().is_empty() && !ran.body.is_replaced());
}
