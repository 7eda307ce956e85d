//! How long a condition takes. `cargo bench --bench when`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{Criterion, criterion_group, criterion_main};
use palisade::when::When;
use palisade_contract::{Client, Consumer, Exchange, Principal, RequestHeader, Stage};
use std::{hint::black_box, sync::Arc, time::Duration};

fn exchange() -> Exchange {
    let mut request = RequestHeader::build("POST", b"/orders/7?page=2", None).unwrap();
    request.append_header("x-version", "3").unwrap();
    request.append_header("accept", "*/*").unwrap();
    let client = Client {
        ip: "10.1.2.3".parse().unwrap(),
        peer: "10.1.2.3:4711".parse().unwrap(),
        https: true,
        behind_proxy: false,
        proxies: Vec::new(),
        listener: "public".into(),
        port: 443,
        tls: None,
    };
    let mut ex = Exchange::new(request, Arc::new(client), "id".into());
    let consumer = Consumer { name: "alice".into(), groups: vec!["silver".into(), "gold".into()] };
    ex.host_side().principal = Some(Arc::new(Principal::of_consumer(Arc::new(consumer), None)));
    ex
}

fn bench(criterion: &mut Criterion) {
    let ex = exchange();
    let mut group = criterion.benchmark_group("when");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for (name, source) in [
        ("method", r#"request.method == "POST""#),
        ("header", r#"request.headers["x-version"] == "3""#),
        ("groups", r#""gold" in consumer.groups"#),
        ("pattern", r#"request.path.matches("^/orders/[0-9]+$")"#),
        ("networks", r#"cidr_match(client.ip, "192.168.0.0/16", "10.0.0.0/8")"#),
        (
            "all of them",
            r#"request.method in ["PUT", "POST"] && request.path.startsWith("/orders/") && request.headers["x-version"] == "3" && !("bronze" in consumer.groups)"#,
        ),
    ] {
        let when = When::compile(source, Stage::Limit).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&when).evaluate(black_box(&ex))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
