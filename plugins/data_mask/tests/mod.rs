mod bodies;
mod chunks;
mod heads;

use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit, Ran},
};

fn kit() -> Kit {
    Kit::of(Descriptor::of::<DataMask>())
}

fn build(yaml: &str) -> Instance {
    kit().build(yaml).unwrap()
}

/// A response of a type.
fn answer(kind: &str, body: impl Into<bytes::Bytes>) -> Case {
    Case::get("/").response_header("content-type", kind).response_body(body)
}

fn text(ran: &Ran) -> String {
    String::from_utf8(ran.body.bytes().to_vec()).unwrap()
}

/// What a response of a type becomes.
fn masked(plugin: &Instance, kind: &str, body: &str) -> String {
    text(&plugin.run(answer(kind, body.to_owned())).passed())
}

const JSON: &str = "application/json";
