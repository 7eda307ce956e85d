use super::*;
use palisade_contract::{
    Built, Descriptor, StoreError,
    testkit::{Case, Instance, Kit, Ran, block_on},
    verdict::BoxFuture,
};
use parking_lot::Mutex;
use ring::hmac;
use std::time::Duration;

const DESCRIPTOR: Descriptor = Descriptor::authenticator::<HmacAuth>().with_credentials::<HmacCredential>();
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Sun, 06 Nov 1994 08:49:37 GMT, as RFC 9110 has it.
const NOW: u64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn kit() -> Kit {
    Kit::of(DESCRIPTOR).consumer(
        "acme",
        &["partners"],
        &[&format!("{{username: alice, secret: {SECRET}}}"), "{username: bob, secret: fedcba9876543210}"],
    )
}

fn signature(algorithm: hmac::Algorithm, text: &str) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(algorithm, SECRET.as_bytes()), text.as_bytes()))
}

fn header(user: &str, algorithm: &str, headers: &str, signature: &str) -> String {
    format!(
        "hmac username=\"{user}\", algorithm=\"{algorithm}\", headers=\"{headers}\", signature=\"{signature}\""
    )
}

/// What alice sends, signed as it should be.
fn good(target: &str) -> String {
    let text = format!("date: {DATE}\n@request-target: get {target}");
    header("alice", "hmac-sha256", "date @request-target", &signature(hmac::HMAC_SHA256, &text))
}

fn at(case: Case, seconds: u64) -> Case {
    case.started(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn sent(target: &str, authorization: &str) -> Case {
    at(Case::get(target), NOW).header("date", DATE).header("authorization", authorization)
}

fn build(yaml: &str) -> Instance {
    kit().build(yaml).unwrap()
}

#[test]
fn a_signature_identifies_its_consumer_once() {
    let plugin = build("{}");
    let ran = plugin.run(sent("/orders?a=1", &good("/orders?a=1")));
    let principal = ran.authenticated();
    assert_eq!((&*principal.id, principal.credential.as_deref()), ("acme", Some("alice")));
    assert_eq!(ran.ex.origin_changes().remove_headers, ["authorization"]);
    plugin.run(sent("/orders?a=1", &good("/orders?a=1"))).denied(401, "signature_replayed");
    plugin.run(sent("/orders?a=2", &good("/orders?a=2"))).authenticated();
    let free = build("{refuse_replays: false, hide_credentials: false}");
    for _ in 0..2 {
        let ran = free.run(sent("/", &good("/")));
        ran.authenticated();
        assert!(ran.ex.origin_changes().is_empty());
    }
    plugin.run(Case::get("/")).no_credential();
    for other in ["Basic x", "Bearer x", "hmacs x", "Signatures x"] {
        plugin.run(Case::get("/").header("authorization", other)).no_credential();
    }
}

#[test]
fn every_form_that_clients_use_is_taken() {
    let plugin = build("{refuse_replays: false}");
    let line = format!("date: {DATE}\nGET / HTTP/1.1");
    let draft = format!("(request-target): get /\ndate: {DATE}\nhost: example.com\nx-list: a, b");
    let none = build("{refuse_replays: false, enforce_headers: []}");
    for (plugin, value) in [
        (&plugin, header("alice", "hmac-sha512", "date request-line", &signature(hmac::HMAC_SHA512, &line))),
        (&plugin, header("alice", "hmac-sha384", "Date Request-Line", &signature(hmac::HMAC_SHA384, &line))),
        (
            &plugin,
            format!(
                "Signature keyId=\"alice\",algorithm=\"hmac-sha256\",headers=\"(request-target) date host x-list\",signature=\"{}\"",
                signature(hmac::HMAC_SHA256, &draft)
            ),
        ),
        (
            &plugin,
            format!(
                "HMAC signature=\"{}\" , headers=\"date request-line\",username=\"alice\", algorithm=\"hmac-sha256\"",
                signature(hmac::HMAC_SHA256, &line)
            ),
        ),
        (
            &none,
            format!(
                "Signature keyId=\"alice\",algorithm=\"hmac-sha256\",signature=\"{}\"",
                signature(hmac::HMAC_SHA256, &format!("date: {DATE}"))
            ),
        ),
    ] {
        let case =
            sent("/", &value).header("host", "example.com").header("x-list", " a ").header("x-list", "b");
        plugin.run(case).authenticated();
    }
    // `x-date` goes before a `date` that browsers and libraries set themselves.
    let text = format!("x-date: {DATE}\n@request-target: get /");
    let value =
        header("alice", "hmac-sha256", "x-date @request-target", &signature(hmac::HMAC_SHA256, &text));
    let case = at(Case::get("/"), NOW).header("date", "Mon, 07 Nov 1994 08:49:37 GMT").header("x-date", DATE);
    plugin.run(case.header("authorization", &value)).authenticated();
}

#[test]
fn hostile_signatures_are_refused() {
    let plugin = build("{refuse_replays: false}");
    let text = format!("date: {DATE}\n@request-target: get /");
    let mac = signature(hmac::HMAC_SHA256, &text);
    let all = "date @request-target";
    let denied = |value: &str, reason: &str| {
        let denial = plugin.run(sent("/", value)).denied(401, reason);
        assert_eq!(denial.public_message(), "The signature is not good here", "{value}");
    };
    plugin.run(sent("/", &good("/"))).authenticated();
    plugin.run(sent("/other", &good("/"))).denied(401, "signature_invalid");
    plugin.run(sent("/?a", &good("/"))).denied(401, "signature_invalid");
    let post = at(Case::new("POST", "/"), NOW).header("date", DATE).header("authorization", &good("/"));
    plugin.run(post).denied(401, "signature_invalid");
    for (user, algorithm, headers, mac, reason) in [
        ("bob", "hmac-sha256", all, &mac, "signature_invalid"),
        ("nobody", "hmac-sha256", all, &mac, "signature_invalid"),
        ("Alice", "hmac-sha256", all, &mac, "signature_invalid"),
        ("alice", "hmac-sha512", all, &mac, "signature_invalid"),
        ("alice", "hmac-sha256", all, &String::new(), "signature_invalid"),
        ("alice", "hmac-sha256", all, &STANDARD.encode([0; 32]), "signature_invalid"),
        ("alice", "hmac-sha256", all, &mac[..mac.len() - 4].to_owned(), "signature_invalid"),
        ("alice", "hmac-sha256", "date @request-target x-none", &mac, "signature_invalid"),
        ("alice", "hmac-sha1", all, &mac, "signature_algorithm"),
        ("alice", "HMAC-SHA256", all, &mac, "signature_algorithm"),
        ("alice", "none", all, &mac, "signature_algorithm"),
        ("alice", "", all, &mac, "signature_algorithm"),
        ("alice", "hmac-sha256", "date", &mac, "signature_incomplete"),
        ("alice", "hmac-sha256", "@request-target", &mac, "signature_incomplete"),
        ("alice", "hmac-sha256", "", &mac, "credential_malformed"),
        ("alice", "hmac-sha256", "date  @request-target", &mac, "credential_malformed"),
        ("alice", "hmac-sha256", "date date @request-target", &mac, "credential_malformed"),
        ("alice", "hmac-sha256", "date @request-target @method", &mac, "credential_malformed"),
        ("alice", "hmac-sha256", all, &format!("{mac}="), "credential_malformed"),
        ("alice", "hmac-sha256", all, &format!(" {mac}"), "credential_malformed"),
        ("", "hmac-sha256", all, &mac, "credential_malformed"),
    ] {
        denied(&header(user, algorithm, headers, mac), reason);
    }
    let value = good("/");
    for value in [
        "hmac".to_owned(),
        "hmac ".to_owned(),
        "hmac x".to_owned(),
        format!("{value},"),
        format!("{value}, username=\"alice\""),
        format!("{value}, keyId=\"alice\""),
        format!("{value}, created=\"1\""),
        format!("{value} x"),
        value.replace('"', "'"),
        value.replace("alice", "al\\ice"),
        format!("hmac {}", "a=\"b\",".repeat(5000)),
        header("alice", "hmac-sha256", &"x ".repeat(100), &mac),
    ] {
        denied(&value, "credential_malformed");
    }
    let twice = |second: &str| sent("/", &good("/")).header("authorization", second);
    plugin.run(twice(&good("/"))).denied(401, "credential_ambiguous");
    plugin.run(twice("Basic x")).denied(401, "credential_ambiguous");
}

#[test]
fn dates_bound_how_long_a_signature_is_good() {
    let plugin = build("{clock_skew: 10s, refuse_replays: false}");
    let ask = |now: u64| {
        plugin.run(at(Case::get("/"), now).header("date", DATE).header("authorization", &good("/")))
    };
    for now in [NOW - 10, NOW, NOW + 10] {
        ask(now).authenticated();
    }
    for now in [NOW - 11, NOW + 11, 0] {
        ask(now).denied(401, "signature_expired");
    }
    let dated = |dates: &[&str]| {
        let text = format!("date: {}\n@request-target: get /", dates.join(", "));
        let value =
            header("alice", "hmac-sha256", "date @request-target", &signature(hmac::HMAC_SHA256, &text));
        let case = at(Case::get("/"), NOW).header("authorization", &value);
        plugin.run(dates.iter().fold(case, |case, date| case.header("date", date)))
    };
    dated(&[DATE]).authenticated();
    for dates in [
        &[][..],
        &[DATE, DATE],
        &[""],
        &["784111777"],
        &["Sunday, 06-Nov-94 08:49:37 GMT"],
        &["Sun Nov  6 08:49:37 1994"],
        &["Sun, 06 Nov 1994 08:49:37 +0000"],
        &["Mon, 06 Nov 1994 08:49:37 GMT"],
        &["1994-11-06T08:49:37Z"],
    ] {
        dated(dates).denied(401, "signature_date");
    }
    // A date beside the one that is signed does not count, and is not overlooked.
    let case = sent("/", &good("/")).header("x-date", DATE);
    plugin.run(case).denied(401, "signature_date");
}

#[test]
fn the_window_has_bounds_and_survives() {
    let (kit, successor) = (kit(), kit());
    let plugin = kit.build("{replay_window: 2, clock_skew: 10s}").unwrap();
    plugin.run(sent("/1", &good("/1"))).authenticated();
    plugin.run(sent("/2", &good("/2"))).authenticated();
    plugin.run(sent("/3", &good("/3"))).faulted("replay_window_full");
    plugin.run(sent("/1", &good("/1"))).denied(401, "signature_replayed");
    // A reload forgets nothing, nor does an upgrade.
    let again = kit.build("{replay_window: 3, clock_skew: 10s}").unwrap();
    again.run(sent("/1", &good("/1"))).denied(401, "signature_replayed");
    again.run(sent("/3", &good("/3"))).authenticated();
    let next = successor.build("{clock_skew: 10s}").unwrap();
    successor.take_over_from(&kit);
    for path in ["/1", "/2", "/3"] {
        next.run(sent(path, &good(path))).denied(401, "signature_replayed");
    }
    next.run(sent("/4", &good("/4"))).authenticated();
    // What is over makes room.
    let seen = Seen::new();
    assert_eq!(seen.look([1; 16], 100, 90, 1), Found::New);
    assert_eq!(seen.look([2; 16], 100, 90, 1), Found::Full);
    assert_eq!(seen.look([2; 16], 200, 130, 1), Found::New);
    use palisade_contract::Carry;
    for broken in [&b""[..], b"HS2", b"HS1abc", b"HS1\0\0\0\0\0\0\0\0\xff\xff\xff\xff", &[0xff; 100]] {
        seen.take_over(broken);
    }
    assert_eq!(seen.look([2; 16], 200, 130, 1), Found::Again);
}

/// A store that answers as it is told.
struct Told(Mutex<Vec<Result<Answer, StoreError>>>, Mutex<Vec<String>>);

impl Store for Told {
    fn run(&self, command: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        let args = command.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned());
        self.1.lock().push(format!("{} {}", command.name(), args.collect::<Vec<_>>().join(" ")));
        let answer = self.0.lock().remove(0);
        Box::pin(async { answer })
    }
}

#[test]
fn a_store_that_does_not_answer_lets_nobody_pass() {
    let answers = vec![
        Ok(Answer::Done),
        Ok(Answer::Nil),
        Ok(Answer::Int(1)),
        Err(StoreError::Down),
        Err(StoreError::Timeout),
        Err(StoreError::Refused("OOM".to_owned())),
    ];
    let told = Arc::new(Told(Mutex::new(answers), Mutex::default()));
    let plugin = kit().store("main", told.clone()).build("{store: main}").unwrap();
    let ask = |path: &str| -> Ran { plugin.run(sent(path, &good(path))) };
    ask("/1").authenticated();
    ask("/2").denied(401, "signature_replayed");
    ask("/3").faulted("store_refused");
    ask("/4").faulted("store_unavailable");
    ask("/5").faulted("store_timeout");
    ask("/6").faulted("store_refused");
    // What this gateway has seen itself is not asked for.
    ask("/1").denied(401, "signature_replayed");
    let asked = told.1.lock();
    assert_eq!(asked.len(), 6);
    assert!(
        asked[0].starts_with("SET palisade:hmac-auth:") && asked[0].ends_with(" 1 NX EX 301"),
        "{asked:?}"
    );
    assert!(!format!("{asked:?}").contains("alice"));
    let error = kit().build("{store: main}").unwrap_err();
    assert!(error.contains("there is no store `main`"), "{error}");
}

#[test]
fn the_body_is_what_was_signed() {
    let plugin = build("{validate_request_body: true, refuse_replays: false}");
    let Built::Authenticator(authenticator) = &plugin.built else { panic!() };
    let judge = |digest: Option<&str>, signed: bool, body: &str| -> Result<(), String> {
        let mut text = format!("date: {DATE}\n@request-target: post /");
        let mut names = "date @request-target".to_owned();
        let mut case = at(Case::new("POST", "/"), NOW).header("date", DATE);
        if let Some(digest) = digest {
            case = case.header("digest", digest);
            if signed {
                text.push_str(&format!("\ndigest: {digest}"));
                names.push_str(" digest");
            }
        }
        let value = header("alice", "hmac-sha256", &names, &signature(hmac::HMAC_SHA256, &text));
        let mut ex = case.header("authorization", &value).exchange();
        match block_on(authenticator.authenticate(&mut ex).resolve()).unwrap() {
            Authentication::Authenticated(_) => {}
            other => return Err(format!("{other:?}")),
        }
        let mut body = Body::new(body.to_owned().into(), true);
        match block_on(authenticator.on_request_body(&mut ex, &mut body).resolve()).unwrap() {
            palisade_contract::Verdict::Continue => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    let of = |body: &str| format!("SHA-256={}", STANDARD.encode(Sha256::digest(body)));
    judge(Some(&of("text")), true, "text").unwrap();
    judge(Some(&of("")), true, "").unwrap();
    judge(Some(&of("text").replace("SHA", "sha")), true, "text").unwrap();
    judge(None, false, "").unwrap();
    for (digest, signed, body, reason) in [
        (Some(of("text")), true, "Text", "digest_mismatch"),
        (Some(of("text")), true, "", "digest_mismatch"),
        (None, false, "text", "digest_mismatch"),
        (Some(of("text")), false, "text", "signature_incomplete"),
        (Some("SHA-256=".to_owned()), true, "", "digest_malformed"),
        (Some("MD5=1B2M2Y8AsgTpgAmY7PhCfg==".to_owned()), true, "", "digest_malformed"),
        (Some(format!("{},{}", of("a"), of("b"))), true, "a", "digest_malformed"),
        (Some(of("text").replace('=', ":")), true, "text", "digest_malformed"),
    ] {
        let found = judge(digest.as_deref(), signed, body).unwrap_err();
        assert!(found.contains(reason), "{digest:?} {body}: {found}");
    }
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("clock_skew: 0s", "`0ms` is no time here"),
        ("clock_skew: 500ms", "is no time here"),
        ("clock_skew: 2d", "is no time here"),
        ("algorithms: []", "nothing could be signed"),
        ("algorithms: [hmac-sha1]", "hmac-sha1"),
        ("replay_window: 0", "nothing could be remembered"),
        ("enforce_headers: ['a b']", "enforce_headers[0]: `a b` cannot be signed"),
        ("enforce_headers: ['@method']", "cannot be signed"),
        ("realm: 'a\"b'", "a challenge cannot have"),
        ("{store: main, refuse_replays: false}", "nothing is remembered there"),
        ("clock_skw: 1s", "did you mean `clock_skew`"),
    ] {
        let error = kit().build(yaml).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
    let build =
        |credential: &str| Kit::of(DESCRIPTOR).consumer("a", &[], &[credential]).build("{}").map(drop);
    for (credential, words) in [
        ("{username: '', secret: hunter2hunter2hunter2}", "cannot be a user name"),
        ("{username: 'a\"b', secret: hunter2hunter2hunter2}", "cannot be a user name"),
        ("{username: a, secret: hunter2}", "fewer than 16 bytes"),
    ] {
        let error = build(credential).unwrap_err();
        assert!(error.contains(words) && error.contains("consumers.a.hmac-auth"), "{credential}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let twice = Kit::of(DESCRIPTOR)
        .consumer("a", &[], &[&format!("{{username: x, secret: {SECRET}}}")])
        .consumer("b", &[], &[&format!("{{username: x, secret: {SECRET}}}")]);
    assert!(twice.build("{}").unwrap_err().contains("belongs to the consumer `a` already"));
}
