//! The different results of transformations of one value.

use super::chains::{Chains, LAST, Mask, mask};
use crate::transform::{Mapping, Transformation, class};

/// The different results of transformations of one value, and which chains lead to each. Steps that chains have in common are
/// done once, and what leaves a text as it was is no result of its own.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// The results, one after the other.
    buffer: Vec<u8>,
    /// What a step writes before it is known to be new.
    scratch: Vec<u8>,
    all: Vec<Form>,
    /// What a step made of the value or of a result.
    done: Vec<(Option<usize>, Transformation, Option<usize>)>,
    /// The chains that leave the value as it is.
    unchanged: Mask,
}

/// A result.
#[derive(Debug, Clone, Copy)]
struct Form {
    from: usize,
    to: usize,
    classes: u32,
    chains: Mask,
}

impl Forms {
    /// Transforms a value by all chains that change it.
    pub(super) fn make(
        &mut self,
        chains: &Chains,
        wanted: &[usize],
        mapping: Option<&Mapping>,
        value: &[u8],
        classes: u32,
    ) {
        self.buffer.clear();
        self.all.clear();
        self.done.clear();
        self.unchanged = Mask::MAX;
        for number in wanted {
            let Some(chain) = chains.get(*number).filter(|chain| !chain.leaves(classes)) else { continue };
            let mut form = None;
            for step in &chain.steps {
                form = self.step(form, *step, mapping, value, classes);
            }
            let Some(form) = form.and_then(|form| self.all.get_mut(form)) else { continue };
            form.chains |= mask(*number);
            if *number < LAST {
                self.unchanged &= !mask(*number);
            }
        }
    }

    /// The results that chains end with, and before them the value where some leave it as it is.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Option<usize>, Mask)> {
        let made = self.all.iter().enumerate().map(|(number, form)| (Some(number), form.chains));
        std::iter::once((None, self.unchanged)).chain(made).filter(|(_, chains)| *chains != 0)
    }

    /// The text of a result.
    pub(super) fn text<'a>(&'a self, form: Option<usize>, value: &'a [u8]) -> &'a [u8] {
        match form.and_then(|form| self.all.get(form)) {
            Some(form) => self.buffer.get(form.from..form.to).unwrap_or_default(),
            None => value,
        }
    }

    fn step(
        &mut self,
        form: Option<usize>,
        step: Transformation,
        mapping: Option<&Mapping>,
        value: &[u8],
        classes: u32,
    ) -> Option<usize> {
        let classes = form.and_then(|form| self.all.get(form)).map_or(classes, |form| form.classes);
        if step.needs() & (classes | class::ALWAYS) == 0 {
            return form;
        }
        let done = self.done.iter().find(|(of, by, _)| *of == form && *by == step);
        if let Some((.., after)) = done {
            return *after;
        }
        let mut out = std::mem::take(&mut self.scratch);
        step.apply(self.text(form, value), &mut out, mapping);
        let after = self.find(&out, value);
        self.done.push((form, step, after));
        self.scratch = out;
        after
    }

    /// The result that is this text, made where it is new; `None` for the value itself.
    fn find(&mut self, text: &[u8], value: &[u8]) -> Option<usize> {
        if text == value {
            return None;
        }
        let known = self.all.iter().position(|form| self.buffer.get(form.from..form.to) == Some(text));
        known.or_else(|| {
            let from = self.buffer.len();
            self.buffer.extend_from_slice(text);
            let to = self.buffer.len();
            self.all.push(Form { from, to, classes: class::of(text), chains: 0 });
            Some(self.all.len() - 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ruleset::RuleSet, transform::Buffers};

    #[test]
    fn every_chain_ends_with_what_it_makes_of_the_value() {
        let rules = RuleSet::builder()
            .text(
                "test.conf",
                r#"SecRule ARGS "@rx a" "id:1,phase:2,pass,t:urlDecodeUni,t:htmlEntityDecode,t:removeNulls"
                SecRule ARGS "@rx a" "id:2,phase:2,pass,t:urlDecodeUni,t:removeWhitespace,t:hexEncode"
                SecRule ARGS "@rx a" "id:3,phase:2,pass,t:utf8toUnicode,t:urlDecodeUni,t:removeWhitespace"
                SecRule ARGS "@rx a" "id:4,phase:2,pass,t:normalizePath"
                SecRule ARGS "@rx a" "id:5,phase:2,pass""#,
            )
            .reference()
            .build()
            .unwrap();
        let chains = Chains::new(&rules);
        let wanted: Vec<usize> = (0..rules.transforms.len()).collect();
        let mut forms = Forms::default();
        for value in ["", "plain", "a%20b", "a b", "a%20b%26lt;%00", "/a/../b", "%2fa/./%20", "\u{e9} %"] {
            let value = value.as_bytes();
            forms.make(&chains, &wanted, None, value, class::of(value));
            for number in &wanted {
                let expected =
                    Buffers::default().run(&chains.get(*number).unwrap().steps, value, None).to_vec();
                let ends: Vec<_> = forms.ends().filter(|(_, chains)| chains & mask(*number) != 0).collect();
                assert_eq!(ends.len(), 1, "{number} of {}", value.escape_ascii());
                assert_eq!(forms.text(ends[0].0, value), expected, "{number} of {}", value.escape_ascii());
            }
        }
    }
}
