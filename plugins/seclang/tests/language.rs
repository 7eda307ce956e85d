//! The language, word by word: each directive, variable and action does what it says, in the fast way and in the plain one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use seclang::{RuleSet, Transaction};
use std::sync::Arc;

const JSON: &str = "SecAction \"id:901,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON\"\n";
const XML: &str = "SecAction \"id:902,phase:1,pass,nolog,ctl:requestBodyProcessor=XML\"\n";
const MULTIPART: &str = "multipart/form-data; boundary=B";
const FORM: &str = "application/x-www-form-urlencoded";

/// Rules, both ways.
fn load(text: &str) -> [Arc<RuleSet>; 2] {
    let build = |reference: bool| {
        let builder = RuleSet::builder().text("test.conf", text);
        let builder = if reference { builder.reference() } else { builder };
        builder.build().unwrap_or_else(|errors| panic!("{errors}"))
    };
    [build(false), build(true)]
}

fn send(rules: &Arc<RuleSet>, uri: &str, kind: &str, body: &str) -> Transaction {
    let mut transaction = rules.transaction();
    transaction.connection(("192.0.2.7".parse().unwrap(), 4000), ("192.0.2.1".parse().unwrap(), 80));
    transaction.request_line(b"POST", uri.as_bytes(), b"HTTP/1.1");
    transaction.header(b"Host", b"shop.example");
    transaction.header(b"Content-Type", kind.as_bytes());
    let _ = transaction.request_headers();
    transaction.body_chunk(body.as_bytes());
    let _ = transaction.request_body();
    transaction.response_line(503, b"HTTP/1.1");
    transaction.response_header(b"Content-Type", b"text/html");
    let _ = transaction.response_headers();
    transaction.response_chunk(b"an answer");
    let _ = transaction.response_body();
    transaction.logging();
    transaction
}

/// The ids of rules that matched, the same both ways, and the message of the last.
fn run(text: &str, uri: &str, kind: &str, body: &str) -> (Vec<u64>, String) {
    let [fast, plain] = load(text).map(|rules| {
        let transaction = send(&rules, uri, kind, body);
        let ids: Vec<u64> = transaction.matched().iter().map(|rule| rule.id).collect();
        (ids, transaction.matched().last().map(|rule| rule.message.clone()).unwrap_or_default())
    });
    assert_eq!(fast, plain, "{text}");
    fast
}

fn ids(text: &str, uri: &str, kind: &str, body: &str) -> Vec<u64> {
    run(text, uri, kind, body).0
}

/// What a variable is, as a macro of a rule that asks for it.
fn value(variable: &str, kind: &str, body: &str) -> String {
    let text = format!("SecRule {variable} \"@rx .*\" \"id:1,phase:5,pass,msg:'%{{MATCHED_VAR}}'\"");
    run(&text, "/p/f.php?a=1&b=2", kind, body).1
}

#[test]
fn settings_are_set() {
    let [rules, _] = load(
        "SecCollectionTimeout 60\nSecArgumentsLimit 7\nSecRequestBodyJsonDepthLimit 9\nSecComponentSignature \"OWASP_CRS/4\"\n\
         SecComponentSignature other\nSecWebAppId shop\nSecUploadFileLimit 3\nSecArgumentSeparator ;\nSecResponseBodyMimeType a b\n",
    );
    let config = rules.config();
    assert_eq!(
        (
            config.collection_timeout,
            config.arguments_limit,
            config.json_depth_limit,
            config.upload_file_limit
        ),
        (60, 7, 9, 3)
    );
    assert_eq!(config.components, ["OWASP_CRS/4", "other"]);
    assert_eq!((config.web_app_id.as_str(), config.argument_separator), ("shop", b';'));
    assert_eq!(config.response_body_types, ["a", "b"]);
}

#[test]
fn limits_of_bodies_hold() {
    let count = "SecRule &ARGS \"@eq 3\" \"id:1,phase:2,pass\"\nSecRule REQBODY_ERROR \"@eq 1\" \"id:2,phase:2,pass\"\n";
    assert_eq!(ids(&format!("SecArgumentsLimit 3\n{count}"), "/?a&b&c&d", FORM, "e=1"), [1]);
    let deep = format!("SecRequestBodyJsonDepthLimit 2\n{JSON}{count}");
    assert_eq!(ids(&deep, "/", "application/json", "[[1]]"), Vec::<u64>::new());
    assert_eq!(ids(&deep, "/", "application/json", "[[[1]]]"), [2]);
}

#[test]
fn a_unicode_map_says_what_letters_become() {
    let folder = std::env::temp_dir().join(format!("seclang-language-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("map"), "20127 (US-ASCII)\n00aa:41 0107:7a\n").unwrap();
    std::fs::write(
        folder.join("rules.conf"),
        "SecUnicodeMapFile map 20127\nSecRule ARGS \"@streq z\" \"id:1,phase:2,pass,t:urlDecodeUni\"\n",
    )
    .unwrap();
    let rules = RuleSet::builder().file(folder.join("rules.conf")).build().unwrap();
    let found = send(&rules, "/?a=%25u0107", FORM, "").matched().len();
    std::fs::write(folder.join("rules.conf"), "SecUnicodeMapFile none 20127\n").unwrap();
    let missing = RuleSet::builder().file(folder.join("rules.conf")).build().unwrap_err().to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found, 1);
    assert!(missing.contains("cannot read"), "{missing}");
}

#[test]
fn rules_are_changed_by_others() {
    let rule = "SecRule ARGS:a \"@rx x\" \"id:1,phase:2,pass,tag:'t/x',msg:'m x'\"\nSecRule ARGS:b \"@rx x\" \"id:2,phase:2,pass\"\n";
    for (change, expected) in [
        ("", &[1, 2][..]),
        ("SecRuleRemoveById 1", &[2]),
        ("SecRuleRemoveById 2-9 1", &[]),
        ("SecRuleRemoveByTag t/", &[1, 2]),
        ("SecRuleRemoveByTag ^t/", &[2]),
        ("SecRuleRemoveByMsg \"m x\"", &[2]),
        ("SecRuleUpdateTargetById 1 \"!ARGS:a\"", &[2]),
        ("SecRuleUpdateTargetById 1 \"ARGS:b\" \"ARGS:a\"", &[1, 2]),
        ("SecRuleUpdateTargetByTag t/x \"!ARGS\"", &[2]),
        ("SecRuleUpdateTargetByMsg \"m x\" \"!ARGS:a\"", &[2]),
        ("SecRuleUpdateActionById 1 \"skip:1,msg:'new'\"", &[1, 2]),
        ("SecRuleUpdateActionById 1 \"deny,status:418\"", &[1]),
        ("SecRuleUpdateActionById 1 \"skipAfter:END\"\nSecMarker END", &[1]),
    ] {
        assert_eq!(ids(&format!("{rule}{change}\n"), "/?a=x&b=x", FORM, ""), expected, "{change}");
    }
    let [rules, _] = load(&format!("{rule}SecRuleUpdateActionById 1 \"deny,status:418,msg:'new'\"\n"));
    let transaction = send(&rules, "/?a=x", FORM, "");
    let refused = transaction.intervention().unwrap();
    assert_eq!((refused.status, refused.message.as_str()), (418, "new"));
}

#[test]
fn rules_are_skipped() {
    let rest = "SecRule ARGS \"@rx x\" \"id:2,phase:2,pass\"\nSecRule ARGS \"@rx x\" \"id:3,phase:2,pass\"\nSecMarker END\n\
        SecRule ARGS \"@rx x\" \"id:4,phase:2,pass\"\n";
    for (action, expected) in
        [("skip:1", &[1, 3, 4][..]), ("skip:2", &[1, 4]), ("skipAfter:END", &[1, 4]), ("pass", &[1, 2, 3, 4])]
    {
        let text = format!("SecRule ARGS \"@rx x\" \"id:1,phase:2,pass,{action}\"\n{rest}");
        assert_eq!(ids(&text, "/?a=x", FORM, ""), expected, "{action}");
    }
}

#[test]
fn collections_outlive_requests_within_bounds() {
    let text = "SecAction \"id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},initcol:global=all,setsid:s1,setuid:ada,setrsc:r\"\n\
        SecAction \"id:2,phase:1,pass,nolog,setvar:ip.count=+1,setvar:global.count=+1,setvar:session.a=1,setvar:resource.b=1\"\n\
        SecRule ARGS:gone \"@eq 1\" \"id:3,phase:1,pass,nolog,expirevar:ip.count=0\"\n\
        SecRule IP:count \"@ge 2\" \"id:4,phase:2,pass\"\n\
        SecRule GLOBAL:count \"@ge 3\" \"id:5,phase:2,pass\"\n\
        SecRule SESSIONID \"@streq s1\" \"id:6,phase:2,pass,chain\"\nSecRule USERID \"@streq ada\" \"chain\"\nSecRule SESSION:a|RESOURCE:b \"@eq 1\"\n";
    for rules in load(text) {
        let ids = |uri: &str| -> Vec<u64> {
            send(&rules, uri, FORM, "").matched().iter().map(|rule| rule.id).collect()
        };
        assert_eq!(ids("/"), [6]);
        assert_eq!(ids("/"), [4, 6]);
        assert_eq!(ids("/?gone=1"), [5, 6]);
        assert_eq!(ids("/"), [5, 6]);
    }
}

#[test]
fn variables_have_their_values() {
    let body = "c=3&d=%3Cb";
    for (variable, expected) in [
        ("ARGS_GET:b", "2"),
        ("ARGS_POST:d", "<b"),
        ("ARGS_GET_NAMES", "b"),
        ("ARGS_POST_NAMES", "d"),
        ("ARGS_COMBINED_SIZE", "9"),
        ("QUERY_STRING", "a=1&b=2"),
        ("REQUEST_BASENAME", "f.php"),
        ("REQUEST_FILENAME", "/p/f.php"),
        ("REQUEST_LINE", "POST /p/f.php?a=1&b=2 HTTP/1.1"),
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_URI", "/p/f.php?a=1&b=2"),
        ("REQUEST_URI_RAW", "/p/f.php?a=1&b=2"),
        ("REQUEST_BODY", body),
        ("REQUEST_BODY_LENGTH", "10"),
        ("REQUEST_HEADERS:host", "shop.example"),
        ("REQUEST_HEADERS_NAMES", "Content-Type"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "4000"),
        ("SERVER_ADDR", "192.0.2.1"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "shop.example"),
        ("RESPONSE_STATUS", "503"),
        ("RESPONSE_PROTOCOL", "HTTP/1.1"),
        ("RESPONSE_CONTENT_TYPE", "text/html"),
        ("RESPONSE_HEADERS:content-type", "text/html"),
        ("REQBODY_PROCESSOR", "URLENCODED"),
        ("REQBODY_ERROR", "0"),
        ("INBOUND_DATA_ERROR", "0"),
        (
            "FULL_REQUEST",
            r"Host: shop.example\nContent-Type: application/x-www-form-urlencoded\n\n\nc=3&d=%3Cb",
        ),
        ("FULL_REQUEST_LENGTH", "79"),
        ("&ARGS", "4"),
        ("RULE:id", "1"),
    ] {
        if variable == "&ARGS" {
            assert_eq!(ids("SecRule &ARGS \"@eq 4\" \"id:1,phase:2,pass\"", "/?a&b", FORM, body), [1]);
            continue;
        }
        assert_eq!(value(variable, FORM, body), expected, "{variable}");
    }
    for number in ["DURATION", "TIME_EPOCH", "TIME_YEAR", "TIME_WDAY", "HIGHEST_SEVERITY"] {
        let text = format!(
            "SecRule {number} \"@ge 0\" \"id:1,phase:5,pass,chain\"\nSecRule {number} \"@rx ^[0-9]+$\""
        );
        assert_eq!(ids(&text, "/", FORM, ""), [1], "{number}");
    }
    let text = "SecResponseBodyAccess On\nSecRule RESPONSE_BODY \"@streq an answer\" \"id:1,phase:4,pass\"\n";
    assert_eq!(ids(text, "/", FORM, ""), [1]);
}

#[test]
fn what_matched_is_known() {
    let rule = |asked: &str| {
        format!(
            "SecRule ARGS \"@rx ^x(.)\" \"id:1,phase:2,pass,capture,severity:2,msg:'%{{TX.1}} %{{MATCHED_VAR_NAME}}',chain\"\n{asked}\n"
        )
    };
    for (asked, found) in [
        ("SecRule MATCHED_VARS \"@streq xa\"", true),
        ("SecRule MATCHED_VARS \"@streq xb\"", true),
        ("SecRule MATCHED_VARS \"@streq y\"", false),
        ("SecRule MATCHED_VARS_NAMES \"@streq ARGS:two\"", true),
        ("SecRule MATCHED_VARS_NAMES \"@streq ARGS:three\"", false),
        ("SecRule MATCHED_VARS:one \"@streq xa\"", true),
        ("SecRule MATCHED_VAR \"@streq xb\"", true),
        ("SecRule MATCHED_VAR_NAME \"@streq ARGS:two\"", true),
        ("SecRule &MATCHED_VARS \"@eq 2\"", true),
        ("SecRule RULE:severity \"@eq 2\"", true),
        ("SecRule RULE:msg \"@contains MATCHED\"", true),
    ] {
        let (ids, message) = run(&rule(asked), "/?one=xa&two=xb&three=y", FORM, "");
        assert_eq!(ids.len(), usize::from(found), "{asked}");
        if asked.contains("MATCHED_VARS") && found {
            assert!(message.starts_with('b'), "{message}");
        }
    }
}

#[test]
fn paths_into_documents_select_values() {
    let rules = format!(
        "{XML}SecRule XML:/orders/order/name/text() \"@streq Fred\" \"id:1,phase:2,pass\"\n\
         SecRule XML:/q:orders/@id \"@eq 7\" \"id:2,phase:2,pass,xmlns:q=urn:q\"\n\
         SecRule &XML://name \"@ge 2\" \"id:3,phase:2,pass\"\n\
         SecRule XML:/* \"@contains Fred\" \"id:4,phase:2,pass\"\n"
    );
    let document = "<orders><order><name>Fred</name></order><order><name>Ada</name></order></orders>";
    assert_eq!(ids(&rules, "/", "text/xml", document), [1, 3, 4]);
    assert_eq!(ids(&rules, "/", "text/xml", "<p:orders xmlns:p='urn:q' id='7'/>"), [2]);
    let error =
        RuleSet::builder().text("mine.conf", "SecRule XML:/a[1] \"@rx x\" \"id:1,phase:2,deny\"").build();
    assert_eq!(
        error.unwrap_err().to_string(),
        "mine.conf:1:14: rule 1: the step `a[1]` is not supported: names, `*`, `@name`, `@*` and `text()` are\n    \
         SecRule XML:/a[1] \"@rx x\" \"id:1,phase:2,deny\"\n                 ^^^^\n  \
         help: `XML:/*` is all text of a document, `XML://@*` all values of attributes"
    );
}

#[test]
fn what_is_in_files_is_inspected_where_a_rule_asks() {
    let body = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\n\r\n<?php\r\n1\r\n--B--\r\n";
    for (asked, found) in [
        ("FILES_TMP_CONTENT \"@streq <?php\r1\"", false),
        ("FILES_TMP_CONTENT \"@beginsWith <?php\"", true),
        ("FILES_TMP_CONTENT:f \"@endsWith 1\"", true),
        ("FILES_SIZES:f \"@eq 8\"", true),
        ("FILES \"@streq x.php\"", true),
        ("FILES_NAMES \"@streq f\"", true),
        ("FILES_COMBINED_SIZE \"@eq 8\"", true),
        ("MULTIPART_FILENAME \"@streq x.php\"", true),
        ("MULTIPART_NAME \"@streq f\"", true),
        ("MULTIPART_PART_HEADERS:f \"@beginsWith Content-Disposition\"", true),
        ("ARGS \"@rx .\"", false),
    ] {
        let text = format!("SecRule {asked} \"id:1,phase:2,pass\"");
        assert_eq!(ids(&text, "/", MULTIPART, body).len(), usize::from(found), "{asked}");
    }
}

#[test]
fn every_flag_of_forms_is_set_by_what_it_is_about() {
    let part = "Content-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
    let whole = format!("--B\r\n{part}--B--\r\n");
    let file = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nx\r\n";
    for (flag, kind, body) in [
        ("MULTIPART_BOUNDARY_QUOTED", "multipart/form-data; boundary=\"B\"", whole.clone()),
        ("MULTIPART_BOUNDARY_WHITESPACE", "multipart/form-data; boundary= B", whole.clone()),
        ("MULTIPART_CRLF_LF_LINES", MULTIPART, whole.replacen("\r\n", "\n", 1)),
        ("MULTIPART_DATA_AFTER", MULTIPART, format!("{whole}x")),
        ("MULTIPART_DATA_BEFORE", MULTIPART, format!("x\r\n{whole}")),
        ("MULTIPART_FILE_LIMIT_EXCEEDED", MULTIPART, format!("{}--B--\r\n", file.repeat(3))),
        ("MULTIPART_HEADER_FOLDING", MULTIPART, whole.replace("form-data; ", "form-data;\r\n ")),
        ("MULTIPART_INVALID_HEADER_FOLDING", MULTIPART, whole.replace("form-data; ", "form-data;\r\n\u{b}")),
        ("MULTIPART_INVALID_PART", MULTIPART, whole.replace("\r\n\r\nx", "")),
        ("MULTIPART_INVALID_QUOTING", MULTIPART, whole.replace('"', "'")),
        ("MULTIPART_LF_LINE", MULTIPART, whole.replace("\r\n", "\n")),
        ("MULTIPART_MISSING_SEMICOLON", "multipart/form-data boundary=B", whole.clone()),
        ("MULTIPART_SEMICOLON_MISSING", "multipart/form-data boundary=B", whole.clone()),
        ("MULTIPART_STRICT_ERROR", MULTIPART, format!("x\r\n{whole}")),
        ("MULTIPART_UNMATCHED_BOUNDARY", MULTIPART, format!("--B\r\n{}", part.replace('x', "--C"))),
    ] {
        let text = format!("SecUploadFileLimit 2\nSecRule {flag} \"@eq 1\" \"id:1,phase:2,pass\"");
        assert_eq!(ids(&text, "/", kind, &body), [1], "{flag}");
        let clean = ids(&text, "/", MULTIPART, &whole);
        assert!(clean.is_empty() || flag == "MULTIPART_UNMATCHED_BOUNDARY", "{flag}");
    }
}

#[test]
fn what_is_refused_says_why() {
    for (text, why) in [
        ("SecRuleScript a.lua \"id:1\"", "rules in Lua are not run"),
        (
            "SecRule ARGS \"@rx a\" \"id:1,phase:2,exec:/bin/x\"",
            "the action `exec` is refused: a rule never runs a program",
        ),
        ("SecRule ARGS \"@inspectFile x\" \"id:1,phase:2\"", "it runs a program"),
        ("SecRule ARGS \"@rbl zen.example\" \"id:1,phase:2\"", "it asks a name server"),
        ("SecRule ENV:PATH \"@rx a\" \"id:1,phase:2\"", "the variable `ENV` is refused"),
        (
            "SecRule MSC_PCRE_LIMITS_EXCEEDED \"@eq 1\" \"id:1,phase:2\"",
            "an expression that meets a bound fires",
        ),
        ("SecGeoLookupDb /geo.mmdb", "the engine reads no database of places"),
        ("SecHttpBlKey abcdef", "it asks a name server"),
        ("SecHashEngine On", "hash protection of links is not part of the engine"),
        ("SecParseXmlIntoArgs On", "elements are asked for by paths"),
    ] {
        let error = RuleSet::builder().text("mine.conf", text).build().unwrap_err().to_string();
        assert!(error.contains(why) && error.starts_with("mine.conf:1:"), "{error}");
    }
    let found = "SecHashEngine Off\nSecParseXmlIntoArgs Off\nSecRule REMOTE_ADDR \"@geoLookup\" \"id:1,phase:2,pass\"\n\
        SecRule &GEO \"@eq 0\" \"id:2,phase:2,pass\"\nSecRule REMOTE_ADDR \"@rbl x.httpbl.org\" \"id:3,phase:2,pass\"\n";
    assert_eq!(ids(found, "/", FORM, ""), [2]);
}

#[test]
fn rules_that_look_after_each_step_are_narrowed_and_find_the_same() {
    let text = "SecRule ARGS \"@rx b.d\" \"id:1,phase:2,pass,multiMatch,t:none,t:urlDecode,t:lowercase,t:base64Decode\"\n\
        SecRule ARGS \"@pm evil\" \"id:2,phase:2,pass,multiMatch,t:none,t:base64Decode,t:removeWhitespace\"\n\
        SecRule ARGS|ARGS_NAMES \"@detectSQLi\" \"id:3,phase:2,pass,multiMatch,t:none,t:base64Decode\"\n";
    for (uri, expected) in [
        ("/?a=bxd", &[1][..]),
        ("/?a=BXD", &[1]),
        ("/?a=%2562xd", &[1]),
        ("/?a=QlhE", &[]),
        ("/?a=ZXYgaWw", &[2]),
        ("/?a=ZXZpbA", &[2]),
        ("/?a=e+vil", &[]),
        ("/?a=MScgb3IgJzEnPScx", &[3]),
        ("/?1'+or+'1'%3d'1", &[3]),
    ] {
        assert_eq!(ids(text, uri, FORM, ""), expected, "{uri}");
    }
}
