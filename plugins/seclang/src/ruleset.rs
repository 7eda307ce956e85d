//! A compiled rule set, shared by all transactions.

use crate::{
    body::xpath::Path,
    config::Config,
    engine::{kept::Kept, phase::Phase},
    error::LoadError,
    load::{Builder, Item, Loaded},
    plan::Plan,
    rule::{Chain, Link, Selector, Transforms},
    template::TxNames,
    transaction::{Transaction, Work},
    transform::Transformation,
    variable::Variable,
};
use std::{
    collections::HashSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// The most sets of buffers that wait to be used again.
const MOST_IDLE: usize = 64;

/// The most paths into documents: each is followed at every element.
const MOST_PATHS: usize = 50;

/// Rules that are compiled once and evaluated by any number of transactions at the same time.
pub struct RuleSet {
    pub(crate) config: Config,
    pub(crate) chains: Vec<Chain>,
    pub(crate) transforms: Vec<Transforms>,
    pub(crate) names: TxNames,
    pub(crate) phases: [Phase; 5],
    pub(crate) kept: Kept,
    used: HashSet<Variable>,
    pub(crate) left_out: Vec<LoadError>,
    files: Vec<PathBuf>,
    /// What lets the fast way leave out rules; `None` where the reference way is asked for.
    pub(crate) plan: Option<Plan>,
    #[allow(clippy::vec_box, reason = "a transaction holds the box, so that it is cheap to move")]
    idle: Mutex<Vec<Box<Work>>>,
}

impl RuleSet {
    /// Begins a rule set.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn compile(loaded: Loaded, reference: bool) -> Result<Self, Vec<LoadError>> {
        let Loaded { mut config, mut chains, items, transforms, names, files } = loaded;
        let targets = chains.iter_mut().flat_map(|chain| &mut chain.links).flat_map(|link| &mut link.targets);
        for target in targets.filter(|target| target.variable == Variable::Tx && target.tx.is_none()) {
            let all = (0..names.len()).filter_map(|number| u16::try_from(number).ok());
            target.fixed = all.filter(|number| target.takes(names.name(*number))).collect();
        }
        config.xml_paths = xml_paths(&chains)?;
        let mut phases: [Phase; 5] = Default::default();
        for (number, phase) in (1u8..).zip(&mut phases) {
            *phase = phase_of(number, &items, &chains);
        }
        let links = chains.iter().flat_map(|chain| &chain.links);
        let used: HashSet<Variable> =
            links.flat_map(|link| &link.targets).map(|target| target.variable).collect();
        config.file_contents = used.contains(&Variable::FilesTmpContent);
        let mut rules = Self {
            config,
            chains,
            transforms,
            names,
            phases,
            kept: Kept::default(),
            used,
            left_out: Vec::new(),
            files,
            plan: None,
            idle: Mutex::new(Vec::new()),
        };
        if !reference {
            rules.plan = Some(Plan::new(&rules)?);
        }
        Ok(rules)
    }

    /// How many rules there are; a chain is one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.phases.iter().map(|phase| phase.rules.len()).sum()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rules that [`Builder::tolerate`] let be left out, with the reasons.
    #[must_use]
    pub fn left_out(&self) -> &[LoadError] {
        &self.left_out
    }

    /// The files that were read for it, those with data included.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What directives set.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The ids of all rules, with their phases, in order of phase and file.
    pub fn rules(&self) -> impl Iterator<Item = RuleInfo<'_>> {
        self.phases.iter().flat_map(|phase| &phase.rules).filter_map(|number| self.chains.get(*number)).map(
            |chain| RuleInfo {
                id: chain.id,
                phase: chain.phase,
                message: &chain.message_text,
                version: &chain.version,
                file: &chain.file,
                line: chain.line,
            },
        )
    }

    /// Begins a transaction.
    #[must_use]
    pub fn transaction(self: &Arc<Self>) -> Transaction {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Transaction::new(self.clone(), idle.unwrap_or_default())
    }

    /// Whether a rule asks for a variable.
    pub(crate) fn uses(&self, variable: Variable) -> bool {
        self.used.contains(&variable)
    }

    /// Takes back the buffers of a transaction that is over.
    pub(crate) fn give_back(&self, work: Box<Work>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(work);
        }
    }

    pub(crate) fn phase(&self, number: u8) -> Option<&Phase> {
        self.phases.get(usize::from(number).checked_sub(1)?)
    }

    pub(crate) fn transforms_of(&self, link: &Link) -> &[Transformation] {
        self.transforms.get(link.transforms).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RuleSet").field("rules", &self.len()).finish_non_exhaustive()
    }
}

/// What is known of a rule without running it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo<'a> {
    /// Its id.
    pub id: u64,
    /// Its phase, from 1 to 5.
    pub phase: u8,
    /// Its message as it is written.
    pub message: &'a str,
    /// Its `ver`.
    pub version: &'a str,
    /// The file it is in.
    pub file: &'a str,
    /// The line it begins on.
    pub line: usize,
}

/// The paths into documents that rules ask for. What they select is known by their text, in any case.
fn xml_paths(chains: &[Chain]) -> Result<Vec<Path>, Vec<LoadError>> {
    let mut paths: Vec<Path> = Vec::new();
    for chain in chains {
        let targets = chain.links.iter().flat_map(|link| &link.targets);
        for target in targets.filter(|target| target.variable == Variable::XmlPath) {
            let Selector::Key(text) = &target.selector else { continue };
            let known = paths.iter().find(|path| path.text().eq_ignore_ascii_case(text));
            let text = String::from_utf8_lossy(text);
            let message = match (known, Path::parse(&text)) {
                (Some(known), _) if *known.text() == *text.as_bytes() => continue,
                (Some(_), _) => format!("another rule has the path `{text}` in other letters"),
                (None, Err((_, message))) => message,
                (None, Ok(_)) if paths.len() >= MOST_PATHS => {
                    format!("rules may have at most {MOST_PATHS} different paths")
                }
                (None, Ok(path)) => {
                    paths.push(path);
                    continue;
                }
            };
            let mut error = LoadError::of_file(std::path::Path::new(&*chain.file), message);
            (error.line, error.rule) = (chain.line, Some(chain.id));
            return Err(vec![error]);
        }
    }
    Ok(paths)
}

/// The rules of a phase, and where `skipAfter` leads from each of them.
fn phase_of(number: u8, items: &[Item], chains: &[Chain]) -> Phase {
    let mut rules = Vec::new();
    let mut markers: Vec<(&str, usize)> = Vec::new();
    for item in items {
        match item {
            Item::Rule(rule) if chains.get(*rule).is_some_and(|chain| chain.phase == number) => {
                rules.push(*rule)
            }
            Item::Rule(_) => {}
            Item::Marker(name) => markers.push((name, rules.len())),
        }
    }
    let jump = |(place, rule): (usize, &usize)| {
        let wanted = chains.get(*rule).and_then(|chain| chain.skip_after.as_deref());
        wanted.map_or(place + 1, |wanted| {
            let marker = markers.iter().find(|(name, at)| *name == wanted && *at > place);
            marker.map_or(rules.len(), |(_, at)| *at)
        })
    };
    let jumps = rules.iter().enumerate().map(jump).collect();
    Phase { rules, jumps }
}
