//! All files together: who holds a key, and what clashes.

use super::{
    Reserved,
    part::{Entry, Member, Part, slot},
    slots::{At, Slots},
};
use palisade_contract::{ConfigError, Held};
use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};
use subtle::ConstantTimeEq;

/// As many clashes are said.
const SAID: usize = 10;

/// The consumers of all files.
#[derive(Debug)]
pub(super) struct Table {
    parts: Vec<Arc<Part>>,
    keys: Slots,
}

impl Table {
    /// Puts files together, no more than [`super::slots::MAX_PARTS`].
    ///
    /// # Errors
    /// A consumer or a key that stands twice, or in the configuration too: the first few.
    pub(super) fn new(parts: Vec<Arc<Part>>, reserved: &Reserved) -> Result<Self, Vec<ConfigError>> {
        let count = |of: fn(&Part) -> usize| parts.iter().map(|part| of(part)).sum();
        let mut table = Table { keys: Slots::new(count(|part| part.entries.len())), parts };
        let mut errors = table.names(reserved);
        let mut keys = std::mem::replace(&mut table.keys, Slots::new(0));
        for (number, part) in table.numbered() {
            for (index, entry) in (0u32..).zip(&part.entries) {
                if errors.len() >= SAID {
                    return Err(errors);
                }
                let same = |at| table.entry(at).is_some_and(|(_, other)| other.hash == entry.hash);
                if let Err(first) = keys.add(slot(&entry.hash), At { part: number, index }, same) {
                    errors.extend(table.clash(part, entry, first));
                }
            }
        }
        for (hash, (owner, place)) in &reserved.keys {
            let found = keys.find(slot(hash), |at| table.entry(at).is_some_and(|(_, one)| one.hash == *hash));
            let found = found.and_then(|at| table.entry(at));
            if let Some((part, member)) = found.and_then(|(part, entry)| Some((part, part.member_of(entry)?)))
            {
                let message =
                    format!("this key belongs to the consumer `{owner}` of the configuration already");
                let error = ConfigError::new(message).help("give each consumer a key of its own");
                errors.push(error.place(part.place(member)).other("it is here", place.clone()));
            }
        }
        table.keys = keys;
        errors.truncate(SAID);
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// Names that stand twice.
    fn names(&self, reserved: &Reserved) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let hashes = RandomState::new();
        let mut names = Slots::new(self.consumers());
        let error = |name: &str, (part, member): (&Part, &Member), place| {
            let error = ConfigError::new(format!("the consumer `{name}` is written twice"));
            let error = error.help("give one of them another name, or remove it");
            error.place(part.place(member)).other("the first one is here", place)
        };
        for (number, part) in self.numbered() {
            for (index, member) in (0u32..).zip(&part.members) {
                let name = part.name(member);
                let same = |at| self.member(at).is_some_and(|(part, other)| part.name(other) == name);
                let added = names.add(hashes.hash_one(name), At { part: number, index }, same);
                let first = added.err().and_then(|first| self.member(first));
                errors.extend(first.map(|(of, first)| error(name, (part, member), of.place(first))));
                if errors.len() >= SAID {
                    return errors;
                }
            }
        }
        for (name, place) in &reserved.names {
            let is = |at| self.member(at).is_some_and(|(part, member)| part.name(member) == &**name);
            let found = names.find(hashes.hash_one(&**name), is).and_then(|at| self.member(at));
            errors.extend(found.map(|found| error(name, found, place.clone())));
        }
        errors
    }

    fn clash(&self, part: &Part, entry: &Entry, first: At) -> Option<ConfigError> {
        let (other, known) = self.entry(first)?;
        let (owner, member) = (other.member_of(known)?, part.member_of(entry)?);
        let error =
            ConfigError::new(format!("this key belongs to the consumer `{}` already", other.name(owner)));
        let error = error.help("give each consumer a key of its own").place(part.place(member));
        Some(error.other("the first one is here", other.place(owner)))
    }

    fn numbered(&self) -> impl Iterator<Item = (u16, &Part)> {
        (0u16..).zip(self.parts.iter().map(|part| &**part))
    }

    fn entry(&self, at: At) -> Option<(&Part, &Entry)> {
        let part = self.parts.get(usize::from(at.part))?;
        Some((part, part.entries.get(at.index as usize)?))
    }

    fn member(&self, at: At) -> Option<(&Part, &Member)> {
        let part = self.parts.get(usize::from(at.part))?;
        Some((part, part.members.get(at.index as usize)?))
    }

    /// Who holds a key. Only hashes are compared: what time tells about that is about the hash of a guess, from which
    /// nothing follows for the next guess. The last comparison is constant-time all the same.
    pub(super) fn find(&self, hash: &[u8; 32]) -> Option<Held> {
        let is = |at| self.entry(at).is_some_and(|(_, known)| bool::from(known.hash.ct_eq(hash)));
        let (part, entry) = self.entry(self.keys.find(slot(hash), is)?)?;
        part.held(entry)
    }

    pub(super) fn consumers(&self) -> usize {
        self.parts.iter().map(|part| part.members.len()).sum()
    }

    pub(super) fn credentials(&self) -> usize {
        self.parts.iter().map(|part| part.entries.len()).sum()
    }

    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.parts.iter().map(|part| part.bytes()).sum::<usize>()
    }
}
