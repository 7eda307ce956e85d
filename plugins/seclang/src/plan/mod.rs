//! What is decided when rules are loaded, so that requests need not ask.

use crate::{engine::Run, error::LoadError, ruleset::RuleSet};

/// The plan of a rule set.
#[derive(Debug)]
pub(crate) struct Plan {}

/// What scans of one transaction use.
#[derive(Debug, Default)]
pub(crate) struct Scan {}

impl Plan {
    pub(crate) fn new(_rules: &RuleSet) -> Result<Self, Vec<LoadError>> {
        Ok(Self {})
    }

    pub(crate) fn run(&self, run: &mut Run<'_>, _scan: &mut Scan, phase: u8) {
        run.phase(phase);
    }
}
