//! What is known on its way to the process that takes over.
//!
//! `CG1`, the secret that keys are hashed with, the clock, and the record of all failures; then records: which table, the key,
//! `full`, `until`, the owner and the level. All numbers are little-endian. Lockouts go first, then who is known, then
//! failures, as far as three quarters of what may be carried: 180 000 of them.

use super::{
    record::Record,
    state::State,
    table::{Room, Table},
};
use palisade_contract::carry::{Carry, MAX_CARRIED};

const FORMAT: &[u8] = b"CG1";
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

impl Carry for State {
    fn carry(&self) -> Option<Vec<u8>> {
        let now = self.clock.now();
        let mut out = FORMAT.to_vec();
        out.extend(self.clock.secret());
        out.extend(now.to_le_bytes());
        write(&self.all.lock(), &mut out);
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
    let (all, records) = rest.split_at_checked(RECORD)?;
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
    Some(())
}
