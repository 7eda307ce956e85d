//! `./run`, with a `cargo` in the place of the real one that has built already.

use super::{palisade, root, stderr};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

/// Where each command in `tools` is a line of shell, and each in `real` is this machine's.
fn run(dir: &Path, tools: &[(&str, &str)], real: &[&str], arguments: &[&str]) -> Output {
    let bin = dir.join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, line) in tools {
        let tool = bin.join(name);
        fs::write(&tool, format!("#!/bin/bash\n{line}\n")).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in real {
        let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
        let found = found.iter().find(|path| path.exists()).unwrap();
        symlink(found, bin.join(name)).unwrap();
    }
    let mut command = Command::new("/bin/bash");
    command.arg(root().join("run")).args(arguments).stdin(Stdio::null());
    command.env("PATH", bin).env("HOME", dir).env("CARGO_TARGET_DIR", dir.join("target")).output().unwrap()
}

#[test]
fn run_builds_and_serves_what_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let binary = palisade().get_program().to_str().unwrap().to_owned();
    let built = dir.path().join("target/quick");
    let cargo = format!(
        "echo \"cargo $*\"; mkdir -p {built}; ln -s {binary} {built}/palisade",
        built = built.display(),
    );
    let real = ["dirname", "mkdir", "ln"];
    let there = [("cargo", &*cargo), ("cmake", ""), ("cc", ""), ("make", "")];
    let output = run(dir.path(), &there, &real, &["--conf", "no-such-directory"]);
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(said.contains("cargo build --profile quick --locked --bin palisade\n"), "{said}");
    // It is the gateway that refuses, with what it was given.
    let refused = stderr(&output);
    assert!(output.status.code() == Some(1) && refused.contains("no-such-directory"), "{refused}");
}

#[test]
fn run_names_the_packages_that_it_cannot_install() {
    let dir = tempfile::tempdir().unwrap();
    let there = [("id", "echo 1000"), ("cc", ""), ("make", ""), ("cargo", "echo built")];
    let output = run(dir.path(), &there, &["dirname"], &[]);
    let said = stderr(&output);
    assert!(!output.status.success(), "{said}");
    assert_eq!(said.trim(), "missing: cmake. Type: sudo apt-get install -y cmake");
    assert!(output.stdout.is_empty());
}

#[test]
fn run_installs_them_for_root() {
    let dir = tempfile::tempdir().unwrap();
    let there = [
        ("id", "echo 0"),
        ("cc", ""),
        ("make", ""),
        ("cargo", "exit 7"),
        ("apt-get", "echo \"$*\" >>$HOME/apt"),
    ];
    let output = run(dir.path(), &there, &["dirname"], &[]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let asked = fs::read_to_string(dir.path().join("apt")).unwrap();
    assert_eq!(asked, "update -qq\ninstall -y -qq cmake\n");
}
