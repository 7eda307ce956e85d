//! Which rules of a phase are looked for where, and together.

use super::{
    Automata,
    chains::{Chains, Mask, mask},
    fold, pack,
};
use crate::{
    engine::{Kind, bit},
    operator::Operator,
    rule::{Link, Selector},
    ruleset::RuleSet,
    variable::Variable,
};
use regex_syntax::hir::Hir;
use std::collections::BTreeMap;

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
    pub(super) mask: Mask,
}

/// Rules that are looked for together, in one kind of value or several.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The automata of all expressions by number.
    pub(super) sets: Vec<Sought<Member>>,
    /// The automata of all phrases by number.
    pub(super) phrases: Vec<Sought<Vec<Member>>>,
    /// Rules that are asked one by one, each of them cheap.
    pub(super) checks: Vec<Member>,
    /// The numbers of the phase's rules, by place.
    pub(super) numbers: Vec<usize>,
}

/// An automaton with what owns each of its patterns, and the chains of all of these.
#[derive(Debug)]
pub(super) struct Sought<O> {
    pub(super) automaton: usize,
    pub(super) owners: Vec<O>,
    pub(super) chains: Mask,
}

/// A rule, by its place in the phase, with the chains of transformations whose results it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) rule: u32,
    pub(super) chains: Mask,
    /// Whether a value that stands for itself in small letters may be among them.
    pub(super) folds: bool,
}

/// What is looked for in place of a rule.
struct Wanted {
    member: Member,
    chains: Vec<usize>,
    /// The expression, for a set.
    hir: Option<Hir>,
}

impl PhasePlan {
    pub(super) fn new(
        rules: &RuleSet,
        number: u8,
        alive: &[u64],
        chains: &mut Chains,
        automata: &mut Automata,
    ) -> Self {
        let Some(phase) = rules.phase(number) else { return Self::default() };
        let words = phase.rules.len().div_ceil(64);
        let mut plan = Self { always: vec![0; words], narrowed: vec![0; words], ..Self::default() };
        let mut sought: BTreeMap<usize, Vec<Wanted>> = BTreeMap::new();
        let mut kinds: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        for (place, rule) in phase.rules.iter().enumerate().filter(|(place, _)| bit(alive, *place)) {
            let link = rules.chains.get(*rule).and_then(|chain| chain.links.first());
            let found = link.and_then(|link| seek(rules, link, chains, place).map(|found| (link, found)));
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
            sought.insert(place, found);
        }
        let groups = group(&kinds);
        for (_, places) in &groups {
            plan.groups.push(build(rules, phase.rules.as_slice(), places, &sought, (chains, automata)));
        }
        for (kind, places) in kinds {
            let group = groups.iter().position(|(kinds, _)| kinds.contains(&kind)).unwrap_or(0);
            let mut used: Vec<usize> = places_of(&places)
                .filter_map(|place| sought.get(&place))
                .flatten()
                .flat_map(|found| found.chains.iter().copied())
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
fn seek(rules: &RuleSet, link: &Link, chains: &mut Chains, place: usize) -> Option<Vec<Wanted>> {
    // What rules change is not what it was when the values were looked through.
    let scannable =
        |variable: Variable| Kind::of(variable).is_some() && variable != Variable::ReqbodyProcessor;
    if link.negated
        || link.unconditional
        || link.targets.is_empty()
        || link.targets.iter().any(|target| target.count || !scannable(target.variable))
    {
        return None;
    }
    let expression = match &link.operator {
        // What matches next to everything would only slow the automaton down.
        Operator::Rx(pattern)
            if [b"".as_slice(), b"a", b"7"].iter().any(|plain| pattern.find(plain, None)) =>
        {
            return None;
        }
        Operator::Rx(pattern) => Some(pattern.scannable()?),
        Operator::Pm(_) | Operator::DetectSqli | Operator::DetectXss | Operator::ValidateByteRange(_) => None,
        _ => return None,
    };
    let (folding, plain): (Vec<usize>, Vec<usize>) = chains
        .of(rules, link)
        .into_iter()
        .partition(|number| chains.get(*number).is_some_and(|chain| chain.folds));
    let rule = u32::try_from(place).ok()?;
    let wanted = [(folding, true), (plain, false)].into_iter().filter(|(chains, _)| !chains.is_empty());
    wanted
        .map(|(chains, folds)| {
            let hir = match &expression {
                Some(hir) if folds => Some(fold::fold(hir)?),
                Some(hir) => Some(fold::plain(hir)?),
                None => None,
            };
            let member = Member { rule, chains: chains.iter().fold(0, |all, one| all | mask(*one)), folds };
            Some(Wanted { member, chains, hir })
        })
        .collect()
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
    sought: &BTreeMap<usize, Vec<Wanted>>,
    (chains, automata): (&Chains, &mut Automata),
) -> Group {
    let mut group = Group { numbers: numbers.to_vec(), ..Group::default() };
    let mut expressions = Vec::new();
    let mut phrases = Vec::new();
    // Rules of the same chains next to each other, so that a form of a value is looked through by few automata.
    let mut all: Vec<&Wanted> = places_of(places).filter_map(|place| sought.get(&place)).flatten().collect();
    all.sort_by_key(|wanted| {
        wanted.chains.iter().filter_map(|number| Some(&chains.get(*number)?.steps)).max()
    });
    for found in all {
        if let Some(hir) = &found.hir {
            expressions.push((hir, found.member));
            continue;
        }
        let link = numbers.get(found.member.rule as usize);
        match link.and_then(|rule| Some(&rules.chains.get(*rule)?.links.first()?.operator)) {
            Some(Operator::Pm(known)) => phrases.push((known.phrases.as_slice(), found.member)),
            _ => group.checks.push(found.member),
        }
    }
    let (packed, alone) = pack::expressions(&expressions, &mut automata.sets);
    group.sets = packed;
    let (packed, more) = pack::phrases(&phrases, &mut automata.words);
    group.phrases = packed;
    // Asked one by one.
    group.checks.extend(alone.into_iter().chain(more));
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

pub(super) fn set_bit(words: &mut [u64], at: usize) {
    if let Some(word) = words.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

pub(super) fn places_of(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    (0..words.len() * 64).filter(|place| bit(words, *place))
}
