//! `palisade routes`.

use super::table::{List, Row, align};
use crate::{
    gateway::view::{self, EntryView, RouteView, Takes},
    server,
};
use palisade_contract::{Descriptor, Mode};

const EXAMPLE: &str = "\
Example:
  palisade routes --conf conf
  palisade routes --conf conf --json | jq '.[] | select(.plugins == [])'

For each route: which requests it takes and where they go; below it its plugins in the order in which they \
run, with stage, mode, and the scope that they were written in. An entry that is off stands where it would run.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    list: List,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let (_, snapshot) = server::check(args.list.conf(), registry).map_err(|error| error.to_string())?;
    let routes = view::routes(&snapshot);
    args.list.print(&routes, |routes| table(routes))
}

fn table(routes: &[RouteView<'_>]) -> String {
    if routes.is_empty() {
        return "no routes".to_owned();
    }
    let mut rows = vec![Row::Cells(vec![
        "ROUTE".to_owned(),
        "METHODS".to_owned(),
        "HOSTS AND PATHS".to_owned(),
        "UPSTREAM".to_owned(),
    ])];
    for route in routes {
        rows.extend(route_rows(route));
    }
    align(&rows)
}

fn route_rows(route: &RouteView<'_>) -> Vec<Row> {
    let mut upstream = route.upstream.unwrap_or("-").to_owned();
    if let Some(prefix) = route.strip_prefix {
        upstream.push_str(&format!(" without {prefix}"));
    }
    let first = [route.name.to_owned(), any_or_list(&route.r#match.methods), String::new(), upstream];
    let mut rows: Vec<Row> = Vec::new();
    for (index, target) in targets(route.r#match).into_iter().enumerate() {
        let mut cells = if index == 0 { first.to_vec() } else { vec![String::new(); 4] };
        if let Some(cell) = cells.get_mut(2) {
            *cell = target;
        }
        rows.push(Row::Cells(cells));
    }
    for (name, value) in &route.r#match.headers {
        rows.push(Row::Line(format!("  where {name}: {value}")));
    }
    rows.extend(route.pass_headers.iter().map(|name| Row::Line(format!("  passes {name}"))));
    rows.extend(route.plugins.iter().map(entry_row));
    for (consumer, entries) in &route.consumers {
        let own: Vec<&EntryView<'_>> =
            entries.iter().filter(|entry| !route.plugins.contains(entry)).collect();
        if !own.is_empty() {
            rows.push(Row::Line(format!("  for consumer {consumer}:")));
            rows.extend(own.into_iter().map(entry_row));
        }
    }
    rows
}

fn targets(takes: &Takes) -> Vec<String> {
    if takes.hosts.is_empty() {
        return takes.paths.clone();
    }
    takes.hosts.iter().flat_map(|host| takes.paths.iter().map(move |path| format!("{host}{path}"))).collect()
}

fn any_or_list(values: &[String]) -> String {
    if values.is_empty() { "any".to_owned() } else { values.join(",") }
}

fn entry_row(entry: &EntryView<'_>) -> Row {
    let mode = match entry.mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
        Mode::Off => "off",
    };
    let mut rest = entry.scope.to_owned();
    if entry.conditional {
        rest.push_str(", when");
    }
    if entry.on_fault == "allow" {
        rest.push_str(", on_fault: allow");
    }
    Row::Cells(vec![
        format!("  {}", entry.stage),
        entry.entry.to_owned(),
        mode.to_owned(),
        rest,
        entry.place.clone(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(hosts: &[&str], paths: &[&str]) -> Takes {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Takes { hosts: owned(hosts), paths: owned(paths), ..Takes::default() }
    }

    fn entry<'a>(key: &'a str, stage: &'static str, scope: &'static str) -> EntryView<'a> {
        EntryView {
            entry: key,
            stage,
            mode: Mode::Enforce,
            scope,
            on_fault: "deny",
            conditional: false,
            place: "routes.yaml:3:5".to_owned(),
        }
    }

    #[test]
    fn columns_are_aligned_and_a_consumers_own_entries_stand_apart() {
        let takes = Takes {
            methods: vec!["GET".to_owned()],
            headers: [("x-api".to_owned(), "2".to_owned())].into(),
            ..takes(&["a.example", "b.example"], &["/cart/*"])
        };
        let mut conditional = entry("rate-limiting#burst", "limit", "everywhere");
        conditional.conditional = true;
        conditional.mode = Mode::Monitor;
        let mut off = entry("rate-limiting#burst", "limit", "consumer");
        off.mode = Mode::Off;
        let route = RouteView {
            name: "cart",
            r#match: &takes,
            upstream: Some("shop"),
            strip_prefix: Some("/v1"),
            pass_headers: vec!["x-http-method-override"],
            plugins: vec![entry("key-auth", "authenticate", "route"), conditional],
            consumers: [("alice", vec![entry("key-auth", "authenticate", "route"), off])].into(),
        };
        let expected = "\
ROUTE  METHODS  HOSTS AND PATHS   UPSTREAM
cart   GET      a.example/cart/*  shop without /v1
                b.example/cart/*
  where x-api: 2
  passes x-http-method-override
  authenticate  key-auth             enforce  route             routes.yaml:3:5
  limit         rate-limiting#burst  monitor  everywhere, when  routes.yaml:3:5
  for consumer alice:
  limit         rate-limiting#burst  off      consumer          routes.yaml:3:5
";
        assert_eq!(table(&[route]), expected);
    }

    #[test]
    fn a_route_without_hosts_methods_and_upstream_says_any() {
        let takes = takes(&[], &["/*"]);
        let route = RouteView {
            name: "all",
            r#match: &takes,
            upstream: None,
            strip_prefix: None,
            pass_headers: Vec::new(),
            plugins: Vec::new(),
            consumers: Default::default(),
        };
        assert_eq!(
            table(&[route]),
            "ROUTE  METHODS  HOSTS AND PATHS  UPSTREAM\nall    any      /*               -\n"
        );
        assert_eq!(table(&[]), "no routes");
    }
}
