//! Makes what is looked for of what is written.

use super::{
    config::{Config, Does, Find, Kind, Unless},
    finder::Finder,
    paths::Paths,
    reader::Masks,
    rules::{Action, Mask, Rule},
};
use crate::media_type::Pattern;
use http::HeaderName;
use palisade_contract::{BuildEnv, ConfigError, Counter, Principal, conf::suggest};
use regex::bytes::RegexBuilder;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};

/// The most characters that may stay of a masked value, at either end.
const KEPT: usize = 8;
/// The most memory that an operator's pattern may take compiled, in bytes.
const PATTERN: usize = 1 << 20;
/// What is looked for where nothing is named.
const DEFAULT: [Kind; 4] = [Kind::Card, Kind::PrivateKey, Kind::ApiKey, Kind::StackTrace];

/// Rules as they are made, and what is wrong with them.
struct Making<'e> {
    counter: &'e dyn Fn(&str) -> Counter,
    finder: Finder,
    paths: Paths,
    rules: Vec<Rule>,
    kinds: BTreeSet<Kind>,
    errors: Vec<ConfigError>,
}

/// What is looked for. Each rule counts by its name.
pub(super) fn masks(config: &Config, counter: &dyn Fn(&str) -> Counter) -> Result<Masks, Vec<ConfigError>> {
    let (finder, paths) = (Finder::default(), Paths::default());
    let mut making =
        Making { counter, finder, paths, rules: Vec::new(), kinds: BTreeSet::new(), errors: Vec::new() };
    for (at, find) in config.find.iter().enumerate() {
        making.find(find, &format!("find[{at}]"));
    }
    if config.find.is_empty() && config.fields.is_empty() {
        making.find(&Find { kinds: DEFAULT.to_vec(), ..Find::default() }, "find");
    }
    for (at, fields) in config.fields.iter().enumerate() {
        let field = format!("fields[{at}]");
        making.kept(fields.action, fields.keep_first, fields.keep_last, &field);
        if fields.paths.is_empty() {
            let error = ConfigError::at(format!("{field}.paths"), "the list is empty");
            making.errors.push(error.help("write `customer.tax_id`, or remove the row"));
        }
        let mask = Mask {
            first: fields.keep_first.unwrap_or(0),
            last: fields.keep_last.unwrap_or(0),
            shaped: false,
        };
        for (number, path) in fields.paths.iter().enumerate() {
            let rule = making.rule(path, fields.action, mask);
            if let Err(why) = making.paths.add(path, rule) {
                let error = ConfigError::at(format!("{field}.paths[{number}]"), format!("`{path}` {why}"));
                making.errors.push(error.help("write `customer.tax_id`, `items[].card` or `**.password`"));
            }
        }
    }
    let none = BTreeSet::new();
    if let Err(why) = making.finder.finish(making.paths.names().unwrap_or(&none)) {
        making.errors.push(ConfigError::at("find", format!("it cannot be compiled: {why}")));
    }
    let Making { finder, paths, rules, errors, .. } = making;
    let max = usize::try_from(config.max_body_size.0).unwrap_or(usize::MAX);
    if errors.is_empty() { Ok(Masks { finder, paths, rules, max }) } else { Err(errors) }
}

impl Making<'_> {
    fn rule(&mut self, name: &str, action: Does, mask: Mask) -> usize {
        let action = match action {
            Does::Mask => Action::Mask(mask),
            Does::Remove => Action::Remove,
            Does::Deny => Action::Deny,
        };
        let counter = (self.counter)(name);
        self.rules.push(Rule { name: name.into(), action, counter });
        self.rules.len() - 1
    }

    /// Checks what is to stay of a value.
    fn kept(&mut self, action: Does, first: Option<usize>, last: Option<usize>, field: &str) {
        for (name, kept) in [("keep_first", first), ("keep_last", last)] {
            if kept.is_some_and(|kept| kept > KEPT) {
                let error = ConfigError::at(format!("{field}.{name}"), "so much of it would be shown");
                self.errors.push(error.help("8 characters may stay at most"));
            } else if kept.is_some() && action != Does::Mask {
                let error = ConfigError::at(format!("{field}.{name}"), "nothing stays of what is not masked");
                self.errors.push(error.help("remove it, or write `action: mask`"));
            }
        }
    }

    fn find(&mut self, find: &Find, field: &str) {
        self.kept(find.action, find.keep_first, find.keep_last, field);
        match (&find.pattern, &find.name, find.kinds.as_slice()) {
            (None, None, kinds) if !kinds.is_empty() => self.kinds(find, field),
            (Some(pattern), Some(name), []) => self.pattern(find, pattern, name, field),
            _ => {
                let error = ConfigError::at(field, "it says nothing, or two things");
                self.errors.push(error.help("write `kinds: [card]`, or `name` and `pattern`"));
            }
        }
    }

    fn kinds(&mut self, find: &Find, field: &str) {
        for (at, kind) in find.kinds.iter().enumerate() {
            let place = format!("{field}.kinds[{at}]");
            if !self.kinds.insert(*kind) {
                let error = ConfigError::at(place, format!("`{}` stands there twice", kind.name()));
                self.errors.push(error.help("write it where it is to be treated as it should"));
                continue;
            }
            if kind.is_whole() && (find.keep_first.is_some() || find.keep_last.is_some()) {
                let error = ConfigError::at(place, format!("`{}` is never shown in part", kind.name()));
                self.errors.push(error.help("write it in a row of its own"));
                continue;
            }
            let default = if *kind == Kind::Card { 4 } else { 0 };
            let mask = Mask {
                first: find.keep_first.unwrap_or(0),
                last: find.keep_last.unwrap_or(default),
                shaped: kind.is_shaped(),
            };
            let rule = self.rule(kind.name(), find.action, mask);
            if let Err(why) = kind.look_for(&mut self.finder, rule) {
                self.errors.push(ConfigError::at(place, format!("it cannot be compiled: {why}")));
            }
        }
    }

    fn pattern(&mut self, find: &Find, pattern: &str, name: &str, field: &str) {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || !name.bytes().all(word) {
            let error = ConfigError::at(format!("{field}.name"), format!("`{name}` is no name"));
            self.errors.push(error.help("write letters, digits, `-` and `_`"));
        }
        let mask =
            Mask { first: find.keep_first.unwrap_or(0), last: find.keep_last.unwrap_or(0), shaped: false };
        let place = format!("{field}.pattern");
        match RegexBuilder::new(pattern).size_limit(PATTERN).build() {
            Err(why) => self.errors.push(ConfigError::at(place, format!("it is no expression: {why}"))),
            Ok(regex) if regex.is_match(b"") => {
                let error = ConfigError::at(place, "it is found in nothing at all");
                self.errors.push(error.help("write an expression that needs a character at least"));
            }
            Ok(regex) => {
                let rule = self.rule(name, find.action, mask);
                self.finder.custom(regex, rule);
            }
        }
    }
}

/// Headers that are removed from responses.
pub(super) fn headers(config: &Config) -> Result<Vec<HeaderName>, Vec<ConfigError>> {
    const KEPT: [&str; 5] =
        ["content-type", "content-length", "content-encoding", "transfer-encoding", "connection"];
    let (mut names, mut errors) = (Vec::new(), Vec::new());
    for (at, name) in config.remove_headers.iter().enumerate() {
        match HeaderName::try_from(name.as_str()) {
            Ok(name) if !KEPT.contains(&name.as_str()) => names.push(name),
            _ => {
                let error = ConfigError::at(
                    format!("remove_headers[{at}]"),
                    format!("`{name}` is no header that can be removed"),
                );
                errors.push(error.help("write a name like `x-powered-by`"));
            }
        }
    }
    if errors.is_empty() { Ok(names) } else { Err(errors) }
}

/// Types that pass as they are.
pub(super) fn pass(config: &Config) -> Result<Vec<Pattern>, Vec<ConfigError>> {
    let (mut patterns, mut errors) = (Vec::new(), Vec::new());
    for (at, text) in config.pass.iter().enumerate() {
        match Pattern::parse(text, &format!("pass[{at}]")) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(patterns) } else { Err(errors) }
}

/// Who gets bodies as they are.
#[derive(Debug)]
pub(super) struct Free {
    groups: Vec<Arc<str>>,
    scopes: Vec<String>,
    claims: Vec<(String, String)>,
}

impl Free {
    pub(super) fn new(unless: Unless, env: &BuildEnv<'_>) -> Result<Self, Vec<ConfigError>> {
        let known = env.groups.filter(|known| !known.is_empty());
        let mut errors = Vec::new();
        for (at, group) in unless.groups.iter().enumerate() {
            if let Some(known) = known.filter(|known| !known.contains(group.as_str())) {
                let what = format!("no consumer is in the group `{group}`");
                let names = known.iter().map(|name| &**name);
                let error = ConfigError::at(format!("unless.groups[{at}]"), what);
                errors.push(error.help(suggest(group, names, "the groups of consumers are")));
            }
        }
        let groups = unless.groups.into_iter().map(Arc::from).collect();
        let free = Free { groups, scopes: unless.scopes, claims: unless.claims.into_iter().collect() };
        if errors.is_empty() { Ok(free) } else { Err(errors) }
    }

    /// True for a principal that is one of them.
    pub(super) fn is(&self, one: &Principal) -> bool {
        let says = |claim: Option<&Value>, wanted: &str| match claim {
            Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(wanted)),
            Some(value) => value.as_str() == Some(wanted),
            None => false,
        };
        one.groups().iter().any(|group| self.groups.contains(group))
            || one.words("scope").any(|word| self.scopes.iter().any(|scope| scope == word))
            || self.claims.iter().any(|(path, wanted)| says(one.claim(path), wanted))
    }
}
