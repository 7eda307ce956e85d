//! `palisade init`.

use super::{root, run, stderr, stdout};
use sha2::{Digest, Sha256};
use std::{fs, path::PathBuf};

#[test]
fn what_init_writes_passes_check_and_holds_no_key() {
    for (url, tls) in [("http://127.0.0.1:3000", false), ("https://localhost", true)] {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("new/gateway");
        let name = dir.to_str().unwrap();
        let told = stdout(&run(&["init", name, "--upstream", url]));
        let key = told.lines().map(str::trim).find(|line| line.starts_with("pal_")).unwrap();

        let written = fs::read_to_string(dir.join("palisade.yaml")).unwrap();
        assert!(!written.contains(key));
        assert!(written.contains(&hex::encode(Sha256::digest(key))));
        assert_eq!(written.contains("tls: {}"), tls);
        assert!(stdout(&run(&["check", "--conf", name])).contains("1 route"));
        // What is there is what was told.
        let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let said: Vec<PathBuf> =
            told.lines().skip(1).take(2).map(|line| line.split_whitespace().next().unwrap().into()).collect();
        assert_eq!(said.iter().rev().cloned().collect::<Vec<_>>(), files, "{told}");

        let routes: serde_json::Value =
            serde_json::from_str(&stdout(&run(&["routes", "--json", "--conf", name]))).unwrap();
        let entries = |route: usize| -> Vec<&str> {
            let plugins = routes[route]["plugins"].as_array().unwrap();
            plugins.iter().map(|entry| entry["entry"].as_str().unwrap()).collect()
        };
        assert_eq!(routes[0]["match"]["paths"][0], "/*");
        assert_eq!(entries(0), ["correlation-id", "key-auth", "response-headers", "audit"]);

        let schema = fs::read_to_string(dir.join("palisade.schema.json")).unwrap();
        assert_eq!(schema.trim_end(), stdout(&run(&["schema"])).trim_end());
    }
}

#[test]
fn init_listens_where_it_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("new");
    let name = dir.to_str().unwrap();
    let init = |listen: &str, admin: &str| {
        run(&["init", name, "--upstream", "http://127.0.0.1:3000", "--listen", listen, "--admin", admin])
    };
    assert_eq!(init("8080", "127.0.0.1:9901").status.code(), Some(2));
    let output = init("127.0.0.1:9901", "127.0.0.1:9901");
    assert!(output.status.code() == Some(1) && stderr(&output).contains("the same address"));
    assert!(!dir.exists());
    assert!(stdout(&init("0.0.0.0:8443", "[::1]:9999")).contains("http://127.0.0.1:8443/"));
    let written = fs::read_to_string(dir.join("palisade.yaml")).unwrap();
    assert!(
        written.contains("address: 0.0.0.0:8443 ") && written.contains("address: \"[::1]:9999\""),
        "{written}"
    );
}

#[test]
fn the_readme_shows_what_init_writes() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("my-conf");
    stdout(&run(&["init", dir.to_str().unwrap(), "--upstream", "http://127.0.0.1:3000"]));
    let of = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| *line != "version: 1");
        lines.map(|line| line.split("key_sha256").next().unwrap().to_owned()).collect()
    };
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(of(shown), of(&fs::read_to_string(dir.join("palisade.yaml")).unwrap()));
}

#[test]
fn init_writes_over_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.txt");
    fs::write(&file, "mine").unwrap();
    let output = run(&["init", dir.path().to_str().unwrap(), "--upstream", "http://127.0.0.1:3000"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not empty"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn init_refuses_what_is_no_origin_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new");
    let output = run(&["init", new.to_str().unwrap(), "--upstream", "http://127.0.0.1:3000/api"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("paths belong to routes"));
    assert!(!new.exists());
}
