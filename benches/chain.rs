//! What a chain costs: eight plugins that do nothing, run through every phase that they have hooks in.
//!
//! `cargo bench --bench chain`. The cost of one plugin is the difference between a full and an empty chain,
//! divided by eight.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures::FutureExt;
use http::Method;
use palisade::{
    chain::{Chain, Run, Slot},
    conf::model::OnFault,
    metrics::Metrics,
};
use palisade_contract::{
    Built, Client, EntryInfo, Exchange, Hooks, Mode, Place, Plugin, RequestHeader, ResponseHeader, Scope,
    Stage, Step,
};
use std::{hint::black_box, net::SocketAddr, path::Path, sync::Arc, time::Instant};

const PLUGINS: usize = 8;

/// Which hooks the plugins of a chain say they have.
struct Trivial(Hooks);

impl Plugin for Trivial {
    fn hooks(&self) -> Hooks {
        self.0
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        black_box(ex.path().len());
        Step::CONTINUE
    }

    fn on_response<'a>(&'a self, _ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        black_box(head.status);
        Step::CONTINUE
    }

    fn on_log(&self, ex: &Exchange) {
        black_box(ex.outcome().status);
    }
}

fn chain(count: usize, hooks: Hooks) -> Chain {
    let metrics = Metrics::new();
    let slot = |id: usize| {
        let info = Arc::new(EntryInfo::new(
            format!("trivial#{id}"),
            "trivial",
            Scope::Route,
            Place::of_file(Path::new("routes.yaml")),
            Mode::Enforce,
        ));
        Arc::new(Slot {
            id,
            stage: Stage::Transform,
            rank: 0,
            built: Built::Plugin(Arc::new(Trivial(hooks))),
            on_fault: OnFault::Deny,
            when: None,
            anonymous: None,
            metrics: metrics.entry("route", &info),
            info,
        })
    };
    Chain::new((0..count).map(slot).collect(), None)
}

fn exchange() -> Exchange {
    let peer = SocketAddr::from(([127, 0, 0, 1], 4000));
    let client = Client {
        ip: peer.ip(),
        peer,
        https: false,
        behind_proxy: false,
        proxies: Vec::new(),
        listener: Arc::from("public"),
        port: 8080,
        tls: None,
    };
    let request = RequestHeader::build(Method::GET, b"/orders/1", None).unwrap();
    Exchange::new(request, Arc::new(client), Arc::from("0123456789abcdef0123456789abcdef"))
}

async fn pass(chain: &Chain, ex: &mut Exchange, head: &mut ResponseHeader) {
    let mut run = Run::new(Instant::now());
    assert!(chain.screen(ex, &mut run).await.is_none());
    assert!(chain.request(ex, &mut run).await.is_none());
    assert!(chain.response(ex, &mut run, head, false).await.is_none());
    chain.log(ex, &mut run);
}

fn benchmark(criterion: &mut Criterion) {
    let cases = [
        ("empty", 0, Hooks::NONE),
        ("request hooks", PLUGINS, Hooks::REQUEST),
        ("request, response and log hooks", PLUGINS, Hooks::REQUEST | Hooks::RESPONSE | Hooks::LOG),
        ("body hooks only, which a request without a body does not call", PLUGINS, Hooks::REQUEST_BODY),
    ];
    let mut group = criterion.benchmark_group("chain of 8");
    for (name, count, hooks) in cases {
        let chain = chain(count, hooks);
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || (exchange(), ResponseHeader::build(200, None).unwrap()),
                // A trivial plugin never waits: one poll is the whole pass.
                |(ex, head)| pass(&chain, ex, head).now_or_never().unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
