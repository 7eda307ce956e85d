//! What a transaction knows of its request and response. Rules do not change it.

use crate::{
    bytes::Span,
    variable::{LISTS, List, Origin, SLOTS, Variable},
};

/// A value with its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) origin: Origin,
}

/// All values, in one buffer.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) buffer: Vec<u8>,
    lists: [Vec<Entry>; LISTS],
    slots: [Option<Span>; SLOTS],
    /// The request's body; `REQUEST_BODY` where `body_seen`.
    pub(crate) body: Vec<u8>,
    pub(crate) body_seen: bool,
    /// The response's body; `RESPONSE_BODY` where `response_seen`.
    pub(crate) response: Vec<u8>,
    pub(crate) response_seen: bool,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            buffer: Vec::with_capacity(4096),
            lists: Default::default(),
            slots: [None; SLOTS],
            body: Vec::new(),
            body_seen: false,
            response: Vec::new(),
            response_seen: false,
        }
    }
}

impl Store {
    /// Empties the store and keeps its memory, up to a bound.
    pub(crate) fn reset(&mut self) {
        const KEEP: usize = 256 << 10;
        for buffer in [&mut self.buffer, &mut self.body, &mut self.response] {
            buffer.clear();
            buffer.shrink_to(KEEP);
        }
        for list in &mut self.lists {
            list.clear();
            list.shrink_to(1024);
        }
        self.slots = [None; SLOTS];
        self.body_seen = false;
        self.response_seen = false;
    }

    /// Copies text to the buffer.
    pub(crate) fn keep(&mut self, text: &[u8]) -> Span {
        let from = self.buffer.len();
        self.buffer.extend_from_slice(text);
        Span::new(from..self.buffer.len())
    }

    /// What `write` appends to the buffer.
    pub(crate) fn keep_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let from = self.buffer.len();
        write(&mut self.buffer);
        Span::new(from..self.buffer.len())
    }

    pub(crate) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.buffer)
    }

    pub(crate) fn list(&self, list: List) -> &[Entry] {
        self.lists.get(list as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn add(&mut self, list: List, name: Span, value: Span, origin: Origin) {
        if let Some(list) = self.lists.get_mut(list as usize) {
            list.push(Entry { name, value, origin });
        }
    }

    /// Adds a copied name and value.
    pub(crate) fn add_copied(&mut self, list: List, name: &[u8], value: &[u8]) {
        let name = self.keep(name);
        let value = self.keep(value);
        self.add(list, name, value, Origin::Any);
    }

    pub(crate) fn set(&mut self, slot: Variable, value: Span) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            *slot = Some(value);
        }
    }

    pub(crate) fn set_copied(&mut self, slot: Variable, value: &[u8]) {
        let value = self.keep(value);
        self.set(slot, value);
    }

    pub(crate) fn set_number(&mut self, slot: Variable, value: usize) {
        let value =
            self.keep_with(|out| crate::bytes::push_integer(out, i64::try_from(value).unwrap_or(i64::MAX)));
        self.set(slot, value);
    }

    #[inline]
    pub(crate) fn slot(&self, slot: Variable) -> Option<&[u8]> {
        match slot {
            Variable::RequestBody => self.body_seen.then_some(self.body.as_slice()),
            Variable::ResponseBody => self.response_seen.then_some(self.response.as_slice()),
            _ => self.slots.get(slot as usize).copied().flatten().map(|span| self.text(span)),
        }
    }

    /// The first value of a name in a list.
    pub(crate) fn first(&self, list: List, name: &[u8]) -> Option<&[u8]> {
        let entry = self.list(list).iter().find(|entry| self.text(entry.name).eq_ignore_ascii_case(name))?;
        Some(self.text(entry.value))
    }
}
