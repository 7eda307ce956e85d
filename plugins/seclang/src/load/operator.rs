//! The operator of a rule.

use super::{Fail, fail};
use crate::{
    error::suggestion,
    operator::{self, Addresses, ByteRange, Operator, Order, Pattern, Phrases},
    template::{Template, TxNames},
};
use std::{fs, path::Path};

/// Parses `!@rx …`; text without `@` is an expression. Files are looked for beside the rule's file.
pub(super) fn parse(text: &str, folder: &Path, names: &mut TxNames) -> Result<(Operator, bool), Fail> {
    let lead = text.len() - text.trim_start().len();
    let trimmed = text.trim_start();
    let (negated, rest) = match trimmed.strip_prefix('!') {
        Some(rest) if rest.trim_start().starts_with('@') => (true, rest.trim_start()),
        Some(rest) => return rx(rest, lead + 1, names).map(|operator| (operator, true)),
        None => (false, trimmed),
    };
    if !rest.starts_with('@') {
        return rx(text, 0, names).map(|operator| (operator, negated));
    }
    let at = text.len() - rest.len();
    let (name, parameter) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let parameter_at = at + rest.len() - parameter.len();
    let operator = build(name, parameter, folder, names).map_err(|error| match error {
        Problem::Name => {
            let lower = name.to_ascii_lowercase();
            match operator::REFUSED.iter().find(|(refused, _)| *refused == lower) {
                Some((_, why)) => fail(at, name.len(), format!("the operator `{name}` is not run: {why}")),
                None => Fail {
                    help: suggestion(name, operator::NAMES.iter().copied()),
                    ..fail(at, name.len(), format!("unknown operator `{name}`"))
                },
            }
        }
        Problem::Parameter(message) => fail(parameter_at, parameter.len(), message),
    })?;
    Ok((operator, negated))
}

enum Problem {
    Name,
    Parameter(String),
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self::Parameter(message)
    }
}

fn rx(text: &str, at: usize, names: &mut TxNames) -> Result<Operator, Fail> {
    expression(text, names).map_err(|message| fail(at, text.len(), message))
}

fn expression(text: &str, names: &mut TxNames) -> Result<Operator, String> {
    if text.contains("%{")
        && let Ok(template) = Template::parse(text, names)
        && template.constant().is_none()
    {
        return Ok(Operator::RxMacro(template));
    }
    let pattern =
        Pattern::parse(text).map_err(|error| format!("the expression does not compile: {error}"))?;
    Ok(Operator::Rx(pattern))
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::linear(text).map_err(|error| format!("the expression does not compile: {error}"))
}

fn template(text: &str, names: &mut TxNames) -> Result<Template, Problem> {
    let text = text.trim_end();
    Template::parse(text, names)
        .map_err(|name| Problem::Parameter(format!("unknown variable `{name}` in a macro")))
}

fn build(name: &str, text: &str, folder: &Path, names: &mut TxNames) -> Result<Operator, Problem> {
    let number =
        |order, names: &mut TxNames| template(text, names).map(|template| Operator::Number(order, template));
    Ok(match name.to_ascii_lowercase().as_str() {
        "@rx" => expression(text, names)?,
        "@rxglobal" => Operator::RxGlobal(pattern(text)?),
        "@pm" => Operator::Pm(phrases(Phrases::words(text))?),
        "@pmfromfile" | "@pmf" => {
            let mut all = Vec::new();
            for file in files(text, folder) {
                all.extend(Phrases::lines(&read(&file)?));
            }
            Operator::Pm(phrases(all)?)
        }
        "@eq" => number(Order::Equal, names)?,
        "@ge" => number(Order::AtLeast, names)?,
        "@gt" => number(Order::Above, names)?,
        "@le" => number(Order::AtMost, names)?,
        "@lt" => number(Order::Below, names)?,
        "@streq" => Operator::Streq(template(text, names)?),
        "@contains" | "@strmatch" => Operator::Contains(template(text, names)?),
        "@containsword" => Operator::ContainsWord(template(text, names)?),
        "@beginswith" => Operator::BeginsWith(template(text, names)?),
        "@endswith" => Operator::EndsWith(template(text, names)?),
        "@within" => Operator::Within(template(text, names)?),
        "@ipmatch" => Operator::IpMatch(addresses(text.split(','))?),
        "@ipmatchfromfile" | "@ipmatchf" => {
            let mut lines = Vec::new();
            for file in files(text, folder) {
                lines.extend(
                    Phrases::lines(&read(&file)?).map(|line| String::from_utf8_lossy(&line).into_owned()),
                );
            }
            Operator::IpMatch(addresses(lines.iter().flat_map(|line| line.split(',')))?)
        }
        "@detectsqli" => Operator::DetectSqli,
        "@detectxss" => Operator::DetectXss,
        "@validatebyterange" => Operator::ValidateByteRange(
            ByteRange::parse(text).map_err(|part| format!("`{part}` is no byte or range of bytes"))?,
        ),
        "@validateurlencoding" => Operator::ValidateUrlEncoding,
        "@validateutf8encoding" => Operator::ValidateUtf8Encoding,
        "@verifycc" => Operator::VerifyCreditCard(pattern(text)?),
        "@verifycpf" => Operator::VerifyCpf(pattern(text)?),
        "@verifyssn" => Operator::VerifySsn(pattern(text)?),
        "@verifysvnr" => Operator::VerifySvnr(pattern(text)?),
        "@unconditionalmatch" => Operator::Always,
        "@nomatch" => Operator::Never,
        // `SecGeoLookupDb` is refused, and without a database no address has a place. A list of `httpbl.org` is asked with a key
        // alone, and `SecHttpBlKey` is refused as well.
        "@geolookup" => Operator::Never,
        "@rbl" if text.trim().ends_with("httpbl.org") => Operator::Never,
        _ => return Err(Problem::Name),
    })
}

fn phrases(words: Vec<Vec<u8>>) -> Result<Phrases, Problem> {
    if words.is_empty() {
        return Err(Problem::Parameter("no phrase to look for".into()));
    }
    Phrases::new(words).map_err(|error| Problem::Parameter(error.to_string()))
}

fn addresses<'a>(words: impl Iterator<Item = &'a str>) -> Result<Addresses, Problem> {
    Addresses::parse(words).map_err(|word| Problem::Parameter(format!("`{word}` is no address or network")))
}

/// The files that an operator reads.
pub(super) fn data(text: &str, folder: &Path) -> Vec<std::path::PathBuf> {
    let text = text.trim_start().trim_start_matches('!').trim_start();
    match text.split_once(char::is_whitespace) {
        Some((name, parameter))
            if name.to_ascii_lowercase().ends_with("fromfile") || name.ends_with(['F', 'f']) =>
        {
            files(parameter, folder)
        }
        _ => Vec::new(),
    }
}

/// The one file of a name with spaces, or each file of a list.
fn files(text: &str, folder: &Path) -> Vec<std::path::PathBuf> {
    let whole = folder.join(text.trim());
    if whole.is_file() {
        return vec![whole];
    }
    text.split_whitespace().map(|name| folder.join(name)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| Problem::Parameter(format!("cannot read `{}`: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_their_errors() {
        let mut names = TxNames::default();
        let folder = Path::new(".");
        let (operator, negated) = parse("!@within %{tx.allowed}", folder, &mut names).unwrap();
        assert!(negated && matches!(operator, Operator::Within(_)));
        assert!(matches!(parse("^a", folder, &mut names), Ok((Operator::Rx(_), false))));
        assert!(matches!(parse("!^a", folder, &mut names), Ok((Operator::Rx(_), true))));
        for (text, at, message, help) in [
            ("@rxx a", 0, "unknown operator `@rxx`", Some("`@rx` is close to it")),
            ("!@rx (", 5, "the expression does not compile", None),
            ("@rbl zen.example", 0, "the operator `@rbl` is not run: it asks a name server", None),
            ("@ipMatch 1.2.3", 9, "`1.2.3` is no address or network", None),
            ("@pmFromFile none.data", 12, "cannot read `./none.data`", None),
            ("@eq %{nope}", 4, "unknown variable `nope` in a macro", None),
            ("@validateByteRange x", 19, "`x` is no byte or range of bytes", None),
        ] {
            let error = parse(text, folder, &mut names).unwrap_err();
            assert_eq!(error.at, at, "{text}");
            assert!(error.message.starts_with(message), "{}", error.message);
            assert_eq!(error.help.as_deref(), help, "{text}");
        }
    }
}
