//! One rule of a chain: its values, its operator, and what it sets when it matches.

use super::{Store, state::State, values::Scope};
use crate::{
    operator::{Expand, Operator},
    rule::{Action, Change, Control, Link, Place, SetVar, Target},
    ruleset::RuleSet,
    transform::{Buffers, class},
    variable::{List, Origin, Source, Variable, View},
};

/// An evaluation at work.
pub(crate) struct Run<'r> {
    pub(crate) rules: &'r RuleSet,
    pub(crate) store: &'r Store,
    pub(crate) state: &'r mut State,
    pub(crate) buffers: &'r mut Buffers,
}

/// Which entries of which lists a rule may match; all others cannot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hits<'a>(pub(crate) &'a [Hit]);

/// An entry of a list, or the value of a slot, that a rule may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) rule: u32,
    pub(crate) kind: Kind,
    pub(crate) at: u32,
}

/// A place where values are: a list as its values or its names, or a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    List(List, View),
    Slot(Variable),
}

impl Kind {
    /// Where a variable's values are.
    pub(crate) fn of(variable: Variable) -> Option<Self> {
        match variable.source() {
            Source::List(list, view, _) => Some(Self::List(list, view)),
            Source::Slot => Some(Self::Slot(variable)),
            _ => None,
        }
    }
}

impl Run<'_> {
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { rules: self.rules, store: self.store, state: self.state }
    }

    /// Evaluates a rule of a chain and those after it.
    pub(crate) fn link(&mut self, rule: usize, at: usize, hits: Option<Hits<'_>>) -> bool {
        let rules = self.rules;
        let Some(link) = rules.chains.get(rule).and_then(|chain| chain.links.get(at)) else { return true };
        if !self.matches(rule, link, hits) || !self.link(rule, at + 1, None) {
            return false;
        }
        for action in &link.actions {
            self.act(action);
        }
        true
    }

    fn matches(&mut self, rule: usize, link: &Link, hits: Option<Hits<'_>>) -> bool {
        if link.unconditional {
            self.set_all(link);
            return true;
        }
        let mut any = false;
        for target in &link.targets {
            if target.count {
                let count = self.count(rule, target);
                let mut text = std::mem::take(&mut self.state.scratch);
                text.clear();
                crate::bytes::push_integer(&mut text, i64::try_from(count).unwrap_or(i64::MAX));
                any |= self.value(link, target, b"", &text);
                self.state.scratch = text;
                continue;
            }
            any |= match target.variable.source() {
                Source::List(list, view, origin) => self.list(rule, link, target, (list, view, origin), hits),
                // A variable that is one value has it even where nothing set it.
                Source::Slot => {
                    let kind = Kind::Slot(target.variable);
                    let possible = hits.is_none_or(|hits| hits.0.iter().any(|hit| hit.kind == kind));
                    let value = self.state.slot(self.store, target.variable);
                    possible
                        && !self.is_target_removed(rule, target, b"")
                        && self.value(link, target, b"", value)
                }
                Source::Tx if target.tx.is_some() => self.tx(rule, link, target),
                _ => self.pieces(rule, link, target),
            };
        }
        any
    }

    fn list(
        &mut self,
        rule: usize,
        link: &Link,
        target: &Target,
        (list, view, origin): (List, View, Origin),
        hits: Option<Hits<'_>>,
    ) -> bool {
        let store = self.store;
        let entries = store.list(list);
        let mut any = false;
        let mut one = |run: &mut Self, at: usize| {
            let Some(entry) = entries.get(at) else { return };
            if origin != Origin::Any && entry.origin != origin {
                return;
            }
            let name = store.text(entry.name);
            if target.takes(name) && !run.is_target_removed(rule, target, name) {
                let value = if view == View::Name { name } else { store.text(entry.value) };
                any |= run.value(link, target, name, value);
            }
        };
        match hits {
            None => (0..entries.len()).for_each(|at| one(self, at)),
            Some(hits) => {
                let kind = Kind::List(list, view);
                for hit in hits.0.iter().filter(|hit| hit.kind == kind) {
                    one(self, hit.at as usize);
                }
            }
        }
        any
    }

    fn tx(&mut self, rule: usize, link: &Link, target: &Target) -> bool {
        let Some(cell) = target.tx.and_then(|number| self.state.tx.get(number)) else { return false };
        if let Operator::Number(order, parameter) = &link.operator
            && self.rules.transforms_of(link).is_empty()
            && self.state.removed_targets.is_empty()
        {
            let (value, parameter) = (cell.number(), self.scope().number(parameter));
            if order.holds(value, parameter) == link.negated {
                return false;
            }
        }
        let mut text = std::mem::take(&mut self.state.scratch);
        text.clear();
        if let Some(cell) = target.tx.and_then(|number| self.state.tx.get(number)) {
            cell.write(&mut text);
        }
        let name = target_name(target);
        let found = !self.is_target_removed(rule, target, name) && self.value(link, target, name, &text);
        self.state.scratch = text;
        found
    }

    fn pieces(&mut self, rule: usize, link: &Link, target: &Target) -> bool {
        let mut any = false;
        for (name, value) in self.scope().pieces(target) {
            if !self.is_target_removed(rule, target, &name) {
                any |= self.value(link, target, &name, &value);
            }
        }
        any
    }

    /// How many values a target has.
    fn count(&self, rule: usize, target: &Target) -> usize {
        match target.variable.source() {
            Source::List(list, _, origin) => self
                .store
                .list(list)
                .iter()
                .filter(|entry| origin == Origin::Any || entry.origin == origin)
                .filter(|entry| {
                    let name = self.store.text(entry.name);
                    target.takes(name) && !self.is_target_removed(rule, target, name)
                })
                .count(),
            Source::Slot => 1,
            Source::Tx if target.tx.is_some() => {
                usize::from(target.tx.is_some_and(|number| self.state.tx.get(number).is_some()))
            }
            _ => self.scope().pieces(target).len(),
        }
    }

    fn is_target_removed(&self, rule: usize, target: &Target, name: &[u8]) -> bool {
        self.state.removed_targets.iter().any(|(rules, removed)| {
            removed.variable == target.variable
                && removed.selector.takes(name)
                && rules.binary_search(&rule).is_ok()
        })
    }

    /// Asks the operator about one value.
    fn value(&mut self, link: &Link, target: &Target, name: &[u8], value: &[u8]) -> bool {
        let rules = self.rules;
        let chain = rules.transforms_of(link);
        let mapping = Some(&*rules.config.mapping);
        if !link.multi_match {
            // The buffers are taken out so that the transformed value may be looked at while the state changes.
            let mut buffers = std::mem::take(self.buffers);
            let transformed = match &rules.plan {
                Some(_) if !chain.is_empty() => buffers.run_needed(chain, value, class::of(value), mapping),
                _ => buffers.run(chain, value, mapping),
            };
            let found = self.ask(link, target, name, transformed);
            *self.buffers = buffers;
            return found;
        }
        let mut any = self.ask(link, target, name, value);
        let skips = rules.plan.is_some();
        let mut classes = if skips { class::of(value) | class::ALWAYS } else { u32::MAX };
        let mut before = std::borrow::Cow::Borrowed(value);
        let mut after = Vec::new();
        for transformation in chain {
            if transformation.needs() & classes == 0 {
                continue;
            }
            transformation.apply(&before, &mut after, mapping);
            if *after != *before {
                any |= self.ask(link, target, name, &after);
                if skips {
                    classes = class::of(&after) | class::ALWAYS;
                }
                before = std::borrow::Cow::Owned(std::mem::take(&mut after));
            }
        }
        any
    }

    fn ask(&mut self, link: &Link, target: &Target, name: &[u8], value: &[u8]) -> bool {
        let mut captures = std::mem::take(&mut self.state.captures);
        captures.clear();
        let wanted = (link.capture && !link.negated).then_some(&mut captures);
        // What is not decided fires, whether the rule asks for a match or for none.
        let found =
            link.operator.decide(value, &self.scope(), wanted).is_none_or(|found| found != link.negated);
        if found {
            if link.capture {
                self.state.tx.clear_captures();
                for (number, text) in captures.iter() {
                    if let Some(cell) = self.state.tx.cell(u16::from(number)) {
                        cell.set_text(text);
                    }
                }
            }
            let name = if target.count { target_name(target) } else { name };
            self.state.matched.push(target.variable, target.count, name, value);
            self.set_all(link);
        }
        self.state.captures = captures;
        found
    }

    fn set_all(&mut self, link: &Link) {
        for setvar in &link.setvars {
            self.set(setvar);
        }
    }

    fn set(&mut self, setvar: &SetVar) {
        if setvar.collection == Variable::Tx {
            return self.set_tx(setvar);
        }
        self.set_kept(setvar);
    }

    fn set_tx(&mut self, setvar: &SetVar) {
        let rules = self.rules;
        let amount = match &setvar.change {
            Change::Add(amount) => self.scope().number(amount),
            Change::Subtract(amount) => self.scope().number(amount).saturating_neg(),
            _ => 0,
        };
        let expanded;
        let text = match &setvar.change {
            Change::Set(text) => match text.constant() {
                Some(text) => text,
                None => {
                    expanded = self.scope().template(text).into_owned();
                    &expanded
                }
            },
            _ => &[],
        };
        let cell = match &setvar.place {
            Place::Tx(number) => self.state.tx.cell(*number),
            Place::Named(name) => {
                let name = self.scope().template(name).into_owned();
                self.state.tx.named(&rules.names, name)
            }
        };
        let Some(cell) = cell else { return };
        match &setvar.change {
            Change::Unset => cell.unset(),
            Change::Set(_) => cell.set_text(text),
            _ => {
                let before = if cell.is_set() { cell.number() } else { 0 };
                cell.set_number(before.saturating_add(amount));
            }
        }
    }

    fn set_kept(&mut self, setvar: &SetVar) {
        let scope = self.scope();
        let (Some(key), Place::Named(name)) = (self.state.key(setvar.collection), &setvar.place) else {
            return;
        };
        let name = scope.template(name);
        let timeout = self.rules.config.collection_timeout;
        let sum = |before: Option<&[u8]>, amount: i64| {
            let mut out = Vec::new();
            crate::bytes::push_integer(
                &mut out,
                before.map_or(0, crate::bytes::integer).saturating_add(amount),
            );
            Some(out)
        };
        self.rules.kept.change(setvar.collection, key, &name, timeout, |before| match &setvar.change {
            Change::Unset => None,
            Change::Set(text) => Some(scope.template(text).into_owned()),
            Change::Add(amount) => sum(before, scope.number(amount)),
            Change::Subtract(amount) => sum(before, scope.number(amount).saturating_neg()),
        });
    }

    /// Carries out an action of a link whose chain matched from it on.
    fn act(&mut self, action: &Action) {
        match action {
            Action::Control(control) => self.control(control),
            Action::InitCollection(collection, key) => {
                let key = self.scope().template(key).into_owned();
                self.state.set_key(*collection, key);
            }
            Action::Expire(expire) => {
                let scope = self.scope();
                if let Some(key) = self.state.key(expire.collection) {
                    let seconds = u64::try_from(scope.number(&expire.seconds)).unwrap_or(0);
                    self.rules.kept.expire(expire.collection, key, &scope.template(&expire.name), seconds);
                }
            }
        }
    }

    fn control(&mut self, control: &Control) {
        let state = &mut *self.state;
        match control {
            Control::Engine(engine) => state.engine = *engine,
            Control::Processor(processor) => state.processor = Some(*processor),
            Control::RequestBodyAccess(on) => state.request_body_access = *on,
            Control::ResponseBodyAccess(on) => state.response_body_access = *on,
            Control::RequestBodyLimit(limit) => state.request_body_limit = *limit,
            Control::ResponseBodyLimit(limit) => state.response_body_limit = *limit,
            Control::ForceRequestBody(on) => state.force_request_body = *on,
            Control::Remove(which) => {
                for (number, chain) in self.rules.chains.iter().enumerate() {
                    if which.is(chain) {
                        state.remove(number);
                    }
                }
            }
            Control::RemoveTarget(which, target) => {
                let chains = self.rules.chains.iter().enumerate();
                let rules = chains.filter(|(_, chain)| which.is(chain)).map(|(number, _)| number).collect();
                state.removed_targets.push((rules, target.clone()));
            }
            Control::Audit => {}
        }
    }
}

/// The name of the entry that a target selects.
fn target_name(target: &Target) -> &[u8] {
    match &target.selector {
        crate::rule::Selector::Key(key) => key,
        _ => b"",
    }
}
