//! The loader of OpenAPI descriptions.

use palisade_contract::{
    Descriptor, Verdict,
    testkit::{Case, Instance, Kit},
};
use palisade_plugins::OpenApi;
use std::cell::RefCell;
use tempfile::TempDir;

/// More errors of one description are not said.
const MOST_ERRORS: usize = 50;

/// Loads a description, and holds a few requests and answers to it.
///
/// # Panics
/// Where an error has no place, or a request comes to anything else than passing or being refused.
pub fn run(data: &[u8]) {
    // Which files there are beside it is not the description's.
    if data.windows(5).any(|five| five == b"/proc" || five == b"/dev/") {
        return;
    }
    DIR.with_borrow(|dir| {
        let file = dir.path().join("spec.yaml");
        std::fs::write(&file, data).expect("a file");
        let yaml = format!(
            "spec: {}\nrequest: {{unknown: strip}}\nresponse: {{validate: true, on_violation: strip}}\n",
            file.display()
        );
        let kit = Kit::of(Descriptor::of::<OpenApi>()).credential_places(Vec::new());
        match kit.build(&yaml) {
            Ok(plugin) => ask(&plugin),
            Err(said) => {
                let errors = said.lines().filter(|line| has_place(line)).count();
                assert!((1..=MOST_ERRORS + 1).contains(&errors), "{errors} errors:\n{said}");
            }
        }
    });
}

/// True for the first line of an error: `file:line:column: …`.
fn has_place(line: &str) -> bool {
    let mut parts = line.split(':').skip(1);
    let mut number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
    number() && number()
}

fn ask(plugin: &Instance) {
    for operation in plugin.built.plugin().operations().iter().take(4) {
        let path: String = operation
            .path
            .split('/')
            .map(|part| if part.contains('{') { "7" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        if path.parse::<http::Uri>().is_err() || operation.method.as_str().is_empty() {
            continue;
        }
        for (kind, body) in [
            ("application/json", r#"{"a":1,"id":[{"x":null}],"name":"n"}"#),
            ("application/x-www-form-urlencoded", "a=1&name=n&id=7"),
            (
                "multipart/form-data; boundary=b",
                "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n",
            ),
        ] {
            let case = Case::new(operation.method.as_str(), &format!("{path}?limit=5&a=b&filter[x]=y"))
                .header("content-type", kind)
                .body(body)
                .principal("alice", &[])
                .response_header("content-type", kind)
                .response_body(body);
            match plugin.run(case).verdict {
                Ok(Verdict::Continue) => {}
                Ok(Verdict::Deny(denial)) => {
                    let status = denial.status().as_u16();
                    assert!(matches!(status, 400 | 401 | 403 | 404 | 405 | 415 | 502), "{status}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

thread_local! {
    static DIR: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("a directory"));
}
