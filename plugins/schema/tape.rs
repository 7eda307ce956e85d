//! JSON as a list of what stands in it, one behind the other: read once, with texts that stay where they are. A tree would
//! cost more to make than to hold against a schema.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Objects with more members than these are looked up by an order of their names.
const FEW: usize = 16;
/// No order.
const NONE: u32 = u32::MAX;
/// How many bytes of a text make an entry, about.
const BYTES: usize = 10;

/// A JSON text that can be read in one way only: a name that stands twice in an object is refused, as are a byte order
/// mark, bytes behind the value and what is not UTF-8. The parser bounds the depth.
#[derive(Debug, Default)]
pub(crate) struct Tape<'t> {
    entries: Vec<Entry<'t>>,
    /// Of each object with many members the places of their names, in the order of the names.
    orders: Vec<u32>,
    /// How many of the entries are names.
    names: usize,
}

/// A value, or the name of a member, whose value is the next entry. What stands in an array or an object follows it.
#[derive(Debug)]
pub(super) enum Entry<'t> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'t str),
    /// One with escapes.
    Owned(Box<str>),
    Array {
        len: u32,
        /// The place behind the last of its items.
        end: u32,
    },
    Object {
        len: u32,
        end: u32,
        /// Where its order begins.
        order: u32,
    },
}

impl<'t> Tape<'t> {
    /// Reads a text.
    ///
    /// # Errors
    /// It is not JSON, or can be read in two ways.
    pub(crate) fn read(bytes: &'t [u8]) -> Result<Self, serde_json::Error> {
        // Of a text that is known to be UTF-8 the parser need not ask it of each string.
        match std::str::from_utf8(bytes) {
            Ok(text) => Tape::parse(serde_json::Deserializer::from_str(text), bytes.len()),
            Err(_) => Tape::parse(serde_json::Deserializer::from_slice(bytes), bytes.len()),
        }
    }

    fn parse<R: serde_json::de::Read<'t>>(
        mut parser: serde_json::Deserializer<R>,
        length: usize,
    ) -> Result<Self, serde_json::Error> {
        let mut tape = Tape { entries: Vec::with_capacity(length / BYTES), ..Tape::default() };
        Fill(&mut tape).deserialize(&mut parser)?;
        parser.end().map(|()| tape)
    }

    /// How many values stand in it.
    pub(crate) fn parts(&self) -> usize {
        self.entries.len() - self.names
    }

    pub(super) fn entry(&self, at: usize) -> &Entry<'t> {
        self.entries.get(at).unwrap_or(&Entry::Null)
    }

    /// The place behind a value.
    pub(super) fn after(&self, at: usize) -> usize {
        match self.entry(at) {
            Entry::Array { end, .. } | Entry::Object { end, .. } => *end as usize,
            _ => at + 1,
        }
    }

    /// The text of a string or a name.
    pub(super) fn text(&self, at: usize) -> Option<&str> {
        match self.entry(at) {
            Entry::Text(text) => Some(text),
            Entry::Owned(text) => Some(text),
            _ => None,
        }
    }

    /// The place of a member's value, of the object at this place.
    pub(super) fn member(&self, at: usize, name: &str) -> Option<usize> {
        let Entry::Object { len, order, .. } = *self.entry(at) else { return None };
        if order == NONE {
            let mut place = at + 1;
            for _ in 0..len {
                if self.text(place) == Some(name) {
                    return Some(place + 1);
                }
                place = self.after(place + 1);
            }
            return None;
        }
        let order = self.orders.get(order as usize..)?.get(..len as usize)?;
        let found = order.binary_search_by(|place| self.text(*place as usize).cmp(&Some(name))).ok()?;
        order.get(found).map(|place| *place as usize + 1)
    }

    /// The value at a place, as a tree.
    pub(super) fn value(&self, at: usize) -> Value {
        match self.entry(at) {
            Entry::Null => Value::Null,
            Entry::Bool(value) => Value::Bool(*value),
            Entry::Number(number) => Value::Number(number.clone()),
            Entry::Text(text) => Value::String((*text).to_owned()),
            Entry::Owned(text) => Value::String(text.clone().into_string()),
            Entry::Array { len, .. } => {
                let mut place = at + 1;
                let items = (0..*len).map(|_| {
                    let item = self.value(place);
                    place = self.after(place);
                    item
                });
                Value::Array(items.collect())
            }
            Entry::Object { len, .. } => {
                let (mut place, mut members) = (at + 1, Map::new());
                for _ in 0..*len {
                    members.insert(self.text(place).unwrap_or_default().to_owned(), self.value(place + 1));
                    place = self.after(place + 1);
                }
                Value::Object(members)
            }
        }
    }

    /// The place of the next entry, as it is kept.
    fn here<E: Error>(&self) -> Result<u32, E> {
        u32::try_from(self.entries.len()).map_err(|_| E::custom("it has too many parts"))
    }

    fn close(&mut self, at: u32, entry: Entry<'t>) {
        if let Some(open) = self.entries.get_mut(at as usize) {
            *open = entry;
        }
    }
}

/// Reads a value onto the end of a tape.
struct Fill<'f, 't>(&'f mut Tape<'t>);

impl<'de> DeserializeSeed<'de> for Fill<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Fill<'_, 'de> {
    fn push<E>(self, entry: Entry<'de>) -> Result<(), E> {
        self.0.entries.push(entry);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Fill<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Entry::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(Entry::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(Entry::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(Entry::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number"))?;
        self.push(Entry::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.push(Entry::Text(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.push(Entry::Owned(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let (tape, mut len) = (self.0, 0);
        let at = tape.here()?;
        tape.entries.push(Entry::Null);
        while items.next_element_seed(Fill(tape))?.is_some() {
            len += 1;
        }
        let end = tape.here()?;
        tape.close(at, Entry::Array { len, end });
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (tape, mut names) = (self.0, Names::default());
        let at = tape.here()?;
        tape.entries.push(Entry::Null);
        loop {
            let place = tape.here()?;
            if members.next_key_seed(Fill(tape))?.is_none() {
                break;
            }
            members.next_value_seed(Fill(tape))?;
            names.add(tape, place)?;
        }
        let (len, end) = (names.len, tape.here()?);
        let order = names.order(tape)?;
        tape.close(at, Entry::Object { len, end, order });
        tape.names += len as usize;
        Ok(())
    }
}

/// The places of an object's names, while it is read.
#[derive(Default)]
struct Names {
    few: [u32; FEW],
    len: u32,
    /// All of them, where they are many.
    many: Vec<u32>,
}

impl Names {
    /// # Errors
    /// It stands twice.
    fn add<E: Error>(&mut self, tape: &Tape<'_>, place: u32) -> Result<(), E> {
        let text = |place: u32| tape.text(place as usize);
        match self.few.split_at_mut_checked(self.len as usize) {
            Some((known, [next, ..])) => {
                if known.iter().any(|known| text(*known) == text(place)) {
                    return Err(E::custom("a name stands twice"));
                }
                *next = place;
            }
            // They are compared when all are there.
            _ => {
                if self.many.is_empty() {
                    self.many.extend(self.few);
                }
                self.many.push(place);
            }
        }
        self.len += 1;
        Ok(())
    }

    /// Keeps the order of many names, and says where.
    ///
    /// # Errors
    /// One of them stands twice.
    fn order<E: Error>(mut self, tape: &mut Tape<'_>) -> Result<u32, E> {
        if self.many.is_empty() {
            return Ok(NONE);
        }
        let text = |place: &u32| tape.text(*place as usize);
        self.many.sort_unstable_by(|one, other| text(one).cmp(&text(other)));
        let twice = self.many.windows(2).any(|pair| matches!(pair, [one, other] if text(one) == text(other)));
        if twice {
            return Err(E::custom("a name stands twice"));
        }
        let begin = u32::try_from(tape.orders.len()).ok().filter(|begin| *begin != NONE);
        tape.orders.append(&mut self.many);
        begin.ok_or_else(|| E::custom("it has too many parts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use proptest::prelude::*;

    /// What is read as a tree is read as a tape, and nothing else is.
    fn same(text: &[u8]) -> bool {
        let (tape, tree) = (Tape::read(text), json::read(text));
        match (&tape, &tree) {
            (Ok(tape), Ok(tree)) => {
                assert_eq!(tape.value(0), *tree);
                assert_eq!(tape.parts(), super::super::parts(tree, usize::MAX - 1));
                every_member_is_found(tape);
            }
            (Err(_), Err(_)) => {}
            _ => panic!("{}: {tape:?} {tree:?}", text.escape_ascii()),
        }
        tape.is_ok()
    }

    fn every_member_is_found(tape: &Tape<'_>) {
        for at in 0..tape.entries.len() {
            let Entry::Object { len, .. } = tape.entry(at) else { continue };
            let mut place = at + 1;
            for _ in 0..*len {
                assert_eq!(tape.member(at, tape.text(place).unwrap()), Some(place + 1));
                place = tape.after(place + 1);
            }
            assert_eq!((tape.member(at, "none such"), place), (None, tape.after(at)));
        }
    }

    fn object(names: impl Iterator<Item = usize>) -> String {
        let members: Vec<String> =
            names.map(|name| format!("\"n{name}\":[{name},{{\"a\":{name}}}]")).collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn it_reads_what_a_tree_reads() {
        for text in [
            "null",
            "true",
            "-0",
            "-1.5e3",
            "18446744073709551616",
            "\"a\"",
            r#""a\u00e9\n""#,
            "[]",
            "{}",
            "[[],{},[1,[2,3]],\"x\"]",
            r#"{"a":1,"\u0062":{"a":[{}]},"c":null}"#,
            " [ 1 , 2 ] ",
        ] {
            assert!(same(text.as_bytes()), "{text}");
        }
        for count in [15, 16, 17, 18, 300] {
            assert!(same(object((0..count).rev()).as_bytes()), "{count}");
            for twice in [0, 5, count - 1] {
                assert!(!same(object((0..count).chain([twice])).as_bytes()), "{count} {twice}");
            }
        }
        for text in [
            "",
            "{",
            "[1,]",
            "{}x",
            "{} {}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":1}",
            "[{\"b\":{\"a\":1,\"a\":1}}]",
            "{a:1}",
            "[NaN]",
            "1e999",
            "01",
            "\"\\ud800\"",
            "\"\n\"",
            "\u{feff}{}",
            "{}\0",
        ] {
            assert!(!same(text.as_bytes()), "{text}");
        }
        assert!(!same(b"\"\xff\"") && !same(b"{\"\xff\":1}") && !same(b"[1]\xff"));
        assert!(same(format!("{}{}", "[".repeat(120), "]".repeat(120)).as_bytes()));
        assert!(!same("[".repeat(100_000).as_bytes()) && !same("{\"a\":".repeat(100_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn whatever_comes(text in "\\PC{0,40}|[\\[{](\"[a-c]\":|[0-9]{1,3}|\"[a-z\\\\]\"|[\\[\\]{},]|null){0,12}[\\]}]") {
            same(text.as_bytes());
        }
    }
}
