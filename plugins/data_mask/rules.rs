//! What is done with what is found, and how often it was.

use palisade_contract::Counter;
use std::borrow::Cow;

/// What stands in the place of what was removed from a text.
pub(super) const REMOVED: &str = "[removed]";
/// What hides a value whose length is nobody's business.
const HIDDEN: &str = "****";
/// So many characters are hidden at least, or all are.
const HIDDEN_LEAST: usize = 4;

/// A rule: what it is called, and what it does.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Box<str>,
    pub(super) action: Action,
    pub(super) counter: Counter,
}

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Mask(Mask),
    Remove,
    Deny,
}

/// How a value is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask {
    /// Characters that stay at its beginning.
    pub(super) first: usize,
    /// Characters that stay at its end.
    pub(super) last: usize,
    /// Its length and what separates its groups stay.
    pub(super) shaped: bool,
}

impl Mask {
    /// The value, masked. Where too little of it would be hidden, nothing is shown.
    pub(super) fn of(self, value: &str) -> String {
        let counts = |one: char| !self.shaped || one.is_alphanumeric();
        let count = value.chars().filter(|one| counts(*one)).count();
        let shows = self.first + self.last + HIDDEN_LEAST <= count;
        let (first, last) = if shows { (self.first, count - self.last) } else { (0, count) };
        let (mut masked, mut at) = (String::with_capacity(value.len()), 0);
        for one in value.chars() {
            let counted = counts(one);
            let shown = !counted || at < first || at >= last;
            match (shown, self.shaped) {
                (true, _) => masked.push(one),
                (false, true) => masked.push('*'),
                (false, false) if at == first => masked.push_str(HIDDEN),
                (false, false) => {}
            }
            at += usize::from(counted);
        }
        if masked.is_empty() { HIDDEN.to_owned() } else { masked }
    }
}

/// What was found in one response.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Vec<u32>,
    /// The rule that refuses the response.
    pub(super) denied: Option<usize>,
    /// All that was found.
    pub(super) total: u64,
}

impl Tally {
    /// What stands in the place of what a rule has found in a text.
    pub(super) fn replacement(&mut self, rules: &[Rule], rule: usize, value: &[u8]) -> Cow<'static, str> {
        match self.note(rules, rule) {
            Action::Mask(mask) => mask.of(&String::from_utf8_lossy(value)).into(),
            Action::Remove | Action::Deny => REMOVED.into(),
        }
    }

    /// Counts what a rule has found, and says what it does.
    pub(super) fn note(&mut self, rules: &[Rule], rule: usize) -> Action {
        self.counts.resize(rules.len(), 0);
        if let Some(count) = self.counts.get_mut(rule) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        let Some(found) = rules.get(rule) else { return Action::Remove };
        found.counter.add(1);
        if found.action == Action::Deny {
            self.denied.get_or_insert(rule);
        }
        found.action
    }

    /// Names of the rules that have found something, and how often.
    pub(super) fn counts<'r>(&'r self, rules: &'r [Rule]) -> impl Iterator<Item = (&'r str, u32)> {
        let all = rules.iter().zip(&self.counts);
        all.filter(|(_, count)| **count > 0).map(|(rule, count)| (&*rule.name, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        let mask = |first, last, shaped, value: &str| Mask { first, last, shaped }.of(value);
        assert_eq!(mask(0, 4, true, "4111-1111-1111-1111"), "****-****-****-1111");
        assert_eq!(mask(6, 4, true, "4111111111111111"), "411111******1111");
        assert_eq!(mask(0, 0, true, "12345678Z"), "*********");
        assert_eq!(mask(0, 4, false, "ghp_0123456789"), "****6789");
        assert_eq!(mask(3, 0, false, "ghp_0123456789"), "ghp****");
        assert_eq!(mask(0, 0, false, "alice"), "****");
        assert_eq!(mask(0, 0, false, ""), "****");
        // What would be shown nearly whole is hidden whole.
        assert_eq!(mask(0, 4, false, "secret"), "****");
        assert_eq!(mask(2, 4, true, "123-456"), "***-***");
        assert_eq!(mask(0, 2, false, "J\u{f6}rg M\u{fc}ller"), "****er");
    }
}
