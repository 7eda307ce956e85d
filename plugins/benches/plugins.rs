//! The hot path of each plugin: `cargo bench -p palisade-plugins`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use palisade_contract::{
    Authentication, Body, Built, Decision, Descriptor, Effect, Exchange, Outcome, PeerCertificate, Presented,
    ResponseHeader, Step, Tls, Tried, Verdict,
    testkit::{Case, Instance, Kit, TestHost},
};
use palisade_plugins::*;
use std::{net::Ipv4Addr, sync::Arc, time::Duration};

/// The gateway's own: where records of the limiter begin is its choice.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn bench(c: &mut Criterion, name: &str, plugin: &Instance, case: impl Fn() -> Case) {
    c.bench_function(name, |b| b.iter_batched(&case, |case| plugin.run(case), BatchSize::SmallInput));
}

/// What the test kit takes for itself in every row that runs a case: a request with a credential is built, and an exchange is made
/// of it and dropped. Rows of a warm decision are without it.
fn bench_kit(c: &mut Criterion) {
    let case =
        || Case::get("/").header("authorization", "Bearer 2YotnFZFEjr1zCsicMWpAA2YotnFZFEjr1zCsicMWpAA");
    c.bench_function("the test kit alone, an exchange", |b| {
        b.iter_batched(case, |case| drop(case.exchange()), BatchSize::SmallInput);
    });
}

fn plugins(c: &mut Criterion) {
    // What the test kit itself costs, to be subtracted: a plugin that answers from a constant.
    let none = Kit::of(Descriptor::of::<RequestTermination>()).build("status_code: 204").unwrap();
    bench(c, "request-termination", &none, || Case::get("/"));
    bench_kit(c);
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
    decides(c, "key-auth", &key_auth, || Case::get("/").header("apikey", "alice"));
    basic_auth(c);
    introspection(c);
    mtls(c);
    let acl = Kit::of(Descriptor::of::<Acl>()).build("allow: [gold]").unwrap();
    bench(c, "acl", &acl, || Case::get("/").principal("alice", &["gold"]));
    rbac(c);
    ownership(c);
    let size = Kit::of(Descriptor::of::<RequestSizeLimiting>()).build("allowed_payload_size: 1MiB").unwrap();
    bench(c, "request-size-limiting", &size, || {
        Case::new("POST", "/").header("content-length", "4").body("abcd")
    });
    let headers = Kit::of(Descriptor::of::<ResponseHeaders>()).build("{}").unwrap();
    bench(c, "response-headers", &headers, || Case::get("/"));
    let redirect = Kit::of(Descriptor::of::<Redirect>()).build("to: https").unwrap();
    bench(c, "redirect", &redirect, || Case::get("/"));
}

/// The decision alone: the same exchange over and over.
fn again(c: &mut Criterion, name: &str, plugin: &Instance, case: Case, passes: bool) {
    let mut ex = case.exchange();
    let mut decide = || matches!(plugin.built.plugin().on_request(&mut ex), Step::Now(Ok(Verdict::Continue)));
    assert_eq!(decide(), passes);
    c.bench_function(name, |b| b.iter(&mut decide));
}

/// A table of thirty rows; the last one grants it.
fn rbac(c: &mut Criterion) {
    let mut rows = String::from("grants:\n");
    for number in 0..30 {
        rows += &format!(
            "  - {{methods: [GET, POST], paths: ['/v1/things{number}/{{id}}', '/v1/things{number}/{{id}}/lines/*'], roles: [reader{number}]}}\n"
        );
    }
    let plugin = Kit::of(Descriptor::of::<Rbac>()).build(&rows).unwrap();
    let claims =
        serde_json::json!({ "sub": "u1", "roles": ["writer", "guest", "reader29"], "scope": "a b c" });
    let case = |target: &str| Case::get(target).principal("u1", &[]).claims(claims.clone());
    again(c, "rbac, granted by the last of 30 rows", &plugin, case("/v1/things29/12/lines/3"), true);
    again(c, "rbac, another's row", &plugin, case("/v1/things28/12/lines/3"), false);
    let case = Case::new("DELETE", "/v1/things29/12").principal("u1", &[]).claims(claims);
    again(c, "rbac, in no row", &plugin, case, false);
}

fn ownership(c: &mut Criterion) {
    let claims =
        serde_json::json!({ "sub": "7f9c24e8-3b12-4fef-91e0-5678c90a7e10", "realm": {"tenant": "acme"} });
    let own = "7f9c24e8-3b12-4fef-91e0-5678c90a7e10";
    let build = |yaml: &str| Kit::of(Descriptor::of::<Ownership>()).build(yaml).unwrap();
    let case = |id: &str| {
        Case::get("/users/x?a=b&tenant=acme&c=d")
            .path_param("user", id)
            .principal("u1", &[])
            .claims(claims.clone())
    };
    let path = build(
        "{object: path.user, owner: claims.sub, unless: {groups: [support]}, enumeration: {lockout: 1h}}",
    );
    again(c, "ownership, of what the path names", &path, case(own), true);
    again(c, "ownership, another's", &path, case("another"), false);
    let query = build("{object: query.tenant, owner: claims.realm.tenant}");
    again(c, "ownership, of what the query names", &query, case(own), true);
}

/// A login that is remembered: what every request after the first one costs.
fn basic_auth(c: &mut Criterion) {
    let hash = hash_password("sesame").unwrap();
    let credential = format!("{{username: alice, password_hash: '{hash}'}}");
    let kit = Kit::of(Descriptor::authenticator::<BasicAuth>().with_credentials::<BasicCredential>());
    let plugin = kit.consumer("alice", &["gold"], &[&credential]).build("{cache: 1h}").unwrap();
    let case = || Case::get("/").header("authorization", "Basic YWxpY2U6c2VzYW1l");
    plugin.run(case()).authenticated();
    bench(c, "basic-auth, remembered", &plugin, case);
    decides(c, "basic-auth, remembered", &plugin, case);
}

/// A token that was asked about a short while ago.
fn introspection(c: &mut Criterion) {
    const ANSWER: &str = r#"{"active":true,"sub":"alice","scope":"orders:read orders:write","client_id":"app","exp":4102444800}"#;
    let host = TestHost::new(|_| Box::pin(async { Ok(http::Response::new(ANSWER.into())) }));
    let descriptor = Descriptor::authenticator::<Oauth2Introspection>().with_credentials::<TokenCredential>();
    let endpoint = "introspection_endpoint: https://login.example/introspect, client_id: a, client_secret: b";
    let plugin = Kit::of(descriptor).host(Arc::new(host)).build(&format!("{{{endpoint}, ttl: 1d}}")).unwrap();
    let case =
        || Case::get("/").header("authorization", "Bearer 2YotnFZFEjr1zCsicMWpAA2YotnFZFEjr1zCsicMWpAA");
    plugin.run(case()).authenticated();
    bench(c, "oauth2-introspection, remembered", &plugin, case);
    decides(c, "oauth2-introspection, remembered", &plugin, case);
}

/// A certificate that was seen before.
fn mtls(c: &mut Criterion) {
    let made = rcgen::generate_simple_self_signed(["api.partner.example".to_owned()]).unwrap();
    let certificate =
        Arc::new(PeerCertificate { chain: vec![made.cert.der().to_vec().into()], sha256: [7; 32] });
    let kit = Kit::of(Descriptor::authenticator::<Mtls>().with_credentials::<MtlsCredential>());
    let plugin = kit.consumer("acme", &["gold"], &["dns: api.partner.example"]).build("{}").unwrap();
    let case = || {
        Case::get("/").client(|client| {
            let certificate = Some(certificate.clone());
            let (version, cipher) = ("TLSv1.3".into(), "TLS13_AES_128_GCM_SHA256".into());
            client.tls = Some(Tls { version, cipher, server_name: None, alpn: None, certificate });
        })
    };
    bench(c, "mtls", &plugin, case);
    decides(c, "mtls", &plugin, case);
}

/// What a decision costs once its credential is known, and nothing else: each has an exchange of its own, which is made and
/// dropped while nobody looks at the clock.
fn decides(c: &mut Criterion, name: &str, plugin: &Instance, case: impl Fn() -> Case) {
    let Built::Authenticator(authenticator) = &plugin.built else { return };
    c.bench_function(&format!("{name}, a warm decision"), |b| {
        b.iter_batched_ref(
            || case().exchange(),
            |ex| {
                let step = authenticator.authenticate(ex);
                assert!(matches!(step, Step::Now(Ok(Authentication::Authenticated(_)))));
            },
            BatchSize::SmallInput,
        );
    });
    // What a plugin that watches credentials makes of it first.
    let ex = case().exchange();
    c.bench_function(&format!("{name}, what is presented"), |b| {
        b.iter(|| assert!(authenticator.presented(&ex).is_some()));
    });
}

/// What `credential-guard` adds to the request of a known client, and what a refusal costs.
fn credential_guard(c: &mut Criterion) {
    let kit = Kit::of(Descriptor::of::<CredentialGuard>());
    let guard = kit.build("{ip: {failures: 5, window: 24h}, max_lockout: 24h}").unwrap();
    let plugin = guard.built.plugin();
    let mut known = Case::get("/").from("192.0.2.7").exchange();
    for (name, presented) in [
        ("a key", Presented::credential(b"a key")),
        ("a user", Presented::of_parts([&b"alice"[..], b"sesame"]).account("alice")),
    ] {
        guard.attempt(&mut known, &presented, Tried::Good).unwrap();
        c.bench_function(&format!("credential-guard, {name} that is known"), |b| {
            b.iter(|| {
                let passes = |step: Step<'_>| matches!(step, Step::Now(Ok(Verdict::Continue)));
                assert!(passes(plugin.on_credential(&mut known, &presented)));
                assert!(passes(plugin.on_authentication(&mut known, &presented, Tried::Good)));
            });
        });
    }
    let mut ex = Case::get("/").from("192.0.2.8").exchange();
    let mut number = 0_u64;
    let mut guess = |ex: &mut Exchange| {
        number += 1;
        guard.attempt(ex, &Presented::credential(&number.to_le_bytes()), Tried::Bad).is_ok()
    };
    while guess(&mut ex) {}
    c.bench_function("credential-guard, a guess that is refused", |b| b.iter(|| assert!(!guess(&mut ex))));
}

/// A request as most are: from a proved consumer, through three plugins, answered by an origin.
fn exchange(plugin: &Instance) -> Exchange {
    let case = Case::get("/orders/12345?page=2").principal("alice", &["gold"]).header("user-agent", "bench");
    let mut ex = plugin.run(case).ex;
    let host = ex.host_side();
    (host.route, host.upstream) = (Some("orders".into()), Some("shop".into()));
    for effect in [Effect::Continue, Effect::Authenticated, Effect::Continue] {
        let entry = Some(plugin.info.clone());
        host.decisions.push(Decision { entry, effect, reason: None, detail: None, nanos: 250 });
    }
    host.outcome = Outcome {
        status: 200,
        response_bytes: 1234,
        upstream_address: Some(([10, 0, 0, 1], 8080).into()),
        attempts: 1,
        upstream_time: Some(Duration::from_micros(850)),
        duration: Duration::from_micros(1020),
        ..Outcome::default()
    };
    ex
}

fn audit(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::of(Descriptor::of::<Audit>()).state_dir(dir.path());
    // What a request pays: the line, and its way into the queue.
    let plugin = kit.build("file: /dev/null").unwrap();
    let ex = exchange(&plugin);
    c.bench_function("audit, a record", |b| b.iter(|| plugin.built.plugin().on_log(&ex)));
    drop(plugin);
    // All of it, to the end of the write. `taskset -c 0` shows what one core does.
    const RECORDS: u64 = 100_000;
    let plugin = kit.build("{file: audit.jsonl, on_full: block}").unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("audit.jsonl")).unwrap();
    let mut group = c.benchmark_group("audit");
    group.sample_size(10).throughput(Throughput::Elements(RECORDS));
    group.bench_function("through the writer to a file", |b| {
        b.iter(|| {
            (0..RECORDS).for_each(|_| plugin.built.plugin().on_log(&ex));
            flush_audit(Duration::from_secs(60));
            file.set_len(0).unwrap();
        });
    });
    group.finish();
}

/// A decision among a million live keys, which is what `max_keys` allows. Which key is next is computed: memory is read for the decision alone.
fn rate_limiting(c: &mut Criterion) {
    const KEYS: u32 = 1_000_000;
    let mut ex = Case::get("/").exchange();
    // One is in the exchange while the other one changes.
    let mut clients = [Arc::new(ex.client().clone()), Arc::new(ex.client().clone())];
    let mut number = 0_u32;
    let mut next = |ex: &mut Exchange| {
        number = number.wrapping_add(1);
        let ip = Ipv4Addr::from(number.wrapping_mul(0x9e37_79b1) % KEYS);
        clients.swap(0, 1);
        Arc::get_mut(&mut clients[0]).unwrap().ip = ip.into();
        ex.set_client(clients[0].clone());
    };
    c.bench_function("rate-limiting, nothing but the next client", |b| b.iter(|| next(&mut ex)));
    // What is read says what is read next, as the index says where a record is: a decision reads two or three places
    // of about as much memory, and takes so many times as long on any machine.
    let memory = vec![1_u32; KEYS as usize * 32];
    let mut at = 0_u32;
    c.bench_function("rate-limiting, one read of 128 MB", |b| {
        b.iter(|| {
            let read = memory.get((at >> 7) as usize % memory.len()).copied().unwrap_or(0);
            at = at.wrapping_add(read).wrapping_mul(0x9e37_79b1);
            at
        });
    });
    drop(memory);
    for (name, fields) in [
        ("a minute", "minute: 60000"),
        ("a minute of many", "minute: 1000000"),
        ("a bucket", "rate: 1/s, burst: 1000000"),
        ("a second, a minute, an hour and a day", "second: 60000, minute: 60000, hour: 60000, day: 60000"),
    ] {
        // What one entry has counted is kept for the next one of the same name: each has a kit of its own.
        let kit = Kit::of(Descriptor::of::<RateLimiting>());
        let plugin = kit.build(&format!("{{{fields}, limit_by: ip, hide_client_headers: true}}")).unwrap();
        let mut decide = || {
            next(&mut ex);
            assert!(matches!(plugin.built.plugin().on_request(&mut ex), Step::Now(Ok(Verdict::Continue))));
        };
        (0..KEYS).for_each(|_| decide());
        c.bench_function(&format!("rate-limiting, {KEYS} live keys, {name}"), |b| b.iter(&mut decide));
    }
}

/// A request as browsers send it.
fn with_browser(case: Case) -> Case {
    case.header("host", "shop.example.com")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0",
        )
        .header("accept", "application/json, text/plain, */*")
        .header("accept-language", "en-GB,en;q=0.9,de;q=0.8")
        .header("accept-encoding", "gzip, deflate, br")
        .header("referer", "https://shop.example.com/products?page=2")
        .header("cookie", "session=0123456789abcdef; theme=dark")
        .header("cache-control", "no-cache")
}

/// JSON of about so many bytes, in records as APIs have them.
fn json(bytes: usize) -> String {
    let record = r#"{"id":4711,"name":"Miles O'Brien","tags":["red","blue"],"note":"Please call before 5, thanks.","price":12.5}"#;
    format!("[{}]", vec![record; bytes.div_ceil(record.len() + 1)].join(","))
}

fn waf(c: &mut Criterion) {
    let waf = Kit::of(Descriptor::of::<Waf>()).credential_places(Vec::new()).build("{}").unwrap();
    bench(c, "waf, a small GET", &waf, || {
        with_browser(Case::get("/products/4711?color=red&size=XL&sort=price"))
    });
    for (name, bytes) in [("2 KB", 2048), ("32 KB", 32 << 10), ("1 MB", 1_000_000)] {
        let body = json(bytes);
        bench(c, &format!("waf, a POST of {name} of JSON"), &waf, || {
            with_browser(Case::new("POST", "/orders"))
                .header("content-type", "application/json")
                .body(body.clone())
        });
    }
}

/// Responses that are read whole. Without a hit nothing is parsed and nothing copied.
fn data_mask(c: &mut Criterion) {
    let default = Kit::of(Descriptor::of::<DataMask>());
    let all = "{find: [{kinds: [card, iban, us-ssn, uk-nhs, de-tax-id, fr-nir, es-dni, nl-bsn, pl-pesel, email, jwt, bearer, \
               private-key, api-key, stack-trace]}], fields: [{paths: [customer.tax_id, '**.password']}], max_body_size: 16MiB}";
    let (default, all) = (default.build("max_body_size: 16MiB").unwrap(), default.build(all).unwrap());
    let plain = json(1_000_000);
    let escaped = plain.replace(", thanks", ", \\\"thanks\\\"\\n\u{2026}");
    let hit = plain.replace("before 5", "4111111111111111");
    let one = plain.replacen("before 5", "4111111111111111", 1);
    let mut group = c.benchmark_group("data-mask, 1 MB of JSON");
    for (name, plugin, body) in [
        ("no hit", &default, &plain),
        ("no hit, every kind", &all, &plain),
        ("no hit, escapes, every kind", &all, &escaped),
        ("one hit", &default, &one),
        ("a hit in each record", &default, &hit),
    ] {
        let mut ex = Case::get("/").exchange();
        let body = Bytes::from(body.clone());
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut head = ResponseHeader::build(200, None).unwrap();
                head.insert_header("content-type", "application/json").unwrap();
                let plugin = plugin.built.plugin();
                assert!(matches!(plugin.on_response(&mut ex, &mut head), Step::Now(Ok(Verdict::Continue))));
                let mut body = Body::new(body.clone(), true);
                assert!(matches!(plugin.on_response_body(&mut ex, &mut body), Ok(Verdict::Continue)));
                body
            });
        });
    }
    group.finish();
}

criterion_group!(benches, plugins, credential_guard, waf, data_mask, rate_limiting, audit);
criterion_main!(benches);
