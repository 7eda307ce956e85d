//! Which expressions and phrases are looked for together.

use super::{
    Set,
    group::{Member, Sought},
    words::Words,
};
use regex_syntax::hir::Hir;
use std::collections::BTreeMap;

/// The most expressions in one automaton.
const MOST: usize = 24;
/// The most bytes of states that noise makes the expressions of one automaton need, each by itself. Together they need more.
const MOST_NOISE: usize = 112 << 10;
/// The most phrases in one automaton, unless one rule has more.
const MOST_PHRASES: usize = 1200;

/// Packs expressions in the order in which they are given. Those that no automaton takes are given back.
pub(super) fn expressions(all: &[(&Hir, Member)], sets: &mut Vec<Set>) -> (Vec<Sought<Member>>, Vec<Member>) {
    let mut alone = Vec::new();
    let mut packs: Vec<(usize, Vec<Hir>, Vec<Member>)> = Vec::new();
    for (hir, member) in all {
        let Some(needs) = Set::new(std::slice::from_ref(*hir)).map(|set| set.noise()) else {
            alone.push(*member);
            continue;
        };
        match packs.last_mut() {
            Some((noise, hirs, members)) if hirs.len() < MOST && *noise + needs <= MOST_NOISE => {
                *noise += needs;
                hirs.push((*hir).clone());
                members.push(*member);
            }
            _ => packs.push((needs, vec![(*hir).clone()], vec![*member])),
        }
    }
    let mut found = Vec::new();
    for (_, hirs, owners) in packs {
        match Set::new(&hirs) {
            Some(set) => {
                let chains = owners.iter().fold(0, |all, member| all | member.chains);
                found.push(Sought { automaton: sets.len(), owners, chains });
                sets.push(set);
            }
            None => alone.extend(owners),
        }
    }
    (found, alone)
}

/// Packs the phrases of rules in the order in which they are given.
pub(super) fn phrases(
    all: &[(&[Vec<u8>], Member)],
    words: &mut Vec<Words>,
) -> (Vec<Sought<Vec<Member>>>, Vec<Member>) {
    let mut packs: Vec<BTreeMap<Vec<u8>, Vec<Member>>> = Vec::new();
    for (phrases, member) in all {
        if packs.last().is_none_or(|pack| pack.len() + phrases.len() > MOST_PHRASES) {
            packs.push(BTreeMap::new());
        }
        let Some(pack) = packs.last_mut() else { continue };
        for phrase in *phrases {
            pack.entry(phrase.to_ascii_lowercase()).or_default().push(*member);
        }
    }
    let (mut found, mut alone) = (Vec::new(), Vec::new());
    for pack in packs.into_iter().filter(|pack| !pack.is_empty()) {
        let chains = pack.values().flatten().fold(0, |all, member| all | member.chains);
        match Words::new(pack.keys()) {
            Some(automaton) => {
                let owners = pack.into_values().collect();
                found.push(Sought { automaton: words.len(), owners, chains });
                words.push(automaton);
            }
            None => alone.extend(pack.into_values().flatten()),
        }
    }
    (found, alone)
}
