//! Which signatures were seen: one is good once. They are kept as long as their date lets them pass, and no longer.

use palisade_contract::Carry;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};

/// Signatures whose time ends in the same so many seconds are forgotten together.
const SLOT: i64 = 16;
const FORMAT: &[u8; 3] = b"HS1";
/// What may be carried over, in bytes; less than the contract allows.
const CARRIED: usize = 7 << 20;

/// The first 16 bytes of a SHA-256 of user and signature.
pub(super) type Tag = [u8; 16];

/// What has been seen.
pub(super) struct Seen(Mutex<State>);

#[derive(Default)]
struct State {
    /// By the end of their time, in slots.
    slots: BTreeMap<i64, HashSet<Tag>>,
    count: usize,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    New,
    Again,
    /// There is no room to remember it.
    Full,
}

impl Seen {
    pub(super) fn new() -> Self {
        Seen(Mutex::default())
    }

    /// Remembers a signature until `end`, in seconds since 1970; `most` bounds how many.
    pub(super) fn look(&self, tag: Tag, end: i64, now: i64, most: usize) -> Found {
        let mut state = self.0.lock();
        let over = now.div_euclid(SLOT);
        while let Some(slot) = state.slots.first_entry().filter(|slot| *slot.key() < over) {
            let gone = slot.remove().len();
            state.count -= gone;
        }
        let slot = end.div_euclid(SLOT);
        if state.slots.get(&slot).is_some_and(|slot| slot.contains(&tag)) {
            return Found::Again;
        }
        if state.count >= most {
            return Found::Full;
        }
        state.slots.entry(slot).or_default().insert(tag);
        state.count += 1;
        Found::New
    }
}

/// `HS1`, then for each slot its number, how many signatures there are, and those. What lasts longest goes first.
impl Carry for Seen {
    fn carry(&self) -> Option<Vec<u8>> {
        let state = self.0.lock();
        if state.count == 0 {
            return None;
        }
        let mut out = FORMAT.to_vec();
        for (slot, tags) in state.slots.iter().rev() {
            let room = CARRIED.saturating_sub(out.len() + 12) / size_of::<Tag>();
            let fits = tags.len().min(room);
            let Ok(count) = u32::try_from(fits) else { break };
            out.extend(slot.to_le_bytes());
            out.extend(count.to_le_bytes());
            tags.iter().take(fits).for_each(|tag| out.extend(tag));
            if fits < tags.len() {
                log::warn!("hmac-auth: more signatures are remembered than can be carried over");
                break;
            }
        }
        Some(out)
    }

    fn take_over(&self, carried: &[u8]) {
        let Some(mut rest) = carried.strip_prefix(FORMAT) else { return };
        let mut state = self.0.lock();
        while let Some((head, tail)) = rest.split_first_chunk::<12>() {
            let slot = head.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
            let count = head.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            rest = tail;
            for _ in 0..count {
                let Some((tag, tail)) = rest.split_first_chunk::<16>() else { return };
                rest = tail;
                if state.slots.entry(slot).or_default().insert(*tag) {
                    state.count += 1;
                }
            }
        }
    }
}
