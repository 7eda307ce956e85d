//! Inputs made of other inputs, the same ones each time.

/// A small generator of numbers (splitmix64): the same seed gives the same inputs everywhere.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Changes an input in one to four places. `others` lend pieces, `words` are what the format is made of.
pub fn mutate(input: &[u8], others: &[Vec<u8>], words: &[&[u8]], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(12)).min(bytes.len());
        match numbers.below(8) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
            1 => drop(bytes.splice(at..end, [])),
            2 => drop(bytes.splice(at..at, [numbers.next() as u8])),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let other = &others[numbers.below(others.len())];
                let from = numbers.below(other.len());
                let to = (from + numbers.below(40)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            5 => bytes.truncate(at.max(bytes.len() / 2)),
            _ => {
                let word = words[numbers.below(words.len())];
                bytes.splice(at..if numbers.below(2) == 0 { at } else { end }, word.iter().copied());
            }
        }
    }
    bytes
}
