//! What is decided when rules are loaded, so that requests need not ask.
//!
//! * Rules that can never match, or that a rule which always matches skips, are left out ([`alive`]).
//! * Of rules that look for something in the request, a few automata say which may match which values ([`scan`]); only these
//!   are evaluated, in the plain way, on these values. A scan may say too much and never too little, so the result is that of
//!   the plain way.

mod alive;
mod chains;
mod fold;
mod forms;
mod group;
mod marks;
mod pack;
mod scan;
mod set;
mod words;

use crate::{
    engine::{Hit, Run, bit},
    error::LoadError,
    operator::Operator,
    rule::{Chain, Link},
    ruleset::RuleSet,
};
use chains::Chains;
use group::PhasePlan;
use set::Set;
use std::sync::{Mutex, PoisonError};

pub(crate) use scan::Scan;
use words::Words;

/// The plan of a rule set.
#[derive(Debug)]
pub(crate) struct Plan {
    phases: [PhasePlan; 5],
    automata: Automata,
    chains: Chains,
    /// Caches of the lazy automata, one of each for a thread that scans.
    caches: Mutex<Vec<Caches>>,
}

/// All automata of all phases, by number.
#[derive(Debug, Default)]
struct Automata {
    sets: Vec<Set>,
    words: Vec<Words>,
}

/// What each automaton remembers, made when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    sets: Vec<Option<set::Memory>>,
    words: Vec<words::Memory>,
}

/// The most idle caches.
const MOST_IDLE: usize = 64;

impl Plan {
    pub(crate) fn new(rules: &RuleSet) -> Result<Self, Vec<LoadError>> {
        crate::injection::warm();
        let alive = alive::decide(rules);
        compile(rules, &alive)?;
        let mut chains = Chains::new(rules);
        let mut automata = Automata::default();
        let mut phases: [PhasePlan; 5] = Default::default();
        for ((phase, number), alive) in phases.iter_mut().zip(1u8..).zip(&alive) {
            *phase = PhasePlan::new(rules, number, alive, &mut chains, &mut automata);
        }
        Ok(Self { phases, automata, chains, caches: Mutex::new(Vec::new()) })
    }

    /// Evaluates a phase.
    pub(crate) fn run(&self, run: &mut Run<'_>, scan: &mut Scan, number: u8) {
        let Some(phase) = self.phases.get(usize::from(number).saturating_sub(1)) else { return };
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        caches.sets.resize_with(self.automata.sets.len(), || None);
        caches.words.resize_with(self.automata.words.len(), Default::default);
        scan.phase(self, phase, &mut caches, run);
        let mut idle = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(caches);
        }
        drop(idle);
        scan.order.clear();
        scan.order.extend_from_slice(&phase.always);
        for hit in &scan.hits {
            if let Some(word) = scan.order.get_mut(hit.rule as usize / 64) {
                *word |= 1 << (hit.rule % 64);
            }
        }
        run.planned(number, &scan.order, &phase.narrowed, &scan.hits);
    }
}

/// Compiles the expressions of all rules that may run.
fn compile(rules: &RuleSet, alive: &[Vec<u64>; 5]) -> Result<(), Vec<LoadError>> {
    let mut errors = Vec::new();
    for (phase, alive) in rules.phases.iter().zip(alive) {
        for (place, number) in phase.rules.iter().enumerate() {
            let Some(chain) = rules.chains.get(*number).filter(|_| bit(alive, place)) else { continue };
            for link in &chain.links {
                if let Err(message) = compile_link(link) {
                    errors.push(error(chain, format!("the expression does not compile: {message}")));
                }
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn compile_link(link: &Link) -> Result<(), String> {
    match &link.operator {
        Operator::Rx(pattern)
        | Operator::RxGlobal(pattern)
        | Operator::VerifyCreditCard(pattern)
        | Operator::VerifyCpf(pattern)
        | Operator::VerifySsn(pattern)
        | Operator::VerifySvnr(pattern) => pattern.compile(),
        _ => Ok(()),
    }
}

fn error(chain: &Chain, message: String) -> LoadError {
    let mut error = LoadError::of_file(std::path::Path::new(&*chain.file), message);
    error.line = chain.line;
    error.rule = Some(chain.id);
    error
}

/// Adds that a rule may match a value.
fn push(hits: &mut Vec<Hit>, rule: u32, kind: crate::engine::Kind, at: u32) {
    hits.push(Hit { rule, kind, at });
}
