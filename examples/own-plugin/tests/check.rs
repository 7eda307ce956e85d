//! The binary knows the plugin, and still refuses what it does not know.

use std::process::Command;

fn palisade(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_own-plugin")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_binary_has_the_plugin() {
    let (good, text) = palisade(&["check", "--conf", concat!(env!("CARGO_MANIFEST_DIR"), "/conf")]);
    assert!(good, "{text}");
    let (good, text) = palisade(&["routes", "--conf", concat!(env!("CARGO_MANIFEST_DIR"), "/conf")]);
    assert!(good && text.contains("business-hours"), "{text}");
}

#[test]
fn the_plain_binary_does_not_have_it() {
    let dir = std::env::temp_dir().join(format!("own-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let conf = include_str!("../conf/palisade.yaml").replace("business-hours", "busines-hours");
    std::fs::write(dir.join("a.yaml"), conf).unwrap();
    let (good, text) = palisade(&["check", "--conf", dir.to_str().unwrap()]);
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(!good && text.contains("did you mean `business-hours`"), "{text}");
}
