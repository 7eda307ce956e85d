//! Counts on their way to the process that takes over.
//!
//! `RL2`, the secret that keys are hashed with, the table's clock, which limits there are, how many
//! words the counts of a window have and how many stand in each; then for each shard what is counted together; then records: a key, and the words of each limit. All numbers are little-endian. Records that
//! say nothing any more stay behind, and so do those beyond three quarters of what may be carried: 49 000 callers with every
//! limit there is, 98 000 with one window.

use super::{
    counter::{MOST_SLOTS, Period},
    shard::Shape,
    slices::Width,
    table::{Key, SHARDS, Table},
};
use palisade_contract::carry::{Carry, MAX_CARRIED};

const FORMAT: &[u8] = b"RL2";
/// Bytes of a key.
const KEY: usize = 8;

impl Carry for Table {
    fn carry(&self) -> Option<Vec<u8>> {
        let shape = self.shape();
        let words = shape.words();
        let each = (MAX_CARRIED / 2 + MAX_CARRIED / 4) / SHARDS / (KEY + 4 * words);
        let mut out = FORMAT.to_vec();
        out.extend(self.secret());
        out.extend(self.now().to_le_bytes());
        out.push(u8::try_from(shape.periods.len()).ok()?);
        out.push(u8::try_from(shape.counts).ok()?);
        out.push(u8::try_from(shape.width.in_word()).ok()?);
        out.extend(shape.periods.iter().map(|period| *period as u8));
        let others = out.len();
        let mut records = Vec::new();
        let mut left = 0;
        for index in 0..SHARDS {
            left += self.export(index, &shape, each, &mut out, &mut records);
        }
        if left > 0 {
            log::warn!(
                "rate-limiting: the counts of {left} callers are too many to be carried over: they begin anew"
            );
        }
        let nothing =
            records.is_empty() && out.get(others..).is_none_or(|words| words.iter().all(|byte| *byte == 0));
        out.append(&mut records);
        (!nothing).then_some(out)
    }

    fn take_over(&self, carried: &[u8]) {
        if read(self, carried).is_none() {
            log::warn!("rate-limiting: the counts of the predecessor are of another format: they begin anew");
        }
    }
}

/// None where it is not understood.
fn read(table: &Table, carried: &[u8]) -> Option<()> {
    let rest = carried.strip_prefix(FORMAT)?;
    let (secret, rest) = rest.split_first_chunk::<16>()?;
    let (now, rest) = rest.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first()?;
    let (counts, rest) = rest.split_first()?;
    let (in_word, rest) = rest.split_first()?;
    let (periods, rest) = rest.split_at_checked(usize::from(*count))?;
    let periods: Vec<Period> =
        periods.iter().map(|number| Period::ALL.get(usize::from(*number)).copied()).collect::<Option<_>>()?;
    let width =
        [Width::Half, Width::Whole].into_iter().find(|width| width.in_word() == usize::from(*in_word))?;
    let slots = usize::from(*counts) * width.in_word();
    if slots == 1 || slots > MOST_SLOTS {
        return None;
    }
    let shape = Shape { periods, counts: usize::from(*counts), width };
    let words = shape.words();
    let (others, records) = rest.split_at_checked(SHARDS * words * 4)?;
    if records.len() % (KEY + 4 * words) != 0 {
        return None;
    }
    // Where somebody was counted already, the keys would not be the same.
    if !table.begin(*secret, u64::from_le_bytes(*now)) {
        return Some(());
    }
    if words > 0 {
        for (index, others) in others.chunks_exact(words * 4).enumerate() {
            table.import_others(index, &shape, &numbers(others));
        }
    }
    for record in records.chunks_exact(KEY + 4 * words) {
        let (key, counted) = record.split_first_chunk::<KEY>()?;
        table.import(Key::of(u64::from_le_bytes(*key)), &shape, &numbers(counted));
    }
    Some(())
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|number| u32::from_le_bytes(*number)).collect()
}
