use super::*;
use palisade_contract::{
    Answer, Command, Descriptor, Store, StoreError, Whom,
    testkit::{Case, Instance, Kit, block_on},
    verdict::BoxFuture,
};
use record::nanos;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

pub(super) const DESCRIPTOR: Descriptor = Descriptor::of::<CredentialGuard>();
/// Long windows, so that no test waits for one, and none ends in a slow one.
pub(super) const HOURS: &str = "{ip: {failures: 20, window: 24h}, account: {failures: 5, window: 24h}, \
    credential: {failures: 3, window: 24h}, account_everywhere: {failures: 30, window: 24h}, \
    all: {failures: 600, window: 24h}, max_lockout: 24h}";

fn exchange(ip: &str) -> Exchange {
    Case::get("/").from(ip).exchange()
}

/// A login from somewhere: `Ok` where it was looked at.
pub(super) fn login(
    guard: &Instance,
    ip: &str,
    user: &str,
    password: &str,
    tried: Tried,
) -> Result<(), Denial> {
    let presented = Presented::of_parts([user.as_bytes(), password.as_bytes()]).account(user);
    guard.attempt(&mut exchange(ip), &presented, tried)
}

fn key(guard: &Instance, ip: &str, key: &str, tried: Tried) -> Result<(), Denial> {
    guard.attempt(&mut exchange(ip), &Presented::credential(key.as_bytes()), tried)
}

/// How many of so many different wrong keys were looked at.
pub(super) fn wrong_keys(guard: &Instance, ip: &str, many: usize) -> usize {
    let tried = |number: &usize| key(guard, ip, &format!("wrong {ip} {number}"), Tried::Bad).is_ok();
    (0..many).filter(tried).count()
}

#[test]
fn an_address_has_so_many_failures_and_then_nothing_is_looked_at() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    assert_eq!(wrong_keys(&guard, "192.0.2.1", 1000), 20);
    assert_eq!((kit.counted("failures"), kit.counted("refused")), (20, 980));
    let denial = key(&guard, "192.0.2.1", "a good one of a stranger", Tried::Good).unwrap_err();
    assert_eq!((denial.status().as_u16(), denial.reason()), (429, "too_many_failures"));
    let wait: u64 = denial.headers()[0].1.to_str().unwrap().parse().unwrap();
    assert!((4_000..=4_320).contains(&wait), "a 20th of a day: {wait}");
    // Nobody else is touched; of IPv6 a /64 is one.
    key(&guard, "192.0.2.2", "k", Tried::Good).unwrap();
    assert_eq!(wrong_keys(&guard, "2001:db8::1", 30), 20);
    assert_eq!(wrong_keys(&guard, "2001:db8::ffff:0:0:2", 30), 0);
    assert_eq!(wrong_keys(&guard, "2001:db8:0:1::1", 30), 20);
}

#[test]
fn a_success_buys_no_guesses() {
    let guard = Kit::of(DESCRIPTOR).build(HOURS).unwrap();
    let mut looked = 0;
    for number in 0..100 {
        login(&guard, "192.0.2.1", "mallory", "his own", Tried::Good).unwrap();
        let victim = format!("victim {number}");
        looked += usize::from(login(&guard, "192.0.2.1", &victim, "123456", Tried::Bad).is_ok());
    }
    assert_eq!(looked, 20);
}

#[test]
fn what_is_not_known_or_missing_is_no_failure() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    for number in 0..200 {
        key(&guard, "192.0.2.1", &number.to_string(), Tried::Open).unwrap();
    }
    assert_eq!(kit.counted("failures"), 0);
}

#[test]
fn whoever_is_known_is_not_locked_out_by_anybody() {
    let guard = Kit::of(DESCRIPTOR).build(HOURS).unwrap();
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    key(&guard, "192.0.2.1", "a key", Tried::Good).unwrap();
    // Others fail from her address, and thousands of addresses try her account.
    wrong_keys(&guard, "192.0.2.1", 100);
    for number in 0..3000 {
        let ip = format!("10.0.{}.{}", number / 250, number % 250);
        for guess in 0..3 {
            let _ = login(&guard, &ip, "alice", &format!("{number} {guess}"), Tried::Bad);
        }
    }
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    key(&guard, "192.0.2.1", "a key", Tried::Good).unwrap();
    // From elsewhere she is not known, and gets in all the same where nobody has failed.
    login(&guard, "198.51.100.7", "alice", "right", Tried::Good).unwrap();
    // The key is known from that address alone.
    assert!(key(&guard, "192.0.2.1", "another key", Tried::Good).is_err());
}

#[test]
fn an_account_is_guessed_at_so_often_from_one_address() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    let guess = |ip: &str, number: i32| login(&guard, ip, "alice", &format!("guess {number}"), Tried::Bad);
    assert_eq!((0..50).filter(|number| guess("192.0.2.1", *number).is_ok()).count(), 5);
    assert!(kit.counted("lockout_account") == 1 && kit.counted("lockout_ip") == 0);
    // Who is known from there waits too: else a guess would be told from her password by its answer.
    assert!(login(&guard, "192.0.2.1", "alice", "right", Tried::Good).is_err());
    login(&guard, "192.0.2.1", "bob", "right", Tried::Good).unwrap();
    login(&guard, "192.0.2.9", "alice", "right", Tried::Good).unwrap();
    // A success forgets what was wrong before.
    for round in 0..10 {
        for number in 0..4 {
            let _ = login(&guard, "192.0.2.8", "carol", &format!("typo {round} {number}"), Tried::Bad);
        }
        login(&guard, "192.0.2.8", "carol", "right", Tried::Good).unwrap();
    }
}

#[test]
fn the_same_wrong_credential_again_is_no_other_guess() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    // A job with an old password, next to her.
    let old = |_: &i32| login(&guard, "192.0.2.1", "alice", "old", Tried::Bad).is_ok();
    assert_eq!((0..50).filter(old).count(), 3, "and then it is refused unseen");
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    assert_eq!(kit.counted("lockout_credential"), 1);
    // From wherever it comes.
    assert!(login(&guard, "192.0.2.77", "alice", "old", Tried::Bad).is_err());
}

#[test]
fn an_account_that_many_guess_at_leaves_each_of_them_one_guess() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    let mut looked = Vec::new();
    for bot in 0..40 {
        let ip = format!("10.1.0.{bot}");
        let guess =
            |number: &i32| login(&guard, &ip, "alice", &format!("{bot} {number}"), Tried::Bad).is_ok();
        looked.push((0..10).filter(guess).count());
    }
    // Six use up what the account has from everywhere; the last of these no more than that.
    assert_eq!((&looked[..6], &looked[6..]), (&[5; 6][..], &[1; 34][..]));
    assert_eq!(kit.counted("account_attack"), 1);
    // She mistypes it once at home, and is let in on the first try on her way.
    login(&guard, "192.0.2.1", "alice", "typo", Tried::Bad).unwrap();
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    login(&guard, "203.0.113.5", "alice", "right", Tried::Good).unwrap();
}

#[test]
fn stuffing_from_everywhere_leaves_each_address_less() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    let mut looked = Vec::new();
    for bot in 0..100 {
        let ip = format!("10.2.0.{bot}");
        let stuff =
            |number: &i32| login(&guard, &ip, &format!("user {bot} {number}"), "stolen", Tried::Bad).is_ok();
        looked.push((0..40).filter(stuff).count());
    }
    assert_eq!((&looked[..30], &looked[30..]), (&[20; 30][..], &[5; 70][..]));
    assert_eq!(kit.counted("attack"), 1);
    login(&guard, "203.0.113.5", "alice", "right", Tried::Good).unwrap();
}

#[test]
fn what_is_genuine_and_refused_counts_for_itself_alone() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    // Hundreds behind one address send tokens that have expired, each until it gets another one.
    for number in 0..300 {
        key(&guard, "192.0.2.1", &format!("expired {number}"), Tried::Stale).unwrap();
        // One that was good here, of which nobody says that it is genuine.
        key(&guard, "192.0.2.1", &format!("revoked {number}"), Tried::Good).unwrap();
        key(&guard, "192.0.2.1", &format!("revoked {number}"), Tried::Bad).unwrap();
        key(&guard, "192.0.2.1", &format!("fresh {number}"), Tried::Good).unwrap();
    }
    assert_eq!((kit.counted("failures"), kit.counted("stale")), (0, 600));
    // Who goes on sending it is refused unseen.
    let again = |_: &i32| key(&guard, "192.0.2.1", "expired 0", Tried::Stale).is_ok();
    assert_eq!((0..10).filter(again).count(), 2);
    // It was good once, and is known for nothing any more: it is the first of twenty failures.
    key(&guard, "192.0.2.1", "revoked 0", Tried::Bad).unwrap();
    assert_eq!(wrong_keys(&guard, "192.0.2.1", 100), 19);
    assert!(key(&guard, "192.0.2.1", "revoked 1", Tried::Good).is_err());
}

#[test]
fn failures_are_exact_under_threads() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    let looked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (guard, looked) = (&guard, &looked);
            scope.spawn(move || {
                for number in 0..200 {
                    let word = format!("{thread} {number}");
                    let tried = key(guard, "192.0.2.1", &word, Tried::Bad);
                    looked.fetch_add(usize::from(tried.is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    // One that was counted and still in flight when the last tries of the others came has kept its place from them.
    let late =
        (0..20).filter(|number| key(&guard, "192.0.2.1", &format!("late {number}"), Tried::Bad).is_ok());
    assert_eq!((looked.load(Ordering::Relaxed) + late.count(), kit.counted("failures")), (20, 20));
}

#[test]
fn many_at_once_are_looked_at_as_long_as_none_has_failed() {
    let guard = Kit::of(DESCRIPTOR).build(HOURS).unwrap();
    let plugin = guard.built.plugin();
    let begin = |ex: &mut Exchange, number: usize| {
        let presented = Presented::credential(&number.to_le_bytes());
        matches!(block_on(plugin.on_credential(ex, &presented).resolve()), Ok(Verdict::Continue))
    };
    let mut held: Vec<Exchange> = (0..100).map(|_| exchange("192.0.2.1")).collect();
    let begun =
        held.iter_mut().enumerate().filter_map(|(number, ex)| begin(ex, number).then_some(())).count();
    assert_eq!(begun, 64);
    // Whoever goes away gives back his place.
    held.clear();
    key(&guard, "192.0.2.1", "wrong", Tried::Bad).unwrap();
    let mut held: Vec<Exchange> = (0..100).map(|_| exchange("192.0.2.1")).collect();
    let begun =
        held.iter_mut().enumerate().filter_map(|(number, ex)| begin(ex, number).then_some(())).count();
    assert_eq!(begun, 19, "each of them may fail");
}

#[test]
fn the_record_says_what_was_locked_out_and_no_secret() {
    let guard = Kit::of(DESCRIPTOR).build(HOURS).unwrap();
    let mut findings = Vec::new();
    for number in 0..7 {
        let mut ex = exchange("192.0.2.1");
        let presented = Presented::credential(&[number]).account("hunter2");
        let _ = guard.attempt(&mut ex, &presented, Tried::Bad);
        findings.extend(ex.findings().iter().map(|finding| finding.what.clone()));
    }
    assert_eq!(findings.len(), 3, "{findings:?}");
    assert!(findings[0]["locked_out"]["account"].is_u64(), "{findings:?}");
    assert_eq!(findings[1]["refused"], "account");
    let text = format!("{findings:?}");
    assert!(text.contains("sha256:") && !text.contains("hunter2"), "{text}");
}

#[test]
fn lockouts_are_listed_and_ended() {
    let kit = Kit::of(DESCRIPTOR);
    let guard = kit.build(HOURS).unwrap();
    let shown = kit.lockouts();
    let [lockouts] = &shown[..] else { panic!("{}", shown.len()) };
    login(&guard, "192.0.2.50", "alice", "right", Tried::Good).unwrap();
    for number in 0..9 {
        let _ = login(&guard, "192.0.2.1", "alice", &number.to_string(), Tried::Bad);
        let _ = login(&guard, "192.0.2.2", "hunter2", &number.to_string(), Tried::Bad);
    }
    wrong_keys(&guard, "192.0.2.3", 30);
    let list = lockouts.list();
    assert_eq!(list.len(), 3, "{list:?}");
    let text = format!("{list:?}");
    // Only who is known to exist is named.
    assert!(text.contains("alice") && !text.contains("hunter2") && text.contains("sha256:"), "{text}");
    assert!(list.iter().all(|one| one["seconds_left"].as_u64().unwrap() > 1000));
    assert_eq!(block_on(lockouts.end(Whom::Account("nobody".to_owned()))), 0);
    assert_eq!(block_on(lockouts.end(Whom::Account("alice".to_owned()))), 1);
    login(&guard, "192.0.2.1", "alice", "right", Tried::Good).unwrap();
    assert_eq!(block_on(lockouts.end(Whom::Ip("192.0.2.3".parse().unwrap()))), 1);
    assert_eq!(wrong_keys(&guard, "192.0.2.3", 30), 20);
    assert_eq!(block_on(lockouts.end(Whom::All)), 2);
    assert!(lockouts.list().is_empty());
    login(&guard, "192.0.2.2", "hunter2", "x", Tried::Bad).unwrap();
}

#[test]
fn what_is_known_survives_a_reload_and_an_upgrade() {
    let old = Kit::of(DESCRIPTOR);
    let guard = old.build(HOURS).unwrap();
    key(&guard, "192.0.2.1", "known", Tried::Good).unwrap();
    wrong_keys(&guard, "192.0.2.1", 30);
    let reloaded = old.build(&HOURS.replace("failures: 20", "failures: 30")).unwrap();
    assert!(key(&reloaded, "192.0.2.1", "new", Tried::Bad).is_err());
    let new = Kit::of(DESCRIPTOR);
    let successor = new.build(HOURS).unwrap();
    new.take_over_from(&old);
    // Who takes over lists what it did not begin.
    let listed = |kit: &Kit| kit.lockouts()[0].list();
    assert!(listed(&old).len() == 1 && listed(&old)[0]["network"] == "192.0.2.1");
    assert_eq!((listed(&new).len(), &listed(&new)[0]["network"]), (1, &listed(&old)[0]["network"]));
    assert_eq!(wrong_keys(&successor, "192.0.2.1", 30), 0);
    key(&successor, "192.0.2.1", "known", Tried::Good).unwrap();
    assert_eq!(wrong_keys(&successor, "192.0.2.2", 30), 20);
}

#[test]
fn what_is_carried_over_and_not_understood_is_left_alone() {
    use palisade_contract::Carry;
    let state = State::new();
    for bytes in
        [&b""[..], b"CG2", b"CG1aaaaaaaaaaaaaaaa", &[0; 100], &[b"CG2".as_slice(), &[7; 60]].concat()]
    {
        state.take_over(bytes);
    }
    assert_eq!((state.failures.len(), state.good.len(), state.carry()), (0, 0, None));
}

/// A store that is gone.
struct Gone(AtomicUsize);

impl Store for Gone {
    fn run(&self, _: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(StoreError::Down) })
    }
}

/// One that answers what makes no sense.
struct Confused;

impl Store for Confused {
    fn run(&self, _: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        Box::pin(async { Ok(Answer::List(vec![Answer::Int(-1), Answer::Nil])) })
    }
}

#[test]
fn without_its_store_each_goes_on_by_what_it_has_counted() {
    let gone = Arc::new(Gone(AtomicUsize::new(0)));
    let with_store = HOURS.replacen('{', "{store: main, ", 1);
    for store in [gone.clone() as Arc<dyn Store>, Arc::new(Confused)] {
        let kit = Kit::of(DESCRIPTOR).store("main", store);
        let guard = kit.build(&with_store).unwrap();
        assert_eq!(wrong_keys(&guard, "192.0.2.1", 100), 20);
        login(&guard, "192.0.2.2", "alice", "right", Tried::Good).unwrap();
        let guess =
            |number: &i32| login(&guard, "192.0.2.3", "alice", &number.to_string(), Tried::Bad).is_ok();
        assert_eq!((0..30).filter(guess).count(), 5);
        login(&guard, "192.0.2.2", "alice", "right", Tried::Good).unwrap();
        assert!(kit.counted("store_failed") > 100);
    }
    // A client that is known costs the store nothing.
    let kit = Kit::of(DESCRIPTOR).store("main", gone.clone());
    let guard = kit.build(&with_store).unwrap();
    key(&guard, "192.0.2.1", "k", Tried::Good).unwrap();
    let asked = gone.0.load(Ordering::Relaxed);
    for _ in 0..100 {
        key(&guard, "192.0.2.1", "k", Tried::Good).unwrap();
    }
    assert_eq!(gone.0.load(Ordering::Relaxed), asked);
    assert!(Kit::of(DESCRIPTOR).build(&with_store).is_err());
}

#[test]
fn a_success_is_forgotten_in_time_and_so_is_a_lockout() {
    let state = Arc::new(State::new());
    let mut errors = Vec::new();
    let limits = Config::default().limits(&mut errors);
    assert!(errors.is_empty());
    let ip = "192.0.2.1".parse().unwrap();
    let keys = state.keys(ip, "r", &Presented::credential(b"x"));
    assert!(state.succeed(&keys, &limits, 0) && state.is_good(keys.good, nanos(Duration::from_secs(86_399))));
    assert!(!state.is_good(keys.good, nanos(Duration::from_secs(86_400))));
    for number in 0..20u8 {
        let keys = state.keys(ip, "r", &Presented::credential(&[number]));
        state.fail(&keys, &limits, 0);
    }
    assert!(state.admit(&keys, &limits, None, 2_900_000_000).is_err());
    assert!(state.admit(&keys, &limits, None, 3_000_000_000).is_ok());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let kit = Kit::of(DESCRIPTOR);
    for (yaml, word) in [
        ("{ip: {failures: 0, window: 1m}}", "from 1 to 1000000"),
        ("{ip: {failures: 1}}", "window"),
        ("{all: {failures: 1, window: 0s}}", "is not from"),
        ("{remember: 31d}", "is not from"),
        ("{delay: 1h, max_lockout: 1m}", "longer than `max_lockout`"),
        ("{max_keys: 1}", "from 1000"),
        ("{store: main}", "main"),
        ("{ips: {failures: 1, window: 1m}}", "did you mean"),
    ] {
        let error = kit.build(yaml).unwrap_err();
        assert!(error.contains(word), "{yaml}: {error}");
    }
    assert_eq!(kit.build("{}").unwrap().stage, Stage::Screen);
}
