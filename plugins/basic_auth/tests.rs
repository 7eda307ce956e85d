use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit},
};
use std::sync::{Barrier, OnceLock};

const DESCRIPTOR: Descriptor = Descriptor::authenticator::<BasicAuth>().with_credentials::<BasicCredential>();
const BCRYPT: &str = "$2b$08$";

/// An argon2id hash that costs little.
fn cheap(password: &str) -> String {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version, password_hash::SaltString};
    let salt = SaltString::encode_b64(b"sixteen of bytes").unwrap();
    let params = Params::new(64, 1, 1, None).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes(), &salt)
        .unwrap()
        .to_string()
}

fn bcrypt_of(password: &str) -> String {
    bcrypt::hash_with_salt(password, 8, [7; 16]).unwrap().to_string()
}

fn credential(user: &str, hash: &str) -> String {
    format!("{{username: {user:?}, password_hash: '{hash}'}}")
}

fn kit() -> Kit {
    static HASHES: OnceLock<[String; 4]> = OnceLock::new();
    let [alice, umlaut, long, imported] = HASHES.get_or_init(|| {
        [cheap("open:sesame"), cheap("pässwörd"), bcrypt_of(&"x".repeat(72)), bcrypt_of("imported")]
    });
    assert!(imported.starts_with(BCRYPT));
    Kit::of(DESCRIPTOR).consumer("alice", &["gold"], &[&credential("alice", alice)]).consumer(
        "bob",
        &[],
        &[&credential("jürgen", umlaut), &credential("long", long), &credential("imported", imported)],
    )
}

fn basic(login: &str) -> String {
    format!("Basic {}", STANDARD.encode(login))
}

fn ask(plugin: &Instance, login: &str) -> palisade_contract::testkit::Ran {
    plugin.run(Case::get("/").header("authorization", &basic(login)))
}

#[test]
fn a_password_identifies_its_consumer() {
    let kit = kit();
    let plugin = kit.build("{}").unwrap();
    for (login, consumer, id) in [
        ("alice:open:sesame", "alice", "alice"),
        ("jürgen:pässwörd", "bob", "j%C3%BCrgen"),
        ("imported:imported", "bob", "imported"),
        (&format!("long:{}", "x".repeat(72)), "bob", "long"),
    ] {
        let ran = ask(&plugin, login);
        let principal = ran.authenticated();
        assert_eq!((&*principal.id, principal.credential.as_deref()), (consumer, Some(id)));
        assert_eq!(ran.ex.origin_changes().remove_headers, ["authorization"]);
    }
    assert_eq!(kit.counted("verified"), 4);
    ask(&plugin, "alice:open:sesame").authenticated();
    assert_eq!(kit.counted("verified"), 4, "a good login is remembered");
    for scheme in ["basic", "BASIC", "bAsIc "] {
        let value = format!("{scheme} {}", STANDARD.encode("alice:open:sesame"));
        plugin.run(Case::get("/").header("authorization", &value)).authenticated();
    }
    let kept = kit.build("{hide_credentials: false, cache: 0s}").unwrap();
    let ran = ask(&kept, "alice:open:sesame");
    ran.authenticated();
    assert!(ran.ex.origin_changes().is_empty());
    let before = kit.counted("verified");
    ask(&kept, "alice:open:sesame").authenticated();
    assert_eq!(kit.counted("verified"), before + 1);
}

#[test]
fn other_schemes_are_not_its_business() {
    let plugin = kit().build("{}").unwrap();
    plugin.run(Case::get("/")).no_credential();
    for other in ["Bearer abc", "Basi", "Basics YWxpY2U6eA==", "Digest basic", "", "Basic\tYWxpY2U6eA=="] {
        let ran = plugin.run(Case::get("/").header("authorization", other));
        ran.no_credential();
        assert!(ran.ex.origin_changes().is_empty(), "{other}");
    }
}

#[test]
fn hostile_logins_are_refused() {
    let plugin = kit().build("{}").unwrap();
    let long = format!("long:{}", "x".repeat(73));
    for login in [
        "alice:open:sesam",
        "alice:open:sesame ",
        "alice:Open:sesame",
        "alice:",
        "alice:open",
        "Alice:open:sesame",
        "alice :open:sesame",
        "nobody:open:sesame",
        "nobody:",
        "bob:pässwörd",
        "jurgen:pässwörd",
        "ju\u{308}rgen:pässwörd",
        // bcrypt would not look at the last one.
        &long,
    ] {
        let denial = ask(&plugin, login).denied(401, "credential_unknown");
        assert_eq!(denial.public_message(), "The user name or the password is wrong");
        assert!(denial.private_detail().is_none());
        // Nor is it remembered.
        ask(&plugin, login).denied(401, "credential_unknown");
    }
    let good = STANDARD.encode("alice:open:sesame");
    for value in [
        "Basic",
        "Basic ",
        "Basic !",
        &format!("Basic {good} {good}"),
        &format!("Basic {good},"),
        &format!("Basic {}", good.trim_end_matches('=')),
        &format!("Basic {good}=="),
        &format!("Basic {}", STANDARD.encode("alice")),
        &format!("Basic {}", STANDARD.encode(":open")),
        &format!("Basic {}", STANDARD.encode("alice:a\0")),
        &format!("Basic {}", STANDARD.encode("alice\n:a")),
        &format!("Basic {}", STANDARD.encode(b"alice:\xff")),
        &format!("Basic {}", STANDARD.encode(format!("alice:{}", "x".repeat(1100)))),
        &format!("Basic {}", "QUFB".repeat(5000)),
    ] {
        plugin.run(Case::get("/").header("authorization", value)).denied(401, "credential_malformed");
    }
    for second in [basic("alice:open:sesame"), "Bearer x".to_owned()] {
        let case = |a: &str, b: &str| Case::get("/").header("authorization", a).header("authorization", b);
        let first = basic("alice:open:sesame");
        plugin.run(case(&first, &second)).denied(401, "credential_ambiguous");
        plugin.run(case(&second, &first)).denied(401, "credential_ambiguous");
    }
}

#[test]
fn nobody_with_a_name_costs_what_somebody_costs() {
    let kit = kit();
    let plugin = kit.build("{}").unwrap();
    for user in 0..5 {
        ask(&plugin, &format!("nobody{user}:x")).denied(401, "credential_unknown");
    }
    assert_eq!(kit.counted("verified"), 5);
    // Without users there is nothing to find out.
    let none = Kit::of(DESCRIPTOR).build("{}").unwrap();
    ask(&none, "nobody:x").denied(401, "credential_unknown");
}

#[test]
fn a_full_queue_refuses_and_equal_logins_wait_together() {
    let pool = Pool::start(1, 2, 2).unwrap();
    let (barrier, done) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let ip = |text: &str| text.parse().unwrap();
    let begun = Arc::new(Barrier::new(2));
    let (at_begin, at_barrier) = (begun.clone(), barrier.clone());
    assert!(pool.submit(ip("192.0.2.1"), move || {
        at_begin.wait();
        at_barrier.wait();
    }));
    begun.wait();
    // One runs and one waits of this address; another address may still wait.
    assert!(pool.submit(ip("192.0.2.1"), || ()));
    assert!(!pool.submit(ip("192.0.2.1"), || ()), "its share is full");
    let at_done = done.clone();
    assert!(pool.submit(ip("2001:db8::1"), move || {
        at_done.wait();
    }));
    assert!(!pool.submit(ip("192.0.2.3"), || ()), "the queue is full");
    barrier.wait();
    done.wait();
    // A panic costs its thread nothing.
    let after = Arc::new(Barrier::new(2));
    let at_after = after.clone();
    let mut submitted = false;
    for _ in 0..10_000 {
        submitted = pool.submit(ip("192.0.2.4"), || panic!("a test"));
        if submitted {
            break;
        }
        thread::yield_now();
    }
    assert!(
        submitted
            && pool.submit(ip("2001:db8::2"), move || {
                at_after.wait();
            })
    );
    after.wait();
}

#[test]
fn many_with_the_same_login_cost_one_verification() {
    let kit = kit();
    let plugin = Arc::new(kit.build("{queue: 1, queue_per_ip: 1, concurrency: 1}").unwrap());
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let plugin = plugin.clone();
            thread::spawn(move || ask(&plugin, "imported:imported").authenticated())
        })
        .collect();
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    assert_eq!(kit.counted("busy"), 0);
    assert!(kit.counted("verified") <= 2, "{}", kit.counted("verified"));
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("realm: 'a\"b'", "a challenge cannot have"),
        ("realm: \"a\\r\\nb\"", "a challenge cannot have"),
        ("cache: 2h", "`2h` is too long"),
        ("concurrency: 0", "nobody could log in"),
        ("queue: 0", "nobody could log in"),
        ("queue_per_ip: 0", "nobody could log in"),
        ("queu: 1", "did you mean `queue`"),
    ] {
        let error = kit().build(yaml).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
    let good = cheap("x");
    let build = |user: &str, hash: &str| {
        Kit::of(DESCRIPTOR).consumer("a", &[], &[&credential(user, hash)]).build("{}").map(drop)
    };
    build("a", &good).unwrap();
    for (user, hash, words) in [
        ("", good.as_str(), "cannot be a user name"),
        ("a:b", &good, "cannot be a user name"),
        ("a\nb", &good, "cannot be a user name"),
        (&"x".repeat(129), &good, "cannot be a user name"),
        ("a", "hunter2", "neither an argon2id nor a bcrypt"),
        ("a", "", "neither an argon2id nor a bcrypt"),
        (
            "a",
            "$argon2i$v=19$m=64,t=1,p=1$c2l4dGVlbiBvZiBieXRlcw$aGFzaGhhc2hoYXNoaGFzaA",
            "neither an argon2id",
        ),
        ("a", "$argon2id$hunter2", "argon2id hash"),
        ("a", "$argon2id$v=19$m=64,t=1,p=1", "no salt"),
        ("a", "$argon2id$v=16$m=64,t=1,p=1$c2l4dGVlbiBvZiBieXRlcw$aGFzaGhhc2hoYXNoaGFzaA", "another version"),
        ("a", "$argon2id$v=19$m=4194304,t=1,p=1$c2l4dGVlbiBvZiBieXRlcw$aGFzaGhhc2hoYXNoaGFzaA", "costs more"),
        ("a", "$argon2id$v=19$m=64,t=100,p=1$c2l4dGVlbiBvZiBieXRlcw$aGFzaGhhc2hoYXNoaGFzaA", "costs more"),
        ("a", &bcrypt_of("x").replace("$08$", "$16$"), "from 8 to 15"),
        ("a", "$2b$08$hunter2", "no bcrypt hash"),
    ] {
        let error = build(user, hash).unwrap_err();
        assert!(error.contains(words) && error.contains("consumers.a.basic-auth"), "{user} {hash}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let twice = Kit::of(DESCRIPTOR).consumer("a", &[], &[&credential("x", &good)]).consumer(
        "b",
        &[],
        &[&credential("x", &good)],
    );
    assert!(twice.build("{}").unwrap_err().contains("belongs to the consumer `a` already"));
    for (more, words) in [("", "`password_hash` is missing"), (", password_hash: x", "not valid here")] {
        let yaml = format!("{{username: a, password: hunter2{more}}}");
        let plain = Kit::of(DESCRIPTOR).check_credential(&yaml).unwrap_err();
        assert!(plain.contains(words) && !plain.contains("hunter2"), "{plain}");
    }
}

#[test]
fn what_is_made_is_what_is_read() {
    let made = hash_password("a password").unwrap();
    assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
    assert_ne!(made, hash_password("a password").unwrap());
    let stored = hash::Stored::parse(&made).unwrap();
    assert!(stored.verify("a password") && !stored.verify("another"));
}
