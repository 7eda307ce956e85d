//! Many phrases in one automaton.

use super::marks::{Found, Marks, Shared};
use aho_corasick::{
    AhoCorasick, AhoCorasickKind, Anchored, Input,
    automaton::{Automaton, OverlappingState, StateID},
    dfa::DFA,
};

/// Phrases of more bytes together have the smaller and slower automaton.
const MANY: usize = 24_000;

/// Phrases that are looked for together, in any case.
#[derive(Debug)]
pub(super) enum Words {
    Few(Box<DFA>),
    Many(AhoCorasick),
}

/// What is found, and what is remembered for the next text.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    found: Found,
    marks: Marks<StateID>,
}

impl Words {
    pub(super) fn new<'a>(words: impl Iterator<Item = &'a Vec<u8>> + Clone) -> Option<Self> {
        if words.clone().map(Vec::len).sum::<usize>() > MANY {
            let builder = &mut AhoCorasick::builder();
            let builder = builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::ContiguousNFA));
            return Some(Self::Many(builder.build(words).ok()?));
        }
        Some(Self::Few(Box::new(DFA::builder().ascii_case_insensitive(true).build(words).ok()?)))
    }

    /// The phrases that are in a text.
    pub(super) fn find<'m>(
        &self,
        memory: &'m mut Memory,
        text: &[u8],
        shared: Option<&Shared>,
    ) -> Option<&'m Found> {
        match (self, shared) {
            (Self::Few(automaton), Some(shared)) => resume(automaton, &mut memory.marks, text, shared),
            (Self::Few(automaton), None) => {
                let input = Input::new(text);
                automaton.try_find(&input).ok()??;
                memory.found.clear();
                let mut state = OverlappingState::start();
                while let Ok(()) = automaton.try_find_overlapping(&input, &mut state)
                    && let Some(found) = state.get_match()
                {
                    memory.found.insert(found.pattern().as_usize());
                }
                Some(&memory.found)
            }
            (Self::Many(automaton), _) => {
                automaton.find(text)?;
                memory.found.clear();
                for found in automaton.find_overlapping_iter(text) {
                    memory.found.insert(found.pattern().as_usize());
                }
                Some(&memory.found)
            }
        }
    }
}

/// Reads on from where the text begins to differ from the one before.
fn resume<'m>(
    automaton: &DFA,
    marks: &'m mut Marks<StateID>,
    text: &[u8],
    shared: &Shared,
) -> Option<&'m Found> {
    let begun = marks.begin(shared, 0);
    let (from, mut state) = match begun {
        Some(begun) => begun,
        None => (0, automaton.start_state(Anchored::No).ok()?),
    };
    let wanted = marks.wanted(shared);
    for (byte, at) in text.iter().skip(from).zip(from + 1..) {
        state = automaton.next_state(Anchored::No, state, *byte);
        if automaton.is_special(state) && automaton.is_match(state) {
            for number in 0..automaton.match_len(state) {
                marks.found.insert(automaton.match_pattern(state, number).as_usize());
            }
        }
        if at == wanted {
            marks.keep(at, state, 0);
        }
    }
    Some(&marks.found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_whatever_texts_share() {
        let words: Vec<Vec<u8>> = ["Passwd", "etc/pass", "x", "cmd.exe"].map(|word| word.into()).into();
        let many: Vec<Vec<u8>> = (0..MANY / 8).map(|number| format!("no{number:06}").into_bytes()).collect();
        let all: Vec<Vec<u8>> = words.iter().cloned().chain(many).collect();
        let long = "a/".repeat(150);
        let texts: Vec<String> = ["", "etc/passwd", "X", "etc/passwd", "cmd.exe", "cmd.ex", "none"]
            .iter()
            .flat_map(|end| [format!("{long}{end}"), format!("{long}x{end}"), (*end).to_string()])
            .collect();
        for words in [Words::new(words.iter()).unwrap(), Words::new(all.iter()).unwrap()] {
            let (mut memory, mut before) = (Memory::default(), 0);
            for (number, text) in texts.iter().enumerate() {
                let next = texts.get(number + 1).map_or("", String::as_str);
                let shared = Shared::new(number as u64, before, text.as_bytes(), next.as_bytes());
                before = shared.map_or(0, |shared| shared.after());
                let found: Vec<_> = words
                    .find(&mut memory, text.as_bytes(), shared.as_ref())
                    .into_iter()
                    .flat_map(Found::iter)
                    .collect();
                let small = text.to_lowercase();
                let expected: Vec<_> =
                    (0..4).filter(|at| small.contains(["passwd", "etc/pass", "x", "cmd.exe"][*at])).collect();
                assert_eq!(found, expected, "{text}");
            }
        }
    }
}
