//! What is known on its way to the process that takes over.
//!
//! `CG2`, the secret that keys are hashed with, the clock, and the record of all failures; what can be listed, as JSON behind its
//! length; then records: which table, the key, `full`, `until`, the owner and the level. All numbers are little-endian. Lockouts
//! go first, then who is known, then failures, as far as three quarters of what may be carried: 180 000 of them.

use super::{
    record::Record,
    state::{Shown, State},
    table::{Kind, Room, Table},
};
use palisade_contract::carry::{Carry, MAX_CARRIED};
use std::net::IpAddr;

const FORMAT: &[u8] = b"CG2";
/// Bytes of a record.
const RECORD: usize = 25;
const EACH: usize = 1 + 8 + RECORD;
/// The table of failures, and of those who are known.
const FAILED: u8 = 0;
const GOOD: u8 = 1;

fn write(record: &Record, out: &mut Vec<u8>) {
    for word in [record.full, record.until, record.owner] {
        out.extend(word.to_le_bytes());
    }
    out.push(record.level);
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

fn record(bytes: &[u8]) -> Option<Record> {
    let (full, until, owner) = (word(bytes, 0)?, word(bytes, 8)?, word(bytes, 16)?);
    Some(Record { full, until, owner, level: *bytes.get(24)?, flying: 0 })
}

/// A lockout as it is listed: its key, what it is of, its network, its account, and its key in the store.
type Listed = (u64, u8, IpAddr, Option<String>, Option<String>);

/// What can be listed of now, the latest last: taken over in this order it is again as it was.
fn listed(state: &State, now: u64) -> Vec<u8> {
    let all: Vec<Listed> = {
        let shown = state.shown.lock();
        let parts = |(key, one): (&u64, &Shown)| {
            let account = one.account.as_deref().map(str::to_owned);
            (*key, one.kind as u8, one.network, account, one.stored.clone())
        };
        shown.iter().rev().map(parts).collect()
    };
    let live: Vec<Listed> = all.into_iter().filter(|(key, ..)| state.locked(*key, now).is_some()).collect();
    serde_json::to_vec(&live).unwrap_or_default()
}

fn show(state: &State, listed: Vec<Listed>) {
    let mut shown = state.shown.lock();
    for (key, kind, network, account, stored) in listed {
        let kind = [Kind::Ip, Kind::Pair, Kind::Credential].into_iter().find(|one| *one as u8 == kind);
        let Some(kind) = kind else { continue };
        shown.put(key, Shown { kind, network, account: account.map(Into::into), stored });
    }
}

impl Carry for State {
    fn carry(&self) -> Option<Vec<u8>> {
        let now = self.clock.now();
        let mut out = FORMAT.to_vec();
        out.extend(self.clock.secret());
        out.extend(now.to_le_bytes());
        write(&self.all.lock(), &mut out);
        let listed = listed(self, now);
        out.extend(u32::try_from(listed.len()).unwrap_or(0).to_le_bytes());
        out.extend(listed);
        let (head, mut left) = (out.len(), 0usize);
        let mut add = |table: &Table, number: u8, is: &dyn Fn(&Record) -> bool| {
            table.each(|key, record| {
                if !is(record) {
                    return;
                }
                if out.len() + EACH > MAX_CARRIED / 4 * 3 {
                    left += 1;
                    return;
                }
                out.push(number);
                out.extend(key.to_le_bytes());
                write(record, &mut out);
            });
        };
        add(&self.failures, FAILED, &|record| record.locked(now).is_some());
        add(&self.good, GOOD, &|record| record.full > now);
        add(&self.failures, FAILED, &|record| {
            record.locked(now).is_none() && (record.full > now || record.level > 0)
        });
        if left > 0 {
            log::warn!("credential-guard: {left} records are too many to be carried over: they begin anew");
        }
        (out.len() > head || self.all.lock().full > now).then_some(out)
    }

    fn take_over(&self, carried: &[u8]) {
        if read(self, carried).is_none() {
            log::warn!("credential-guard: what the predecessor knew is of another format: it begins anew");
        }
    }
}

/// None where it is not understood.
fn read(state: &State, carried: &[u8]) -> Option<()> {
    let rest = carried.strip_prefix(FORMAT)?;
    let (secret, rest) = rest.split_first_chunk::<16>()?;
    let (now, rest) = rest.split_first_chunk::<8>()?;
    let (all, rest) = rest.split_at_checked(RECORD)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (listed, records) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let listed: Vec<Listed> = serde_json::from_slice(listed).ok()?;
    if records.len() % EACH != 0 {
        return None;
    }
    let now = u64::from_le_bytes(*now);
    // Where somebody was counted already, the keys would not be the same.
    if !state.clock.begin(*secret, now) {
        return Some(());
    }
    *state.all.lock() = record(all)?;
    // There is no more of them than was carried.
    let room = Room { keys: usize::MAX, most: u64::MAX };
    for one in records.chunks_exact(EACH) {
        let (number, rest) = one.split_first()?;
        let (key, bytes) = (word(rest, 0)?, rest.get(8..)?);
        let taken = record(bytes)?;
        let table = if *number == GOOD { &state.good } else { &state.failures };
        table.change(key, room, now, |record| *record = taken);
    }
    show(state, listed);
    Some(())
}
