//! Callers that are locked out, as an operator sees and ends it, and on their way to the process that takes over.

use super::watch::{Caller, Watch};
use palisade_contract::{Carry, Lockouts, Whom, verdict::BoxFuture};
use serde_json::{Value, json};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Lockouts that can be listed.
const SHOWN: usize = 1000;
/// `OW1`, and then, as JSON, who is locked out and for how many milliseconds. Which ids were tried begins anew.
const FORMAT: &[u8] = b"OW1";

impl Watch {
    /// Who is locked out and for how long, the latest first.
    fn all_locked(&self, now: Instant) -> Vec<(Arc<str>, Duration)> {
        let callers = self.callers.lock();
        callers.iter().filter_map(|(name, caller)| Some((name.clone(), caller.left(now)?))).collect()
    }
}

impl Lockouts for Watch {
    fn list(&self) -> Vec<Value> {
        let shown = |(name, left): (Arc<str>, Duration)| {
            let seconds = left.as_millis().div_ceil(1000);
            json!({"kind": "caller", "account": *name, "seconds_left": u64::try_from(seconds).unwrap_or(u64::MAX)})
        };
        self.all_locked(Instant::now()).into_iter().take(SHOWN).map(shown).collect()
    }

    /// Callers are told by what they have proved to be: an address ends nothing.
    fn end(&self, whom: Whom) -> BoxFuture<'_, usize> {
        let is_meant = |name: &str| match &whom {
            Whom::Ip(_) => false,
            Whom::Account(account) => account == name,
            Whom::All => true,
        };
        let ended: Vec<_> =
            self.all_locked(Instant::now()).into_iter().filter(|(name, _)| is_meant(name)).collect();
        let mut callers = self.callers.lock();
        for (name, _) in &ended {
            callers.pop(name);
        }
        drop(callers);
        let count = ended.len();
        Box::pin(async move { count })
    }
}

impl Carry for Watch {
    fn carry(&self) -> Option<Vec<u8>> {
        let mut locked = self.all_locked(Instant::now());
        if locked.is_empty() {
            return None;
        }
        // Taken over in this order they are again as they were: who was seen last goes last.
        locked.reverse();
        let all: Vec<(&str, u64)> = locked
            .iter()
            .map(|(name, left)| (&**name, u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
            .collect();
        Some([FORMAT, &serde_json::to_vec(&all).ok()?].concat())
    }

    fn take_over(&self, carried: &[u8]) {
        let all = carried.strip_prefix(FORMAT).map(serde_json::from_slice::<Vec<(String, u64)>>);
        let Some(Ok(all)) = all else {
            log::warn!("ownership: what the predecessor knew is of another format: it begins anew");
            return;
        };
        let now = Instant::now();
        self.lockouts.fetch_add(all.len(), Ordering::Relaxed);
        let mut callers = self.callers.lock();
        for (name, millis) in all {
            callers.put(name.into(), Caller::locked_for(now, Duration::from_millis(millis)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::watch::Terms, *};
    use palisade_contract::testkit::block_on;

    const HOUR: Duration = Duration::from_secs(3600);

    fn tries(watch: &Watch, caller: &str, lockout: Option<Duration>) {
        let terms = Terms { distinct: 2, window: HOUR, lockout };
        assert!(watch.note(&caller.into(), ["1", "2"].into_iter(), &terms, Instant::now()));
    }

    fn is_locked(watch: &Watch, caller: &str) -> bool {
        watch.locked(&caller.into(), Instant::now()).is_some()
    }

    #[test]
    fn who_is_locked_out_is_listed_and_let_in_again() {
        let watch = Watch::default();
        for caller in ["alice", "bob", "carol"] {
            tries(&watch, caller, Some(HOUR));
        }
        tries(&watch, "dave", None);
        let list = watch.list();
        assert_eq!(list.len(), 3, "{list:?}");
        assert_eq!((&list[0]["kind"], &list[0]["account"]), (&json!("caller"), &json!("carol")));
        let left = list[0]["seconds_left"].as_u64().unwrap();
        assert!((3000..=3600).contains(&left), "{left}");
        let end = |whom| block_on(watch.end(whom));
        assert_eq!(end(Whom::Ip([192, 0, 2, 1].into())), 0);
        assert_eq!(end(Whom::Account("nobody".to_owned())), 0);
        assert_eq!(end(Whom::Account("bob".to_owned())), 1);
        assert!(is_locked(&watch, "alice") && !is_locked(&watch, "bob"));
        assert_eq!((end(Whom::All), end(Whom::All)), (2, 0));
        assert!(watch.list().is_empty() && !is_locked(&watch, "alice"));
        // They begin anew.
        let terms = Terms { distinct: 2, window: HOUR, lockout: Some(HOUR) };
        assert!(!watch.note(&"alice".into(), ["1"].into_iter(), &terms, Instant::now()));
    }

    #[test]
    fn who_is_locked_out_stays_so_in_the_successor() {
        let (old, new) = (Watch::default(), Watch::default());
        assert_eq!(old.carry(), None);
        tries(&old, "alice", Some(HOUR));
        tries(&old, "bob", None);
        new.take_over(&old.carry().unwrap());
        assert!(is_locked(&new, "alice") && !is_locked(&new, "bob"));
        assert_eq!(new.list().len(), 1);
        let other = Watch::default();
        for bytes in [&b""[..], b"OW1", b"OW2[]", b"OW1[[1,2]]", b"OW1[[\"a\",-1]]", b"OW1[[\"a\",1]"] {
            other.take_over(bytes);
        }
        assert!(other.list().is_empty());
        // What lasts longer than there is time for holds for nobody, and panics nowhere.
        other.take_over(format!("OW1[[\"a\",{}]]", u64::MAX).as_bytes());
    }
}
