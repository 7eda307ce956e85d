use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Kit},
};

fn json(body: impl Into<Bytes>) -> Case {
    Case::new("POST", "/").header("content-type", "application/json").body(body)
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let plugin = Kit::of(Descriptor::of::<JsonLimits>()).build("{}").unwrap();
    for (text, reason) in [
        ("{", "json_malformed"),
        ("{}x", "json_malformed"),
        ("{} {}", "json_malformed"),
        ("{}\0", "json_malformed"),
        ("\u{feff}{}", "json_malformed"),
        ("{\"a\":NaN}", "json_malformed"),
        ("{\"a\":-Infinity}", "json_malformed"),
        ("{\"a\":1e999}", "json_malformed"),
        ("{\"a\":01}", "json_malformed"),
        ("{\"a\":+1}", "json_malformed"),
        ("{\"a\":1.}", "json_malformed"),
        ("{\"a\":0x1}", "json_malformed"),
        ("{a:1}", "json_malformed"),
        ("{'a':1}", "json_malformed"),
        ("{\"a\":1,}", "json_malformed"),
        ("[1,]", "json_malformed"),
        ("[1 2]", "json_malformed"),
        ("{\"a\":1}//", "json_malformed"),
        ("/**/{}", "json_malformed"),
        ("\"a\nb\"", "json_malformed"),
        ("\"\\ud800\"", "json_malformed"),
        ("\"\\x41\"", "json_malformed"),
        ("{\"a\":1,\"a\":2}", "json_name_twice"),
        ("{\"a\":1,\"\\u0061\":1}", "json_name_twice"),
        ("{\"b\":[{\"a\":{},\"a\":[]}]}", "json_name_twice"),
    ] {
        plugin.run(json(text)).denied(400, reason);
    }
    plugin.run(json(&b"\"\xff\""[..])).denied(400, "json_malformed");
    plugin.run(json(&b"{\"\xc0\xae\":1}"[..])).denied(400, "json_malformed");
    for text in [
        "{}",
        "[]",
        "null",
        " {\"a\":[1,-2.5e3,\"\\u00e4\\ud83d\\ude00\",true],\"A\":{\"a\":null}}\n",
        "\"x\"",
    ] {
        plugin.run(json(text)).passed();
    }
    // Names are told apart beyond those that are compared one by one.
    let names = |twice: &str| {
        let names: Vec<String> = (0..40).map(|name| format!("\"n{name}\":{name}")).collect();
        format!("{{{}{twice}}}", names.join(","))
    };
    plugin.run(json(names(""))).passed();
    for twice in [",\"n0\":1", ",\"n15\":1", ",\"n16\":1", ",\"n39\":1"] {
        plugin.run(json(names(twice))).denied(400, "json_name_twice");
    }
}

#[test]
fn what_is_at_a_limit_passes_and_one_more_does_not() {
    let kit = Kit::of(Descriptor::of::<JsonLimits>());
    for (yaml, at, over, reason) in [
        ("max_container_depth: 2", "[{\"a\":1}]", "[{\"a\":[]}]", "json_depth"),
        (
            "max_object_entry_count: 2",
            "{\"a\":1,\"b\":2}",
            "{\"a\":1,\"b\":2,\"c\":3}",
            "json_object_entries",
        ),
        ("max_object_entry_name_length: 2", "{\"ab\":1}", "{\"abc\":1}", "json_name_length"),
        ("max_object_entry_name_length: 2", "{\"\\u0061b\":1}", "{\"\u{e4}b\":1}", "json_name_length"),
        ("max_array_element_count: 2", "[1,2]", "[1,2,3]", "json_array_items"),
        ("max_string_value_length: 2", "\"ab\"", "\"abc\"", "json_string_length"),
        ("max_string_value_length: 2", "\"\\u0061b\"", "\"\\u0061bc\"", "json_string_length"),
        ("max_number_length: 3", "[123,\"1234\\\"5678\",-12]", "[1,1234]", "json_number_length"),
        ("max_number_length: 3", "{\"1234\":1}", "{\"1\":-1.5}", "json_number_length"),
    ] {
        let plugin = kit.build(yaml).unwrap();
        plugin.run(json(at)).passed();
        plugin.run(json(over)).denied(400, reason);
    }
    // The gateway sees to the size before the plugin sees anything.
    let plugin = kit.build("max_body_size: 4B").unwrap();
    assert_eq!(plugin.built.plugin().request_body(), BodyNeed::Whole { max: 4 });
    let plugin = kit.build("max_container_depth: 100").unwrap();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    plugin.run(json(deep(100))).passed();
    plugin.run(json(deep(101))).denied(400, "json_depth");
    plugin.run(json("[".repeat(100_000))).denied(400, "json_depth");
}

#[test]
fn what_is_json_is_said_by_its_type_and_what_says_nothing_is_taken_for_json() {
    let plugin = Kit::of(Descriptor::of::<JsonLimits>()).build("{}").unwrap();
    let typed = |value: &str| Case::new("POST", "/").header("content-type", value).body("{\"a\":1,\"a\":1}");
    for value in ["application/json", "Application/Problem+JSON", "text/json; charset=UTF-8"] {
        plugin.run(typed(value)).denied(400, "json_name_twice");
    }
    plugin.run(Case::new("POST", "/").body("{\"a\":1,\"a\":1}")).denied(400, "json_name_twice");
    plugin.run(typed("text/plain")).passed();
    plugin.run(typed("application/json; charset=utf-16")).denied(415, "json_not_utf8");
    plugin.run(typed("application/json; charset=utf-8; charset=utf-7")).denied(415, "content_type_malformed");
    plugin.run(typed("application/json, text/plain")).denied(415, "content_type_malformed");
    let coded = |coding: &str, body: Bytes| json(body).header("content-encoding", coding);
    let twice = coding::tests::gzip(b"{\"a\":1,\"a\":1}");
    plugin.run(coded("gzip", twice.clone())).denied(400, "json_name_twice");
    plugin.run(coded("gzip", "{}".into())).denied(400, "encoding_malformed");
    plugin.run(coded("zstd", twice)).denied(415, "encoding_unknown");
    plugin.run(coded("gzip", coding::tests::gzip(&[b' '; 2_000_000]))).denied(413, "encoding_bomb");
    plugin.run(json("")).passed();
    plugin.run(Case::get("/")).passed();
}

#[test]
fn the_operator_is_told_where() {
    let plugin = Kit::of(Descriptor::of::<JsonLimits>()).build("{}").unwrap();
    let denial = plugin.run(json("{\"a\":1,\n \"a\":2}")).denied(400, "json_name_twice");
    assert!(denial.private_detail().unwrap_or_default().contains("line 2"), "{denial:?}");
    let kit = Kit::of(Descriptor::of::<JsonLimits>());
    for (yaml, words) in [
        ("max_container_depth: 101", "from 1 to 100"),
        ("max_container_depth: 0", "from 1 to 100"),
        ("max_array_element_count: 0", "nothing would pass"),
        ("max_depth: 3", "max_container_depth"),
    ] {
        assert!(kit.build(yaml).map(drop).unwrap_err().contains(words), "{yaml}");
    }
}
