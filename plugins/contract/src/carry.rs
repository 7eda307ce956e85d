//! What is known in memory and goes along when another process takes over.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

/// The most bytes that one thing may carry over.
pub const MAX_CARRIED: usize = 8 << 20;

/// Something that a plugin keeps, and that the process which takes over at an upgrade should know as well: counts,
/// lockouts, fetched keys. Both processes may be of different releases: what is carried says its own format, and what
/// is not understood is left alone, which is what a start without a predecessor would be.
pub trait Carry: Send + Sync + 'static {
    /// What the successor should know, [`MAX_CARRIED`] bytes at most: more is not carried over. None where there is
    /// nothing. Called while requests are served.
    fn carry(&self) -> Option<Vec<u8>>;

    /// Takes over what the predecessor has said, before this process serves its first request.
    fn take_over(&self, carried: &[u8]);
}

/// Everything that is carried over, by name.
#[derive(Default)]
pub struct Carried(Mutex<HashMap<String, Weak<dyn Carry>>>);

impl Carried {
    /// From now on, and as long as anybody else holds it, this goes along under `name`.
    pub fn add(&self, name: &str, what: &Arc<impl Carry>) {
        let weak: Weak<dyn Carry> = Arc::downgrade(what) as Weak<dyn Carry>;
        self.0.lock().insert(name.to_owned(), weak);
    }

    /// What the successor should know, by name. What is too large is logged, and left out.
    pub fn all(&self) -> Vec<(String, Vec<u8>)> {
        let held: Vec<(String, Arc<dyn Carry>)> =
            self.0.lock().iter().filter_map(|(name, what)| Some((name.clone(), what.upgrade()?))).collect();
        let mut all = Vec::new();
        for (name, what) in held {
            match what.carry() {
                Some(bytes) if bytes.len() <= MAX_CARRIED => all.push((name, bytes)),
                Some(bytes) => {
                    log::warn!(
                        "{name}: {} bytes are too many to be carried over: it begins anew",
                        bytes.len()
                    );
                }
                None => {}
            }
        }
        all
    }

    /// Takes over what the predecessor has said under `name`; false where nothing of that name is here.
    pub fn take_over(&self, name: &str, carried: &[u8]) -> bool {
        let what = self.0.lock().get(name).and_then(Weak::upgrade);
        if let Some(what) = &what {
            what.take_over(carried);
        }
        what.is_some()
    }

    /// Lets go of what nobody holds any more.
    pub fn sweep(&self) {
        self.0.lock().retain(|_, what| what.strong_count() > 0);
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words(Mutex<Vec<u8>>);

    impl Carry for Words {
        fn carry(&self) -> Option<Vec<u8>> {
            Some(self.0.lock().clone()).filter(|words| !words.is_empty())
        }

        fn take_over(&self, carried: &[u8]) {
            self.0.lock().extend_from_slice(carried);
        }
    }

    #[test]
    fn what_is_held_goes_along_by_name() {
        let words = |text: &[u8]| Arc::new(Words(Mutex::new(text.to_vec())));
        let (old, new) = (Carried::default(), Carried::default());
        let (a, empty, large, gone) =
            (words(b"a"), words(b""), words(&vec![0; MAX_CARRIED + 1]), words(b"x"));
        for (name, what) in [("a", &a), ("empty", &empty), ("large", &large), ("gone", &gone)] {
            old.add(name, what);
        }
        drop(gone);
        let all = old.all();
        assert_eq!(all, [("a".to_owned(), b"a".to_vec())]);
        let taken = words(b"");
        new.add("a", &taken);
        assert!(new.take_over("a", b"a") && !new.take_over("b", b"b"));
        assert_eq!(*taken.0.lock(), b"a");
        drop(taken);
        new.sweep();
        assert!(!new.take_over("a", b"a"));
    }
}
