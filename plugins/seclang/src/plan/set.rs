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
/// How many bytes of random text an automaton is tried with.
const NOISE: usize = 8 << 10;

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

    /// How many bytes of states random text makes the automaton need.
    pub(super) fn noise(&self) -> usize {
        let mut state = 11u64;
        let text: Vec<u8> = (0..NOISE)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                b' ' + u8::try_from((state >> 33) % 95).unwrap_or(0)
            })
            .collect();
        let mut memory = None;
        self.find(&mut memory, &text);
        memory.map_or(0, |memory| memory.cache.memory_usage())
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
