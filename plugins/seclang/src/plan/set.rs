//! Many expressions in one lazy automaton.

use super::marks::{Found, Marks, Shared};
use regex_automata::{
    Input, MatchKind, PatternSet,
    hybrid::{
        LazyStateID,
        dfa::{Cache, Config, DFA},
    },
    nfa::thompson::{self, WhichCaptures},
};
use regex_syntax::hir::Hir;

/// The most bytes of a cache.
const CACHE: usize = 2 << 20;
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
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b' ' + u8::try_from((state >> 33) % 95).unwrap_or(0)
        };
        let text: Vec<u8> = (0..NOISE).map(|_| letter()).collect();
        let mut memory = None;
        self.find(&mut memory, &text, None);
        memory.map_or(0, |memory| memory.cache.memory_usage())
    }

    /// The expressions that match; `None` where the automaton gave up and all of them may.
    pub(super) fn find<'c>(
        &self,
        memory: &'c mut Option<Memory>,
        value: &[u8],
        shared: Option<&Shared>,
    ) -> Option<&'c Found> {
        let memory = memory.get_or_insert_with(|| Memory::new(&self.dfa));
        if let Some(shared) = shared {
            return self.resume(memory, value, shared);
        }
        memory.found.clear();
        let input = Input::new(value).earliest(true);
        if self.dfa.try_search_fwd(&mut memory.cache, &input).ok()?.is_some() {
            memory.patterns.clear();
            let Memory { cache, patterns, found, .. } = memory;
            self.dfa.try_which_overlapping_matches(cache, &Input::new(value), patterns).ok()?;
            patterns.iter().for_each(|pattern| found.insert(pattern.as_usize()));
        }
        Some(&memory.found)
    }

    /// Reads on from where the value begins to differ from the one before.
    fn resume<'c>(&self, memory: &'c mut Memory, value: &[u8], shared: &Shared) -> Option<&'c Found> {
        let Memory { cache, marks, .. } = memory;
        let begun = marks.begin(shared, cache.clear_count());
        let from = begun.map_or(0, |(from, _)| from);
        cache.search_start(from);
        let read = self.read(cache, marks, (value, from), begun.map(|(_, state)| state), shared);
        cache.search_finish(value.len());
        read?;
        Some(&memory.marks.found)
    }

    fn read(
        &self,
        cache: &mut Cache,
        marks: &mut Marks<LazyStateID>,
        (value, from): (&[u8], usize),
        begun: Option<LazyStateID>,
        shared: &Shared,
    ) -> Option<()> {
        let dfa = &self.dfa;
        let mut state = match begun {
            Some(state) => state,
            None => dfa.start_state_forward(cache, &Input::new(value)).ok()?,
        };
        let wanted = marks.wanted(shared);
        for (byte, at) in value.iter().skip(from).zip(from + 1..) {
            cache.search_update(at);
            state = dfa.next_state(cache, state, *byte).ok()?;
            if state.is_tagged() {
                self.note(cache, state, &mut marks.found);
            }
            if at == wanted {
                marks.keep(at, state, cache.clear_count());
            }
        }
        state = dfa.next_eoi_state(cache, state).ok()?;
        self.note(cache, state, &mut marks.found);
        Some(())
    }

    fn note(&self, cache: &Cache, state: LazyStateID, found: &mut Found) {
        if state.is_match() {
            for number in 0..self.dfa.match_len(cache, state) {
                found.insert(self.dfa.match_pattern(cache, state, number).as_usize());
            }
        }
    }
}

/// What a scan remembers for the next.
#[derive(Debug)]
pub(crate) struct Memory {
    cache: Cache,
    patterns: PatternSet,
    found: Found,
    marks: Marks<LazyStateID>,
}

impl Memory {
    fn new(dfa: &DFA) -> Self {
        Self {
            cache: dfa.create_cache(),
            patterns: PatternSet::new(dfa.pattern_len()),
            found: Found::default(),
            marks: Marks::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        let parse = |text: &str| crate::operator::pattern::parser().build().parse(text).unwrap();
        Set::new(&["abc", "^a", "c$", r"\bx\b", "b+"].map(parse)).unwrap()
    }

    #[test]
    fn all_expressions_that_match_are_found() {
        let mut memory = None;
        for (value, expected) in
            [("abc", vec![0, 1, 2, 4]), ("z x z", vec![3]), ("", vec![]), ("bbb", vec![4])]
        {
            let found = set().find(&mut memory, value.as_bytes(), None).unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{value}");
            memory = None;
        }
    }

    #[test]
    fn what_values_share_is_read_once_with_the_same_result() {
        let (set, long) = (set(), "z.".repeat(150));
        let ends = ["", "abc", "x", "ab", "c", "x", " x", "b", "zzzzabc"];
        let values: Vec<String> = ends
            .iter()
            .flat_map(|end| [format!("{long}{end}"), format!("{long}x {end}"), format!("a{long}{end}")])
            .chain(ends.iter().map(|end| format!("{long}abc {long}{end}")))
            .collect();
        let (mut plain, mut resumed, mut before) = (None, None, 0);
        for (number, value) in values.iter().enumerate() {
            let next = values.get(number + 1).map_or("", String::as_str);
            let shared = Shared::new(number as u64, before, value.as_bytes(), next.as_bytes());
            before = shared.map_or(0, |shared| shared.after());
            let expected: Vec<_> = set.find(&mut plain, value.as_bytes(), None).unwrap().iter().collect();
            let found: Vec<_> =
                set.find(&mut resumed, value.as_bytes(), shared.as_ref()).unwrap().iter().collect();
            assert_eq!(found, expected, "{value}");
        }
    }
}
