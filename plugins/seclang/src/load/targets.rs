//! The variables of a rule.

use super::{Fail, fail};
use crate::{
    body::xpath,
    error::suggestion,
    operator::pattern,
    rule::{Selector, Target},
    template::TxNames,
    variable::{REFUSED, Source, VARIABLES, Variable},
};
use std::sync::Arc;

/// Targets as written: what is taken, and what a `!` leaves out.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub(super) take: Vec<Target>,
    pub(super) leave: Vec<Target>,
}

impl Targets {
    /// Parses `ARGS|!ARGS:/^x/|&REQUEST_HEADERS:Host`.
    pub(super) fn parse(
        text: &str,
        names: &mut TxNames,
        namespaces: &[(String, String)],
    ) -> Result<Self, Fail> {
        let mut targets = Self::default();
        for (offset, part) in parts(text) {
            let (flag, name) = match part.as_bytes().first() {
                Some(b'!') => (b'!', part.get(1..).unwrap_or_default()),
                Some(b'&') => (b'&', part.get(1..).unwrap_or_default()),
                _ => (0, part),
            };
            let mut target = parse(name, names, namespaces)
                .map_err(|error| error.after(offset + part.len() - name.len()))?;
            target.count = flag == b'&';
            if flag == b'!' { targets.leave.push(target) } else { targets.take.push(target) }
        }
        if targets.take.is_empty() && targets.leave.is_empty() {
            return Err(fail(0, text.len(), "no variable".into()));
        }
        Ok(targets)
    }

    /// The targets, with what is left out moved into them.
    pub(super) fn compiled(self) -> Vec<Target> {
        let mut targets = self.take;
        leave_out(&mut targets, &self.leave);
        targets
    }
}

/// Leaves values out of targets.
pub(super) fn leave_out(targets: &mut Vec<Target>, leave: &[Target]) {
    for except in leave {
        if matches!(except.selector, Selector::All) {
            targets.retain(|target| target.variable != except.variable || target.count);
            continue;
        }
        for target in targets.iter_mut().filter(|target| target.variable == except.variable) {
            target.except.push(except.selector.clone());
        }
        targets.retain(|target| {
            target.variable != except.variable || target.count || !target.selector.same(&except.selector)
        });
    }
}

/// The parts between bars, with their offsets; bars inside `/…/` do not part.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut in_regex = false;
    let mut before = 0u8;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' if in_regex && before != b'\\' => in_regex = false,
            b'/' if !in_regex && matches!(before, b':' | b'\'') => {
                let part = text.get(start..at).unwrap_or_default().trim_start_matches(['!', '&', ' ']);
                in_regex = !part.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("XML:"));
            }
            b'|' | b',' if !in_regex => {
                parts.push((start, text.get(start..at).unwrap_or_default()));
                start = at + 1;
            }
            _ => {}
        }
        before = byte;
    }
    parts.push((start, text.get(start..).unwrap_or_default()));
    parts
        .into_iter()
        .map(|(at, part)| (at + part.len() - part.trim_start().len(), part.trim()))
        .filter(|(_, part)| !part.is_empty())
        .collect()
}

/// Parses one variable with its selector.
pub(super) fn parse(
    text: &str,
    names: &mut TxNames,
    namespaces: &[(String, String)],
) -> Result<Target, Fail> {
    let (name, key) = match text.split_once(':') {
        Some((name, key)) => (name, Some(key)),
        None => (text, None),
    };
    let variable = Variable::find(name).ok_or_else(|| unknown(name))?;
    let mut target = Target {
        variable,
        selector: Selector::All,
        tx: None,
        fixed: Arc::default(),
        count: false,
        except: Vec::new(),
    };
    let key_at = name.len() + 1;
    if variable == Variable::XmlText {
        target.variable = match key {
            None | Some("/*") => Variable::XmlText,
            Some("//@*") => Variable::XmlAttributes,
            Some(path) => {
                let resolved = xpath::resolve(path, namespaces).and_then(|text| {
                    xpath::Path::parse(&text)?;
                    Ok(text)
                });
                let resolved = resolved.map_err(|(at, message)| Fail {
                    help: Some(
                        "`XML:/*` is all text of a document, `XML://@*` all values of attributes".into(),
                    ),
                    ..fail(key_at + at.min(path.len()), path.len().saturating_sub(at).max(1), message)
                })?;
                target.selector = Selector::Key(resolved.into_bytes().into());
                Variable::XmlPath
            }
        };
        return Ok(target);
    }
    let Some(key) = key else { return Ok(target) };
    if !variable.is_collection() {
        return Err(fail(key_at, key.len(), format!("`{name}` is one value and has no names to select")));
    }
    let bare = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')).unwrap_or(key);
    if let Some(regex) = bare.strip_prefix('/').and_then(|key| key.strip_suffix('/')) {
        let regex = pattern::selector(regex).map_err(|error| {
            fail(key_at, key.len(), format!("the expression `{regex}` does not compile: {error}"))
        })?;
        target.selector = Selector::Regex(Arc::new(regex));
        return Ok(target);
    }
    if variable.source() == Source::Tx {
        target.tx = Some(names.intern(bare.as_bytes()));
    }
    target.selector = Selector::Key(bare.as_bytes().into());
    Ok(target)
}

fn unknown(name: &str) -> Fail {
    match REFUSED.iter().find(|(refused, _)| name.eq_ignore_ascii_case(refused)) {
        Some((_, why)) => fail(0, name.len(), format!("the variable `{name}` is refused: {why}")),
        None => Fail {
            help: suggestion(name, VARIABLES.iter().map(|variable| variable.name())),
            ..fail(0, name.len(), format!("unknown variable `{name}`"))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_parsed() {
        let mut names = TxNames::default();
        let text =
            "ARGS|!ARGS:/^a|b/|&REQUEST_HEADERS:Host|TX:score|XML://@*|!REQUEST_COOKIES|REQUEST_COOKIES";
        let targets = Targets::parse(text, &mut names, &[]).unwrap().compiled();
        assert_eq!(targets.len(), 4);
        assert!(targets[0].takes(b"x") && !targets[0].takes(b"ab") && !targets[0].takes(b"xB"));
        assert!(targets[1].count && targets[1].takes(b"hOST"));
        assert_eq!(targets[2].tx, names.number(b"score"));
        assert_eq!(targets[3].variable, Variable::XmlAttributes);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let mut names = TxNames::default();
        for (text, at, message, help) in [
            ("ARGS|ARG_NAMES", 5, "unknown variable `ARG_NAMES`", Some("`ARGS_NAMES` is close to it")),
            ("REQUEST_URI:x", 12, "`REQUEST_URI` is one value and has no names to select", None),
            ("ARGS:/(/", 5, "the expression `(` does not compile", None),
            ("", 0, "no variable", None),
            ("ENV:PATH", 0, "the variable `ENV` is refused: the environment", None),
            (
                "ARGS|XML:/a/b[1]",
                12,
                "the step `b[1]` is not supported",
                Some("`XML:/*` is all text of a document, `XML://@*` all values of attributes"),
            ),
        ] {
            let error = Targets::parse(text, &mut names, &[]).unwrap_err();
            assert_eq!(error.at, at, "{text}");
            assert!(error.message.starts_with(message), "{}", error.message);
            assert_eq!(error.help.as_deref(), help);
        }
    }
}
