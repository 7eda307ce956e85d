//! Many expressions in one lazy automaton.

use regex_automata::{
    Input, MatchKind, PatternSet,
    hybrid::dfa::{Cache, Config, DFA},
    nfa::thompson::{self, WhichCaptures},
};
use regex_syntax::hir::Hir;

/// The most bytes of a cache.
const CACHE: usize = 1 << 20;
/// When the cache is full, a scan that makes a state of fewer bytes than this gives up: text that is made to need a new state
/// at every byte costs more than asking each expression.
const BYTES_A_STATE: usize = 32;

/// Expressions that are looked for together.
#[derive(Debug)]
pub(crate) struct Set {
    dfa: DFA,
}

impl Set {
    /// Compiles expressions; `None` where they cannot be an automaton of this kind.
    pub(super) fn new(expressions: &[Hir]) -> Option<Self> {
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).which_captures(WhichCaptures::None))
            .build_many_from_hir(expressions)
            .ok()?;
        let config = Config::new()
            .match_kind(MatchKind::All)
            .cache_capacity(CACHE)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(0))
            .minimum_bytes_per_state(Some(BYTES_A_STATE));
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        Some(Self { dfa })
    }

    /// The expressions that match; `None` where the automaton gave up and all of them may.
    pub(super) fn find<'c>(&self, memory: &'c mut Option<Memory>, value: &[u8]) -> Option<&'c PatternSet> {
        let Memory { cache, found } = memory.get_or_insert_with(|| Memory {
            cache: self.dfa.create_cache(),
            found: PatternSet::new(self.dfa.pattern_len()),
        });
        found.clear();
        let input = Input::new(value).earliest(true);
        match self.dfa.try_search_fwd(cache, &input) {
            Ok(None) => Some(found),
            Ok(Some(_)) => {
                self.dfa.try_which_overlapping_matches(cache, &Input::new(value), found).ok()?;
                Some(found)
            }
            Err(_) => None,
        }
    }
}

/// What a scan remembers for the next.
#[derive(Debug)]
pub(crate) struct Memory {
    cache: Cache,
    found: PatternSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_expressions_that_match_are_found() {
        let parse = |text: &str| crate::operator::pattern::parser().build().parse(text).unwrap();
        let set = Set::new(&["abc", "^a", "c$", r"\bx\b", "b+"].map(parse)).unwrap();
        let mut cache = None;
        for (value, expected) in
            [("abc", vec![0, 1, 2, 4]), ("z x z", vec![3]), ("", vec![]), ("bbb", vec![4])]
        {
            let found = set.find(&mut cache, value.as_bytes()).unwrap();
            assert_eq!(
                found.iter().map(|pattern| pattern.as_usize()).collect::<Vec<_>>(),
                expected,
                "{value}"
            );
        }
    }
}
