//! Looking through the values of a transaction once for all rules of a phase.

use super::{
    Caches, Plan,
    group::{Group, KindPlan, Member, PhasePlan, mask},
    push,
};
use crate::{
    engine::{Hit, Kind, Run, bit},
    operator::Operator,
    ruleset::RuleSet,
    transform::{Buffers, class},
    variable::View,
};

/// What scans of one transaction use, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(super) hits: Vec<Hit>,
    pub(super) order: Vec<u64>,
    forms: Forms,
}

/// The different results of transformations of one value, and which chain led to which.
#[derive(Debug, Default)]
struct Forms {
    buffer: Vec<u8>,
    /// Where each result is in the buffer.
    spans: Vec<(usize, usize)>,
    /// The result of each chain that changed the value.
    of_chain: Vec<(usize, usize)>,
    /// The chains that give each result, and those that leave the value as it is.
    masks: Vec<u128>,
    unchanged: u128,
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
        self.forms.make(plan, kind, run, subject.value, subject.classes);
        // As it is, for all chains that leave it so.
        self.text(plan, kind, group, caches, subject, None, run.rules);
        for form in 0..self.forms.spans.len() {
            self.text(plan, kind, group, caches, subject, Some(form), run.rules);
        }
        for check in &group.checks {
            self.check(plan, kind, run, group, *check, subject);
        }
    }

    /// Runs the automata of a group over one form of a value.
    #[allow(clippy::too_many_arguments, reason = "what a scan needs, apart from what it fills")]
    fn text(
        &mut self,
        plan: &Plan,
        kind: &KindPlan,
        group: &Group,
        caches: &mut Caches,
        subject: Subject<'_>,
        form: Option<usize>,
        rules: &RuleSet,
    ) {
        let Self { hits, forms, .. } = self;
        let text = match form.and_then(|form| forms.spans.get(form)) {
            Some((from, to)) => forms.buffer.get(*from..*to).unwrap_or_default(),
            None => subject.value,
        };
        let wanted =
            |member: &Member| forms.form_of(member.chain) == form && bit(&kind.rules, member.rule as usize);
        let mut note = |member: Member| {
            if wanted(&member) {
                push(hits, member.rule, subject.kind, subject.at);
            }
        };
        // The chains that give this form.
        let mask = kind.mask
            & form.map_or(forms.unchanged, |form| forms.masks.get(form).copied().unwrap_or(u128::MAX));
        for ((number, members), all) in group.sets.iter().zip(&group.masks) {
            if all & mask == 0 {
                continue;
            }
            let (Some(set), Some(memory)) = (plan.sets.get(*number), caches.get_mut(*number)) else {
                continue;
            };
            match set.find(memory, text) {
                Some(found) => {
                    found
                        .iter()
                        .filter_map(|pattern| members.get(pattern.as_usize()))
                        .for_each(|member| note(*member));
                }
                None => {
                    for member in members.iter().filter(|member| wanted(member)) {
                        if plan.asks(rules, group, *member, text) {
                            note(*member);
                        }
                    }
                }
            }
        }
        if let Some(phrases) = &group.phrases
            && group.phrase_mask & mask != 0
            && phrases.is_match(text)
        {
            for found in phrases.find_overlapping_iter(text) {
                for member in group.owners.get(found.pattern().as_usize()).into_iter().flatten() {
                    note(*member);
                }
            }
        }
    }

    /// Asks a rule that is no expression of a set.
    fn check(
        &mut self,
        plan: &Plan,
        kind: &KindPlan,
        run: &Run<'_>,
        group: &Group,
        member: Member,
        subject: Subject<'_>,
    ) {
        if !bit(&kind.rules, member.rule as usize) {
            return;
        }
        let text = match self.forms.form_of(member.chain).and_then(|form| self.forms.spans.get(form)) {
            Some((from, to)) => self.forms.buffer.get(*from..*to).unwrap_or_default(),
            None => subject.value,
        };
        let rules = run.rules;
        let rule = group.numbers.get(member.rule as usize);
        let Some(link) = rule.and_then(|rule| rules.chains.get(*rule)?.links.first()) else { return };
        // A chain that folds may leave a value that stands for its small letters.
        let folds = plan.chains.get(member.chain).is_none_or(|chain| chain.folds);
        let matches = match &link.operator {
            Operator::DetectSqli | Operator::DetectXss if !folds => {
                link.operator.matches(text, &run.scope(), None)
            }
            Operator::ValidateByteRange(range) if range.only_nul() => memchr::memchr(0, text).is_some(),
            // Asked in full when the rule is evaluated.
            _ => true,
        };
        if matches {
            push(&mut self.hits, member.rule, subject.kind, subject.at);
        }
    }
}

impl Plan {
    /// Asks one expression, where the automaton of its set gave up.
    fn asks(&self, rules: &RuleSet, group: &Group, member: Member, text: &[u8]) -> bool {
        let rule = group.numbers.get(member.rule as usize);
        let link = rule.and_then(|rule| rules.chains.get(*rule)?.links.first());
        let Some(Operator::Rx(pattern)) = link.map(|link| &link.operator) else { return true };
        if self.chains.get(member.chain).is_none_or(|chain| chain.folds) {
            return pattern.find(&text.to_ascii_lowercase(), None);
        }
        pattern.find(text, None)
    }
}

impl Forms {
    /// Transforms a value by all chains that change it.
    fn make(&mut self, plan: &Plan, kind: &KindPlan, run: &mut Run<'_>, value: &[u8], classes: u32) {
        self.buffer.clear();
        self.spans.clear();
        self.of_chain.clear();
        self.masks.clear();
        self.unchanged = u128::MAX;
        let mapping = Some(&*run.rules.config.mapping);
        for number in &kind.chains {
            if plan.chains.get(*number).is_some_and(|chain| chain.leaves(classes)) {
                continue;
            }
            let chain = run.rules.transforms.get(*number).map_or(&[][..], Vec::as_slice);
            let buffers: &mut Buffers = run.buffers;
            let text = buffers.run_needed(chain, value, classes, mapping);
            let known = self.spans.iter().position(|(from, to)| self.buffer.get(*from..*to) == Some(text));
            let form = known.unwrap_or_else(|| {
                let from = self.buffer.len();
                self.buffer.extend_from_slice(text);
                self.spans.push((from, self.buffer.len()));
                self.masks.push(0);
                self.spans.len() - 1
            });
            if let Some(of_form) = self.masks.get_mut(form) {
                *of_form |= mask(*number);
            }
            if *number < 127 {
                self.unchanged &= !mask(*number);
            }
            self.of_chain.push((*number, form));
        }
    }

    fn form_of(&self, chain: usize) -> Option<usize> {
        self.of_chain.iter().find(|(number, _)| *number == chain).map(|(_, form)| *form)
    }
}
