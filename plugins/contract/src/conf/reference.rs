//! References in scalars: `${env:NAME}`, `${env:NAME:-default}`, `${file:path}`; `$${` stands for `${`.
//!
//! They are resolved after parsing, so that what they give can never become structure.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::{ConfigError, parse::Environment};

/// The longest file that a reference may name, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A scalar's text with its references resolved.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) text: String,
    /// True where a reference was resolved in it.
    pub(crate) secret: bool,
    /// True where it holds more than one reference alone: always a string.
    pub(crate) composed: bool,
}

impl Resolved {
    pub(crate) fn as_written(text: &str) -> Self {
        Resolved { text: text.to_owned(), secret: false, composed: false }
    }
}

/// Resolves the references in the text of a scalar of `file`. Files that are named are added to `files`.
pub(crate) fn resolve(
    text: &str,
    file: &Path,
    environment: Environment<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<Resolved, ConfigError> {
    let mut resolved = Resolved::as_written("");
    let mut rest = text;
    let mut literal = false;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            resolved.text.push_str(before);
            resolved.text.push_str("${");
            (rest, literal) = (after, true);
            continue;
        }
        let (reference, after) = after.split_once('}').ok_or_else(|| {
            ConfigError::new("a reference begins with `${` and has no `}`")
                .help("write `$${` for the characters themselves")
        })?;
        literal |= !before.is_empty() || !after.is_empty() || resolved.secret;
        resolved.text.push_str(before);
        resolved.text.push_str(&look_up(reference, file, environment, files)?);
        resolved.secret = true;
        rest = after;
    }
    resolved.text.push_str(rest);
    resolved.composed = resolved.secret && literal;
    Ok(resolved)
}

fn look_up(
    reference: &str,
    file: &Path,
    environment: Environment<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<String, ConfigError> {
    if reference.contains("${") {
        return Err(ConfigError::new("a reference stands inside another one").help("write the inner one out"));
    }
    match reference.split_once(':') {
        Some(("env", name)) => from_environment(name, environment),
        Some(("file", path)) => from_file(path, file, files),
        _ => Err(ConfigError::new(format!("`${{{reference}}}` is no reference"))
            .help("write `${env:NAME}`, `${env:NAME:-default}` or `${file:path}`; `$${` stands for the characters themselves")),
    }
}

fn from_environment(reference: &str, environment: Environment<'_>) -> Result<String, ConfigError> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(ConfigError::new(format!("`{name}` is not the name of an environment variable"))
            .help("write `${env:NAME}` or `${env:NAME:-default}`, the name of letters, digits and `_`"));
    }
    // An empty variable is taken for a forgotten one, as a shell's `:-` does: an empty secret opens doors.
    let (problem, help) = match (environment(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => return Ok(value),
        (None, Some(default)) => return Ok(default.to_owned()),
        (None, None) if environment(name).is_some() => ("is empty", "give it a value"),
        (None, None) => ("is not set", "set it"),
    };
    Err(ConfigError::new(format!("the environment variable `{name}` {problem}"))
        .help(format!("{help}, or write `${{env:{name}:-default}}`")))
}

fn from_file(path: &str, file: &Path, files: &mut Vec<PathBuf>) -> Result<String, ConfigError> {
    if path.is_empty() {
        return Err(
            ConfigError::new("`${file:}` names no file").help("write `${file:path}`, relative to this file")
        );
    }
    let full = file.parent().unwrap_or(Path::new("")).join(path);
    files.push(full.clone());
    let fail = |why: String| {
        ConfigError::new(format!("cannot read `{path}`: {why}"))
            .help(format!("it was looked for at `{}`; the path is relative to this file", full.display()))
    };
    // Anything but a regular file could block for ever.
    let meta = std::fs::metadata(&full).map_err(|error| fail(error.to_string()))?;
    if !meta.is_file() {
        return Err(fail("it is not a regular file".into()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(&full)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(fail(format!("it is longer than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".into()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(fail("it is empty".into())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "_b2" => Some("two ${env:A} }".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn get(text: &str) -> Result<Resolved, ConfigError> {
        resolve(text, Path::new("conf/x.yaml"), &environment, &mut Vec::new())
    }

    #[test]
    fn references_are_resolved_once() {
        for (text, expect, secret, composed) in [
            ("", "", false, false),
            ("plain $ } {", "plain $ } {", false, false),
            ("^/a$", "^/a$", false, false),
            ("${env:A}", "one", true, false),
            ("x${env:A}", "xone", true, true),
            ("${env:A}x", "onex", true, true),
            ("${env:A}${env:A}", "oneone", true, true),
            ("${env:_b2}", "two ${env:A} }", true, false),
            ("${env:NONE:-d:-e}", "d:-e", true, false),
            ("${env:NONE:-}", "", true, false),
            ("${env:EMPTY:-d}", "d", true, false),
            ("${env:A:-d}", "one", true, false),
            ("$${env:A}", "${env:A}", false, false),
            ("$$${env:A}", "$${env:A}", false, false),
            ("$${${env:A}", "${one", true, true),
            ("${env:A}$${", "one${", true, true),
        ] {
            let resolved = get(text).unwrap();
            assert_eq!(
                (resolved.text.as_str(), resolved.secret, resolved.composed),
                (expect, secret, composed),
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_resolve_is_refused() {
        for (text, expect) in [
            ("${env:A", "no `}`"),
            ("a ${", "no `}`"),
            ("${}", "no reference"),
            ("${A}", "no reference"),
            ("${ENV:A}", "no reference"),
            ("${vault:a}", "no reference"),
            ("${env:NONE}", "`NONE` is not set"),
            ("${env:EMPTY}", "`EMPTY` is empty"),
            ("${env:}", "not the name"),
            ("${env:1A}", "not the name"),
            ("${env: A}", "not the name"),
            ("${env:A-B}", "not the name"),
            ("${env:NONE:-${env:A}}", "inside another"),
            ("${file:}", "names no file"),
            ("${file:no/such}", "cannot read `no/such`"),
            ("${file:/dev/zero}", "not a regular file"),
            ("${file:/}", "not a regular file"),
        ] {
            let error = get(text).unwrap_err();
            assert!(error.message.contains(expect), "{text}: {}", error.message);
        }
    }

    #[test]
    fn a_file_loses_one_final_newline() {
        let dir = std::env::temp_dir().join(format!("palisade-reference-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (written, expect) in [
            ("s", Some("s")),
            ("s\n", Some("s")),
            ("s\r\n", Some("s")),
            ("s\n\n", Some("s\n")),
            ("\n", None),
            ("", None),
        ] {
            std::fs::write(dir.join("secret"), written).unwrap();
            let mut files = Vec::new();
            let got = resolve("${file:secret}", &dir.join("x.yaml"), &environment, &mut files);
            assert_eq!(got.ok().map(|resolved| resolved.text).as_deref(), expect, "{written:?}");
            assert_eq!(files, [dir.join("secret")]);
        }
        std::fs::write(dir.join("secret"), vec![b'a'; (MAX_FILE_BYTES + 1) as usize]).unwrap();
        assert!(resolve("${file:secret}", &dir.join("x"), &environment, &mut Vec::new()).is_err());
        std::fs::write(dir.join("secret"), [0xff]).unwrap();
        assert!(resolve("${file:secret}", &dir.join("x"), &environment, &mut Vec::new()).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
