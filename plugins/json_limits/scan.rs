//! Reads a JSON text once, keeps nothing of it but the names of open objects, and says what is too much.

use super::Config;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

/// Why a text does not pass.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: &'static str,
    /// For the client.
    pub(super) message: &'static str,
    /// For the operator: what, and where.
    pub(super) detail: String,
}

/// A limit that a text is over.
#[derive(Debug, Clone, Copy)]
struct Over {
    reason: &'static str,
    message: &'static str,
}

const MALFORMED: Over = Over { reason: "json_malformed", message: "The body is not JSON" };
const DEPTH: Over = Over { reason: "json_depth", message: "The body is nested too deeply" };
const ENTRIES: Over = Over { reason: "json_object_entries", message: "An object has too many names" };
const NAME: Over = Over { reason: "json_name_length", message: "A name is too long" };
const TWICE: Over = Over { reason: "json_name_twice", message: "A name stands twice in an object" };
const ITEMS: Over = Over { reason: "json_array_items", message: "An array has too many items" };
const STRING: Over = Over { reason: "json_string_length", message: "A string is too long" };
const NUMBER: Over = Over { reason: "json_number_length", message: "A number is too long" };

/// Names of an object that are compared one by one; a set is made for more.
const FEW: usize = 16;

/// Reads all of a text.
pub(super) fn scan(text: &[u8], limits: &Config) -> Result<(), Refused> {
    let over = Cell::new(None);
    let refused = |over: Over, detail: String| Refused { reason: over.reason, message: over.message, detail };
    if let Some(at) = long_number(text, limits.max_number_length) {
        return Err(refused(NUMBER, format!("at byte {at}")));
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    let scope = Scope { limits, over: &over, depth: 0 };
    let read = scope.deserialize(&mut parser).and_then(|()| parser.end());
    read.map_err(|error| refused(over.get().unwrap_or(MALFORMED), error.to_string()))
}

/// Where a number with more than `most` characters begins. The parser makes a double of any number.
fn long_number(text: &[u8], most: usize) -> Option<usize> {
    let (mut quoted, mut escaped, mut length) = (false, false, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => (quoted, length) = (!quoted, 0),
            b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' if !quoted => {
                length += 1;
                if length > most {
                    return Some(at + 1 - length);
                }
            }
            _ => length = 0,
        }
    }
    None
}

#[derive(Clone, Copy)]
struct Scope<'s> {
    limits: &'s Config,
    /// What made the parser stop: its own errors are texts.
    over: &'s Cell<Option<Over>>,
    depth: usize,
}

impl<'s> Scope<'s> {
    fn stop<E: Error>(&self, over: Over) -> E {
        self.over.set(Some(over));
        E::custom(over.message)
    }

    /// What stands in an array or object here.
    fn inside<E: Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > self.limits.max_container_depth {
            Err(self.stop(DEPTH))
        } else {
            Ok(Scope { depth, ..*self })
        }
    }

    fn string<E: Error>(&self, text: &str) -> Result<(), E> {
        if text.len() > self.limits.max_string_value_length { Err(self.stop(STRING)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Scope<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scope<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.string(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut count = 0;
        while items.next_element_seed(inside)?.is_some() {
            count += 1;
            if count > self.limits.max_array_element_count {
                return Err(self.stop(ITEMS));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut names = Names::default();
        let mut count = 0;
        while let Some(name) = fields.next_key_seed(Name(self))? {
            count += 1;
            if count > self.limits.max_object_entry_count {
                return Err(self.stop(ENTRIES));
            }
            if !names.insert(name) {
                return Err(self.stop(TWICE));
            }
            fields.next_value_seed(inside)?;
        }
        Ok(())
    }
}

/// Names of one object.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    /// False where it is there already.
    fn insert(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.len() < FEW && self.many.is_empty() {
            let is_new = !self.few.contains(&name);
            self.few.push(name);
            return is_new;
        }
        self.many.extend(self.few.drain(..));
        self.many.insert(name)
    }
}

/// A name, borrowed where it has no escapes.
struct Name<'s>(Scope<'s>);

impl Name<'_> {
    fn check<E: Error>(&self, name: &str) -> Result<(), E> {
        let most = self.0.limits.max_object_entry_name_length;
        if name.len() > most { Err(self.0.stop(NAME)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        self.check(name).map(|()| Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        self.check(name).map(|()| Cow::Owned(name.to_owned()))
    }
}
