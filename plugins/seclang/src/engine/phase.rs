//! The rules of a phase, in their order, with what each match leads to.

use super::{
    Run,
    link::{Hit, Hits},
    mask,
    outcome::{Intervention, MatchedRule, MatchedVariable, Verdict},
    state::{MOST_MATCHED, MOST_VARIABLES},
};
use crate::{
    operator::Expand,
    rule::{Allow, Chain, Disruption, Engine},
    ruleset::RuleSet,
};

/// The rules of one phase.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    /// The numbers of its rules, in order.
    pub(crate) rules: Vec<usize>,
    /// For each of them, where `skipAfter` leads to.
    pub(crate) jumps: Vec<usize>,
}

/// Where evaluation goes on after a rule.
enum Next {
    On,
    Skip(usize),
    Jump(usize),
    Stop,
}

impl Run<'_> {
    /// Evaluates all rules of a phase, rule by rule and value by value.
    pub(crate) fn phase(&mut self, number: u8) {
        let rules = self.rules;
        let Some(phase) = rules.phase(number).filter(|_| self.open(number)) else { return };
        let mut place = 0;
        while let Some(rule) = phase.rules.get(place) {
            place = match self.rule(*rule, phase, place, None) {
                Next::On => place + 1,
                Next::Skip(count) => place + 1 + count,
                Next::Jump(place) => place,
                Next::Stop => break,
            };
        }
    }

    /// Evaluates the rules of a phase that are in `order`, given by their places: of those that may match only some values,
    /// only those. `hits` is sorted.
    pub(crate) fn planned(&mut self, number: u8, order: &[u64], narrowed: &[u64], hits: &[Hit]) {
        let rules = self.rules;
        let Some(phase) = rules.phase(number).filter(|_| self.open(number)) else { return };
        let mut place = 0;
        let mut rest = hits;
        while let Some(found) = next_bit(order, place) {
            let Some(rule) = phase.rules.get(found) else { break };
            let narrow = bit(narrowed, found).then(|| {
                let number = u32::try_from(found).unwrap_or(u32::MAX);
                let from = rest.partition_point(|hit| hit.rule < number);
                rest = rest.get(from..).unwrap_or_default();
                Hits(rest.get(..rest.partition_point(|hit| hit.rule == number)).unwrap_or_default())
            });
            place = match self.rule(*rule, phase, found, narrow) {
                Next::On => found + 1,
                Next::Skip(count) => found + 1 + count,
                Next::Jump(place) => place,
                Next::Stop => break,
            };
        }
    }

    /// The phase, unless an `allow` keeps it from running.
    fn open(&mut self, number: u8) -> bool {
        let barred = match self.state.allow {
            Some(Allow::Transaction) => number < 5,
            Some(Allow::Request) => number <= 2,
            Some(Allow::Phase) | None => false,
        };
        if !barred {
            self.state.allow = None;
        }
        !barred
    }

    fn rule(&mut self, rule: usize, phase: &Phase, place: usize, hits: Option<Hits<'_>>) -> Next {
        let rules: &RuleSet = self.rules;
        let Some(chain) = rules.chains.get(rule) else { return Next::On };
        if self.state.is_removed(rule) {
            return Next::On;
        }
        self.state.matched.clear();
        self.state.rule = rule;
        if !self.link(rule, 0, hits) {
            return Next::On;
        }
        if let Some(severity) = chain.severity {
            self.state.highest_severity = self.state.highest_severity.min(severity);
        }
        if chain.log {
            self.record(chain);
        }
        self.disrupt(chain);
        if self.state.intervention.is_some() || self.state.allow.is_some() {
            return Next::Stop;
        }
        if chain.skip_after.is_some() {
            return Next::Jump(phase.jumps.get(place).copied().unwrap_or(place + 1));
        }
        if chain.skip > 0 { Next::Skip(chain.skip) } else { Next::On }
    }

    fn record(&mut self, chain: &Chain) {
        if self.state.rules.len() >= MOST_MATCHED {
            return;
        }
        let message = self.message(chain);
        let variables = self.state.matched.iter().take(MOST_VARIABLES).map(|matched| {
            let mut name = Vec::new();
            matched.write_name(&self.state.matched, &mut name);
            let name = mask::bounded(&name, 128);
            MatchedVariable { piece: mask::piece(&name, self.state.matched.value(matched)), name }
        });
        let matched = MatchedRule {
            id: chain.id,
            phase: chain.phase,
            severity: chain.severity,
            message,
            tags: chain.tags.clone(),
            variables: variables.collect(),
        };
        self.state.rules.push(matched);
    }

    fn message(&self, chain: &Chain) -> String {
        let message = chain.message.as_ref().map(|template| self.scope().template(template).into_owned());
        mask::bounded(&message.unwrap_or_default(), 512)
    }

    fn disrupt(&mut self, chain: &Chain) {
        if self.state.engine != Engine::On || chain.phase == 5 {
            return;
        }
        let (verdict, status) = match &chain.disruption {
            Disruption::Pass | Disruption::Block => return,
            Disruption::Allow(allow) => {
                self.state.allow = Some(*allow);
                return;
            }
            Disruption::Deny => (Verdict::Deny, chain.status.unwrap_or(403)),
            Disruption::Drop => (Verdict::Drop, chain.status.unwrap_or(403)),
            Disruption::Redirect(place) => {
                let place = self.scope().template(place).into_owned();
                (Verdict::Redirect(String::from_utf8_lossy(&place).into_owned()), chain.status.unwrap_or(302))
            }
        };
        let message = self.message(chain);
        self.state.intervention =
            Some(Intervention { verdict, status, rule: chain.id, phase: chain.phase, message });
    }
}

/// Whether a bit is set.
#[inline]
pub(crate) fn bit(words: &[u64], at: usize) -> bool {
    words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

/// The first bit at or after a place.
#[inline]
fn next_bit(words: &[u64], from: usize) -> Option<usize> {
    let mut at = from / 64;
    let mut word = words.get(at)? & (u64::MAX << (from % 64));
    while word == 0 {
        at += 1;
        word = *words.get(at)?;
    }
    Some(at * 64 + word.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_found_in_order() {
        let words = [1 << 3, 0, 1 | 1 << 63];
        assert_eq!(next_bit(&words, 0), Some(3));
        assert_eq!(next_bit(&words, 4), Some(128));
        assert_eq!(next_bit(&words, 129), Some(191));
        assert_eq!(next_bit(&words, 192), None);
        assert!(bit(&words, 191) && !bit(&words, 190) && !bit(&words, 9999));
    }
}
