//! Which rules can run at all, as far as values of `TX` that rules themselves set decide it.
//!
//! The rules are walked in their order with what is known of `TX`. A rule that certainly matches and skips others makes those
//! dead, such as the rules of a higher paranoia level; one that certainly does not match is dead itself. Whatever is not
//! certain leaves rules alive and makes what they set unknown.

use super::group::set_bit;
use crate::{
    operator::{Operator, Order},
    rule::{Action, Chain, Change, Control, Disruption, Link, Place, SetVar, Target, Which},
    ruleset::RuleSet,
    template::{Piece, Template},
    variable::Variable,
};

/// What is known of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Unset,
    Text(Vec<u8>),
    Unknown,
}

/// For each phase, one bit for each rule that may run.
pub(super) fn decide(rules: &RuleSet) -> [Vec<u64>; 5] {
    let mut alive: [Vec<u64>; 5] = Default::default();
    for (words, phase) in alive.iter_mut().zip(&rules.phases) {
        *words = vec![u64::MAX; phase.rules.len().div_ceil(64)];
    }
    if !is_decidable(rules) {
        return alive;
    }
    let mut known = vec![Known::Unset; rules.names.len()];
    known.iter_mut().take(10).for_each(|capture| *capture = Known::Unknown);
    let mut walk = Walk { rules, known, removals: Vec::new() };
    // Phase 5 also runs where another was broken off.
    for (words, number) in alive.iter_mut().zip(1u8..=4) {
        let dead = walk.phase(number);
        for (word, dead) in words.iter_mut().zip(dead) {
            *word &= !dead;
        }
    }
    alive
}

/// Whether nothing breaks phases off and lets others run, or hides values of `TX`.
fn is_decidable(rules: &RuleSet) -> bool {
    rules.chains.iter().all(|chain| {
        !matches!(chain.disruption, Disruption::Allow(_))
            && controls(chain).all(|control| {
                !matches!(control, Control::RemoveTarget(_, target) if target.variable == Variable::Tx)
            })
    })
}

fn controls(chain: &Chain) -> impl Iterator<Item = &Control> {
    chain.links.iter().flat_map(|link| &link.actions).filter_map(|action| match action {
        Action::Control(control) => Some(control),
        _ => None,
    })
}

struct Walk<'r> {
    rules: &'r RuleSet,
    known: Vec<Known>,
    /// What rules before may have removed.
    removals: Vec<&'r Which>,
}

impl<'r> Walk<'r> {
    fn phase(&mut self, number: u8) -> Vec<u64> {
        let rules = self.rules;
        let Some(phase) = rules.phase(number) else { return Vec::new() };
        let mut dead = vec![0; phase.rules.len().div_ceil(64)];
        // Rules before this place may be skipped.
        let mut unsure_until = 0;
        // Rules before this place are skipped by the rule at the other, unless that one is removed.
        let mut skipped: Option<(usize, &Chain)> = None;
        for (place, chain) in
            phase.rules.iter().enumerate().filter_map(|(place, rule)| Some((place, rules.chains.get(*rule)?)))
        {
            if let Some((_, by)) = skipped.filter(|(until, _)| place < *until) {
                let follows = self.removals.iter().all(|which| !which.is(by) || which.is(chain));
                if follows {
                    set_bit(&mut dead, place);
                    continue;
                }
                unsure_until = unsure_until.max(place + 1);
            }
            let sure = place >= unsure_until && !self.removals.iter().any(|which| which.is(chain));
            let matches = self.matches(chain);
            if matches == Some(false) {
                set_bit(&mut dead, place);
                continue;
            }
            self.apply(chain, sure && matches == Some(true));
            let jump = phase.jumps.get(place).copied().unwrap_or(place + 1).max(place + 1 + chain.skip);
            if jump > place + 1 {
                // A removed rule skips nothing; what then runs is checked above.
                if place >= unsure_until && matches == Some(true) {
                    skipped = Some((jump, chain));
                } else {
                    unsure_until = unsure_until.max(jump);
                }
            }
        }
        dead
    }

    /// Whether a rule matches, where that is certain.
    fn matches(&self, chain: &Chain) -> Option<bool> {
        let mut all = Some(true);
        for link in &chain.links {
            match self.link(link) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => all = None,
            }
            // What the first sets may be what the second asks for.
            if !link.setvars.is_empty() || link.capture {
                return if chain.links.len() == 1 { all } else { None };
            }
        }
        all
    }

    fn link(&self, link: &Link) -> Option<bool> {
        if link.unconditional {
            return Some(true);
        }
        let Operator::Number(order, parameter) = &link.operator else { return None };
        if link.multi_match || !self.rules.transforms_of(link).is_empty() {
            return None;
        }
        let parameter = crate::bytes::integer(&self.text(parameter)?);
        let mut any = false;
        for target in &link.targets {
            any |= self.target(target, *order, parameter, link.negated)?;
        }
        Some(any)
    }

    fn target(&self, target: &Target, order: Order, parameter: i64, negated: bool) -> Option<bool> {
        let value = match (self.known.get(usize::from(target.tx?))?, target.count) {
            (Known::Unknown, _) => return None,
            (Known::Unset, true) => 0,
            (Known::Text(_), true) => 1,
            (Known::Unset, false) => return Some(false),
            (Known::Text(text), false) => crate::bytes::integer(text),
        };
        Some(order.holds(value, parameter) != negated)
    }

    fn text(&self, template: &Template) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Tx(number) => match self.known.get(usize::from(*number))? {
                    Known::Unset => {}
                    Known::Text(text) => out.extend_from_slice(text),
                    Known::Unknown => return None,
                },
                Piece::Variable(..) => return None,
            }
        }
        Some(out)
    }

    /// What a rule sets, if it is certain that it runs and matches; what it may set, if not.
    fn apply(&mut self, chain: &'r Chain, sure: bool) {
        for setvar in chain.links.iter().flat_map(|link| &link.setvars) {
            if setvar.collection == Variable::Tx {
                self.set(setvar, sure);
            }
        }
        for control in controls(chain) {
            if let Control::Remove(which) = control {
                self.removals.push(which);
            }
        }
    }

    fn set(&mut self, setvar: &SetVar, sure: bool) {
        let Place::Tx(number) = setvar.place else {
            let Place::Named(name) = &setvar.place else { return };
            // A name that requests make may be any that begins like it.
            let prefix = name.prefix().to_ascii_lowercase();
            for number in 0..self.rules.names.len() {
                if let (Ok(name), Some(known)) = (u16::try_from(number), self.known.get_mut(number))
                    && self.rules.names.name(name).starts_with(&prefix)
                {
                    *known = Known::Unknown;
                }
            }
            return;
        };
        let before = self.known.get(usize::from(number)).cloned().unwrap_or(Known::Unknown);
        let sum = |sign: i64, amount: &Template| {
            let amount = crate::bytes::integer(&self.text(amount)?).saturating_mul(sign);
            let start = match &before {
                Known::Unknown => return None,
                Known::Unset => 0,
                Known::Text(text) => crate::bytes::integer(text),
            };
            let mut out = Vec::new();
            crate::bytes::push_integer(&mut out, start.saturating_add(amount));
            Some(out)
        };
        let after = match &setvar.change {
            Change::Unset => Known::Unset,
            Change::Set(text) => self.text(text).map_or(Known::Unknown, Known::Text),
            Change::Add(amount) => sum(1, amount).map_or(Known::Unknown, Known::Text),
            Change::Subtract(amount) => sum(-1, amount).map_or(Known::Unknown, Known::Text),
        };
        if let Some(known) = self.known.get_mut(usize::from(number)) {
            *known = if sure || after == before { after } else { Known::Unknown };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids of the rules that may run, by phase.
    fn alive(text: &str) -> Vec<u64> {
        let rules = RuleSet::builder().text("test.conf", text).reference().build().unwrap();
        let words = decide(&rules);
        let phases = rules.phases.iter().zip(&words);
        phases
            .flat_map(|(phase, words)| {
                phase
                    .rules
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| crate::engine::bit(words, *place))
                    .map(|(_, rule)| *rule)
            })
            .map(|rule| rules.chains[rule].id)
            .collect()
    }

    #[test]
    fn what_cannot_run_is_left_out() {
        let level = "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.level=1\"\n";
        let rest = "SecRule TX:level \"@lt 1\" \"id:2,phase:2,pass,skipAfter:END\"\n\
            SecRule ARGS \"@rx a\" \"id:3,phase:2,pass\"\n\
            SecRule TX:level \"@lt 2\" \"id:4,phase:2,pass,skipAfter:END\"\n\
            SecRule ARGS \"@rx b\" \"id:5,phase:2,pass\"\n\
            SecMarker END\n\
            SecRule ARGS \"@rx c\" \"id:6,phase:2,pass\"\n";
        assert_eq!(alive(&format!("{level}{rest}")), [1, 3, 4, 6]);
        // Unset: nothing is below anything.
        assert_eq!(alive(rest), [3, 5, 6]);
        // A request may set it.
        let by_request = "SecRule ARGS:x \"@eq 1\" \"id:7,phase:1,pass,setvar:tx.level=2\"\n";
        assert_eq!(alive(&format!("{level}{by_request}{rest}")), [1, 7, 2, 3, 4, 5, 6]);
        let by_name = "SecRule ARGS:x \"@eq 1\" \"id:7,phase:1,pass,setvar:tx.lev%{MATCHED_VAR}=2\"\n";
        assert_eq!(alive(&format!("{level}{by_name}{rest}")), [1, 7, 2, 3, 4, 5, 6]);
        // The rule that skips may be removed, and the rules that it skips are not.
        let removed = "SecRule ARGS:x \"@eq 1\" \"id:7,phase:1,pass,ctl:ruleRemoveById=4\"\n";
        assert_eq!(alive(&format!("{level}{removed}{rest}")), [1, 7, 3, 4, 5, 6]);
        let both = "SecRule ARGS:x \"@eq 1\" \"id:7,phase:1,pass,ctl:ruleRemoveById=4-5\"\n";
        assert_eq!(alive(&format!("{level}{both}{rest}")), [1, 7, 3, 4, 6]);
        let allow = "SecRule ARGS:x \"@eq 1\" \"id:7,phase:1,allow:phase\"\n";
        assert_eq!(alive(&format!("{level}{allow}{rest}")), [1, 7, 2, 3, 4, 5, 6]);
    }
}
