//! Running files of policy tests.

use super::{
    case::{self, Case, File, Step},
    judge::Difference,
    world::World,
};
use crate::{
    conf::model::Config,
    proxy::{Attempt, Tried},
};
use palisade_contract::{Descriptor, Place};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::{runtime::Builder, time::timeout};

/// No case waits for anything: one that does not end has a plugin that does.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of all files.
pub struct Run {
    pub(super) files: Vec<Ran>,
    pub(super) time: Duration,
    pub(super) requests: u64,
}

/// What came of a file.
pub(super) struct Ran {
    pub(super) path: PathBuf,
    pub(super) cases: Vec<CaseRan>,
}

/// What came of a case.
pub(super) struct CaseRan {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) time: Duration,
    /// None where it passed.
    pub(super) failure: Option<Failure>,
}

/// Why a case failed.
pub(super) struct Failure {
    /// Which request; of a case with one there is no need to say.
    pub(super) step: Option<(usize, Place)>,
    pub(super) request: String,
    pub(super) why: Why,
}

/// Why a request was not what it should be.
pub(super) enum Why {
    /// It could not be tried.
    Untried(String),
    /// Something else came of it.
    Different(Vec<Difference>, Box<Tried>),
}

impl Run {
    /// How many cases there were, and how many of them failed.
    pub fn counts(&self) -> (usize, usize) {
        let cases = || self.files.iter().flat_map(|file| &file.cases);
        (cases().count(), cases().filter(|case| case.failure.is_some()).count())
    }
}

/// Runs files of policy tests on a configuration that is good.
///
/// # Errors
/// Everything that is wrong with the files, or what kept the configuration from serving.
pub fn run(files: &[PathBuf], config: &Config, registry: &[Descriptor]) -> Result<Run, String> {
    let (mut read, mut wrong) = (Vec::new(), String::new());
    for path in files {
        match case::read(path, config) {
            Ok(file) => read.push(file),
            Err(error) => wrong.push_str(&error.to_string()),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    let begun = Instant::now();
    let (mut all, mut requests) = (Vec::new(), 0);
    for file in read {
        all.push(runtime.block_on(run_file(file, config, registry, &mut requests))?);
    }
    Ok(Run { files: all, time: begun.elapsed(), requests })
}

async fn run_file(
    file: File,
    config: &Config,
    registry: &[Descriptor],
    requests: &mut u64,
) -> Result<Ran, String> {
    let File { path, dependencies, down, cases } = file;
    let mut world = World::new(config, registry, dependencies, &down);
    let mut ran = Vec::new();
    for case in cases {
        let begun = Instant::now();
        let failure = run_case(&case, &mut world, requests).await?;
        let Case { name, .. } = case;
        ran.push(CaseRan { name: name.value, place: name.place, time: begun.elapsed(), failure });
    }
    Ok(Ran { path, cases: ran })
}

async fn run_case(case: &Case, world: &mut World<'_>, requests: &mut u64) -> Result<Option<Failure>, String> {
    let snapshot = world.begin(case.started).await.map_err(|error| error.to_string())?;
    for (index, step) in case.steps.iter().enumerate() {
        if !step.wait.is_zero() {
            world.wait(step.wait).await;
        }
        for _ in 0..step.repeat {
            *requests += 1;
            let (started, begun) = world.now();
            let attempt = attempt(step, (started, begun));
            let why = match timeout(PATIENCE, attempt.run(&snapshot)).await {
                Ok(Ok(tried)) => {
                    let differences = step.expect.compare(&tried);
                    if differences.is_empty() {
                        continue;
                    }
                    Why::Different(differences, Box::new(tried))
                }
                Ok(Err(why)) => Why::Untried(why),
                Err(_) => Why::Untried(format!("no decision within {} s", PATIENCE.as_secs())),
            };
            let step_of = (case.steps.len() > 1).then(|| (index + 1, step.place.clone()));
            return Ok(Some(Failure { step: step_of, request: step.request.shown.clone(), why }));
        }
    }
    Ok(None)
}

fn attempt(step: &Step, (started, begun): (std::time::SystemTime, Instant)) -> Attempt {
    Attempt {
        head: step.request.head.clone(),
        body: step.request.body.clone(),
        connection: step.request.connection.clone(),
        started,
        begun,
        principal: step.principal.clone(),
        origin: step.origin.clone(),
    }
}
