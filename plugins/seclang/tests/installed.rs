//! The core rule set as Debian's package `modsecurity-crs` installs it: all of it loads, and what only the bounded engine runs
//! decides as it should. `CRS_INSTALLED` names another root than `/`, for a package that is unpacked somewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may panic"
)]

mod suite;

use seclang::RuleSet;
use std::{path::PathBuf, sync::Arc};
use suite::{Request, Response};

fn load(reference: bool) -> Option<Arc<RuleSet>> {
    let root = PathBuf::from(std::env::var_os("CRS_INSTALLED").unwrap_or_else(|| "/".into()));
    let (setup, rules) =
        (root.join("etc/modsecurity/crs/crs-setup.conf"), root.join("usr/share/modsecurity-crs/rules"));
    if !setup.is_file() || !rules.is_dir() {
        eprintln!("skipped the installed core rule set: there is no {}", rules.display());
        return None;
    }
    let builder = RuleSet::builder();
    let builder = if reference { builder.reference() } else { builder };
    let built = builder
        .text("base.conf", suite::BASE)
        .file(setup)
        .text("level.conf", "SecAction \"id:900000,phase:1,nolog,pass,t:none,setvar:tx.paranoia_level=2\"")
        .files(&rules.join("*.conf").to_string_lossy())
        .build();
    Some(built.unwrap_or_else(|errors| panic!("{errors}")))
}

fn request(uri: &str, kind: &str, body: &str, response: &str) -> Request {
    let headers = [
        ("Host", "shop.example.com"),
        ("User-Agent", "Mozilla/5.0"),
        ("Accept", "*/*"),
        ("Content-Type", kind),
        ("Content-Length", &body.len().to_string()),
    ];
    Request {
        method: b"POST".to_vec(),
        uri: uri.into(),
        protocol: b"HTTP/1.1".to_vec(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        body: body.into(),
        response: Some(Response {
            status: 200,
            headers: vec![(b"Content-Type".to_vec(), b"text/html".to_vec())],
            body: response.into(),
        }),
    }
}

#[test]
fn all_of_it_loads_and_decides() {
    let (Some(fast), Some(plain)) = (load(false), load(true)) else { return };
    assert!(fast.left_out().is_empty());
    for id in [910_100, 910_140, 920_120, 942_130, 953_120] {
        assert!(fast.rules().any(|rule| rule.id == id), "{id}");
    }
    const FORM: &str = "application/x-www-form-urlencoded";
    let file = |name: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n"
        )
    };
    let multipart = "multipart/form-data; boundary=b";
    for (rule, found, request) in [
        (942_130, true, request("/", FORM, "q=x+or+abc%3Dabc", "")),
        (942_130, false, request("/", FORM, "q=abc+%3D+abcd", "")),
        (942_130, true, request("/", FORM, "q=1+is+not+2", "")),
        (942_130, false, request("/", FORM, "q=plain+words+alone", "")),
        (920_120, true, request("/", multipart, &file("a;b"), "")),
        (920_120, false, request("/", multipart, &file("a&auml;b.txt"), "")),
        (953_120, true, request("/", FORM, "a=b", "<html><?php echo 1;")),
        (953_120, false, request("/", FORM, "a=b", "<?xml version=\"1.0\"?><html>")),
        (941_100, true, request("/", FORM, "q=%3Cscript%3Ealert(1)%3C/script%3E", "")),
        (942_100, true, request("/?q=1%27+union+select+1,2--", FORM, "a=b", "")),
        (949_110, false, request("/", FORM, "name=Ada&mail=ada@example.com", "<p>hello</p>")),
    ] {
        let ids = |rules: &Arc<RuleSet>| -> Vec<u64> {
            let transaction = suite::evaluate(rules, &request);
            transaction.matched().iter().map(|rule| rule.id).collect()
        };
        let fired = ids(&fast);
        assert_eq!(fired, ids(&plain));
        assert_eq!(fired.contains(&rule), found, "{rule} {fired:?} {}", request.body.escape_ascii());
    }
}
