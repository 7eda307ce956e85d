//! Parameters of a request, in every place and every style.

use palisade_contract::{
    Descriptor, Verdict,
    testkit::{Case, Instance, Kit},
};
use palisade_plugins::OpenApi;
use std::sync::LazyLock;

static PLUGIN: LazyLock<Instance> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spec.yaml");
    std::fs::write(&file, include_str!("parameters.yaml")).unwrap();
    let yaml = format!("spec: {}\ndetails: true\nrequest: {{unknown: strip}}", file.display());
    Kit::of(Descriptor::of::<OpenApi>()).credential_places(Vec::new()).build(&yaml).unwrap()
});

/// Holds a request in lines to a description: the target, a header that is a list, one that is an object, cookies.
///
/// # Panics
/// Where anything else comes of it than passing or being refused with 400, 404 or 405, or where it matters that it is asked
/// for the second time.
pub fn run(data: &[u8]) {
    let mut lines =
        data.split(|byte| *byte == b'\n').map(|line| std::str::from_utf8(line).unwrap_or_default());
    let target = lines.next().unwrap_or_default();
    if !target.starts_with('/') || target.parse::<http::Uri>().is_err() {
        return;
    }
    let fields: Vec<(&str, &str)> = ["x-list", "x-object", "cookie"].into_iter().zip(lines).collect();
    let ask = || {
        let case = fields.iter().filter(|(_, value)| http::HeaderValue::from_str(value).is_ok());
        let case = case.fold(Case::get(target), |case, (name, value)| case.header(name, value));
        match PLUGIN.run(case).verdict {
            Ok(Verdict::Continue) => String::new(),
            Ok(Verdict::Deny(denial)) => {
                assert!(matches!(denial.status().as_u16(), 400 | 404 | 405), "{denial:?}");
                let detail = denial.private_detail().unwrap_or_default().to_owned();
                assert!(!detail.is_empty() && !detail.contains(['\r', '\n', '\0']), "{detail:?}");
                detail
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(), ask());
}
