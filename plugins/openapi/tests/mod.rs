//! Requests and answers against descriptions that have every feature.

mod answers;
mod bodies;
mod dialects;
mod parameters;

use super::OpenApi;
use palisade_contract::{
    Denial, Descriptor,
    testkit::{Case, Instance, Kit},
};
use std::path::Path;

/// The folder of the descriptions.
fn specs() -> String {
    format!("{}/openapi/tests/specs", env!("CARGO_MANIFEST_DIR"))
}

fn kit() -> Kit {
    Kit::of(Descriptor::of::<OpenApi>()).credential_places(Vec::new())
}

/// The plugin on one of the descriptions, with more of its fields.
fn plugin(file: &str, fields: &str) -> Instance {
    let path = Path::new(&specs()).join(file);
    kit().build(&format!("spec: {}\n{fields}", path.display())).unwrap_or_else(|error| panic!("{error}"))
}

/// What the operator is told of a request that is refused; nothing where it passes.
fn refused(plugin: &Instance, case: Case) -> Option<String> {
    match plugin.run(case).verdict {
        Ok(palisade_contract::Verdict::Continue) => None,
        Ok(palisade_contract::Verdict::Deny(denial)) => Some(told(&denial)),
        other => panic!("{other:?}"),
    }
}

fn told(denial: &Denial) -> String {
    let detail = denial.private_detail().unwrap_or_default();
    format!("{} {} {detail}", denial.status().as_u16(), denial.reason())
}

fn json(method: &str, target: &str, body: &str) -> Case {
    Case::new(method, target).header("content-type", "application/json").body(body.to_owned())
}
