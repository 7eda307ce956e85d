//! Distinguished names as text (RFC 4514): one name has one text, and no two names have the same.

use std::fmt::Write;
use x509_parser::{der_parser::asn1_rs::Oid, x509::X509Name};

/// Attribute types that have a short name.
const TYPES: [(&str, &str); 11] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.5", "serialNumber"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The most specific part first, as RFC 4514 has it: `CN=partner,O=Example,C=DE`.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for set in name.iter() {
        let all: Vec<String> = set
            .iter()
            .map(|attribute| {
                let kind = kind(attribute.attr_type());
                match (kind, attribute.as_str()) {
                    (Some(kind), Ok(value)) => format!("{kind}={}", escaped(value)),
                    (_, _) => {
                        let bytes = attribute.as_slice();
                        format!("{}=#{}", attribute.attr_type().to_id_string(), hex::encode(bytes))
                    }
                }
            })
            .collect();
        parts.push(all.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

/// The only common name; none where there are several.
pub(super) fn common_name(name: &X509Name<'_>) -> Option<String> {
    let mut all = name.iter_common_name();
    let first = all.next()?.as_str().ok()?;
    all.next().is_none().then(|| first.to_owned())
}

fn kind(oid: &Oid<'_>) -> Option<&'static str> {
    let dotted = oid.to_id_string();
    TYPES.iter().find(|(known, _)| *known == dotted).map(|(_, name)| *name)
}

/// What would end a value, or look like another one, is escaped.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let edge = (c == ' ' && (index == 0 || index == last)) || (c == '#' && index == 0);
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => text.extend(['\\', c]),
            _ if edge => text.extend(['\\', c]),
            c if c.is_control() || !c.is_ascii() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    // A string takes everything.
                    let _ = write!(text, "\\{byte:02X}");
                }
            }
            c => text.push(c),
        }
    }
    text
}

/// A name as an operator writes it, in the form of [`text`]: spaces around parts and `=` go, and letters beyond ASCII
/// may stand as they are.
pub(super) fn written(name: &str) -> Option<String> {
    let (mut parts, mut part, mut is_escaped) = (Vec::new(), String::new(), false);
    for c in name.chars() {
        if c == ',' && !is_escaped {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        is_escaped = c == '\\' && !is_escaped;
        if c.is_ascii() {
            part.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(part, "\\{byte:02X}");
            }
        }
    }
    parts.push(part);
    let whole = parts.iter().map(|part| {
        let (kind, value) = part.split_once('=')?;
        let (kind, value) = (kind.trim(), value.trim());
        let known = TYPES.iter().map(|(_, name)| *name).find(|name| name.eq_ignore_ascii_case(kind));
        let dotted = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let kind = known.or(dotted.then_some(kind))?;
        (!value.is_empty()).then(|| format!("{kind}={value}"))
    });
    whole.collect::<Option<Vec<_>>>().map(|parts| parts.join(","))
}
