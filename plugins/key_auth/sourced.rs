//! Keys of consumers outside of the configuration.

use super::{KeyAuth, KeyCredential, credential::hashed};
use palisade_contract::{
    Consumer, ConsumerSource, Descriptor, Fault, Held, Principal, Step, StoreError,
    testkit::{Case, Kit},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

struct Elsewhere;

impl ConsumerSource for Elsewhere {
    fn find_key(&self, hash: &[u8; 32]) -> Step<'static, Option<Held>> {
        let held = |name: &str, expires| {
            let consumer = Arc::new(Consumer { name: name.into(), groups: Vec::new() });
            Some(Held { principal: Arc::new(Principal::of_consumer(consumer, None)), expires })
        };
        let is = |key: &str| *hash == hashed(key.as_bytes());
        let hour = Duration::from_secs(3600);
        match () {
            () if is("now") => Step::Now(Ok(held("dave", Some(SystemTime::now() + hour)))),
            () if is("later") => Step::later(async move { Ok(held("erin", None)) }),
            () if is("over") => Step::Now(Ok(held("dave", Some(SystemTime::now() - hour)))),
            () if is("down") => Step::later(async { Err(Fault::from(StoreError::Down)) }),
            () if is("own") => Step::Now(Ok(held("mallory", None))),
            () => Step::Now(Ok(None)),
        }
    }
}

#[test]
fn keys_are_looked_for_in_the_configuration_and_then_elsewhere() {
    let descriptor = Descriptor::authenticator::<KeyAuth>().with_credentials::<KeyCredential>();
    let own = format!("key_sha256: {}", hex::encode(hashed(b"own")));
    let kit = Kit::of(descriptor).consumer("alice", &[], &[&own]).source(Arc::new(Elsewhere));
    let instance = kit.build("{}").unwrap();
    let ask = |key: &str| instance.run(Case::get("/").header("apikey", key));
    for (key, who) in [("now", "dave"), ("later", "erin"), ("own", "alice")] {
        assert_eq!(&*ask(key).authenticated().id, who);
    }
    for (key, reason) in [("over", "credential_expired"), ("nobody", "credential_unknown")] {
        ask(key).denied(401, reason);
    }
    ask("down").faulted("store_unavailable");
}
