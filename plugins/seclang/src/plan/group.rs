//! Which rules of a phase are looked for where, and together.

use super::{ChainPlan, Set, fold};
use crate::{
    engine::{Kind, bit},
    operator::{Operator, pattern},
    rule::{Link, Selector},
    ruleset::RuleSet,
    variable::Variable,
};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex_syntax::hir::Hir;
use std::collections::BTreeMap;

/// How many expressions are looked for together: the more, the fewer scans, and the more states of the automaton that an
/// attacker can make it build.
const TOGETHER: usize = 24;

/// What a phase does.
#[derive(Debug, Default)]
pub(crate) struct PhasePlan {
    /// Places of rules that are evaluated whatever scans say.
    pub(super) always: Vec<u64>,
    /// Places of rules that are evaluated only on the values that scans name.
    pub(super) narrowed: Vec<u64>,
    pub(super) kinds: Vec<KindPlan>,
    pub(super) groups: Vec<Group>,
}

/// What is looked for in values of a kind.
#[derive(Debug)]
pub(super) struct KindPlan {
    pub(super) kind: Kind,
    /// The only names whose values matter; empty for all.
    pub(super) names: Vec<Box<[u8]>>,
    pub(super) group: usize,
    /// Places of the rules that look at this kind.
    pub(super) rules: Vec<u64>,
    /// The chains of the rules that the group looks for in this kind.
    pub(super) chains: Vec<usize>,
    pub(super) mask: u128,
}

/// Rules that are looked for together, in one kind of value or several.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The automata of all expressions by number, and the rule and chain of each expression.
    pub(super) sets: Vec<(usize, Vec<Member>)>,
    /// The chains of the expressions of each of them, as [`mask`] has them.
    pub(super) masks: Vec<u128>,
    /// The automaton of all phrases, and the rules of each phrase.
    pub(super) phrases: Option<AhoCorasick>,
    pub(super) owners: Vec<Vec<Member>>,
    pub(super) phrase_mask: u128,
    /// Rules that are asked one by one, each of them cheap.
    pub(super) checks: Vec<Member>,
    /// The numbers of the phase's rules, by place.
    pub(super) numbers: Vec<usize>,
}

/// A rule, by its place in the phase, with its chain of transformations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) rule: u32,
    pub(super) chain: usize,
}

/// A rule that is looked for.
struct Sought {
    member: Member,
    /// The expression, for a set.
    hir: Option<Hir>,
}

impl PhasePlan {
    pub(super) fn new(
        rules: &RuleSet,
        number: u8,
        alive: &[u64],
        chains: &[ChainPlan],
        sets: &mut Vec<Set>,
    ) -> Self {
        let Some(phase) = rules.phase(number) else { return Self::default() };
        let words = phase.rules.len().div_ceil(64);
        let mut plan = Self { always: vec![0; words], narrowed: vec![0; words], ..Self::default() };
        let mut sought: BTreeMap<u32, Sought> = BTreeMap::new();
        let mut kinds: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        for (place, rule) in phase.rules.iter().enumerate().filter(|(place, _)| bit(alive, *place)) {
            let link = rules.chains.get(*rule).and_then(|chain| chain.links.first());
            let found = link.and_then(|link| seek(link, chains, place).map(|found| (link, found)));
            let Some((link, found)) = found else {
                set_bit(&mut plan.always, place);
                continue;
            };
            set_bit(&mut plan.narrowed, place);
            for target in &link.targets {
                if let Some(kind) = Kind::of(target.variable) {
                    set_bit(kinds.entry(kind).or_insert_with(|| vec![0; words]), place);
                }
            }
            sought.insert(found.member.rule, found);
        }
        let groups = group(&kinds);
        for (_, places) in &groups {
            plan.groups.push(build(rules, phase.rules.as_slice(), places, &sought, sets));
        }
        for (kind, places) in kinds {
            let group = groups.iter().position(|(kinds, _)| kinds.contains(&kind)).unwrap_or(0);
            let mut used: Vec<usize> = places_of(&places)
                .filter_map(|place| sought.get(&u32::try_from(place).ok()?))
                .map(|found| found.member.chain)
                .collect();
            used.sort_unstable();
            used.dedup();
            let names = names(rules, phase.rules.as_slice(), kind, &places);
            let mask = used.iter().map(|chain| mask(*chain)).fold(0, |all, one| all | one);
            plan.kinds.push(KindPlan { kind, names, group, rules: places, chains: used, mask });
        }
        plan
    }
}

/// What a scan can look for in place of a rule's first link; `None` where the rule must be evaluated itself.
fn seek(link: &Link, chains: &[ChainPlan], place: usize) -> Option<Sought> {
    let scannable =
        |variable: Variable| Kind::of(variable).is_some() && variable != Variable::ReqbodyProcessor;
    if link.negated
        || link.multi_match
        || link.unconditional
        || link.targets.is_empty()
        || link.targets.iter().any(|target| target.count || !scannable(target.variable))
    {
        return None;
    }
    let member = Member { rule: u32::try_from(place).ok()?, chain: link.transforms };
    match &link.operator {
        Operator::Rx(pattern) => {
            // What matches next to everything would only slow the automaton down.
            if [b"".as_slice(), b"a", b"7"].iter().any(|plain| pattern.find(plain, None)) {
                return None;
            }
            let hir = pattern::parser().build().parse(pattern.source()).ok()?;
            if hir.properties().look_set().contains_word_unicode() {
                return None;
            }
            let folds = chains.get(link.transforms)?.folds;
            let hir = if folds { fold::fold(&hir)? } else { fold::plain(&hir)? };
            Some(Sought { member, hir: Some(hir) })
        }
        Operator::Pm(_) | Operator::DetectSqli | Operator::DetectXss | Operator::ValidateByteRange(_) => {
            Some(Sought { member, hir: None })
        }
        _ => None,
    }
}

/// Kinds that have most of their rules in common, with all of these rules.
fn group(kinds: &BTreeMap<Kind, Vec<u64>>) -> Vec<(Vec<Kind>, Vec<u64>)> {
    let mut groups: Vec<(Vec<Kind>, Vec<u64>)> = Vec::new();
    let mut order: Vec<_> = kinds.iter().collect();
    order.sort_by_key(|(_, places)| std::cmp::Reverse(places_of(places).count()));
    for (kind, places) in order {
        let own = places_of(places).count();
        let fits = groups.iter_mut().find(|(_, all)| {
            let common = places_of(places).filter(|place| bit(all, *place)).count();
            common * 10 >= own * 7 && common * 3 >= places_of(all).count()
        });
        match fits {
            Some((kinds, all)) => {
                kinds.push(*kind);
                for (word, more) in all.iter_mut().zip(places) {
                    *word |= more;
                }
            }
            None => groups.push((vec![*kind], places.clone())),
        }
    }
    groups
}

fn build(
    rules: &RuleSet,
    numbers: &[usize],
    places: &[u64],
    sought: &BTreeMap<u32, Sought>,
    sets: &mut Vec<Set>,
) -> Group {
    let mut group = Group { numbers: numbers.to_vec(), ..Group::default() };
    let mut expressions = Vec::new();
    let mut phrases: BTreeMap<Vec<u8>, Vec<Member>> = BTreeMap::new();
    for place in places_of(places) {
        let Some(found) = u32::try_from(place).ok().and_then(|place| sought.get(&place)) else { continue };
        if let Some(hir) = &found.hir {
            expressions.push((hir.clone(), found.member));
            continue;
        }
        let link = numbers.get(place).and_then(|rule| rules.chains.get(*rule)?.links.first());
        match link.map(|link| &link.operator) {
            Some(Operator::Pm(known)) => {
                for phrase in &known.phrases {
                    phrases.entry(phrase.to_ascii_lowercase()).or_default().push(found.member);
                }
            }
            _ => group.checks.push(found.member),
        }
    }
    for some in expressions.chunks(TOGETHER) {
        let (all, members): (Vec<Hir>, Vec<Member>) = some.iter().cloned().unzip();
        match Set::new(&all) {
            Some(set) => {
                group
                    .masks
                    .push(members.iter().map(|member| mask(member.chain)).fold(0, |all, one| all | one));
                group.sets.push((sets.len(), members));
                sets.push(set);
            }
            // Asked one by one.
            None => group.checks.extend(members),
        }
    }
    let words: Vec<&Vec<u8>> = phrases.keys().collect();
    if !words.is_empty() {
        let kind = if words.len() < 2000 { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let built = AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(kind)).build(&words);
        match built {
            Ok(automaton) => group.phrases = Some(automaton),
            Err(_) => group.checks.extend(phrases.values().flatten()),
        }
        group.phrase_mask =
            phrases.values().flatten().map(|member| mask(member.chain)).fold(0, |all, one| all | one);
        group.owners = phrases.into_values().collect();
    }
    group
}

/// The names whose values the rules of a kind look at; empty where one looks at all.
fn names(rules: &RuleSet, numbers: &[usize], kind: Kind, places: &[u64]) -> Vec<Box<[u8]>> {
    let mut names: Vec<Box<[u8]>> = Vec::new();
    for place in places_of(places) {
        let link = numbers.get(place).and_then(|rule| rules.chains.get(*rule)?.links.first());
        for target in link.map_or(&[][..], |link| &link.targets) {
            if Kind::of(target.variable) != Some(kind) {
                continue;
            }
            match &target.selector {
                Selector::Key(key) => names.push(key.to_ascii_lowercase().into_boxed_slice()),
                _ => return Vec::new(),
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// A bit for a chain; the last stands for all that are beyond.
pub(super) fn mask(chain: usize) -> u128 {
    1 << chain.min(127)
}

pub(super) fn set_bit(words: &mut [u64], at: usize) {
    if let Some(word) = words.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

fn places_of(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    (0..words.len() * 64).filter(|place| bit(words, *place))
}
