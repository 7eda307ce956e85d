//! What a rule set holds, for the command line.

use super::{
    config::{Config, Ruleset},
    load,
};
use palisade_contract::{ConfigError, conf::words::count};
use seclang::{LoadErrors, RuleSet};
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What files of rules hold: each a file, a folder of a core rule set, or a pattern.
///
/// # Errors
/// What is wrong with them, each with its place, the line and a caret.
pub fn about_files(files: &[PathBuf]) -> Result<String, String> {
    let mut text = String::new();
    for file in files {
        let part = if file.join("rules").is_dir() { about_crs(file)? } else { about_pattern(file)? };
        text.push_str(&part);
    }
    Ok(text)
}

/// What the set that comes with the gateway holds.
///
/// # Errors
/// What is wrong with it.
pub fn about_set() -> Result<String, String> {
    let mut config = Config::default();
    config.response_body.inspect = true;
    let rules = of_config(&config)?;
    Ok(describe("core", &rules))
}

fn about_crs(directory: &Path) -> Result<String, String> {
    let mut config = Config { ruleset: Ruleset::Crs, ..Config::default() };
    let crs = config.crs.get_or_insert_default();
    crs.directory = directory.to_string_lossy().into_owned();
    crs.paranoia_level = 4;
    config.response_body.inspect = true;
    let rules = of_config(&config)?;
    Ok(describe(&directory.display().to_string(), &rules))
}

fn of_config(config: &Config) -> Result<Arc<RuleSet>, String> {
    let words = |errors: Vec<ConfigError>| {
        let words = |error: &ConfigError| match &error.help {
            Some(help) => format!("{error}\nhelp: {help}"),
            None => error.to_string(),
        };
        errors.iter().map(words).collect::<Vec<_>>().join("\n")
    };
    load::recipe(config, Path::new("")).map_err(words)?.read().build().map_err(|errors| counted(&errors))
}

fn about_pattern(pattern: &Path) -> Result<String, String> {
    let shown = pattern.to_string_lossy();
    let files = load::own_files(Path::new(""), &shown)?;
    let files =
        files.iter().filter(|file| !pattern.is_dir() || file.extension().is_some_and(|end| end == "conf"));
    let builder = files.fold(RuleSet::builder(), |builder, file| builder.file(file));
    if builder.files_read().is_empty() {
        return Err(format!("`{shown}` holds no file that ends in `.conf`"));
    }
    let rules = builder.build().map_err(|errors| counted(&errors))?;
    Ok(describe(&shown, &rules))
}

fn counted(errors: &LoadErrors) -> String {
    let count = errors.0.len();
    format!("{errors}\n{count} error{}", if count == 1 { "" } else { "s" })
}

/// Files, phases and families of a set.
fn describe(name: &str, rules: &RuleSet) -> String {
    let mut phases = [0_usize; 5];
    let mut families: BTreeMap<u64, usize> = BTreeMap::new();
    for rule in rules.rules() {
        *families.entry(rule.id / 1000).or_default() += 1;
        if let Some(rules) = phases.get_mut(usize::from(rule.phase.saturating_sub(1))) {
            *rules += 1;
        }
    }
    // Writing to a string does not fail.
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{name}: {} in {}: good",
        count(rules.len(), "rule"),
        count(rules.files().len(), "file")
    );
    for component in &rules.config().components {
        let _ = writeln!(text, "  {component}");
    }
    let counts: Vec<String> =
        phases.iter().zip(1..).map(|(count, phase)| format!("{phase}: {count}")).collect();
    let _ = writeln!(text, "  phases {}", counts.join(", "));
    let counts: Vec<String> =
        families.iter().map(|(family, count)| format!("{family}xxx: {count}")).collect();
    let _ = writeln!(text, "  ids    {}", counts.join(", "));
    for rule in rules.rules().filter(|rule| !rule.message.is_empty()) {
        let _ =
            writeln!(text, "  {} phase {} {}:{} {}", rule.id, rule.phase, rule.file, rule.line, rule.message);
    }
    text
}
