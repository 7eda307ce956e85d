//! The entry's settings.

use super::{
    super::Waf,
    attacks::{blocked, core, multipart, post},
};
use bytes::Bytes;
use palisade_contract::{
    Descriptor, Verdict,
    testkit::{Case, Instance, Kit, TestHost},
};
use std::{io::Write, path::Path, sync::Arc};

const ATTACK: &str = "1' OR '1'='1";
const FORM: &str = "application/x-www-form-urlencoded";

fn kit() -> Kit {
    Kit::of(Descriptor::of::<Waf>()).credential_places(Vec::new())
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_refusal_says_why_to_the_operator_alone() {
    let kit = kit();
    let waf = kit.build("{}").unwrap();
    let case = Case::get("/?q=1'+or+1%3D1--+&password=x'+or+1%3D1--+").header("cookie", "sid=' or 1=1-- ");
    let ran = waf.run(case);
    let found = ran.ex.findings()[0].clone();
    let denial = ran.denied(403, "waf_blocked");
    assert_eq!(denial.public_message(), "The request was refused");
    assert!(denial.private_detail().unwrap().contains("8506030"), "{denial:?}");
    assert_eq!(&*found.plugin, "waf");
    assert!(found.what["inbound_score"].as_i64().unwrap() >= 5);
    let text = found.what.to_string();
    assert!(text.contains(r#""id":8506030"#) && text.contains(r#""severity":"CRITICAL""#), "{text}");
    assert!(text.contains(r#""tags":["sqli"]"#) && text.contains("ARGS:q"), "{text}");
    let rules = found.what["rules"].as_array().unwrap();
    for variable in rules.iter().flat_map(|rule| rule["variables"].as_array().unwrap()) {
        let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        let secret = name.contains("password") || name.contains("COOKIES");
        assert!(!secret || value.contains("bytes)"), "{name} {value}");
    }
    assert!(kit.counted("rules_8506") >= 2);
    assert_eq!((kit.counted("rules_8507"), kit.counted("rules_other")), (0, 0));
}

#[test]
fn what_matches_below_the_threshold_is_recorded_and_passes() {
    let ran = core().run(Case::get("/?url=http://10.0.0.1/")).passed();
    let found = &ran.ex.findings()[0].what;
    assert_eq!((&found["inbound_score"], &found["rules"][0]["id"]), (&2.into(), &8508030.into()));
    assert!(core().run(Case::get("/?q=hello")).passed().ex.findings().is_empty());
}

#[test]
fn encoded_bodies_are_decoded_under_caps_or_refused() {
    let waf = core();
    let encoded = |coding: &str, body: Bytes| {
        Case::new("POST", "/").header("content-type", FORM).header("content-encoding", coding).body(body)
    };
    let attack = format!("q={}", super::attacks::coded(ATTACK));
    assert!(blocked(&waf.run(encoded("gzip", gzip(attack.as_bytes())))));
    assert!(blocked(&waf.run(encoded("gzip, identity, gzip", gzip(&gzip(attack.as_bytes()))))));
    waf.run(encoded("gzip", gzip(b"q=hello"))).passed();
    waf.run(encoded("gzip", Bytes::new())).passed();
    waf.run(encoded("gzip", Bytes::from_static(b"q=hello"))).denied(400, "waf_body_malformed");
    waf.run(encoded("gzip", gzip(&[b'a'; 2_000_000]))).denied(413, "waf_body_too_large");
    let denial = waf.run(encoded("zstd", Bytes::from_static(b"x"))).denied(415, "waf_encoding");
    assert_eq!(denial.headers()[0].1, "gzip, deflate, br");
}

#[test]
fn bodies_that_do_not_parse_are_refused() {
    let waf = core();
    for (kind, body) in [
        ("application/json", "{"),
        ("application/json", "a=b"),
        ("application/json", "{\"a\":1}{\"b\":2}"),
        ("application/problem+json", "[1,]"),
        ("application/xml", "<a><b></a>"),
        ("multipart/form-data; boundary=a", "no part"),
        ("multipart/form-data", "--a\r\n\r\n--a--"),
        ("application/x-ndjson", "{\"a\":1}\n{\"a\":"),
    ] {
        waf.run(post(kind, body.into())).denied(400, "waf_body_malformed");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    waf.run(post("application/json", deep)).denied(400, "waf_body_malformed");
    let many = format!("[{}1]", "1,".repeat(30_000));
    waf.run(post("application/json", many)).denied(400, "waf_body_malformed");
    let many = "a=1&".repeat(30_000);
    waf.run(post(FORM, many)).denied(400, "waf_body_malformed");
    // A long name above many values would be written for each of them.
    let long = format!("{{\"{}\":[{}1]}}", "n".repeat(100_000), "1,".repeat(10_000));
    waf.run(post("application/json", long)).denied(400, "waf_body_malformed");
}

#[test]
fn what_is_over_the_limit_is_decided_by_over_limit() {
    let kit = kit();
    let build =
        |over: &str| kit.build(&format!("request_body: {{limit: 1KiB, over_limit: {over}}}")).unwrap();
    let long = |attack_at: usize| {
        let mut text = "a=1&".repeat(1000);
        text.insert_str(attack_at * 4, &format!("q={}&", super::attacks::coded(ATTACK)));
        post(FORM, text)
    };
    let length = |case: Case| case.header("content-length", "5000");
    let json = || post("application/json", format!("{{\"a\":\"{}\"}}", "x".repeat(4000)));
    let (deny, prefix, skip) = (build("deny"), build("inspect_prefix"), build("skip"));
    deny.run(long(1)).denied(413, "waf_body_too_large");
    deny.run(length(Case::new("POST", "/"))).denied(413, "waf_body_too_large");
    deny.run(post(FORM, "a=1".repeat(300))).passed();
    assert!(blocked(&prefix.run(length(long(1)))));
    prefix.run(long(900)).passed();
    prefix.run(json()).passed();
    assert!(blocked(&prefix.run(json().header("x-a", "${jndi:ldap://x}"))));
    skip.run(long(1)).passed();
    assert!(blocked(&skip.run(long(1).header("x-a", "${jndi:ldap://x}"))));
    assert_eq!(kit.counted("body_over_limit"), 8);
    // Without a limit of its own the route's holds for what is decoded as well.
    core().run(post(FORM, "a=1&".repeat(300_000))).denied(413, "waf_body_too_large");
}

#[test]
fn long_bodies_are_judged_aside() {
    let host = Arc::new(TestHost::offline());
    let waf = kit().host(host.clone()).build("{}").unwrap();
    let text = |attack: &str| {
        let padding = "lorem ipsum dolor ".repeat(3000);
        post("application/json", format!("[\"{padding}\",{}]", super::attacks::json(attack)))
    };
    waf.run(text("hello")).passed();
    assert!(blocked(&waf.run(text(ATTACK))));
    waf.run(multipart("short")).passed();
    assert_eq!(host.computed(), 2);
}

#[test]
fn rules_of_ones_own_score_and_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let rules = write(
        dir.path(),
        "rules/a.conf",
        "SecRule ARGS:q \"@streq bad\" \"id:1,phase:2,deny,status:418\"\n\
         SecRule ARGS:q \"@streq odd\" \"id:2,phase:2,pass,log,setvar:tx.blocking_inbound_anomaly_score=+5\"\n\
         SecRule ARGS:q \"@streq go\" \"id:3,phase:1,redirect:https://example.com/\"\n\
         SecAction \"id:4,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score_threshold=10\"\n\
         SecRuleEngine DetectionOnly\n",
    );
    let pattern = rules.replace("a.conf", "*.conf");
    let waf = kit().build(&format!("rules: [\"{pattern}\"]")).unwrap();
    waf.run(Case::get("/?q=bad")).denied(418, "waf_blocked");
    waf.run(Case::get("/?q=odd")).passed();
    let (headers, _) = waf.run(Case::get("/?q=go")).replied(302);
    assert_eq!(headers["location"], "https://example.com/");
    // A threshold of ten: one finding is not enough, and the entry's engine is on whatever a file says.
    waf.run(Case::get("/?q=php://input")).passed();
    waf.run(Case::get("/?q=php://input&r=%3Cscript%3E")).denied(403, "waf_blocked");
}

#[test]
fn exclusions_hold_where_they_say() {
    let build = |exclusion: &str| kit().build(&format!("exclusions: [{{{exclusion}}}]")).unwrap();
    let at = |waf: &Instance, target: &str| blocked(&waf.run(Case::get(target)));
    let attack = |path: &str, name: &str| format!("{path}?{name}=php://input");
    let target = build("rule: 8503030, target: \"ARGS:password\"");
    assert!(!at(&target, &attack("/", "password")));
    assert!(at(&target, &attack("/", "q")));
    let paths = build("rule: 8503000-8503999, target: ARGS:q, paths: [/login, /admin/*]");
    for (path, passes) in [("/login", true), ("/admin/x", true), ("/login/x", false), ("/administer", false)]
    {
        assert_eq!(!at(&paths, &attack(path, "q")), passes, "{path}");
    }
    assert!(at(&paths, &attack("/login", "p")));
    assert!(!at(&build("rule: 8503030"), &attack("/", "q")));
    let whole = build("rule: \"8503030\", paths: [/x]");
    assert!(!at(&whole, &attack("/x", "q")) && at(&whole, &attack("/", "q")));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let bad = write(dir.path(), "bad.conf", "# one\nSecRule ARGS \"@rxx evil\" \"id:77,phase:2,deny\"\n");
    for (yaml, parts) in [
        ("ruleset: cors", &["did you mean"][..]),
        ("crs: {paranoia_level: 2}", &["it is for `ruleset: crs`"]),
        (
            "{ruleset: crs, crs: {directory: /nowhere}}",
            &["crs.directory", "`/nowhere` holds no core rule set"],
        ),
        ("{ruleset: crs, crs: {paranoia_level: 5}}", &["crs.paranoia_level", "`5` is no paranoia level"]),
        ("rules: [\"nothing-*.conf\"]", &["rules[0]", "no file has a name like `nothing-*.conf`"]),
        (
            "exclusions: [{rule: 8503031}]",
            &["exclusions[0].rule", "an id of `8503031`", "did you mean `8503030`"],
        ),
        (
            "response_body: {types: [\"text/html\\nSecRuleEngine Off\"]}",
            &["response_body.types[0]", "is not a type"],
        ),
        ("exclusions: [{rule: x-y}]", &["`x-y` is neither an id nor a range"]),
        (
            "exclusions: [{rule: 8503030, target: ARG:x}]",
            &["exclusions[0].target", "`ARG`", "`ARGS` is close to it"],
        ),
        ("exclusions: [{rule: 8503030, target: \"ARGS:x|ARGS:y\"}]", &["is not one variable"]),
        (
            "exclusions: [{rule: 8503030, paths: [login]}]",
            &["exclusions[0].paths[0]", "`login` is not a path"],
        ),
        (
            &format!("rules: [{bad}]"),
            &[
                "bad.conf:2:15",
                "rule 77: unknown operator `@rxx`",
                "SecRule ARGS \"@rxx evil\"",
                "^",
                "`@rx` is close",
            ],
        ),
    ] {
        let error = kit().build(yaml).err().unwrap_or_else(|| panic!("{yaml} is taken"));
        for part in parts {
            assert!(error.contains(part), "{yaml}: {part} is not in\n{error}");
        }
    }
}

#[test]
fn one_compiled_set_serves_all_that_use_it() {
    let kit = kit();
    let (one, two) = (kit.build("{}").unwrap(), kit.build("request_body: {limit: 1KiB}").unwrap());
    let sets = || kit.shared::<super::super::sets::Sets>("sets").len();
    assert_eq!(sets(), 1);
    let other = kit.build("response_body: {inspect: true}").unwrap();
    assert_eq!(sets(), 2);
    // A reload builds the next before it lets go of the last.
    let next = kit.build("{}").unwrap();
    drop((one, two, other));
    assert_eq!(sets(), 1);
    drop(next);
    assert_eq!(sets(), 0);
}

#[test]
fn responses_are_inspected_where_that_is_asked_for() {
    let answer = |kind: &str, body: &str| {
        Case::get("/").response_header("content-type", kind).response_body(body.to_owned())
    };
    let leak = "<p>You have an error in your SQL syntax near 'x'</p>";
    core().run(answer("text/html", leak)).passed();
    let build =
        |more: &str| kit().build(&format!("response_body: {{inspect: true, limit: 1KiB{more}}}")).unwrap();
    let waf = build("");
    let ran = waf.run(answer("text/html; charset=utf-8", leak));
    assert_eq!(ran.ex.findings()[0].what["outbound_score"], 4);
    ran.denied(502, "waf_response_blocked");
    waf.run(answer("text/html", "<p>hello</p>")).passed();
    waf.run(answer("image/png", leak)).passed();
    let long = || answer("text/plain", &format!("{leak}{}", "x".repeat(2000)));
    waf.run(long()).denied(502, "waf_response_blocked");
    waf.run(answer("text/plain", &"x".repeat(2000))).denied(502, "waf_response_too_large");
    waf.run(answer("image/png", &"x".repeat(2000))).passed();
    build(", over_limit: skip").run(long()).passed();
    build(", over_limit: inspect_prefix").run(long()).denied(502, "waf_response_blocked");
    build(", types: [image/png]").run(answer("image/png", leak)).denied(502, "waf_response_blocked");
    build(", types: []").run(answer("image/png", leak)).denied(502, "waf_response_blocked");
}

#[test]
fn heads_of_responses_are_seen_by_rules_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let text = "SecRule RESPONSE_HEADERS:X-Debug \"@rx .\" \"id:1,phase:3,deny\"\nSecRule RESPONSE_STATUS \"@streq 418\" \"id:2,phase:4,deny\"\n";
    let rules = write(dir.path(), "a.conf", text);
    let waf = kit().build(&format!("rules: [{rules}]")).unwrap();
    waf.run(Case::get("/")).passed();
    waf.run(Case::get("/").response_header("x-debug", "1")).denied(502, "waf_response_blocked");
}

#[test]
fn a_request_that_another_plugin_refused_leaves_nothing_behind() {
    let waf = core();
    let mut ex = Case::get("/?url=http://10.0.0.1/").exchange();
    let step = waf.built.plugin().on_request(&mut ex);
    let verdict = palisade_contract::testkit::block_on(step.resolve()).unwrap();
    assert!(matches!(verdict, Verdict::Continue));
    drop(ex);
}
