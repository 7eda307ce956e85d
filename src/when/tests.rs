//! Tables of expressions: what holds, what counts as true, what is refused.

use super::*;
use http::HeaderValue;
use palisade_contract::{Client, Consumer, Principal, RequestHeader};
use std::{collections::BTreeMap, sync::Arc};

fn exchange(principal: Option<Principal>) -> Exchange {
    let mut request = RequestHeader::build("POST", b"/orders/7?page=2", None).unwrap();
    request.append_header("X-Version", "3").unwrap();
    request.append_header("accept", "text/html").unwrap();
    request.append_header("accept", "text/plain").unwrap();
    request.append_header("x-raw", HeaderValue::from_bytes(b"caf\xe9").unwrap()).unwrap();
    request.append_header("x-empty", "").unwrap();
    request.append_header("x-ip", "::ffff:10.1.2.3").unwrap();
    let client = Client {
        ip: "10.1.2.3".parse().unwrap(),
        peer: "10.1.2.3:4711".parse().unwrap(),
        https: true,
        behind_proxy: false,
        proxies: Vec::new(),
        listener: "public".into(),
        port: 443,
        tls: None,
    };
    let mut ex = Exchange::new(request, Arc::new(client), "id".into());
    ex.host_side().authority = "shop.example.com".into();
    ex.host_side().route = Some("orders".into());
    ex.host_side().principal = principal.map(Arc::new);
    ex
}

fn alice() -> Principal {
    let consumer = Consumer { name: "alice".into(), groups: vec!["gold".into(), "eu".into()] };
    let claims = serde_json::json!({
        "sub": "a1", "admin": true, "level": 3, "ratio": 0.5, "huge": 18446744073709551615u64, "none": null,
        "roles": ["reader", "writer"], "address": {"country": "de"}, "numbers": [1, 2.5]
    });
    let claims: BTreeMap<String, serde_json::Value> = serde_json::from_value(claims).unwrap();
    let mut principal = Principal::of_consumer(Arc::new(consumer), None);
    principal.claims = Arc::new(claims);
    principal
}

fn compile(source: &str) -> When {
    When::compile(source, Stage::Limit)
        .unwrap_or_else(|error| panic!("{source}: {} {:?}", error.message, error.help))
}

/// The value of the expression itself: none where it errs.
fn value(source: &str, ex: &Exchange) -> Option<bool> {
    compile(source).root.eval(ex).and_then(Value::bool).ok()
}

#[test]
fn what_holds() {
    let ex = exchange(Some(alice()));
    for source in [
        r#"request.method == "POST""#,
        r#"request.method in ["GET", "POST"]"#,
        r#"!(request.method in [])"#,
        r#"request.path == '/orders/7'"#,
        r#"request.path.startsWith("/orders/") && request.path.endsWith("7")"#,
        r#"request.host.contains("example")"#,
        r#"request.query == "page=2""#,
        r#"request.scheme == "https""#,
        r#"request.headers["x-version"] == "3""#,
        r#"request.headers["X-VERSION"] == "3""#,
        r#"request.headers.accept == "text/html, text/plain""#,
        r#"int(request.headers["x-version"]) >= 3"#,
        r#"double(request.headers["x-version"]) < 3.5"#,
        r#"has(request.headers["x-empty"]) && request.headers["x-empty"] == """#,
        r#"!has(request.headers["x-none"])"#,
        r#"!has(request.headers.none)"#,
        r#""x-version" in request.headers && !("x-none" in request.headers)"#,
        r#"client.ip == "10.1.2.3" && client.port == 4711"#,
        r#"cidr_match(client.ip, "192.168.0.0/16", "10.0.0.0/8")"#,
        r#"!cidr_match(client.ip, "2001:db8::/32", "10.1.2.4")"#,
        r#"cidr_match(request.headers["x-ip"], "10.0.0.0/8")"#,
        r#"route == "orders""#,
        r#"principal.id == "alice" && !principal.anonymous"#,
        r#"consumer.name == "alice""#,
        r#""gold" in consumer.groups && !("silver" in consumer.groups)"#,
        r#"consumer.groups[1] == "eu" && size(consumer.groups) == 2"#,
        r#"consumer.groups == ["gold", "eu"] && consumer.groups != ["gold"]"#,
        r#"claims["sub"] == "a1" && claims.sub == "a1""#,
        r#"claims.admin == true"#,
        r#"claims.level == 3 && claims.level > 2 && claims.level < 3.5 && claims.level + 1 == 4"#,
        r#"claims.ratio == 0.5 && claims.ratio * 2.0 == 1.0"#,
        r#"claims.huge > 9223372036854775807"#,
        r#"claims.none == null && claims.sub != null"#,
        r#""writer" in claims.roles && claims.roles[0] == "reader" && claims.roles.size() == 2"#,
        r#"claims.address.country == "de" && "country" in claims.address"#,
        r#"has(claims.address.country) && !has(claims.address.city) && !has(claims.x.y)"#,
        r#"2.5 in claims.numbers && 1 in claims.numbers && claims.numbers == [1.0, 2.5]"#,
        r#"claims.level != "3""#,
        r#"request.path.matches("^/orders/[0-9]+$") && matches(request.path, "7")"#,
        r#"request.method.lowerAscii() == "post" && "a".upperAscii() == "A""#,
        r#"size(request.path) == 9 && size("é") == 1 && size(claims) == 9"#,
        r#"request.method == "GET" ? false : request.path != """#,
        r#"request.host + request.path == "shop.example.com/orders/7""#,
        r#"string(client.port) == "4711" && string(true) == "true" && string(1.5) == "1.5""#,
        r#"7 / 2 == 3 && 7 % 2 == 1 && -7 + 2 * 3 - 1 == -2 && 1.0 / 4.0 == 0.25"#,
        r#"9007199254740993 != 9007199254740992.0 && 1 == 1.0"#,
        r#""a" < "b" && 2 <= 2 && 3.0 > 2 && "b" >= "a""#,
        "request.method == \"POST\" &&\n  // a comment\n  true",
        r#"r"\d" == "\\d""#,
    ] {
        assert_eq!(value(source, &ex), Some(true), "{source}");
        assert!(compile(source).evaluate(&ex), "{source}");
        let negated = format!("!({source}\n)");
        assert!(!compile(&negated).evaluate(&ex), "{negated}");
    }
}

#[test]
fn what_cannot_be_judged_counts_as_true() {
    let ex = exchange(Some(alice()));
    for source in [
        r#"request.headers["x-none"] == "1""#,
        r#"request.headers["x-raw"] == "1""#,
        r#"!(request.headers["x-raw"].contains("caf"))"#,
        r#"has(request.headers["x-raw"])"#,
        r#"int(request.headers.accept) == 1"#,
        r#"int("99999999999999999999") == 1"#,
        r#"double("nan") == 1.0"#,
        r#"double("1e999") == 1.0"#,
        r#"9223372036854775807 + client.port > 0"#,
        r#"1 / (client.port - 4711) == 1"#,
        r#"1 % (client.port - 4711) == 1"#,
        r#"claims.none.x == 1"#,
        r#"claims.missing == 1"#,
        r#"claims.sub < 3"#,
        r#"claims.sub.x == 1"#,
        r#"claims.level.startsWith("3")"#,
        r#"claims.roles[2] == "x""#,
        r#"claims.roles[-1] == "x""#,
        r#"claims.roles["a"] == "x""#,
        r#"claims.address[0] == "x""#,
        r#"claims.sub in claims.level"#,
        r#"consumer.groups[9] == "x""#,
        r#"cidr_match(request.host, "10.0.0.0/8")"#,
        r#"false || claims.missing == 1"#,
        r#"claims.missing == 1 && true"#,
        r#"!(claims.missing == 1)"#,
        r#"claims.missing == 1 ? false : false"#,
    ] {
        assert_eq!(value(source, &ex), None, "{source}");
        assert!(compile(source).evaluate(&ex), "{source}");
    }
}

#[test]
fn an_error_does_not_matter_where_the_other_side_decides() {
    let ex = exchange(None);
    for (source, expected) in [
        (r#"claims.x == 1 && false"#, Some(false)),
        (r#"false && claims.x == 1"#, Some(false)),
        (r#"claims.x == 1 || true"#, Some(true)),
        (r#"true || claims.x == 1"#, Some(true)),
        (r#"claims.x == 1 || false"#, None),
        (r#"claims.x == 1 || claims.y == 1"#, None),
        (r#"has(claims.x) && claims.x == 1"#, Some(false)),
    ] {
        assert_eq!(value(source, &ex), expected, "{source}");
    }
}

#[test]
fn without_a_principal_nothing_is_known_of_it() {
    let nobody = exchange(None);
    for source in [
        r#"consumer.name == "x""#,
        r#""x" in consumer.groups"#,
        r#"principal.id == "x""#,
        r#"principal.anonymous"#,
    ] {
        assert_eq!(value(source, &nobody), None, "{source}");
        assert!(compile(source).needs_principal(), "{source}");
    }
    assert!(!compile("client.port == 1").needs_principal());
    // A principal that no consumer is mapped to has no groups, and no name.
    let stranger = exchange(Some(Principal { consumer: None, ..alice() }));
    assert_eq!(value(r#""gold" in consumer.groups"#, &stranger), Some(false));
    assert_eq!(value(r#"has(consumer.name)"#, &stranger), Some(false));
    assert_eq!(value(r#"consumer.name == "alice""#, &stranger), None);
    let mut nowhere = exchange(None);
    nowhere.host_side().route = None;
    assert_eq!(value(r#"route == "_none""#, &nowhere), Some(true));
}

#[test]
fn what_is_refused() {
    for (source, message, help) in [
        ("", "the condition is empty", "write a CEL expression"),
        ("  \n", "the condition is empty", ""),
        ("request.method ==", "cannot be read: it ends too early (column 18", ""),
        ("request.method = \"GET\"", "token recognition error", "compare with `==`"),
        ("a b", "cannot be read", ""),
        ("\"abc", "cannot be read", ""),
        ("'\\z' == 'a'", "cannot be read", ""),
        (
            "true && reqest.method == 'GET'",
            "`reqest.method` is not known (column 9",
            "did you mean `request.method`?",
        ),
        ("request.methd == 'GET'", "`request.methd` is not known", "did you mean `request.method`?"),
        ("method == 'GET'", "`method` is not known", "there is `request.method`"),
        ("request == 'x'", "`request` has no value of its own", "`request.path`"),
        ("consumer in [1]", "`consumer` has no value of its own", "`consumer.name`"),
        ("request.method.x == 'GET'", "a string has no fields", ""),
        ("route.x == 'GET'", "a string has no fields", ""),
        ("request.headers['a b'] == ''", "`a b` is not the name of a header", "x-api-version"),
        ("request.headers[1] == ''", "the key is a whole number, not a string", ""),
        ("request.headers == 'x'", "`==` does not go with a map and a string", ""),
        ("request.method", "this is a string, not true or false", "`==`"),
        ("1 + 1", "this is a whole number, not true or false", ""),
        ("claims.admin", "that only the request decides, not true or false", "`claims.admin == true`"),
        ("!claims.admin", "that only the request decides, not true or false", "`claims.admin == true`"),
        ("true && 1", "this is a whole number, not true or false (column 9", ""),
        ("request.method == 1", "`==` does not go with a string and a whole number", "int("),
        ("request.method < 1", "`<` does not go with", "int("),
        ("true < false", "`<` does not go with", ""),
        ("'a' - 'b' == 'c'", "`-` does not go with a string and a string", ""),
        ("1 + 1.0 == 2.0", "`+` does not go with a whole number and a number", ""),
        ("1.0 % 2.0 == 1.0", "`%` does not go with", ""),
        ("-'a' == 'a'", "`-` does not go with a string", ""),
        ("'a' in 'abc'", "`in` does not go with a string and a string", "on the right"),
        ("1 in ['a']", "`in` does not go with", ""),
        ("'a' in [1, 'a']", "the list holds a whole number and a string", ""),
        ("true ? 1 : 'a'", "`?:` gives a whole number or a string", ""),
        ("request.path.startswith('/a')", "no function `startswith`", "did you mean `startsWith`?"),
        ("startsWith(request.path, '/a')", "`startsWith` is not called like this", "x.startsWith("),
        ("request.path.startsWith()", "`startsWith` is not called like this", ""),
        ("request.path.startsWith(1)", "this is a whole number, not a string (column 25", "quotes"),
        ("request.path.matches(request.host)", "a pattern must be written out", ""),
        ("request.path.matches('a(')", "the pattern cannot be read: unclosed group", ""),
        ("request.path.matches('(a{1000}){1000}')", "the pattern is too large", "repeat less"),
        ("request.path.matches('(a)\\\\1')", "backreferences are not supported", ""),
        ("cidr_match(client.ip)", "`cidr_match` is not called like this", ""),
        ("cidr_match(client.ip, request.host)", "an address range must be written out", ""),
        ("cidr_match(client.ip, '10.0.0.0/33')", "`10.0.0.0/33` is not an address", "10.0.0.0/8"),
        ("cidr_match(client.ip, '10.0.0.1/8')", "bits set beyond its prefix", "`10.0.0.0/8` for the range"),
        ("cidr_match(client.port, '10.0.0.0/8')", "this is a whole number, not a string", ""),
        ("has(1)", "`has` asks for a field", ""),
        ("has(route)", "`has` asks for a field", ""),
        ("size(1) == 1", "a whole number has no size", ""),
        ("int(null) == 1", "null cannot be made a whole number", ""),
        ("claims.roles.exists(r, r == 'admin')", "`exists` is not supported", "in claims.roles"),
        ("[1, 2].all(x, x > 0)", "`all` is not supported", ""),
        ("[1].map(x, x)[0] == 1", "`map` is not supported", ""),
        ("{'a': 1}.a == 1", "not supported", ""),
        ("Thing{a: 1} == 1", "not supported", ""),
        ("1u == 1u", "unsigned numbers are not supported", "`u`"),
        ("b'a' == b'a'", "byte strings are not supported", "`b`"),
        ("claims.?a == 1", "cannot be read: unsupported syntax", ""),
        ("true &&\n request.x == 1", "`request.x` is not known (line 2, column 2", ""),
        ("'é' == request.x", "`request.x` is not known (column 8", ""),
    ] {
        let error = When::compile(source, Stage::Limit).map(|_| ()).expect_err(source);
        assert!(error.message.contains(message), "{source}: {}", error.message);
        let told = error.help.unwrap();
        assert!(told.contains(help), "{source}: {told}");
        assert!(error.path.is_empty() && error.place.is_none());
    }
}

#[test]
fn what_is_not_known_yet_is_refused() {
    for stage in Stage::ALL {
        let known = stage > Stage::Authenticate;
        for source in
            ["consumer.name == 'x'", "'x' in consumer.groups", "principal.id == 'x'", "has(claims.x)"]
        {
            let compiled = When::compile(source, stage);
            assert_eq!(compiled.is_ok(), known, "{source} {}", stage.as_str());
            if let Err(error) = compiled {
                assert!(
                    error.message.contains("is not known yet where this plugin runs"),
                    "{}",
                    error.message
                );
            }
        }
        assert!(When::compile("request.method == 'GET' && client.port > 0", stage).is_ok());
    }
}

#[test]
fn hostile_expressions_are_refused_or_compiled_and_never_more() {
    let many = |piece: &str| piece.repeat((MAX_BYTES - 20) / piece.len());
    for source in [
        many("("),
        many("["),
        many("{"),
        many("!"),
        many("-"),
        many("?"),
        many("a?"),
        many("a?b:"),
        format!("a{}", many(".a")),
        format!("a{}", many("[0]")),
        format!("a{}", many(".f()")),
        format!("1{} == 1", many("+1")),
        format!("true{}", many("==true")),
        format!("{}1{}", "(".repeat(2_000), ")".repeat(2_000)),
        format!("{}1{}", "size([".repeat(500), "])".repeat(500)),
        format!("claims{} == 1", many(".a")),
        many("\""),
        many("'''"),
        many("\\"),
        many("\u{0}"),
        many("é"),
        many("\u{202e}"),
    ] {
        let Err(error) = When::compile(&source, Stage::Limit) else { continue };
        assert!(error.message.len() < MAX_BYTES + 200, "{}", error.message.len());
    }
    let deep = |levels: usize| format!("{}true{}", "!(".repeat(levels), ")".repeat(levels));
    assert!(When::compile(&deep(20), Stage::Limit).is_ok());
    let error = When::compile(&deep(40), Stage::Limit).unwrap_err();
    assert!(error.message.contains("nested too deeply"), "{}", error.message);
    let long = format!("'{}' == ''", "a".repeat(MAX_BYTES));
    assert!(When::compile(&long, Stage::Limit).unwrap_err().message.contains("4096 are the most"));
    let wide = (0..100).map(|n| format!("client.port == {n}")).collect::<Vec<_>>().join(" || ");
    assert!(!compile(&wide).evaluate(&exchange(None)));
    // A chain of `+` does not multiply what the client sends.
    let ex = exchange(Some(alice()));
    let sum = format!("size({}) > 0", ["request.headers[\"x-long\"]"; 20].join(" + "));
    let mut long = exchange(Some(alice()));
    long.request.insert_header("x-long", "a".repeat(8_000)).unwrap();
    assert_eq!((value(&sum, &ex), value(&sum, &long)), (None, None));
}

#[test]
fn the_crates_own_evaluator_agrees() {
    // On what is the same in both: literals alone.
    for source in [
        "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1",
        "'a' + 'b' == 'ab' && 'abc'.contains('b') && 'abc'.startsWith('a') && !'abc'.endsWith('b')",
        "1 in [1, 2] && !(3 in [1, 2]) && 'a' in ['a']",
        "size('é') == 1 && size([1, 2]) == 2",
        "(1 < 2 ? 'x' : 'y') == 'x'",
        "[1, 2] == [1, 2] && [1, 2] != [2, 1]",
        "1 / 0 == 1 || true",
        "!(1 / 0 == 1 && false)",
        "int('3') == 3 && string(3) == '3' && double('1.5') == 1.5 && int(1.9) == 1 && int(-1.9) == -1",
        "'B' < 'a' && 1.5 < 2.5",
    ] {
        let theirs = cel::Program::compile(source).unwrap().execute(&cel::Context::default());
        assert_eq!(theirs, Ok(cel::Value::Bool(true)), "{source}");
        assert_eq!(value(source, &exchange(None)), Some(true), "{source}");
    }
}
