//! `palisade waf try`.

use super::{super::print, request::Request};
use crate::server;
use clap::ValueEnum;
use futures::FutureExt;
use palisade_contract::{
    Body, BuildEnv, Built, CredentialPlaces, Descriptor, EntryInfo, Exchange, Fault, Host, Mode, Place,
    Scope, Step, Stores, Verdict,
    conf::Sources,
    env::{FilesRead, Keep},
    host::NoHost,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// The exit code for a request that is refused.
const REFUSED: u8 = 3;
/// The file that errors of the command line's own entry bear.
const COMMAND_LINE: &str = "(command line)";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ruleset {
    Core,
    Crs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Judge by an entry of this configuration.
    #[arg(long, value_name = "DIR", requires = "route", conflicts_with_all = ["ruleset", "rules", "crs_directory", "paranoia_level", "inbound_threshold"])]
    conf: Option<PathBuf>,
    /// The route whose entry it is.
    #[arg(long, value_name = "NAME", requires = "conf")]
    route: Option<String>,
    /// The rule set.
    #[arg(long, value_name = "SET", value_enum, default_value = "core")]
    ruleset: Ruleset,
    /// Where the core rule set is, with `--ruleset crs`.
    #[arg(long, value_name = "DIR")]
    crs_directory: Option<String>,
    /// From 1 to 4, with `--ruleset crs`.
    #[arg(long, value_name = "N")]
    paranoia_level: Option<u8>,
    /// The score at which a request is refused, with `--ruleset crs`.
    #[arg(long, value_name = "SCORE")]
    inbound_threshold: Option<u32>,
    /// Files of rules, with `*` and `?`; may be given several times.
    #[arg(long, value_name = "FILES")]
    rules: Vec<String>,
    #[command(flatten)]
    request: Request,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<ExitCode, String> {
    let (mut ex, body) = args.request.exchange()?;
    let entries = match (&args.conf, &args.route) {
        (Some(conf), Some(route)) => entries_of_route(conf, route, registry, &mut ex)?,
        _ => vec![own_entry(args, registry)?],
    };
    let mut text = format!("{} {}\n", ex.method(), ex.request.uri);
    let mut refused = false;
    for (number, (key, plugin)) in entries.iter().enumerate() {
        ex.host_side().slot = number;
        let verdict = judge(plugin, &mut ex, &mut Body::new(body.clone(), true))?;
        refused |= !matches!(verdict, Verdict::Continue);
        describe(&mut text, key, &ex, &verdict);
    }
    print(&text)?;
    Ok(if refused { REFUSED.into() } else { ExitCode::SUCCESS })
}

/// Head and body through the hooks of an entry. Nothing that they do takes time here.
fn judge(built: &Built, ex: &mut Exchange, body: &mut Body) -> Result<Verdict, String> {
    let settle = |step: Step<'_>| -> Result<Verdict, String> {
        let settled = step.resolve().now_or_never().unwrap_or_else(|| Err(Fault::internal("waf_waits")));
        settled.map_err(|fault| format!("the rules failed: {fault}"))
    };
    let plugin = built.plugin();
    match settle(plugin.on_request(ex))? {
        Verdict::Continue => settle(plugin.on_request_body(ex, body)),
        verdict => Ok(verdict),
    }
}

/// The entries of a route, as the configuration has them.
fn entries_of_route(
    conf: &Path,
    route: &str,
    registry: &[Descriptor],
    ex: &mut Exchange,
) -> Result<Vec<(String, Built)>, String> {
    let (config, snapshot) = server::check(conf, registry).map_err(|error| error.to_string())?;
    let found = snapshot.routes.get(route).ok_or_else(|| {
        let names: Vec<&str> = snapshot.routes.keys().map(|name| &**name).collect();
        format!("{} has no route `{route}`\nhelp: its routes are {}", config.dir.display(), names.join(", "))
    })?;
    ex.host_side().route = Some(found.name.clone());
    ex.host_side().body_limit = found.limits.body_bytes.unwrap_or(snapshot.limits.body_bytes);
    let entries = found.chain.slots().iter().filter(|slot| slot.info.plugin == "waf");
    let entries: Vec<_> = entries.map(|slot| (slot.info.key.to_string(), slot.built.clone())).collect();
    if entries.is_empty() { Err(format!("the route `{route}` has no entry `waf`")) } else { Ok(entries) }
}

/// The entry that the command line describes.
fn own_entry(args: &Args, registry: &[Descriptor]) -> Result<(String, Built), String> {
    let crs = json!({
        "directory": args.crs_directory,
        "paranoia_level": args.paranoia_level,
        "inbound_threshold": args.inbound_threshold,
    });
    let given = |value: Value| match value {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => serde_json::Map::new(),
    };
    let crs = given(crs);
    let mut entry = serde_json::Map::new();
    if matches!(args.ruleset, Ruleset::Crs) {
        entry.insert("ruleset".into(), "crs".into());
    }
    if !crs.is_empty() {
        entry.insert("crs".into(), crs.into());
    }
    entry.insert("rules".into(), args.rules.clone().into());
    let text = Value::from(entry).to_string();
    let file = Path::new(COMMAND_LINE);
    let mut sources = Sources::default();
    sources.add(file, "");
    let node =
        palisade_contract::conf::parse(file, &text, &|_| None).map_err(|errors| errors.render(&sources))?;
    let descriptor = registry.iter().find(|descriptor| descriptor.name == "waf");
    let descriptor = descriptor.ok_or_else(|| "this binary has no plugin `waf`".to_owned())?;
    let info = EntryInfo::new("waf", "waf", Scope::Route, Place::of_file(file), Mode::Enforce);
    let (host, places): (Arc<dyn Host>, _) = (Arc::new(NoHost), CredentialPlaces::default());
    places.complete(Vec::new());
    let env = BuildEnv {
        entry: &info,
        route: None,
        consumers: &HashMap::new(),
        groups: None,
        all_credentials: &HashMap::new(),
        source: None,
        state_dir: Path::new("."),
        keep: &Keep::default(),
        host: &host,
        stores: &Stores::default(),
        credential_places: &places,
        files: &FilesRead::default(),
        dry_run: true,
        trial: false,
    };
    let built = descriptor.build(&node, &env).map_err(|errors| errors.render(&sources))?;
    Ok(("waf".to_owned(), built.1))
}

/// What an entry found, for a person. Writing to a string does not fail.
fn describe(text: &mut String, key: &str, ex: &Exchange, verdict: &Verdict) {
    let found = ex.findings().iter().find(|finding| *finding.plugin == *key).map(|finding| &finding.what);
    let part = |name: &str| found.and_then(|found| found.get(name));
    let rules = part("rules").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for rule in rules {
        let word = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or("-");
        let id = rule.get("id").and_then(Value::as_u64).unwrap_or(0);
        let _ = writeln!(text, "  {id} {} {}", word("severity"), word("message"));
        for variable in rule.get("variables").and_then(Value::as_array).into_iter().flatten() {
            let word = |name: &str| variable.get(name).and_then(Value::as_str).unwrap_or("");
            let _ = writeln!(text, "      {}: {}", word("name"), word("value"));
        }
    }
    let score = |name: &str| part(name).and_then(Value::as_i64).unwrap_or(0);
    let matched = part("rules_matched").and_then(Value::as_u64).unwrap_or(rules.len() as u64);
    let _ = writeln!(
        text,
        "{key}: {matched} rules matched, inbound score {}, outbound score {}",
        score("inbound_score"),
        score("outbound_score")
    );
    let _ = match verdict {
        Verdict::Continue => writeln!(text, "verdict: passed"),
        Verdict::Deny(denial) => {
            writeln!(text, "verdict: refused, {} {}", denial.status().as_u16(), denial.reason())
        }
        Verdict::Respond(reply) => {
            writeln!(text, "verdict: answered, {} {}", reply.status().as_u16(), reply.reason())
        }
    };
}
