//! References in scalars: `${env:NAME}`, `${env:NAME:-default}`, `${file:path}`; `$${` stands for `${`.

use std::path::Path;

use super::{ConfigError, parse::Environment};

/// The largest file that `${file:…}` reads, in bytes.
const MAX_FILE: u64 = 1 << 20;

pub(super) struct Resolved {
    pub(super) text: String,
    /// True where the scalar was nothing but one reference.
    pub(super) whole: bool,
    /// True where something was looked up (an escape alone is no secret).
    pub(super) secret: bool,
}

/// Resolves the references in one scalar; none where it has none.
pub(super) fn resolve(
    text: &str,
    file: &Path,
    environment: Environment<'_>,
) -> Result<Option<Resolved>, ConfigError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut out, mut rest, mut count) = (String::new(), text, 0);
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err(ConfigError::new("a reference `${…` is not closed")
                .help("close it with `}`, or write `$${` for a plain `${`"));
        };
        out.push_str(&look_up(name, file, environment)?);
        count += 1;
        rest = after;
    }
    out.push_str(rest);
    let whole =
        count == 1 && text.starts_with("${") && text.ends_with('}') && text.matches("${").count() == 1;
    Ok(Some(Resolved { text: out, whole, secret: count > 0 }))
}

fn look_up(reference: &str, file: &Path, environment: Environment<'_>) -> Result<String, ConfigError> {
    match reference.split_once(':') {
        Some(("env", rest)) => {
            let (name, default) = match rest.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (rest, None),
            };
            environment(name).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
                ConfigError::new(format!("`${{env:{name}}}` is not set"))
                    .help(format!("set the environment variable `{name}`, or write a default: `${{env:{name}:-value}}`"))
            })
        }
        Some(("file", path)) => read(&file.parent().unwrap_or(Path::new("")).join(path)),
        _ => Err(ConfigError::new(format!("unknown reference `${{{reference}}}`"))
            .help("there are `${env:NAME}`, `${env:NAME:-default}` and `${file:path}`; write `$${` for a plain `${`")),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let refuse = |why: String| ConfigError::new(format!("cannot read `{}`: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(refuse(format!("it is larger than {} KiB", MAX_FILE >> 10)));
    }
    let mut text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
