//! Tokens that are good and denied: by a file that changes, vanishes and breaks, and by a store that does too.

use super::*;
use bytes::Bytes;
use palisade_contract::{Answer, Command, Store, StoreError, testkit::TestHost, verdict::BoxFuture};
use parking_lot::Mutex;
use std::{collections::HashMap, fs, path::Path, sync::Arc};

const LOOK: Duration = Duration::from_millis(500);

fn token(jti: &str, sub: &str, issued: i64) -> String {
    let mut claims = with("jti", json!(jti));
    (claims["sub"], claims["iat"]) = (json!(sub), json!(issued));
    Signer::secret().token("HS256", &claims)
}

fn watching(file: &Path, cache: usize) -> (Arc<TestHost>, Kit, String) {
    let host = Arc::new(TestHost::offline());
    let yaml =
        format!("{{secret: '{SECRET}', cache_size: {cache}, denylist: {{file: '{}'}}}}", file.display());
    (host.clone(), kit().host(host), yaml)
}

/// The file is looked at once more.
fn look(host: &TestHost) {
    host.advance(LOOK);
    host.until_asleep();
}

#[test]
fn a_file_denies_what_was_verified_before() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("denied.json");
    for cache in [0, 64] {
        fs::write(&file, "{\"deny\":[]}").unwrap();
        let (host, kit, yaml) = watching(&file, cache);
        let plugin = kit.build(&yaml).unwrap();
        let (alice, bob, old) =
            (token("j1", "alice", NOW), token("j2", "bob", NOW), token("j3", "carol", NOW - 10));
        for token in [&alice, &bob, &old, &alice] {
            send(&plugin, token).authenticated();
        }
        let list = json!({"deny": [{"jti": "j1"}, {"sub": "bob", "iss": "https://login.example"},
            {"sub": "carol", "issued_before": NOW - 5}]});
        fs::write(&file, list.to_string()).unwrap();
        look(&host);
        for token in [&alice, &bob, &old] {
            send(&plugin, token).denied(401, "token_revoked");
        }
        send(&plugin, &token("j4", "carol", NOW - 5)).authenticated();
        send(&plugin, &token("j5", "alice", NOW)).authenticated();
        // A list of the same length, written in the same moment, is another list.
        fs::write(&file, list.to_string().replace("j1", "j5")).unwrap();
        look(&host);
        send(&plugin, &alice).authenticated();
        send(&plugin, &token("j5", "alice", NOW)).denied(401, "token_revoked");
        drop(plugin);
        host.until_tasks(0);
    }
}

#[test]
fn a_file_that_is_gone_or_broken_is_said_and_what_it_said_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("denied.json");
    fs::write(&file, "{\"deny\":[{\"jti\":\"j1\"}]}").unwrap();
    let (host, kit, yaml) = watching(&file, 64);
    let plugin = kit.build(&yaml).unwrap();
    let (denied, good) = (token("j1", "a", NOW), token("j2", "a", NOW));
    let mut failures = 0;
    let broken: [(&str, &dyn Fn()); 5] = [
        ("gone", &|| fs::remove_file(&file).unwrap()),
        ("empty", &|| fs::write(&file, "").unwrap()),
        ("half", &|| fs::write(&file, "{\"deny\":[{\"jti\":\"j2\"}").unwrap()),
        ("unknown", &|| fs::write(&file, "{\"deny\":[{\"token\":\"j2\"}]}").unwrap()),
        ("a folder", &|| {
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
        }),
    ];
    for (what, breaks) in broken {
        breaks();
        look(&host);
        failures += 1;
        assert!(kit.counted("denylist_failed") >= failures, "{what}");
        send(&plugin, &denied).denied(401, "token_revoked");
        send(&plugin, &good).authenticated();
        // With such a file nothing is loaded, also where another entry holds its last content.
        assert!(kit.build(&yaml).unwrap_err().contains("denied.json"), "{what}");
    }
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "{\"deny\":[{\"jti\":\"j2\"}]}").unwrap();
    look(&host);
    send(&plugin, &denied).authenticated();
    send(&plugin, &good).denied(401, "token_revoked");
}

#[test]
fn mistakes_are_refused() {
    for (fields, words) in [
        ("{}", "exactly one place"),
        ("{file: a.json, store: main}", "exactly one place"),
        ("{file: none.json}", "cannot be read"),
        ("{file: none.json, prefix: x}", "a file has no keys"),
        ("{store: main}", "no store `main`"),
        ("{path: a}", "path"),
    ] {
        let error =
            kit().build(&format!("{{secret: '{SECRET}', denylist: {fields}}}")).map(drop).unwrap_err();
        assert!(error.contains(words), "{fields}: {error}");
    }
}

/// A store in memory.
#[derive(Default)]
struct Memory(Mutex<Held>);

#[derive(Default)]
struct Held {
    keys: HashMap<String, &'static str>,
    instead: Option<Result<Answer, StoreError>>,
    asked: Vec<Vec<Bytes>>,
}

impl Store for Memory {
    fn run(&self, command: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        let mut held = self.0.lock();
        assert_eq!(command.name(), "MGET");
        held.asked.push(command.args().to_vec());
        let value = |key: &Bytes| {
            let found = held.keys.get(std::str::from_utf8(key).unwrap());
            found.map_or(Answer::Nil, |value| Answer::Bytes(Bytes::from_static(value.as_bytes())))
        };
        let answer = held
            .instead
            .clone()
            .unwrap_or_else(|| Ok(Answer::List(command.args().iter().map(value).collect())));
        Box::pin(async move { answer })
    }
}

fn after(plugin: &Instance, millis: u64, token: &str) -> Ran {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW as u64 * 1000 + millis);
    plugin.run(Case::get("/").started(time).header("authorization", &format!("Bearer {token}")))
}

#[test]
fn a_store_denies_within_a_second() {
    let memory = Arc::new(Memory::default());
    let kit = kit().store("main", memory.clone());
    let plugin = kit.build(&format!("{{secret: '{SECRET}', denylist: {{store: main}}}}")).unwrap();
    let (alice, nameless) = (token("j1", "alice", NOW - 5), {
        let mut claims = without("sub");
        claims.as_object_mut().unwrap().remove("iat");
        Signer::secret().token("HS256", &claims)
    });
    after(&plugin, 0, &alice).authenticated();
    let asked = memory.0.lock().asked.clone();
    let expected =
        ["iss:https://login.example", "jti:https://login.example|j1", "sub:https://login.example|alice"];
    assert_eq!(asked, [expected.map(|key| Bytes::from(format!("{{palisade:jwt:denied}}:{key}"))).to_vec()]);
    after(&plugin, 999, &alice).authenticated();
    assert_eq!(memory.0.lock().asked.len(), 1);
    for (key, value, denied) in [
        ("jti:https://login.example|j1", "0", true),
        ("jti:https://login.example|j1", "", true),
        ("jti:https://login.example|j2", "1", false),
        ("sub:https://login.example|alice", "all", true),
        ("sub:https://login.example|alice", "1799999996", true),
        ("sub:https://login.example|alice", "1799999995", false),
        ("sub:https://other.example|alice", "all", false),
        ("iss:https://login.example", "1799999996", true),
        ("iss:https://login.example", "1799999995", false),
        ("iss:https://login.example", "\u{0}", true),
    ] {
        let plugin = kit.build(&format!("{{secret: '{SECRET}', denylist: {{store: main}}}}")).unwrap();
        after(&plugin, 0, &alice).authenticated();
        memory.0.lock().keys.insert(format!("{{palisade:jwt:denied}}:{key}"), value);
        let ran = after(&plugin, 1000, &alice);
        memory.0.lock().keys.clear();
        if denied {
            ran.denied(401, "token_revoked");
            // Not remembered as clear.
            after(&plugin, 1001, &alice).authenticated();
        } else {
            ran.authenticated();
        }
    }
    // Without `sub` and `jti` there is the issuer; without `iat` it counts as old.
    after(&plugin, 2000, &nameless).authenticated();
    assert_eq!(memory.0.lock().asked.last().unwrap().len(), 1);
    memory.0.lock().keys.insert("{palisade:jwt:denied}:iss:https://login.example".into(), "1");
    after(&plugin, 3000, &nameless).denied(401, "token_revoked");
    // A clock that was set back asks again.
    let asked = memory.0.lock().asked.len();
    memory.0.lock().keys.clear();
    after(&plugin, 4000, &alice).authenticated();
    after(&plugin, 0, &alice).authenticated();
    assert_eq!(memory.0.lock().asked.len(), asked + 2);
}

#[test]
fn without_an_answer_nothing_passes() {
    let memory = Arc::new(Memory::default());
    let kit = kit().store("main", memory.clone());
    let plugin =
        kit.build(&format!("{{secret: '{SECRET}', denylist: {{store: main, prefix: 'x:'}}}}")).unwrap();
    let alice = token("j1", "alice", NOW);
    after(&plugin, 0, &alice).authenticated();
    assert!(memory.0.lock().asked[0][0].starts_with(b"x:iss:"));
    for (instead, reason) in [
        (Err(StoreError::Down), "store_unavailable"),
        (Err(StoreError::Broken), "store_unavailable"),
        (Err(StoreError::Busy), "store_unavailable"),
        (Err(StoreError::Timeout), "store_timeout"),
        (Err(StoreError::Refused("WRONGTYPE".to_owned())), "store_refused"),
        (Ok(Answer::Nil), "store_refused"),
        (Ok(Answer::Done), "store_refused"),
        (Ok(Answer::Int(0)), "store_refused"),
        (Ok(Answer::List(vec![])), "store_refused"),
        (Ok(Answer::List(vec![Answer::Nil, Answer::Nil])), "store_refused"),
        (Ok(Answer::List(vec![Answer::Nil, Answer::Nil, Answer::Int(0)])), "store_refused"),
        (Ok(Answer::List(vec![Answer::Nil, Answer::Nil, Answer::Nil, Answer::Nil])), "store_refused"),
    ] {
        memory.0.lock().instead = Some(instead);
        after(&plugin, 1000, &alice).faulted(reason);
        // Tokens that are not good are refused without it.
        after(&plugin, 1000, "x.y.z").denied(401, "token_malformed");
    }
    memory.0.lock().instead = None;
    after(&plugin, 1000, &alice).authenticated();
}
