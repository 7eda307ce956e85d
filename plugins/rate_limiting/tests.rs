use super::{
    counter::{Limit, Period},
    table::{Key, Table, Taken, Terms},
    *,
};
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit, Ran},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const SECOND: u64 = 1_000_000_000;
const TERMS: Terms = Terms { max_keys: 1_000_000, count_refused: false };

fn kit() -> Kit {
    Kit::of(Descriptor::of::<RateLimiting>())
}

fn build(yaml: &str) -> Instance {
    kit().build(yaml).unwrap()
}

fn minute(quota: u32) -> Limit {
    Limit { period: Period::Minute, quota, every: 0 }
}

fn every_limit() -> [Limit; 5] {
    Period::ALL.map(|period| Limit { period, quota: 1_000_000, every: SECOND })
}

fn key(table: &Table, number: u64) -> Key {
    let mut hasher = table.hasher();
    hasher.part(1, &number.to_be_bytes());
    hasher.key()
}

fn table(limits: &[Limit]) -> Table {
    let table = Table::new();
    table.prepare(limits);
    table
}

/// Runs until the plugin refuses, and says how many passed.
fn passes(plugin: &Instance, case: impl Fn() -> Case) -> usize {
    (0..100)
        .take_while(|_| matches!(plugin.run(case()).verdict, Ok(palisade_contract::Verdict::Continue)))
        .count()
}

#[test]
fn eight_threads_pass_exactly_the_limit() {
    for limits in [
        vec![minute(1_000)],
        vec![Limit { period: Period::Rate, quota: 1_000, every: 3600 * SECOND }],
        vec![minute(1_500), Limit { period: Period::Day, quota: 1_000, every: 0 }],
    ] {
        for _ in 0..20 {
            let table = table(&limits);
            let passed: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for number in 0..1_500 {
                            let caller = number % 3;
                            let taken = table.take(key(&table, caller as u64), &limits, TERMS, table.now());
                            passed[caller].fetch_add(usize::from(!taken.refused), Ordering::Relaxed);
                        }
                    });
                }
            });
            for passed in &passed {
                assert_eq!(passed.load(Ordering::Relaxed), 1_000, "{limits:?}");
            }
        }
    }
}

#[test]
fn a_request_counts_in_all_limits_or_in_none() {
    let limits = [minute(2), Limit { period: Period::Hour, quota: 3, every: 0 }];
    let table = table(&limits);
    let take = |now: u64| table.take(key(&table, 1), &limits, TERMS, now);
    assert!(!take(0).refused && !take(0).refused);
    // Refused by the minute a hundred times: the hour has seen two.
    for _ in 0..100 {
        let Taken { refused, limit, .. } = take(0);
        assert!(refused && limit == 0);
    }
    assert!(!take(100 * SECOND).refused);
    let taken = take(100 * SECOND);
    assert!(taken.refused && taken.limit == 1, "{taken:?}");
    assert!(!take(100 * SECOND + taken.standing.wait).refused);
}

#[test]
fn refused_requests_count_only_where_that_is_asked_for() {
    for (count_refused, recovers) in [(false, true), (true, false)] {
        let limits = [minute(2)];
        let table = table(&limits);
        let terms = Terms { count_refused, ..TERMS };
        // Ten calls in each slice: whoever never stops.
        let passed: Vec<u64> = (0..20u64)
            .flat_map(|slice| std::iter::repeat_n(slice, 10))
            .filter(|slice| !table.take(key(&table, 1), &limits, terms, slice * 12 * SECOND).refused)
            .collect();
        assert_eq!(passed.iter().any(|slice| *slice > 0), recovers, "{passed:?}");
    }
}

/// Asks an entry so many milliseconds after its beginning.
fn ask_at(plugin: &Instance, since: Instant, millis: u64) -> (Option<Denial>, ResponseHeader) {
    let mut ex = Case::get("/").exchange();
    ex.host_side().begun = since + Duration::from_millis(millis);
    let plugin = plugin.built.plugin();
    let verdict = palisade_contract::testkit::block_on(plugin.on_request(&mut ex).resolve()).unwrap();
    let mut head = ResponseHeader::build(200, None).unwrap();
    let _ = palisade_contract::testkit::block_on(plugin.on_response(&mut ex, &mut head).resolve()).unwrap();
    match verdict {
        palisade_contract::Verdict::Deny(denial) => (Some(denial), head),
        _ => (None, head),
    }
}

#[test]
fn refused_requests_count_in_an_entry_that_says_so() {
    for (more, recovers) in [("", true), (", count_refused: true", false)] {
        let plugin = build(&format!("{{rate: 1/s, burst: 2, limit_by: ip{more}}}"));
        let since = Instant::now();
        let passes = |millis| ask_at(&plugin, since, millis).0.is_none();
        assert_eq!([0, 0, 900].map(passes), [true, true, false]);
        // One has come back since, unless the refused one took it.
        assert_eq!(passes(1500), recovers, "{more}");
    }
}

#[test]
fn who_is_refused_is_told_when_one_may_come_and_not_when_one_goes() {
    let plugin = build("{minute: 1, limit_by: ip, count_refused: true}");
    let since = Instant::now();
    assert!(ask_at(&plugin, since, 0).0.is_none());
    // Counted too: the first one leaves the window in half a minute, and this one is still in it.
    let (denial, head) = ask_at(&plugin, since, 31_000);
    let wait = denial.unwrap().headers()[0].1.to_str().unwrap().to_owned();
    assert!((60..=63).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!(head.headers["ratelimit"], format!("\"minute\";r=0;t={wait}"));
}

#[test]
fn who_is_over_several_limits_waits_for_the_slowest() {
    let limits = [minute(1), Limit { period: Period::Hour, quota: 1, every: 0 }];
    let table = table(&limits);
    assert!(!table.take(key(&table, 1), &limits, TERMS, 0).refused);
    let taken = table.take(key(&table, 1), &limits, TERMS, SECOND);
    assert!(taken.refused && taken.limit == 1 && taken.standing.wait > 3590 * SECOND, "{taken:?}");
}

#[test]
fn that_a_table_is_full_is_said_once_a_minute() {
    let table = table(&[minute(5)]);
    let said = [0, 1, 59, 60, 61, 119, 120].map(|second| table.says_full(second * SECOND));
    assert_eq!(said, [true, false, false, true, false, false, true]);
}

#[test]
fn a_key_takes_150_bytes_at_most() {
    // Some indices have just grown: they are at their widest.
    const KEYS: usize = 125_000;
    let every = every_limit();
    let small = every.map(|limit| Limit { quota: 60_000, ..limit });
    for (limits, most) in [
        (&every[..], 150),
        (&every[1..], 150),
        (&every[..4], 150),
        (&small[..], 150),
        (&[minute(100_000)][..], 150),
        (&[minute(60)][..], 80),
        (&small[..1], 40),
    ] {
        let table = table(limits);
        for number in 0..KEYS as u64 {
            assert!(!table.take(key(&table, number), limits, TERMS, 0).refused);
        }
        let (keys, bytes) = table.size();
        assert_eq!(keys, KEYS);
        assert!(bytes <= most * KEYS, "{} bytes a key", bytes / KEYS);
    }
}

#[test]
fn a_larger_number_makes_room_and_forgets_nothing() {
    let (small, large) = ([minute(60)], [minute(100_000)]);
    let table = table(&small);
    let take = |limits: &[Limit; 1]| table.take(key(&table, 1), limits, TERMS, 0);
    assert!((0..60).all(|_| !take(&small).refused) && take(&small).refused);
    table.prepare(&large);
    for left in (0..99_940).rev() {
        let taken = take(&large);
        assert!(!taken.refused && taken.standing.left == left, "{taken:?}");
    }
    assert!(take(&large).refused);
    table.prepare(&small);
    assert!(take(&small).refused);
}

#[test]
fn as_many_keys_as_the_default_says_are_counted_one_by_one() {
    let (limits, keys) = (every_limit(), Config::default().max_keys);
    let table = table(&limits);
    let take = |number: usize| table.take(key(&table, number as u64), &limits, TERMS, 0);
    assert!((0..keys).all(|number| !take(number).shared));
    let (counted, bytes) = table.size();
    assert!(counted == keys && bytes <= 150 * keys, "{counted} keys, {bytes} bytes");
    assert!(take(keys).shared && table.size().0 == keys, "not one more");
}

#[test]
fn a_flood_of_new_keys_neither_grows_the_table_nor_resets_anybody() {
    let limits = [minute(5)];
    let table = table(&limits);
    let terms = Terms { max_keys: 6_400, count_refused: false };
    let take = |number: u64, now: u64| table.take(key(&table, number), &limits, terms, now);
    for _ in 0..5 {
        assert!(!take(0, 0).refused);
    }
    assert!(take(0, 0).refused);
    let (mut shared, mut passed) = (0, 0);
    for number in 1..100_000 {
        let taken = take(number, SECOND);
        shared += usize::from(taken.shared);
        passed += usize::from(taken.shared && !taken.refused);
    }
    assert!(table.size().0 <= 6_400, "{:?}", table.size());
    assert!(shared > 90_000 && passed <= 64 * 5, "{shared} shared, {passed} of them passed");
    assert!(take(0, 59 * SECOND).refused, "the flood has freed a record that is used up");
    // A minute later there is room again: idle records are taken over, the table does not grow.
    let later = 140 * SECOND;
    for number in 200_000..202_000 {
        let taken = take(number, later);
        assert!(!taken.refused && !taken.shared, "{number} {taken:?}");
    }
    assert!(table.size().0 <= 6_400);
}

#[test]
fn a_full_table_shows() {
    let kit = kit();
    let plugin = kit.build("{minute: 5, limit_by: header:x, max_keys: 1000}").unwrap();
    for number in 0..3000 {
        plugin.run(Case::get("/").header("x", &number.to_string()));
    }
    let together = kit.counted("counted_together");
    assert!((2000..3000).contains(&together), "{together}");
}

#[test]
fn what_was_counted_with_others_is_not_forgotten() {
    let limits = [minute(5)];
    let table = table(&limits);
    let terms = |max_keys| Terms { max_keys, count_refused: false };
    (1_000..1_064).for_each(|number| assert!(!table.take(key(&table, number), &limits, terms(64), 0).shared));
    let passed = (0..10).filter(|_| !table.take(key(&table, 7), &limits, terms(64), 0).refused).count();
    assert!(passed <= 5);
    // With room it gets a record of its own, and has not more left than before.
    let after = (0..10).filter(|_| !table.take(key(&table, 7), &limits, terms(6_400), 0).refused).count();
    assert!(passed + after <= 5, "{passed} and {after}");
}

#[test]
fn a_new_limit_keeps_what_the_others_have_counted() {
    let old = [minute(3)];
    let table = table(&old);
    for _ in 0..2 {
        assert!(!table.take(key(&table, 1), &old, TERMS, 0).refused);
    }
    let new = [minute(4), Limit { period: Period::Hour, quota: 10, every: 0 }];
    table.prepare(&new);
    assert!(!table.take(key(&table, 1), &new, TERMS, 0).refused);
    assert!(!table.take(key(&table, 1), &new, TERMS, 0).refused);
    assert!(table.take(key(&table, 1), &new, TERMS, 0).refused);
    // The smaller number applies at once.
    assert!(table.take(key(&table, 1), &[minute(2)], TERMS, 0).refused);
}

#[test]
fn counts_survive_a_reload_where_scope_key_and_what_is_counted_by_stay() {
    // A kit keeps what outlives a reload from one build to the next.
    let kit = kit();
    let day = |yaml: &str| kit.build(yaml).unwrap();
    assert_eq!(passes(&day("{day: 5, limit_by: ip}"), || Case::get("/")), 5);
    assert_eq!(passes(&day("{day: 7, hour: 7, limit_by: ip}"), || Case::get("/")), 2);
    assert_eq!(passes(&day("{day: 5, limit_by: path}"), || Case::get("/")), 5);
}

#[test]
fn what_is_counted_by() {
    let from = |ip: &'static str| move || Case::get("/a").from(ip);
    let plugin = build("{day: 2, limit_by: ip}");
    assert_eq!(passes(&plugin, from("192.0.2.1")), 2);
    assert_eq!(passes(&plugin, from("192.0.2.2")), 2);
    assert_eq!(passes(&plugin, from("::ffff:192.0.2.2")), 0);
    assert_eq!(passes(&plugin, from("2001:db8::1")), 2);
    for same in ["2001:db8::ffff:1", "2001:db8::8000:0:0:1", "2001:db8::ffff:ffff:ffff:ffff"] {
        assert_eq!(passes(&plugin, from(same)), 0, "one /64: {same}");
    }
    assert_eq!(passes(&plugin, from("2001:db8:0:1::1")), 2);

    let plugin = build("{day: 2, limit_by: header:x-tenant}");
    let tenant = |value: &'static str| move || Case::get("/").header("x-tenant", value);
    assert_eq!(passes(&plugin, tenant("a")), 2);
    assert_eq!(passes(&plugin, tenant("b")), 2);
    assert_eq!(passes(&plugin, || Case::get("/")), 2, "those without one are counted together");
    assert_eq!(passes(&plugin, || Case::get("/").header("x-tenant", "c").header("x-tenant", "d")), 0);

    let plugin = build("{day: 2, limit_by: [ip, path]}");
    assert_eq!(passes(&plugin, || Case::get("/a?x=1")), 2);
    assert_eq!(passes(&plugin, || Case::get("/a?x=2")), 0);
    assert_eq!(passes(&plugin, || Case::get("/b")), 2);

    let plugin = build("{day: 2, limit_by: consumer}");
    assert_eq!(passes(&plugin, || Case::get("/").principal("alice", &[])), 2);
    assert_eq!(passes(&plugin, || Case::get("/").principal("bob", &[]).from("192.0.2.9")), 2);
    assert_eq!(passes(&plugin, from("192.0.2.1")), 2, "who is not known is counted together");
    assert_eq!(passes(&plugin, from("192.0.2.2")), 0);
    assert!(plugin.built.plugin().needs_principal());

    let plugin = build("{day: 2, limit_by: consumer, fallback: ip}");
    assert_eq!(passes(&plugin, from("192.0.2.1")), 2);
    assert_eq!(passes(&plugin, from("192.0.2.2")), 2);
    assert!(!plugin.built.plugin().needs_principal());

    let plugin = build("{day: 2, limit_by: claim:tenant, fallback: ip}");
    assert_eq!(passes(&plugin, from("192.0.2.1")), 2);
    assert_eq!(passes(&plugin, from("192.0.2.2")), 2, "who has no such claim is counted by address");
    assert!(!plugin.built.plugin().needs_principal());
}

#[test]
fn a_part_of_a_key_ends_where_it_ends() {
    let table = table(&[minute(5)]);
    let of = |parts: &[&[u8]]| {
        let mut hasher = table.hasher();
        parts.iter().for_each(|part| hasher.part(5, part));
        hasher.key()
    };
    assert_eq!(of(&[b"a", b"b"]), of(&[b"a", b"b"]));
    let other: [&[&[u8]]; 4] = [&[b"ab"], &[b"", b"ab"], &[b"ab", b""], &[b"a\x05\0\0\0\0\0\0\0b"]];
    assert!(other.iter().all(|parts| of(parts) != of(&[b"a", b"b"])));
}

#[test]
fn claims_and_routes_count_too() {
    let plugin = build("{day: 2, limit_by: claim:tenant}");
    let pass = |tenant: Option<serde_json::Value>| {
        let mut ran = build("{day: 1, limit_by: ip}").run(Case::get("/").principal("x", &[]));
        let mut principal = (**ran.ex.principal().unwrap()).clone();
        principal.claims = Arc::new(tenant.into_iter().map(|tenant| ("tenant".to_owned(), tenant)).collect());
        let host = ran.ex.host_side();
        host.principal = Some(Arc::new(principal));
        let step = plugin.built.plugin().on_request(&mut ran.ex);
        matches!(
            palisade_contract::testkit::block_on(step.resolve()),
            Ok(palisade_contract::Verdict::Continue)
        )
    };
    for tenant in [Some("a".into()), Some("b".into()), Some(serde_json::json!(["a"])), Some(1.into()), None] {
        assert_eq!([0; 3].map(|_| pass(tenant.clone())), [true, true, false], "{tenant:?}");
    }
    assert!(!pass(Some(serde_json::Value::Null)), "no claim at all");

    let plugin = build("{day: 2, limit_by: claim:org.unit}");
    let pass = |unit: &str| {
        let mut ran = build("{day: 1, limit_by: ip}").run(Case::get("/").principal("x", &[]));
        let mut principal = (**ran.ex.principal().unwrap()).clone();
        let org = serde_json::json!({"unit": unit});
        principal.claims = Arc::new(std::iter::once(("org".to_owned(), org)).collect());
        ran.ex.host_side().principal = Some(Arc::new(principal));
        let step = plugin.built.plugin().on_request(&mut ran.ex);
        matches!(
            palisade_contract::testkit::block_on(step.resolve()),
            Ok(palisade_contract::Verdict::Continue)
        )
    };
    assert_eq!(["a", "a", "a", "b"].map(pass), [true, true, false, true], "a path into nested claims");

    let plugin = build("{day: 1, limit_by: [route, ip]}");
    let pass = |route: &str| {
        let mut ran = build("{day: 1, limit_by: ip}").run(Case::get("/"));
        ran.ex.host_side().route = Some(route.into());
        let step = plugin.built.plugin().on_request(&mut ran.ex);
        matches!(
            palisade_contract::testkit::block_on(step.resolve()),
            Ok(palisade_contract::Verdict::Continue)
        )
    };
    assert_eq!([pass("a"), pass("b"), pass("a")], [true, true, false]);
}

#[test]
fn what_the_client_is_told() {
    let plugin = build("{minute: 3, day: 100, rate: 2/s, burst: 10, limit_by: ip}");
    let ran: Ran = plugin.run(Case::get("/")).passed();
    let text = |name: &str| ran.head.headers[name].to_str().unwrap().to_owned();
    assert_eq!(text("ratelimit-policy"), "\"rate\";q=10;w=5, \"minute\";q=3;w=60, \"day\";q=100;w=86400");
    let limit = text("ratelimit");
    let wait: u64 =
        limit.strip_prefix("\"minute\";r=2;t=").unwrap_or_else(|| panic!("{limit}")).parse().unwrap();
    assert!((60..=65).contains(&wait), "{limit}");
    assert_eq!(passes(&plugin, || Case::get("/")), 2);
    let denial = plugin.run(Case::get("/")).denied(429, "rate_limited");
    let (name, value) = &denial.headers()[0];
    let wait: u64 = value.to_str().unwrap().parse().unwrap();
    assert!(name == "retry-after" && (1..=65).contains(&wait), "{name}: {value:?}");
    assert_eq!(denial.private_detail(), Some("minute is used up"));
    let silent = build("{minute: 3, limit_by: ip, hide_client_headers: true}");
    assert!(silent.run(Case::get("/")).passed().head.headers.is_empty());
}

#[test]
fn where_it_stands_depends_on_what_it_counts_by() {
    for (by, stage) in [
        ("ip", Stage::Screen),
        ("[ip, path, route, 'header:x-a']", Stage::Screen),
        ("consumer", Stage::Limit),
        ("[ip, consumer]", Stage::Limit),
        ("claim:tenant", Stage::Limit),
    ] {
        assert_eq!(build(&format!("{{minute: 1, limit_by: {by}}}")).stage, stage, "{by}");
    }
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, expected) in [
        ("{}", "there is no limit"),
        ("{minute: 5}", "it is not said what is counted by"),
        ("{minute: 0, limit_by: ip}", "`minute: 0` lets nobody pass"),
        ("{rate: 5/s, burst: 0, limit_by: ip}", "`burst: 0` lets nobody pass"),
        ("{minute: -1, limit_by: ip}", "minute"),
        ("{minute: 5, hour: 4, limit_by: ip}", "`minute` allows more than `hour`"),
        ("{burst: 5, minute: 5, limit_by: ip}", "`burst` has no meaning without `rate`"),
        ("{rate: 5, limit_by: ip}", "is not a rate"),
        ("{rate: 5/w, limit_by: ip}", "`5/w` is not a rate"),
        ("{minute: 5, limit_by: user}", "`user` is nothing to count by"),
        ("{minute: 5, limit_by: 'header:a b'}", "is nothing to count by"),
        ("{minute: 5, limit_by: 'claim:'}", "is nothing to count by"),
        ("{minute: 5, limit_by: [ip, ip]}", "`ip` is in the list already"),
        ("{minute: 5, limit_by: []}", "the list has from 1 to 8 parts"),
        ("{minute: 5, limit_by: ip, fallback: ip}", "`fallback` has no meaning"),
        ("{minute: 5, limit_by: ip, max_keys: 5}", "`max_keys` is from 1000"),
        ("{minute: 5, limit_by: ip, policy: redis}", "unknown field `policy`"),
    ] {
        let error = kit().build(yaml).unwrap_err();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
}

#[test]
fn counts_go_on_in_the_process_that_takes_over() {
    use palisade_contract::Carry;
    let limits = [minute(3), Limit { period: Period::Rate, quota: 5, every: 3600 * SECOND }];
    let old = table(&limits);
    for (number, times) in [(1, 3), (2, 1)] {
        for _ in 0..times {
            assert!(!old.take(key(&old, number), &limits, TERMS, old.now()).refused);
        }
    }
    assert!(table(&limits).carry().is_none(), "nothing was counted");
    let carried = old.carry().unwrap();
    // The new one has another limit besides, and lacks one.
    let new_limits = [minute(3), Limit { period: Period::Hour, quota: 100, every: 0 }];
    let new = table(&new_limits);
    new.take_over(&carried);
    assert!(new.now() + SECOND >= old.now(), "one clock");
    let take = |number| new.take(key(&new, number), &new_limits, TERMS, new.now()).refused;
    assert_eq!([take(1), take(2), take(2), take(2), take(3)], [true, false, false, true, false]);
    // Once something is counted, nothing is laid over it.
    let counted = table(&limits);
    assert!(!counted.take(key(&counted, 1), &limits, TERMS, counted.now()).refused);
    counted.take_over(&carried);
    assert!(!counted.take(key(&counted, 1), &limits, TERMS, counted.now()).refused);
    // What is not understood changes nothing.
    for wrong in [
        &b""[..],
        b"RL1",
        b"RL2xxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        &carried[..carried.len() - 1],
        &[&carried[..], b"x"].concat(),
    ] {
        let fresh = table(&limits);
        fresh.take_over(wrong);
        assert!(!fresh.take(key(&fresh, 1), &limits, TERMS, fresh.now()).refused, "{}", wrong.len());
    }
}

#[test]
fn no_more_counts_are_carried_than_may_be() {
    use palisade_contract::{Carry, carry::MAX_CARRIED};
    let limits = every_limit();
    let table = table(&limits);
    for number in 0..100_000 {
        table.take(key(&table, number), &limits, TERMS, 0);
    }
    let carried = table.carry().unwrap();
    assert!(carried.len() <= MAX_CARRIED && carried.len() > MAX_CARRIED / 2, "{}", carried.len());
}

#[test]
fn counts_survive_an_upgrade() {
    let (old, new) = (kit(), kit());
    let before = old.build("{day: 5, limit_by: ip}").unwrap();
    assert_eq!(passes(&before, || Case::get("/")), 5);
    let after = new.build("{day: 6, limit_by: ip}").unwrap();
    new.take_over_from(&old);
    assert_eq!(passes(&after, || Case::get("/")), 1);
    assert_eq!(passes(&after, || Case::get("/").from("192.0.2.77")), 6);
}
