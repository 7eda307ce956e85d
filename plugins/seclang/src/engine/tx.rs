//! The `TX` collection: an array for the names that rules write, a table for those that requests make.

use crate::{bytes::push_integer, template::TxNames};
use std::collections::HashMap;

/// The most values under names that requests make.
const MOST: usize = 20_000;
/// As many are looked through one by one.
const FEW: usize = 32;

/// A value, which is a number where its text is that of one.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cell {
    set: bool,
    is_number: bool,
    number: i64,
    text: Vec<u8>,
}

impl Cell {
    pub(crate) fn is_set(&self) -> bool {
        self.set
    }

    pub(crate) fn number(&self) -> i64 {
        if self.is_number { self.number } else { crate::bytes::integer(&self.text) }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.is_number { push_integer(out, self.number) } else { out.extend_from_slice(&self.text) }
    }

    pub(crate) fn set_number(&mut self, number: i64) {
        self.set = true;
        self.is_number = true;
        self.number = number;
    }

    pub(crate) fn set_text(&mut self, text: &[u8]) {
        self.set = true;
        self.is_number = match canonical(text) {
            Some(number) => {
                self.number = number;
                true
            }
            None => {
                self.text.clear();
                self.text.extend_from_slice(text);
                false
            }
        };
    }

    pub(crate) fn unset(&mut self) {
        self.set = false;
    }
}

/// The number whose decimal digits a text is.
pub(crate) fn canonical(text: &[u8]) -> Option<i64> {
    match text {
        b"0" => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 17 && rest.iter().all(u8::is_ascii_digit) => {
            Some(crate::bytes::integer(text))
        }
        _ => None,
    }
}

/// `TX` of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Tx {
    cells: Vec<Cell>,
    /// The first `used` are of this transaction; the others keep their memory.
    made: Vec<(Vec<u8>, Cell)>,
    used: usize,
    /// Where the made names are, once they are many.
    numbers: HashMap<Vec<u8>, usize>,
}

impl Tx {
    pub(crate) fn reset(&mut self, names: usize) {
        for cell in &mut self.cells {
            cell.unset();
        }
        self.cells.resize(names, Cell::default());
        self.made.truncate(FEW);
        self.used = 0;
        self.numbers.clear();
    }

    #[inline]
    pub(crate) fn get(&self, number: u16) -> Option<&Cell> {
        self.cells.get(usize::from(number)).filter(|cell| cell.is_set())
    }

    pub(crate) fn cell(&mut self, number: u16) -> Option<&mut Cell> {
        self.cells.get_mut(usize::from(number))
    }

    /// The cell of a name in any case; `None` where there are too many already.
    pub(crate) fn named(&mut self, names: &TxNames, mut name: Vec<u8>) -> Option<&mut Cell> {
        name.make_ascii_lowercase();
        if let Some(number) = names.number(&name) {
            return self.cell(number);
        }
        let few = self.made.iter().take(self.used.min(FEW)).position(|(known, _)| *known == name);
        let at = match few.or_else(|| self.numbers.get(&name).copied()) {
            Some(at) => at,
            None if self.used >= MOST => return None,
            None => {
                let at = self.used;
                self.used += 1;
                if at >= FEW {
                    self.numbers.insert(name.clone(), at);
                }
                match self.made.get_mut(at) {
                    Some((known, cell)) => {
                        known.clear();
                        known.extend_from_slice(&name);
                        cell.unset();
                    }
                    None => self.made.push((name, Cell::default())),
                }
                at
            }
        };
        self.made.get_mut(at).map(|(_, cell)| cell)
    }

    /// All values that are set, with their names.
    pub(crate) fn all<'a>(&'a self, names: &'a TxNames) -> impl Iterator<Item = (&'a [u8], &'a Cell)> {
        let fixed = self.cells.iter().zip(0..).map(|(cell, number)| (names.name(number), cell));
        let made = self.made.iter().take(self.used).map(|(name, cell)| (name.as_slice(), cell));
        fixed.chain(made).filter(|(_, cell)| cell.is_set())
    }

    /// All values under names that requests made.
    pub(crate) fn made(&self) -> impl Iterator<Item = (&[u8], &Cell)> {
        self.made
            .iter()
            .take(self.used)
            .map(|(name, cell)| (name.as_slice(), cell))
            .filter(|(_, cell)| cell.is_set())
    }

    /// Forgets what the last captures left.
    pub(crate) fn clear_captures(&mut self) {
        for cell in self.cells.iter_mut().take(10) {
            cell.unset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text() {
        let mut names = TxNames::default();
        let score = names.intern(b"Score");
        let mut tx = Tx::default();
        tx.reset(names.len());
        for text in [b"5".as_slice(), b"05", b"", b"-1", b"9999999999999999999", b"a b"] {
            tx.cell(score).unwrap().set_text(text);
            let mut out = Vec::new();
            tx.get(score).unwrap().write(&mut out);
            assert_eq!(out, text);
        }
        tx.named(&names, b"Made_1".to_vec()).unwrap().set_number(7);
        tx.named(&names, b"made_1".to_vec()).unwrap().set_number(8);
        assert_eq!(
            tx.all(&names).map(|(name, cell)| (name.to_vec(), cell.number())).last(),
            Some((b"made_1".to_vec(), 8))
        );
        tx.reset(names.len());
        assert_eq!(tx.all(&names).count(), 0);
    }
}
