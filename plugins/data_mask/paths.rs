//! Which values of a JSON text are meant: `customer.tax_id`, `items[].card.number`, `users.*.email`, `**.password`.

use std::collections::BTreeSet;

/// The most parts of all paths together: one bit each.
const MOST: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Name(String),
    /// Any item of an array.
    Item,
    /// Any member of an object.
    Any,
    /// Any number of members and items.
    Deep,
}

/// Parts that the next step may fit.
pub(super) type Set = u128;

/// A step from a value to one in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum To<'n> {
    Member(&'n str),
    Item,
}

/// All paths, each with its rule.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// The parts of all paths, one path after the other, and the rule where it is a last one.
    parts: Vec<(Part, Option<usize>)>,
    root: Set,
    names: BTreeSet<String>,
    /// A path cannot be told by a name that stands in the text.
    anywhere: bool,
}

impl Paths {
    /// Adds one.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn add(&mut self, path: &str, rule: usize) -> Result<(), &'static str> {
        let parts = parse(path)?;
        if self.parts.len() + parts.len() > MOST {
            return Err("is one too many: all paths together may have 128 parts");
        }
        let last = parts.iter().rev().find_map(|part| match part {
            Part::Name(name) => Some(name),
            _ => None,
        });
        let is_plain =
            |name: &&String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        match last.filter(is_plain) {
            Some(name) => _ = self.names.insert(name.clone()),
            None => self.anywhere = true,
        }
        let (first, count) = (self.parts.len(), parts.len());
        let all = parts.into_iter().enumerate();
        self.parts.extend(all.map(|(at, part)| (part, (at + 1 == count).then_some(rule))));
        self.root |= self.from(first);
        Ok(())
    }

    /// Names without which none of the paths leads anywhere; none where there are no such names.
    pub(super) fn names(&self) -> Option<&BTreeSet<String>> {
        (!self.anywhere).then_some(&self.names)
    }

    /// True where there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What fits at the text's own value.
    pub(super) fn root(&self) -> Set {
        self.root
    }

    /// What fits one step on, and the rule of a path that leads there.
    pub(super) fn step(&self, set: Set, to: To<'_>) -> (Set, Option<usize>) {
        let (mut left, mut next, mut rule) = (set, 0, None);
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            let at = usize::try_from(at).unwrap_or(MOST);
            let Some((part, last)) = self.parts.get(at) else { continue };
            let fits = match (part, to) {
                (Part::Name(name), To::Member(member)) => name == member,
                (Part::Any, To::Member(_)) | (Part::Item, To::Item) => true,
                (Part::Deep, _) => {
                    next |= self.from(at);
                    false
                }
                _ => false,
            };
            match last {
                Some(last) if fits => rule = rule.or(Some(*last)),
                None if fits => next |= self.from(at + 1),
                _ => {}
            }
        }
        (next, rule)
    }

    /// A part, and where it stands for nothing at all the one behind it.
    fn from(&self, at: usize) -> Set {
        let bit = |at: usize| u32::try_from(at).ok().and_then(|at| 1_u128.checked_shl(at)).unwrap_or(0);
        match self.parts.get(at) {
            Some((Part::Deep, _)) => bit(at) | bit(at + 1),
            _ => bit(at),
        }
    }
}

fn parse(path: &str) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    let text = path.strip_prefix("$.").or_else(|| path.strip_prefix('$')).unwrap_or(path);
    for (number, piece) in text.split('.').enumerate() {
        let mut name = piece;
        let mut items = 0;
        while let Some(rest) = name.strip_suffix("[]") {
            (name, items) = (rest, items + 1);
        }
        match name {
            "" if items > 0 && number == 0 => {}
            "" => return Err("has a part without a name"),
            "*" => parts.push(Part::Any),
            "**" if items > 0 => return Err("has `[]` behind `**`"),
            "**" if parts.last() == Some(&Part::Deep) => return Err("has `**` twice"),
            "**" => parts.push(Part::Deep),
            name if name.contains(['[', ']', '*', '"', '\'']) => return Err("is no path"),
            name => parts.push(Part::Name(name.to_owned())),
        }
        parts.extend(std::iter::repeat_n(Part::Item, items));
    }
    if parts.last() == Some(&Part::Deep) { Err("ends in `**`") } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(path: &str, way: &str) -> bool {
        let mut paths = Paths::default();
        paths.add(path, 7).unwrap();
        let (mut set, mut rule) = (paths.root(), None);
        for step in way.split_whitespace() {
            let to = if step == "0" { To::Item } else { To::Member(step) };
            (set, rule) = paths.step(set, to);
        }
        rule == Some(7)
    }

    #[test]
    fn paths_lead_where_they_say() {
        for (path, good, bad) in [
            ("a", "a", "b"),
            ("$.a.b", "a b", "a"),
            ("a.b", "a b", "a a b"),
            ("a[].b", "a 0 b", "a b"),
            ("[].a", "0 a", "a"),
            ("$[].a", "0 a", "0 0 a"),
            ("a[][]", "a 0 0", "a 0"),
            ("a.*.c", "a b c", "a 0 c"),
            ("**.c", "c", "c d"),
            ("**.c", "a 0 b c", "a c b"),
            ("a.**.c[]", "a c 0", "b c 0"),
            ("a.**.c[]", "a 0 0 x c 0", "a 0 0 x c"),
        ] {
            assert!(leads(path, good), "{path} {good}");
            assert!(!leads(path, bad), "{path} {bad}");
        }
        for path in
            ["", ".", "a.", ".a", "a..b", "a.**", "**", "**[]", "a[0]", "a[", "a.**.**.b", "a*", "[].[]"]
        {
            assert!(Paths::default().add(path, 0).is_err(), "{path}");
        }
        assert!(Paths::default().add(&vec!["a"; 129].join("."), 0).is_err());
    }

    #[test]
    fn names_that_must_stand_in_the_text() {
        let mut paths = Paths::default();
        paths.add("a.b[].*", 0).unwrap();
        assert_eq!(paths.names(), Some(&BTreeSet::from(["b".to_owned()])));
        paths.add("a.\u{e4}", 0).unwrap();
        assert_eq!(paths.names(), None);
    }
}
