//! What a plain scalar means: the core schema of YAML 1.2.2 (§10.3.2).

/// A plain scalar's meaning.
#[derive(Debug, PartialEq)]
pub(super) enum Plain<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
}

/// Reads a plain scalar.
pub(super) fn read(text: &str) -> Plain<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        _ => bool(text)
            .map(Plain::Bool)
            .or_else(|| int(text).map(Plain::Int))
            .or_else(|| float(text).map(Plain::Float))
            .unwrap_or(Plain::Text(text)),
    }
}

/// `true` or `false`.
pub(super) fn bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A whole number: decimal with a sign or none, `0o17`, `0x1f`.
pub(super) fn int(text: &str) -> Option<i128> {
    let digits = |text: &str, radix: u32| {
        let all = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
        all.then(|| i128::from_str_radix(text, radix).ok()).flatten()
    };
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    match text.strip_prefix('-') {
        Some(text) => digits(text, 10).map(|number| -number),
        None => digits(text.strip_prefix('+').unwrap_or(text), 10),
    }
}

/// A number with a point or an exponent, `.inf`, `.nan`.
pub(super) fn float(text: &str) -> Option<f64> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    // Rust's own parser also takes `inf`, `nan`, `infinity`.
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if numeric { unsigned.parse::<f64>().ok().map(|number| sign * number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, expect) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("null", Plain::Null),
            ("nUll", Plain::Text("nUll")),
            ("true", Plain::Bool(true)),
            ("FALSE", Plain::Bool(false)),
            ("yes", Plain::Text("yes")),
            ("no", Plain::Text("no")),
            ("on", Plain::Text("on")),
            ("12", Plain::Int(12)),
            ("-12", Plain::Int(-12)),
            ("+12", Plain::Int(12)),
            ("--12", Plain::Text("--12")),
            ("+-12", Plain::Text("+-12")),
            ("0o17", Plain::Int(15)),
            ("0x1F", Plain::Int(31)),
            ("0x", Plain::Text("0x")),
            ("0x+1", Plain::Text("0x+1")),
            ("1_000", Plain::Text("1_000")),
            ("1:30", Plain::Text("1:30")),
            ("12e5", Plain::Float(12e5)),
            ("1.5", Plain::Float(1.5)),
            (".5", Plain::Float(0.5)),
            ("-.5", Plain::Float(-0.5)),
            (".", Plain::Text(".")),
            ("e5", Plain::Text("e5")),
            ("1.2.3", Plain::Text("1.2.3")),
            ("inf", Plain::Text("inf")),
            ("nan", Plain::Text("nan")),
            ("-.inf", Plain::Float(f64::NEG_INFINITY)),
            ("٣", Plain::Text("٣")),
        ] {
            assert_eq!(read(text), expect, "{text}");
        }
    }
}
