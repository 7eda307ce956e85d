//! The test kit holds plugins to what the gateway relies on.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests may panic")]

use http::{HeaderName, HeaderValue};
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigErrors, Denial, Descriptor, Exchange, Fault, Plugin, PluginKind, Stage,
    Step, Verdict,
    testkit::{Case, Instance, Kit},
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Config {
    name: Option<String>,
}

/// Writes what it has seen of bodies in capitals, refuses `EVIL`, and sets a header that it may forget to name.
struct Shout {
    name: Option<HeaderName>,
}

impl PluginKind for Shout {
    const NAME: &'static str = "shout";
    const SUMMARY: &'static str = "Shouts.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Transform
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        Ok(Shout { name: config.name.map(|name| name.parse().unwrap()) })
    }
}

fn shout(body: &mut Body) -> Result<Verdict, Fault> {
    if body.bytes() == "EVIL" {
        return Ok(Verdict::Deny(Denial::forbidden("evil")));
    }
    if !body.bytes().is_empty() {
        let end = if body.is_end() { "." } else { "-" };
        body.replace(String::from_utf8_lossy(body.bytes()).to_uppercase() + end);
    }
    Ok(Verdict::Continue)
}

impl Plugin for Shout {
    fn request_body(&self) -> BodyNeed {
        BodyNeed::Stream
    }

    fn response_body(&self) -> BodyNeed {
        BodyNeed::Stream
    }

    fn writes_to_origin(&self) -> Vec<HeaderName> {
        self.name.iter().filter(|name| **name != "x-forgotten").cloned().collect()
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        if let Some(name) = &self.name {
            ex.to_origin().set_headers.push((name.clone(), HeaderValue::from_static("1")));
        }
        Step::CONTINUE
    }

    fn on_request_body<'a>(&'a self, _: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        shout(body).into()
    }

    fn on_response_body(&self, _: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        shout(body)
    }
}

fn plugin(yaml: &str) -> Instance {
    Kit::of(Descriptor::of::<Shout>()).build(yaml).unwrap()
}

#[test]
fn a_body_comes_in_pieces_where_a_plugin_asks_for_them() {
    let case = Case::new("POST", "/").body_pieces(&["a", "b", "c"]).response_pieces(&["d", ""]);
    let ran = plugin("{}").run(case).passed();
    assert_eq!((&ran.request_body.bytes()[..], &ran.body.bytes()[..]), (&b"A-B-C."[..], &b"D-"[..]));
    assert!(ran.request_body.is_replaced() && ran.request_body.is_end());
    plugin("{}").run(Case::new("POST", "/").body_pieces(&["EVI", "EVIL", "x"])).denied(403, "evil");
    plugin("{}").run(Case::get("/").response_pieces(&["a", "EVIL"])).denied(403, "evil");
    let untouched = plugin("{}").run(Case::new("POST", "/").body("")).passed();
    assert!(!untouched.request_body.is_replaced());
}

#[test]
fn a_header_for_the_origin_is_named() {
    plugin("name: x-named").run(Case::get("/")).passed();
}

#[test]
#[should_panic(expected = "`writes_to_origin()` does not name it")]
fn a_header_that_is_not_named_fails() {
    plugin("name: x-forgotten").run(Case::get("/"));
}
