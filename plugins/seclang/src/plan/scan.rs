//! Looking through the values of a transaction once for all rules of a phase.

use super::{
    Caches, Plan,
    chains::Mask,
    forms::Forms,
    group::{Group, KindPlan, Member, PhasePlan},
    push,
};
use crate::{
    engine::{Hit, Kind, Run, bit},
    operator::Operator,
    ruleset::RuleSet,
    transform::class,
    variable::View,
};

/// What scans of one transaction use, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(super) hits: Vec<Hit>,
    pub(super) order: Vec<u64>,
    forms: Forms,
}

/// A value that is scanned.
#[derive(Clone, Copy)]
struct Subject<'a> {
    kind: Kind,
    at: u32,
    value: &'a [u8],
    classes: u32,
}

impl Scan {
    /// Fills `hits` with all that rules of a phase may match, in order.
    pub(super) fn phase(&mut self, plan: &Plan, phase: &PhasePlan, caches: &mut Caches, run: &mut Run<'_>) {
        self.hits.clear();
        let store = run.store;
        for kind in &phase.kinds {
            let Some(group) = phase.groups.get(kind.group) else { continue };
            match kind.kind {
                Kind::Slot(variable) => {
                    let value = store.slot(variable).unwrap_or_default();
                    let subject = Subject { kind: kind.kind, at: 0, value, classes: class::of(value) };
                    self.value(plan, kind, group, caches, run, subject);
                }
                Kind::List(list, view) => {
                    for (entry, at) in store.list(list).iter().zip(0u32..) {
                        let name = store.text(entry.name);
                        if !kind.names.is_empty()
                            && !kind.names.iter().any(|known| known.eq_ignore_ascii_case(name))
                        {
                            continue;
                        }
                        let value = if view == View::Name { name } else { store.text(entry.value) };
                        let subject = Subject { kind: kind.kind, at, value, classes: class::of(value) };
                        self.value(plan, kind, group, caches, run, subject);
                    }
                }
            }
        }
        self.hits.sort_unstable();
        self.hits.dedup();
    }

    fn value(
        &mut self,
        plan: &Plan,
        kind: &KindPlan,
        group: &Group,
        caches: &mut Caches,
        run: &mut Run<'_>,
        subject: Subject<'_>,
    ) {
        let mapping = Some(&*run.rules.config.mapping);
        self.forms.make(&plan.chains, &kind.chains, mapping, subject.value, subject.classes);
        let Self { hits, forms, .. } = self;
        for (form, chains) in forms.ends() {
            let chains = chains & kind.mask;
            let text = forms.text(form, subject.value);
            let mut note = |member: &Member| {
                if member.chains & chains != 0 && bit(&kind.rules, member.rule as usize) {
                    push(hits, member.rule, subject.kind, subject.at);
                }
            };
            sets(plan, run.rules, group, caches, (text, chains), &mut note);
            phrases(group, (text, chains), &mut note);
            for member in group.checks.iter().filter(|member| member.chains & chains != 0) {
                if bit(&kind.rules, member.rule as usize) && check(run, group, *member, text) {
                    note(member);
                }
            }
        }
    }
}

/// Runs the automata of expressions over one form of a value.
fn sets(
    plan: &Plan,
    rules: &RuleSet,
    group: &Group,
    caches: &mut Caches,
    (text, chains): (&[u8], Mask),
    note: &mut impl FnMut(&Member),
) {
    for sought in group.sets.iter().filter(|sought| sought.chains & chains != 0) {
        let (Some(set), Some(memory)) = (plan.sets.get(sought.automaton), caches.get_mut(sought.automaton))
        else {
            continue;
        };
        match set.find(memory, text) {
            Some(found) => {
                let owners = found.iter().filter_map(|pattern| sought.owners.get(pattern.as_usize()));
                owners.for_each(&mut *note);
            }
            None => {
                let owners = sought.owners.iter().filter(|member| member.chains & chains != 0);
                owners.filter(|member| asks(rules, group, member, text)).for_each(&mut *note);
            }
        }
    }
}

/// Runs the automata of phrases over one form of a value.
fn phrases(group: &Group, (text, chains): (&[u8], Mask), note: &mut impl FnMut(&Member)) {
    for sought in group.phrases.iter().filter(|sought| sought.chains & chains != 0) {
        if !sought.automaton.is_match(text) {
            continue;
        }
        for found in sought.automaton.find_overlapping_iter(text) {
            sought.owners.get(found.pattern().as_usize()).into_iter().flatten().for_each(&mut *note);
        }
    }
}

/// Asks a rule that is no expression of a set.
fn check(run: &Run<'_>, group: &Group, member: Member, text: &[u8]) -> bool {
    let Some(operator) = operator(run.rules, group, &member) else { return false };
    match operator {
        Operator::DetectSqli | Operator::DetectXss if !member.folds => {
            operator.matches(text, &run.scope(), None)
        }
        Operator::ValidateByteRange(range) if range.only_nul() => memchr::memchr(0, text).is_some(),
        // Asked in full when the rule is evaluated.
        _ => true,
    }
}

/// Asks one expression, where the automaton of its set gave up.
fn asks(rules: &RuleSet, group: &Group, member: &Member, text: &[u8]) -> bool {
    let Some(Operator::Rx(pattern)) = operator(rules, group, member) else { return true };
    if member.folds { pattern.find(&text.to_ascii_lowercase(), None) } else { pattern.find(text, None) }
}

fn operator<'r>(rules: &'r RuleSet, group: &Group, member: &Member) -> Option<&'r Operator> {
    let rule = group.numbers.get(member.rule as usize)?;
    Some(&rules.chains.get(*rule)?.links.first()?.operator)
}
