//! From an entry to its rule set.

use super::{
    config::{Config, Crs, Exclusion, Ids, Ruleset},
    sets::Recipe,
};
use palisade_contract::{ConfigError, Place};
use seclang::{Builder, LoadError, LoadErrors, RuleSet};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

const BASE: &str = include_str!("core/base.conf");
const SETUP: &str = include_str!("core/setup.conf");
const RESPONSES: &str = include_str!("core/responses.conf");
const VERDICT: &str = include_str!("core/verdict.conf");
const CORE: [(&str, &str); 9] = [
    ("core/protocol.conf", include_str!("core/protocol.conf")),
    ("core/scanners.conf", include_str!("core/scanners.conf")),
    ("core/files.conf", include_str!("core/files.conf")),
    ("core/commands.conf", include_str!("core/commands.conf")),
    ("core/templates.conf", include_str!("core/templates.conf")),
    ("core/sql.conf", include_str!("core/sql.conf")),
    ("core/xss.conf", include_str!("core/xss.conf")),
    ("core/ssrf.conf", include_str!("core/ssrf.conf")),
    ("core/objects.conf", include_str!("core/objects.conf")),
];
/// Where Debian keeps what an administrator changes of the core rule set.
const DEBIAN: &str = "/etc/modsecurity/crs";
/// The first id of the rules that are made from an entry.
const MADE: u64 = 8_590_000;
/// The most errors of rules that are shown.
const MOST_ERRORS: usize = 50;

/// What the entry's rules are made of. `folder` is where relative names begin.
pub(super) fn recipe(config: &Config, folder: &Path) -> Result<Recipe, Vec<ConfigError>> {
    let (mut recipe, mut errors) = (Recipe::default(), Vec::new());
    recipe.text("core/base.conf", BASE);
    let crs = config.crs.clone().unwrap_or_default();
    let mut layout = None;
    match config.ruleset {
        Ruleset::Core => {
            if config.crs.is_some() {
                errors.push(ConfigError::at("crs", "it is for `ruleset: crs`").help("write `ruleset: crs`"));
            }
            recipe.text("core/setup.conf", SETUP);
        }
        Ruleset::Crs => match self::layout(&crs, folder, Path::new(DEBIAN)) {
            Ok(found) => {
                found.before.iter().for_each(|file| recipe.file(file));
                recipe.text("crs", settings(&crs));
                layout = Some(found);
            }
            Err(error) => errors.push(error),
        },
    }
    own(config, folder, &mut recipe, &mut errors);
    match layout {
        Some(layout) => layout.rules.iter().for_each(|file| recipe.file(file)),
        None => {
            CORE.iter().for_each(|(name, text)| recipe.text(name, *text));
            if config.response_body.inspect {
                recipe.text("core/responses.conf", RESPONSES);
            }
            recipe.text("core/verdict.conf", VERDICT);
        }
    }
    match overruling(config) {
        Ok(text) => recipe.text("response_body", text),
        Err(error) => errors.push(error),
    }
    if errors.is_empty() { Ok(recipe) } else { Err(errors) }
}

/// The entry's exclusions and its own files.
fn own(config: &Config, folder: &Path, recipe: &mut Recipe, errors: &mut Vec<ConfigError>) {
    for (index, exclusion) in config.exclusions.iter().enumerate() {
        match exclusion_text(exclusion, index) {
            Ok(text) => recipe.text(&format!("exclusions[{index}]"), text),
            Err((field, error)) => {
                errors.push(ConfigError { path: format!("exclusions[{index}].{field}"), ..error });
            }
        }
    }
    for (index, pattern) in config.rules.iter().enumerate() {
        match own_files(folder, pattern) {
            Ok(files) => files.into_iter().for_each(|file| recipe.file(file)),
            Err(message) => errors.push(ConfigError::at(format!("rules[{index}]"), message)),
        }
    }
}

/// What the entry says holds, whatever files say.
fn overruling(config: &Config) -> Result<String, ConfigError> {
    let types = &config.response_body.types;
    let fits = |text: &String| {
        text.contains('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\;,".contains(&byte))
    };
    if let Some(index) = types.iter().position(|text| !fits(text)) {
        let wrong = types.get(index).map_or("", String::as_str);
        let error =
            ConfigError::at(format!("response_body.types[{index}]"), format!("`{wrong}` is not a type"));
        return Err(error.help("write `text/html`"));
    }
    let responses = if config.response_body.inspect { "On" } else { "Off" };
    let types = if types.is_empty() {
        "SecResponseBodyMimeTypesClear".to_owned()
    } else {
        format!("SecResponseBodyMimeType {}", types.join(" "))
    };
    Ok(format!(
        "SecRuleEngine On\nSecRequestBodyAccess On\nSecRequestBodyLimit 0\nSecRequestBodyNoFilesLimit 4294967295\n\
         SecResponseBodyLimit 0\nSecResponseBodyAccess {responses}\n{types}\n"
    ))
}

/// Compiles a recipe.
pub(super) fn build(recipe: &Recipe, config: &Config) -> Result<Arc<RuleSet>, Vec<ConfigError>> {
    let builder = recipe.read();
    let unknown = unknown_ids(config, &builder);
    match builder.build() {
        Ok(rules) if unknown.is_empty() => Ok(rules),
        Ok(_) => Err(unknown),
        Err(errors) => Err(unknown.into_iter().chain(shown(errors)).collect()),
    }
}

/// Errors of rules as errors of the configuration.
fn shown(LoadErrors(errors): LoadErrors) -> Vec<ConfigError> {
    let left = errors.len().saturating_sub(MOST_ERRORS);
    let mut shown: Vec<_> = errors.iter().take(MOST_ERRORS).map(one_shown).collect();
    if left > 0 {
        shown.push(ConfigError::new(format!("and {left} more errors in its rules")));
    }
    shown
}

fn one_shown(error: &LoadError) -> ConfigError {
    let rule = error.rule.map(|id| format!("rule {id}: ")).unwrap_or_default();
    let message = format!("{rule}{}", error.message);
    let file = error.file.to_string_lossy();
    let mut shown = if file.starts_with("exclusions[") {
        ConfigError::at(format!("{file}.target"), error.message.clone())
    } else {
        let before = error.text.get(..error.column.saturating_sub(1)).map_or(0, |text| text.chars().count());
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let place = Place {
            file: error.file.clone().into(),
            line: number(error.line),
            column: number(before.saturating_add(1)),
        };
        ConfigError::new(message).place(place)
    };
    shown.help.clone_from(&error.help);
    shown
}

/// Exclusions of rules that there are not.
fn unknown_ids(config: &Config, builder: &Builder) -> Vec<ConfigError> {
    let (mut errors, mut known) = (Vec::new(), Vec::new());
    for (index, exclusion) in config.exclusions.iter().enumerate() {
        if known.is_empty() {
            known = builder.rule_ids().filter(|id| *id < MADE).collect();
            known.sort_unstable();
        }
        let ids = exclusion.rule;
        if known.iter().any(|id| (ids.first..=ids.last).contains(id)) {
            continue;
        }
        let error = ConfigError::at(
            format!("exclusions[{index}].rule"),
            format!("no rule of this set has an id of `{ids}`"),
        );
        let close = known.iter().min_by_key(|id| (differing(**id, ids.first), id.abs_diff(ids.first)));
        errors.push(match close {
            Some(close) => error.help(format!("did you mean `{close}`? `palisade waf check` lists all ids")),
            None => error,
        });
    }
    errors
}

/// In how many digits two numbers differ.
fn differing(one: u64, other: u64) -> usize {
    let (one, other) = (one.to_string(), other.to_string());
    let places = one.bytes().zip(other.bytes()).filter(|(one, other)| one != other).count();
    places + one.len().abs_diff(other.len())
}

/// The files of a pattern; at least one.
pub(super) fn own_files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let files =
        seclang::expand(folder, pattern).map_err(|error| format!("`{pattern}` cannot be read: {error}"))?;
    if files.is_empty() { Err(format!("no file has a name like `{pattern}`")) } else { Ok(files) }
}

/// The files of a core rule set: what comes before the entry's settings, and after.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) before: Vec<PathBuf>,
    pub(super) rules: Vec<PathBuf>,
}

/// Finds the files of a core rule set. `changed` is where a package keeps what is changed of it.
pub(super) fn layout(crs: &Crs, folder: &Path, changed: &Path) -> Result<Layout, ConfigError> {
    let directory = folder.join(&crs.directory);
    let at = |field: &str, message: String| ConfigError::at(format!("crs.{field}"), message);
    if !(1..=4).contains(&crs.paranoia_level) {
        let message = format!("`{}` is no paranoia level", crs.paranoia_level);
        return Err(at("paranoia_level", message).help("levels go from 1 to 4"));
    }
    for (field, threshold) in
        [("inbound_threshold", crs.inbound_threshold), ("outbound_threshold", crs.outbound_threshold)]
    {
        if threshold == 0 {
            return Err(at(field, "a threshold of 0 would refuse everything".into()));
        }
    }
    let all = |pattern: &str| seclang::expand(&directory, pattern).unwrap_or_default();
    let mut rules = all("rules/*.conf");
    if rules.is_empty() {
        let message = format!("`{}` holds no core rule set: `rules/*.conf` is missing", directory.display());
        let help = "install the package `modsecurity-crs`, or unpack a release and write its directory";
        return Err(at("directory", message).help(help));
    }
    // A package keeps its set-up apart from what is not to be changed.
    let apart = directory.join("owasp-crs.load").is_file();
    let places = [Some(&*directory), Some(changed).filter(|_| apart)];
    let mut places = places.into_iter().flatten().map(|place| place.join("crs-setup.conf"));
    let setup =
        places.find(|file| file.is_file()).unwrap_or_else(|| directory.join("crs-setup.conf.example"));
    if !setup.is_file() {
        let message = format!("`{}` holds neither `crs-setup.conf` nor its example", directory.display());
        return Err(at("directory", message));
    }
    let mut before = vec![setup];
    before.extend(all("plugins/*-config.conf"));
    before.extend(all("plugins/*-before.conf"));
    let optional = |name: &str| Some(changed.join(name)).filter(|file| apart && file.is_file());
    before.extend(optional("REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf"));
    rules.extend(optional("RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf"));
    rules.extend(all("plugins/*-after.conf"));
    Ok(Layout { before, rules })
}

/// What an entry says of the core rule set, as its set-up would.
fn settings(crs: &Crs) -> String {
    let Crs { paranoia_level: level, inbound_threshold: inbound, outbound_threshold: outbound, .. } = crs;
    format!(
        "SecAction \"id:{MADE},phase:1,pass,nolog,t:none,setvar:tx.blocking_paranoia_level={level},\
         setvar:tx.detection_paranoia_level={level},setvar:tx.paranoia_level={level},\
         setvar:tx.executing_paranoia_level={level},setvar:tx.inbound_anomaly_score_threshold={inbound},\
         setvar:tx.outbound_anomaly_score_threshold={outbound}\"\n"
    )
}

/// An exclusion as rules write it. The field that is wrong, with the error.
fn exclusion_text(exclusion: &Exclusion, index: usize) -> Result<String, (String, ConfigError)> {
    let Exclusion { rule, target, paths } = exclusion;
    let fits = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"',;|!&".contains(&byte))
    };
    let target = target.as_deref().map(|target| target.trim_start_matches('!'));
    if let Some(wrong) = target.filter(|target| !fits(target)) {
        let error = ConfigError::new(format!("`{wrong}` is not one variable"));
        return Err((
            "target".into(),
            error.help("write `ARGS:password`, and each target in an exclusion of its own"),
        ));
    }
    if paths.is_empty() {
        return Ok(match target {
            Some(target) => format!("SecRuleUpdateTargetById {} \"!{target}\"\n", range(*rule)),
            None => format!("SecRuleRemoveById {}\n", range(*rule)),
        });
    }
    let mut text = String::new();
    for (number, path) in paths.iter().enumerate() {
        let (start, operator) =
            path.strip_suffix('*').map_or((&**path, "streq"), |start| (start, "beginsWith"));
        if !start.starts_with('/') || !fits(start) || start.contains(['*', '%', '\\']) {
            let error = ConfigError::new(format!("`{path}` is not a path"));
            return Err((
                format!("paths[{number}]"),
                error.help("write `/login`, or `/admin/*` for all below it"),
            ));
        }
        let id = MADE + 1 + (index as u64) * 100 + number as u64;
        let control = match target {
            Some(target) => format!("ruleRemoveTargetById={};{target}", range(*rule)),
            None => format!("ruleRemoveById={}", range(*rule)),
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "SecRule REQUEST_FILENAME \"@{operator} {start}\" \"id:{id},phase:1,pass,nolog,t:none,ctl:{control}\""
        );
    }
    Ok(text)
}

fn range(ids: Ids) -> String {
    ids.to_string()
}
