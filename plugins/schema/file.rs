//! Files of JSON or YAML beside the configuration.

use palisade_contract::{
    ConfigError, ConfigErrors, Node, Place,
    conf::parse::{MAX_BYTES, parse_plain},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// A hash of a file's bytes.
pub(crate) type Hash = [u8; 32];

/// The bytes of a regular file of bounded size.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Anything else (a pipe, a device) could block for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The hash of a file as it is now; none where it cannot be read.
pub(crate) fn hash(path: &Path) -> Option<Hash> {
    bytes(path).ok().map(|bytes| Sha256::digest(bytes).into())
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, or is neither JSON nor YAML.
pub(crate) fn read(path: &Path) -> Result<(Node, Hash), ConfigErrors> {
    let refuse =
        |what: String| ConfigErrors::from(ConfigError::new(what).place(Place::of_file(path.to_owned())));
    let bytes = bytes(path).map_err(|error| refuse(format!("cannot read the file: {error}")))?;
    let hash = Sha256::digest(&bytes).into();
    let text = String::from_utf8(bytes).map_err(|_| refuse("the file is not UTF-8".to_owned()))?;
    let text = match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => as_yaml(&text),
        _ => Cow::Borrowed(text.as_str()),
    };
    Ok((parse_plain(path, &text)?, hash))
}

/// JSON as YAML reads it. All of it is YAML but two things: tabs between the parts, and escapes that stand for one
/// character in two halves. Neither changes a line.
fn as_yaml(text: &str) -> Cow<'_, str> {
    if !text.contains(['\t']) && !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    // A tab cannot stand in a string of JSON.
    let mut left = text;
    let mut out = String::with_capacity(text.len());
    while let Some(at) = left.find('\\') {
        let (before, escape) = left.split_at_checked(at).unwrap_or((left, ""));
        out.push_str(&before.replace('\t', " "));
        let taken = match pair(escape) {
            Some(c) => {
                out.push(c);
                12
            }
            None => {
                let end = escape.char_indices().nth(2).map_or(escape.len(), |(at, _)| at);
                out.push_str(escape.get(..end).unwrap_or_default());
                end
            }
        };
        left = escape.get(taken..).unwrap_or_default();
    }
    out.push_str(&left.replace('\t', " "));
    Cow::Owned(out)
}

/// The character that `\uD83D\uDE00` stands for.
fn pair(text: &str) -> Option<char> {
    let half = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    char::decode_utf16([half(0)?, half(6)?]).next()?.ok().filter(|c| c.len_utf16() == 2)
}

/// What a part of a file says, as JSON.
pub(crate) fn value(node: &Node) -> Result<Value, ConfigErrors> {
    node.deserialize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<Value, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let (node, _) = read(&path).map_err(|errors| errors.0[0].message.clone())?;
        value(&node).map_err(|errors| errors.0[0].message.clone())
    }

    #[test]
    fn json_is_read_as_json() {
        for text in [
            "{\n\t\"a\":\t[1,2.5,-3e2,true,null],\n\t\"b\": {\"c\":\"x\\ty\\/z\\\\\\\"\"}}",
            r#"{"😀":"\ud83d\ude00 \u00e4 \\ud83d\\ude00","x":"${env:HOME}","y":"*a","z":"yes"}"#,
            r#"{"$ref":"\u0023/a","k":"a: b # c"}"#,
            "[]",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read_text("x.json", text).unwrap(), expected, "{text}");
        }
        assert!(read_text("x.json", "{\"a\":1,\"a\":2}").unwrap_err().contains("twice"));
        assert!(read_text("x.yaml", "a: &x 1").unwrap_err().contains("anchors"));
        assert!(read_text("x.json", "{\"a\":").is_err());
    }
}
