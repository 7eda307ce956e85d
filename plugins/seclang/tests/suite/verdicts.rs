//! Verdicts of other engines on the suite, as they were recorded.

use super::{Stage, evaluate, level, rules};
use std::{collections::HashMap, env, fs, path::Path};

/// The engines whose verdicts count.
pub const ANCHORS: [&str; 2] = ["coraza-3.7.0", "libmodsecurity-3.0.9"];

/// The recorded verdicts at a paranoia level, by rule, test and stage.
pub fn recorded(folder: &Path, level: u8) -> Option<HashMap<String, Vec<bool>>> {
    let beside = folder.parent()?.join("crs-verdicts");
    let place = env::var_os("CRS_VERDICTS").map_or(beside, Into::into);
    let text = fs::read_to_string(place.join(format!("pl{level}.jsonl"))).ok()?;
    let mut verdicts = HashMap::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = format!("{}-{}-{}", line["rule"], line["test"], line["stage"]);
        verdicts.insert(name, ANCHORS.iter().map(|anchor| line[*anchor].as_bool().unwrap()).collect());
    }
    Some(verdicts)
}

/// How our verdicts compare.
#[derive(Debug, Default)]
pub struct Comparison {
    pub same: usize,
    /// Requests on which the anchors differ from one another.
    pub open: usize,
    /// Requests that both block and we pass, and the other way around.
    pub missed: Vec<String>,
    pub extra: Vec<String>,
}

pub fn compare(folder: &Path, stages: &[Stage], paranoia: u8) -> Option<Comparison> {
    let recorded = recorded(folder, paranoia)?;
    let rules = rules(folder, &level(paranoia), false);
    let mut comparison = Comparison::default();
    for stage in stages {
        let blocked = evaluate(&rules, &stage.request).intervention().is_some();
        let Some(verdicts) = recorded.get(&stage.name()) else { continue };
        match (verdicts.iter().all(|verdict| *verdict), verdicts.iter().any(|verdict| *verdict)) {
            (true, _) if !blocked => comparison.missed.push(stage.name()),
            (_, false) if blocked => comparison.extra.push(stage.name()),
            (false, true) => comparison.open += 1,
            _ => comparison.same += 1,
        }
    }
    Some(comparison)
}
