use super::*;
use palisade_contract::{
    Descriptor, Verdict,
    testkit::{Case, Kit},
};

fn kit() -> Kit {
    Kit::of(Descriptor::of::<XmlLimits>())
}

fn xml(body: impl Into<Bytes>) -> Case {
    Case::new("POST", "/").header("content-type", "application/xml").body(body)
}

#[test]
fn what_makes_parsers_dangerous_is_refused() {
    let plugin = kit().build("{}").unwrap();
    for (document, reason) in [
        ("<!DOCTYPE a><a/>", "xml_doctype"),
        (
            "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
            "xml_doctype",
        ),
        ("<!doctype a><a/>", "xml_doctype"),
        ("<a>&x;</a>", "xml_entity"),
        ("<a b='&x;'/>", "xml_entity"),
        ("<a>&nbsp;</a>", "xml_entity"),
        ("<?xml-stylesheet href='http://evil.example/x.xsl'?><a/>", "xml_instruction"),
        ("<a><?php x?></a>", "xml_instruction"),
        ("<a xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='/etc/passwd'/></a>", "xml_include"),
        ("<include xmlns=' http://www.w3.org/2001/XInclude '/>", "xml_include"),
        ("<a xmlns:y='http://www.w3.org/2001/XIn&#99;lude'/>", "xml_include"),
    ] {
        plugin.run(xml(document)).denied(400, reason);
    }
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let plugin = kit().build("{}").unwrap();
    for document in [
        " ",
        "x",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "</a>",
        "<a><b></a></b>",
        "<a b=1/>",
        "<a b='1' b='2'/>",
        "<a b/>",
        "<a b='<'/>",
        "<1/>",
        "<a>&</a>",
        "<a>&#0;</a>",
        "<a>&#xd800;</a>",
        "<a>&#x110000;</a>",
        "&lt;<a/>",
        "<a><![CDATA[x</a>",
        "<![CDATA[x]]><a/>",
        "<a><!-- -- --></a>",
        "<a><!--</a>",
        "<a>]]></a>",
        "<a>\u{1}</a>",
        "<a>\u{ffff}</a>",
        "<a/><?xml version='1.0'?>",
        " <?xml version='1.0'?><a/>",
        "<?xml version='1.0' encoding='utf-16'?><a/>",
        "<?xml version='1.0' encoding='utf-7'?><a/>",
    ] {
        let verdict = plugin.run(xml(document)).verdict;
        let refused = matches!(&verdict, Ok(Verdict::Deny(denial)) if denial.reason() == "xml_malformed");
        assert!(refused, "{document}: {verdict:?}");
    }
    plugin.run(xml(&b"<a>\xff</a>"[..])).denied(400, "xml_malformed");
    plugin.run(xml(&b"\xff\xfe<\0a\0/\0>\0"[..])).denied(400, "xml_malformed");
    for document in [
        "<a/>",
        "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- c -->\n<a:b xmlns:a=\"urn:a\" c='&lt;&#x26;'>x &amp; &#228; \u{e4}<![CDATA[<x>]]><d/></a:b>\n",
    ] {
        plugin.run(xml(document)).passed();
    }
    plugin.run(xml("")).passed();
}

#[test]
fn what_is_at_a_limit_passes_and_one_more_does_not() {
    for (yaml, at, over, reason) in [
        ("max_depth: 2", "<a><b/></a>", "<a><b><c/></b></a>", "xml_depth"),
        ("max_elements: 2", "<a><b/></a>", "<a><b/><b/></a>", "xml_elements"),
        ("max_attributes: 1", "<a b='1'/>", "<a b='1' c='1'/>", "xml_attributes"),
        ("max_name_length: 2", "<ab cd='1'/>", "<abc/>", "xml_name_length"),
        ("max_name_length: 2", "<ab/>", "<a bcd='1'/>", "xml_name_length"),
        ("max_attribute_length: 2", "<a b='12'/>", "<a b='123'/>", "xml_attribute_length"),
        ("max_text_length: 2", "<a>12</a>", "<a>123</a>", "xml_text_length"),
        ("max_text_length: 2", "<a><![CDATA[12]]></a>", "<a><![CDATA[123]]></a>", "xml_text_length"),
        ("max_text_length: 2", "<a><!--12--></a>", "<a><!--123--></a>", "xml_text_length"),
    ] {
        let plugin = kit().build(yaml).unwrap();
        plugin.run(xml(at)).passed();
        plugin.run(xml(over)).denied(400, reason);
    }
    let plugin = kit().build("{}").unwrap();
    plugin.run(xml("<a>".repeat(100_000))).denied(400, "xml_depth");
    assert_eq!(plugin.built.plugin().request_body(), BodyNeed::Whole { max: 1 << 20 });
    assert!(kit().build("max_depth: 0").map(drop).unwrap_err().contains("no XML would pass"));
}

#[test]
fn what_is_xml_is_said_by_its_type() {
    let plugin = kit().build("{}").unwrap();
    let typed = |value: &str| Case::new("POST", "/").header("content-type", value).body("<!DOCTYPE a><a/>");
    for value in ["application/xml", "Text/XML; charset=utf-8", "application/soap+xml", "image/svg+xml"] {
        plugin.run(typed(value)).denied(400, "xml_doctype");
    }
    plugin.run(typed("application/json")).passed();
    plugin.run(typed("text/xml; charset=utf-16")).denied(415, "xml_not_utf8");
    plugin.run(typed("text/xml, text/plain")).denied(415, "content_type_malformed");
    let coded = |body: Bytes| xml(body).header("content-encoding", "gzip");
    plugin.run(coded(coding::tests::gzip(b"<!DOCTYPE a><a/>"))).denied(400, "xml_doctype");
    plugin.run(coded(coding::tests::gzip(&[b' '; 2_000_000]))).denied(413, "encoding_bomb");
    plugin.run(coded("<a/>".into())).denied(400, "encoding_malformed");
}
