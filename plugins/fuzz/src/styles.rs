//! Values written by every style: what the standard writes is read as what it was.

use palisade_contract::{
    Descriptor, Verdict,
    testkit::{Case, Instance, Kit},
};
use palisade_plugins::OpenApi;
use serde_json::{Map, Value, json};
use std::{cell::RefCell, fmt::Write};
use tempfile::TempDir;

/// A place, a style and whether it explodes.
type Way = (&'static str, &'static str, bool);

const WAYS: [Way; 14] = [
    ("path", "simple", false),
    ("path", "simple", true),
    ("path", "label", false),
    ("path", "label", true),
    ("path", "matrix", false),
    ("path", "matrix", true),
    ("query", "form", false),
    ("query", "form", true),
    ("query", "spaceDelimited", false),
    ("query", "pipeDelimited", false),
    ("query", "deepObject", true),
    ("header", "simple", false),
    ("header", "simple", true),
    ("cookie", "form", false),
];

/// Writes a list or an object of texts in every way, and holds it to a schema that takes this value alone, and to one that
/// takes another one alone. The first byte says what it is; each line is a text, of an object a name before `=`.
///
/// # Panics
/// Where the value is not taken, or the other one is.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let lines: Vec<&str> = text.split('\n').take(4).collect();
    let is_object = first % 2 == 1;
    let value = if is_object {
        let members = lines.iter().filter_map(|line| line.split_once('='));
        let members: Map<String, Value> = members
            .filter(|(name, _)| !name.is_empty() && !name.contains(['[', ']', '{', '}']))
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        Value::Object(members)
    } else {
        json!(lines)
    };
    let way = WAYS[usize::from(first / 2) % WAYS.len()];
    let Some(case) = request(way, &value) else { return };
    let other = if is_object { json!({ "other": "x" }) } else { json!(["other", "x", "y"]) };
    if value == other {
        return;
    }
    let plugin = build(way, &value, is_object);
    match plugin.run(case).verdict {
        Ok(Verdict::Continue) => {}
        other => panic!("{way:?} {value}: {other:?}"),
    }
    let Some(case) = request(way, &other) else { return };
    match plugin.run(case).verdict {
        Ok(Verdict::Deny(denial)) => assert_eq!(denial.reason(), "openapi_parameter"),
        other => panic!("{way:?} {value}: {other:?}"),
    }
}

fn build((place, style, explode): Way, value: &Value, is_object: bool) -> Instance {
    let mut schema = if is_object {
        let members = value.as_object().unwrap().keys().cloned().chain(["other".to_owned()]);
        let members: Map<String, Value> = members.map(|name| (name, json!({ "type": "string" }))).collect();
        json!({ "type": "object", "properties": members })
    } else {
        json!({ "type": "array", "items": { "type": "string" } })
    };
    schema["const"] = value.clone();
    let path = if place == "path" { "/a/{p}" } else { "/a" };
    let spec = json!({
        "openapi": "3.1.0",
        "info": { "title": "a", "version": "1" },
        "paths": { path: { "get": {
            "parameters": [{
                "name": "p", "in": place, "required": true, "style": style, "explode": explode, "schema": schema,
            }],
            "responses": { "200": { "description": "ok" } },
        } } },
    });
    DIR.with_borrow(|dir| {
        let file = dir.path().join("spec.json");
        std::fs::write(&file, spec.to_string()).unwrap();
        let kit = Kit::of(Descriptor::of::<OpenApi>()).credential_places(Vec::new());
        kit.build(&format!("spec: {}\nrequest: {{unknown: allow}}", file.display())).unwrap()
    })
}

/// The request that carries a value; none where the style cannot write it.
fn request((place, style, explode): Way, value: &Value) -> Option<Case> {
    let texts: Vec<(Option<&str>, &str)> = match value {
        Value::Array(items) => items.iter().map(|item| (None, item.as_str().unwrap())).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (Some(name.as_str()), value.as_str().unwrap())).collect()
        }
        _ => return None,
    };
    let is_object = value.is_object();
    let letters = match place {
        "header" => plain,
        _ => encoded,
    };
    let written = |(name, text): (Option<&str>, &str)| {
        let name = match name {
            Some(name) => Some(letters(name)?),
            None => None,
        };
        Some((name, letters(text)?))
    };
    let texts: Vec<(Option<String>, String)> = texts.into_iter().map(written).collect::<Option<_>>()?;
    // RFC 6570 writes nothing of what is empty, and one text that is empty reads as none.
    if texts.is_empty() || texts.iter().any(|(_, text)| text.is_empty()) {
        return None;
    }
    let written = in_style(style, explode, is_object, &texts)?;
    let target = match place {
        "path" => format!("/a/{written}"),
        "query" => format!("/a?{written}"),
        _ => "/a".to_owned(),
    };
    target.parse::<http::Uri>().ok()?;
    let case = Case::get(&target);
    Some(match place {
        "header" => case.header("p", &written),
        "cookie" => case.header("cookie", &written),
        _ => case,
    })
}

/// The parts of a value, with the names of members, as a style writes them; none where it cannot.
fn in_style(
    style: &str,
    explode: bool,
    is_object: bool,
    texts: &[(Option<String>, String)],
) -> Option<String> {
    let pairs = |between: &str, of: &str| {
        let one = |(name, value): &(Option<String>, String)| match name {
            Some(name) => format!("{name}{of}{value}"),
            None => value.clone(),
        };
        texts.iter().map(one).collect::<Vec<_>>().join(between)
    };
    let named =
        |between: &str| texts.iter().map(|(_, text)| format!("p={text}")).collect::<Vec<_>>().join(between);
    let written = match (style, explode) {
        ("simple", true) => pairs(",", "="),
        ("simple", false) => pairs(",", ","),
        ("label", true) => format!(".{}", pairs(".", "=")),
        ("label", false) => format!(".{}", pairs(",", ",")),
        ("matrix", true) if is_object => format!(";{}", pairs(";", "=")),
        ("matrix", true) => format!(";{}", named(";")),
        ("matrix", false) => format!(";p={}", pairs(",", ",")),
        ("form", true) if is_object => pairs("&", "="),
        ("form", true) => named("&"),
        ("form", false) => format!("p={}", pairs(",", ",")),
        ("spaceDelimited", _) => format!("p={}", pairs("%20", "%20")),
        ("pipeDelimited", _) => format!("p={}", pairs("|", "|")),
        ("deepObject", _) if is_object => {
            let one =
                |(name, value): &(Option<String>, String)| format!("p[{}]={value}", name.as_deref().unwrap());
            texts.iter().map(one).collect::<Vec<_>>().join("&")
        }
        _ => return None,
    };
    // A separator that is a letter of a text of its own cannot be told from one that separates.
    let has = |separator: &str| {
        let mut all = texts.iter().flat_map(|(name, text)| name.iter().chain(Some(text)));
        all.any(|text| text.contains(separator))
    };
    let confusing = match (style, explode) {
        ("label", true) => has("."),
        // A separator may come as its percent encoding, which a letter of a text's own is written as too.
        ("spaceDelimited", _) => has("%20"),
        ("pipeDelimited", _) => has("%7C"),
        _ => false,
    };
    (!confusing).then_some(written)
}

/// All but unreserved letters as percent encodings (RFC 3986 §2.3).
fn encoded(text: &str) -> Option<String> {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").ok()?;
        }
    }
    Some(out)
}

/// As it is: headers know no encoding, so that separators and blanks at the ends cannot stand in a text.
fn plain(text: &str) -> Option<String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b",=".contains(&byte));
    is_plain.then(|| text.to_owned())
}

thread_local! {
    static DIR: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("a directory"));
}
