//! Looking through the values of a transaction once for all rules of a phase.

use super::{
    Caches, Plan,
    chains::Mask,
    forms::Forms,
    group::{Group, KindPlan, Member, PhasePlan},
    marks::{LONG, Shared},
    push,
};
use crate::{
    engine::{Hit, Kind, Run, bit},
    operator::Operator,
    ruleset::RuleSet,
    transform::class,
    variable::{List, View},
};

/// What scans of one transaction use, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(super) hits: Vec<Hit>,
    pub(super) order: Vec<u64>,
    forms: Forms,
    /// The number of the last value of a list.
    number: u64,
}

/// A value that is scanned.
#[derive(Clone, Copy)]
struct Subject<'a> {
    kind: Kind,
    at: u32,
    value: &'a [u8],
    classes: u32,
    /// What its own form shares with the values before and after it.
    shared: Option<Shared>,
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
                    let subject =
                        Subject { kind: kind.kind, at: 0, value, classes: class::of(value), shared: None };
                    self.value(plan, kind, group, caches, run, subject);
                }
                Kind::List(list, view) => self.list(plan, (kind, group), caches, run, (list, view)),
            }
        }
        self.hits.sort_unstable();
        self.hits.dedup();
    }

    fn list(
        &mut self,
        plan: &Plan,
        (kind, group): (&KindPlan, &Group),
        caches: &mut Caches,
        run: &mut Run<'_>,
        (list, view): (List, View),
    ) {
        let store = run.store;
        let entries = store.list(list);
        // What a name and the one before it have in common, and the classes of that.
        let mut before = (0, 0);
        for (entry, at) in entries.iter().zip(0u32..) {
            let name = store.text(entry.name);
            self.number = self.number.wrapping_add(1);
            if !kind.names.is_empty() && !kind.names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                self.number = self.number.wrapping_add(1);
                continue;
            }
            let value = if view == View::Name { name } else { store.text(entry.value) };
            let mut shared = None;
            if view == View::Name && name.len() >= LONG {
                let next = entries.get(at as usize + 1).map_or(&[][..], |next| store.text(next.name));
                shared = Shared::new(self.number, before.0, name, next);
            }
            let classes = class::continued(value, before);
            before = match shared.map_or(0, |shared| shared.after()) {
                0 => (0, 0),
                after if after == before.0 => before,
                after => {
                    let known = if after > before.0 { before } else { (0, 0) };
                    (after, class::continued(crate::bytes::cut(value, 0, after), known))
                }
            };
            let subject = Subject { kind: kind.kind, at, value, classes, shared };
            self.value(plan, kind, group, caches, run, subject);
        }
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
            let text_of = Text { text, chains, shared: subject.shared.as_ref().filter(|_| form.is_none()) };
            sets(plan, run.rules, group, caches, text_of, &mut note);
            phrases(plan, group, caches, text_of, &mut note);
            for member in group.checks.iter().filter(|member| member.chains & chains != 0) {
                if bit(&kind.rules, member.rule as usize) && check(run, group, *member, text) {
                    note(member);
                }
            }
        }
    }
}

/// One form of a value.
#[derive(Clone, Copy)]
struct Text<'a> {
    text: &'a [u8],
    /// The chains that lead to it.
    chains: Mask,
    shared: Option<&'a Shared>,
}

/// Runs the automata of expressions over a text.
fn sets(
    plan: &Plan,
    rules: &RuleSet,
    group: &Group,
    caches: &mut Caches,
    Text { text, chains, shared }: Text<'_>,
    note: &mut impl FnMut(&Member),
) {
    for sought in group.sets.iter().filter(|sought| sought.chains & chains != 0) {
        let set = plan.automata.sets.get(sought.automaton);
        let (Some(set), Some(memory)) = (set, caches.sets.get_mut(sought.automaton)) else { continue };
        match set.find(memory, text, shared) {
            Some(found) => {
                found.iter().filter_map(|pattern| sought.owners.get(pattern)).for_each(&mut *note);
            }
            None => {
                let owners = sought.owners.iter().filter(|member| member.chains & chains != 0);
                owners.filter(|member| asks(rules, group, member, text)).for_each(&mut *note);
            }
        }
    }
}

/// Runs the automata of phrases over a text.
fn phrases(
    plan: &Plan,
    group: &Group,
    caches: &mut Caches,
    Text { text, chains, shared }: Text<'_>,
    note: &mut impl FnMut(&Member),
) {
    for sought in group.phrases.iter().filter(|sought| sought.chains & chains != 0) {
        let words = plan.automata.words.get(sought.automaton);
        let (Some(words), Some(memory)) = (words, caches.words.get_mut(sought.automaton)) else { continue };
        let found = words.find(memory, text, shared);
        let owners = found.into_iter().flat_map(|found| found.iter());
        owners.filter_map(|pattern| sought.owners.get(pattern)).flatten().for_each(&mut *note);
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
