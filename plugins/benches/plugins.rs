//! The hot path of each plugin: `cargo bench -p palisade-plugins`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit},
};
use palisade_plugins::*;

fn bench(c: &mut Criterion, name: &str, plugin: &Instance, case: impl Fn() -> Case) {
    c.bench_function(name, |b| b.iter_batched(&case, |case| plugin.run(case), BatchSize::SmallInput));
}

fn plugins(c: &mut Criterion) {
    // What the test kit itself costs, to be subtracted: a plugin that answers from a constant.
    let none = Kit::of(Descriptor::of::<RequestTermination>()).build("status_code: 204").unwrap();
    bench(c, "request-termination", &none, || Case::get("/"));
    let id = Kit::of(Descriptor::of::<CorrelationId>()).build("{}").unwrap();
    bench(c, "correlation-id", &id, || Case::get("/"));
    let ranges: Vec<String> = (0..10_000u32).map(|i| format!("10.{}.{}.0/24", i / 250, i % 250)).collect();
    let ip =
        Kit::of(Descriptor::of::<IpRestriction>()).build(&format!("deny: [{}]", ranges.join(", "))).unwrap();
    bench(c, "ip-restriction, 10 000 ranges", &ip, || Case::get("/"));
    let cors = Kit::of(Descriptor::of::<Cors>()).build("origins: [https://a.example]").unwrap();
    bench(c, "cors", &cors, || Case::get("/").header("origin", "https://a.example"));
    let key = "key_sha256: 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";
    let kit = Kit::of(Descriptor::authenticator::<KeyAuth>().with_credentials::<KeyCredential>()).consumer(
        "alice",
        &["gold"],
        &[key],
    );
    let key_auth = kit.build("{}").unwrap();
    bench(c, "key-auth", &key_auth, || Case::get("/").header("apikey", "alice"));
    let acl = Kit::of(Descriptor::of::<Acl>()).build("allow: [gold]").unwrap();
    bench(c, "acl", &acl, || Case::get("/").principal("alice", &["gold"]));
    let size = Kit::of(Descriptor::of::<RequestSizeLimiting>()).build("allowed_payload_size: 1MiB").unwrap();
    bench(c, "request-size-limiting", &size, || {
        Case::new("POST", "/").header("content-length", "4").body("abcd")
    });
    let headers = Kit::of(Descriptor::of::<ResponseHeaders>()).build("{}").unwrap();
    bench(c, "response-headers", &headers, || Case::get("/"));
    let redirect = Kit::of(Descriptor::of::<Redirect>()).build("to: https").unwrap();
    bench(c, "redirect", &redirect, || Case::get("/"));
    let dir = tempfile::tempdir().unwrap();
    let audit = Kit::of(Descriptor::of::<Audit>()).state_dir(dir.path()).build("file: audit.jsonl").unwrap();
    bench(c, "audit", &audit, || Case::get("/").principal("alice", &["gold"]));
}

criterion_group!(benches, plugins);
criterion_main!(benches);
