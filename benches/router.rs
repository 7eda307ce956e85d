//! How long a look-up takes among 10 000 routes of mixed hosts, parameters, prefixes and header conditions.
//!
//! `cargo bench --bench router`. Requests are taken in a shuffled order, so that the figures are those of a
//! table that does not fit the nearest caches. After criterion's own output comes a line a case with the
//! median of single look-ups.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use palisade::{
    conf::model::At,
    router::{Lookup, RouteSpec, Router},
};
use palisade_contract::Place;
use std::{hint::black_box, path::Path, time::Duration};

const ROUTES: usize = 10_000;
const ROUNDS: usize = 20;

struct Written {
    hosts: Vec<At<String>>,
    paths: Vec<At<String>>,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, String)>,
}

fn at(value: String) -> At<String> {
    let place = Place::of_file(Path::new("bench.yaml"));
    At { path: value.clone(), value, place }
}

fn written(index: usize) -> Written {
    let tenant = index / 10;
    let hosts = match tenant % 4 {
        0 => vec![],
        1 => vec![at(format!("shop{}.example.com", tenant % 50))],
        2 => vec![at(format!("*.zone{}.example.com", tenant % 20))],
        _ => vec![at(format!("api{tenant}.example.org")), at(format!("api{tenant}.example.net"))],
    };
    let (path, methods) = match index % 10 {
        0 => (format!("/t{tenant}/cart"), vec![Method::GET, Method::POST]),
        1 => (format!("/t{tenant}/orders/{{id}}"), vec![]),
        2 => (format!("/t{tenant}/orders/{{id}}/lines/{{line}}"), vec![Method::GET]),
        3 => (format!("/t{tenant}/static/*"), vec![Method::GET]),
        4 => (format!("/t{tenant}/users/{{user}}/*"), vec![]),
        5..8 => (format!("/t{tenant}/api/*"), vec![]),
        8 => (format!("/t{tenant}/*"), vec![]),
        _ => (format!("/t{tenant}/Reports/{{year}}"), vec![Method::GET]),
    };
    let headers = match index % 10 {
        5 => vec![("x-api-version", "1")],
        6 => vec![("x-api-version", "2")],
        _ => vec![],
    };
    let headers =
        headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), value.to_owned())).collect();
    Written { hosts, paths: vec![at(path)], methods, headers }
}

fn router() -> Router<usize> {
    let written: Vec<_> = (0..ROUTES).map(written).collect();
    let place = Place::of_file(Path::new("bench.yaml"));
    let specs = written.iter().enumerate().map(|(payload, route)| RouteSpec {
        name: "bench",
        hosts: &route.hosts,
        paths: &route.paths,
        methods: &route.methods,
        headers: &route.headers,
        place: &place,
        path: "routes.bench",
        payload,
    });
    Router::build(specs).unwrap()
}

struct Request {
    host: String,
    path: String,
    method: Method,
    headers: HeaderMap,
}

fn requests(make: impl Fn(usize) -> String) -> Vec<Request> {
    let one = |step: usize| {
        // Coprime with the number of tenants: every tenant once, neighbours far apart.
        let tenant = step * 379 % (ROUTES / 10);
        let host = match tenant % 4 {
            0 => "anywhere.test".to_owned(),
            1 => format!("shop{}.example.com", tenant % 50),
            2 => format!("a.b.zone{}.example.com", tenant % 20),
            _ => format!("api{tenant}.example.net"),
        };
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers.insert("user-agent", HeaderValue::from_static("bench"));
        headers.insert("x-api-version", HeaderValue::from_static("2"));
        Request { host, path: make(tenant), method: Method::GET, headers }
    };
    (0..ROUTES / 10).map(one).collect()
}

fn look_up<'s, 'p>(router: &'s Router<usize>, request: &'p Request) -> Lookup<'s, 'p, usize> {
    router.find(&request.host, &request.path, &request.method, &request.headers)
}

/// The median of single look-ups, in nanoseconds: each is timed by itself, once a round, in the shuffled order,
/// so that it finds what the look-ups before it left in the caches. The clock's own time is included.
fn median(router: &Router<usize>, requests: &[Request]) -> u128 {
    let mut times = Vec::with_capacity(requests.len() * ROUNDS);
    for request in requests.iter().cycle().take(requests.len() * ROUNDS) {
        let begun = std::time::Instant::now();
        black_box(look_up(router, black_box(request)));
        times.push(begun.elapsed().as_nanos());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

fn bench(criterion: &mut Criterion) {
    let router = router();
    let cases: [(&str, Vec<Request>); 8] = [
        ("exact", requests(|tenant| format!("/t{tenant}/cart"))),
        ("parameter", requests(|tenant| format!("/t{tenant}/orders/4711/lines/3"))),
        ("prefix", requests(|tenant| format!("/t{tenant}/static/css/shop/main.css"))),
        ("header condition", requests(|tenant| format!("/t{tenant}/api/v2/things"))),
        ("not its own fold", requests(|tenant| format!("/t{tenant}/Reports/2024"))),
        ("miss", requests(|tenant| format!("/none{tenant}/some/where/else"))),
        ("hostile: 4 000 segments", requests(|tenant| format!("/t{tenant}{}", "/a".repeat(4_000)))),
        ("hostile: nothing folds", requests(|tenant| format!("/t{tenant}{}", "/A;".repeat(2_700)))),
    ];
    let mut group = criterion.benchmark_group("router");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(800));
    for (name, requests) in &cases {
        let mut next = requests.iter().cycle();
        group.bench_function(*name, |bencher| {
            bencher.iter(|| black_box(look_up(&router, next.next().unwrap())))
        });
    }
    group.finish();
    for (name, requests) in &cases {
        println!("median of single look-ups, {name}: {} ns", median(&router, requests));
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
