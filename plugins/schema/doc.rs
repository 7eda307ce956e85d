//! Values as the engine looks at them: a tape where there is one, a tree elsewhere.

use super::tape::{Entry, Tape};
use jsonschema::{
    JsonType,
    json::{self, Json, NodeIdentity, SerdeJson, cmp, unique},
};
use serde_json::{Map, Number, Value};
use std::{borrow::Cow, ptr};

/// What a value is held in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doc<'a> {
    /// An entry of a tape.
    Tape(&'a Tape<'a>, usize),
    Value(&'a Value),
    /// An object with one member.
    Member(&'a Member<'a>),
}

/// A value as the only member of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) value: Doc<'a>,
}

impl<'a> From<&'a Value> for Doc<'a> {
    fn from(value: &'a Value) -> Self {
        Doc::Value(value)
    }
}

impl<'a> From<&'a Tape<'_>> for Doc<'a> {
    fn from(tape: &'a Tape<'_>) -> Self {
        Doc::Tape(tape, 0)
    }
}

/// The engine's word for [`Doc`].
pub(super) struct Engine;

impl Json for Engine {
    type Node<'a> = Doc<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    // Names of small objects are compared one after the other.
    const KEYS_PER_LOOKUP: usize = 4;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(Doc<'_>) -> T) -> T {
        if let Value::String(text) = buffer {
            text.clear();
            text.push_str(string);
        } else {
            *buffer = Value::String(string.to_owned());
        }
        f(Doc::Value(buffer))
    }
}

impl<'a> json::Node<'a, Engine> for Doc<'a> {
    type Object = Object<'a>;
    type Array = Array<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Object<'a>> {
        match *self {
            Doc::Tape(tape, at) => match tape.entry(at) {
                Entry::Object { len, .. } => Some(Object::Tape(tape, at, *len as usize)),
                _ => None,
            },
            Doc::Value(value) => value.as_object().map(Object::Map),
            Doc::Member(member) => Some(Object::Member(member)),
        }
    }

    fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Doc::Tape(tape, at) => match tape.entry(at) {
                Entry::Array { len, .. } => Some(Array::Tape(tape, at, *len as usize)),
                _ => None,
            },
            Doc::Value(value) => value.as_array().map(|items| Array::List(items)),
            Doc::Member(_) => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.text().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        match *self {
            Doc::Tape(tape, at) => match tape.entry(at) {
                Entry::Number(number) => Some(number),
                _ => None,
            },
            Doc::Value(Value::Number(number)) => Some(number),
            Doc::Value(_) | Doc::Member(_) => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match *self {
            Doc::Tape(tape, at) => match tape.entry(at) {
                Entry::Bool(value) => Some(*value),
                _ => None,
            },
            Doc::Value(value) => value.as_bool(),
            Doc::Member(_) => None,
        }
    }

    fn is_null(&self) -> bool {
        self.json_type() == JsonType::Null
    }

    fn json_type(&self) -> JsonType {
        match *self {
            Doc::Tape(tape, at) => match tape.entry(at) {
                Entry::Null => JsonType::Null,
                Entry::Bool(_) => JsonType::Boolean,
                Entry::Number(_) => JsonType::Number,
                Entry::Text(_) | Entry::Owned(_) => JsonType::String,
                Entry::Array { .. } => JsonType::Array,
                Entry::Object { .. } => JsonType::Object,
            },
            Doc::Value(value) => json::Node::<SerdeJson>::json_type(&value),
            Doc::Member(_) => JsonType::Object,
        }
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        let text = self.text()?;
        // A character takes one to four bytes.
        let (most, fewest) = (text.len() as u64, text.len().div_ceil(4) as u64);
        Some(match () {
            () if most < min || fewest > max => false,
            () if fewest >= min && most <= max => true,
            () => (min..=max).contains(&(text.chars().count() as u64)),
        })
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match *self {
            Doc::Tape(tape, at) => equal(tape, at, expected),
            Doc::Value(value) => cmp::equal(value, expected),
            Doc::Member(_) => cmp::equal(&self.to_value(), expected),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        match *self {
            Doc::Tape(tape, at) => Cow::Owned(tape.value(at)),
            Doc::Value(value) => Cow::Borrowed(value),
            Doc::Member(member) => {
                let value = member.value.to_value().into_owned();
                Cow::Owned(Value::Object(Map::from_iter([(member.name.to_owned(), value)])))
            }
        }
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(match *self {
            Doc::Tape(tape, at) => ptr::from_ref(tape.entry(at)).addr(),
            Doc::Value(value) => ptr::from_ref(value).addr(),
            Doc::Member(member) => ptr::from_ref(member).addr(),
        }))
    }
}

impl<'a> Doc<'a> {
    fn text(&self) -> Option<&'a str> {
        match *self {
            Doc::Tape(tape, at) => tape.text(at),
            Doc::Value(value) => value.as_str(),
            Doc::Member(_) => None,
        }
    }

    /// The value as a tree.
    pub(super) fn tree(&self) -> Cow<'a, Value> {
        json::Node::to_value(self)
    }

    /// How many values stand in this one, itself included; it is not counted further than `most` and one.
    pub(super) fn parts(&self, most: usize) -> usize {
        match self {
            Doc::Tape(tape, _) => tape.parts().min(most + 1),
            Doc::Value(value) => super::parts(value, most),
            Doc::Member(member) => member.value.parts(most),
        }
    }
}

/// True where the value at a place is this one; numbers are the same where they say the same.
fn equal(tape: &Tape<'_>, at: usize, expected: &Value) -> bool {
    match (tape.entry(at), expected) {
        (Entry::Null, Value::Null) => true,
        (Entry::Bool(value), Value::Bool(expected)) => value == expected,
        (Entry::Number(number), Value::Number(expected)) => cmp::equal_numbers(number, expected),
        (Entry::Text(_) | Entry::Owned(_), Value::String(expected)) => tape.text(at) == Some(expected),
        (Entry::Array { len, .. }, Value::Array(items)) => {
            let mut place = at + 1;
            *len as usize == items.len()
                && items.iter().all(|expected| {
                    let item = place;
                    place = tape.after(item);
                    equal(tape, item, expected)
                })
        }
        (Entry::Object { len, .. }, Value::Object(members)) => {
            *len as usize == members.len()
                && members.iter().all(|(name, expected)| {
                    tape.member(at, name).is_some_and(|place| equal(tape, place, expected))
                })
        }
        _ => false,
    }
}

/// An object.
pub(super) enum Object<'a> {
    Tape(&'a Tape<'a>, usize, usize),
    Map(&'a Map<String, Value>),
    Member(&'a Member<'a>),
}

impl<'a> json::Object<'a, Engine> for Object<'a> {
    type Node = Doc<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        match self {
            Object::Tape(_, _, len) => *len,
            Object::Map(map) => map.len(),
            Object::Member(_) => 1,
        }
    }

    fn get(&self, key: &String) -> Option<Doc<'a>> {
        match *self {
            Object::Tape(tape, at, _) => tape.member(at, key).map(|place| Doc::Tape(tape, place)),
            Object::Map(map) => json::Object::<SerdeJson>::get(&map, key).map(Doc::Value),
            Object::Member(member) => (member.name == key).then_some(member.value),
        }
    }

    fn members(&self) -> Members<'a> {
        match *self {
            Object::Tape(tape, at, len) => Members::Tape { tape, at: at + 1, left: len },
            Object::Map(map) => Members::Map(map.iter()),
            Object::Member(member) => Members::Member(Some(member)),
        }
    }
}

/// The members of an object.
pub(super) enum Members<'a> {
    Tape { tape: &'a Tape<'a>, at: usize, left: usize },
    Map(serde_json::map::Iter<'a>),
    Member(Option<&'a Member<'a>>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Doc<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Members::Tape { tape, at, left } => {
                *left = left.checked_sub(1)?;
                let (name, value) = (*at, *at + 1);
                *at = tape.after(value);
                Some((tape.text(name)?, Doc::Tape(tape, value)))
            }
            Members::Map(members) => members.next().map(|(name, value)| (name.as_str(), Doc::Value(value))),
            Members::Member(member) => member.take().map(|member| (member.name, member.value)),
        }
    }
}

/// An array.
pub(super) enum Array<'a> {
    Tape(&'a Tape<'a>, usize, usize),
    List(&'a [Value]),
}

impl<'a> json::Array<'a, Engine> for Array<'a> {
    type Node = Doc<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        match self {
            Array::Tape(_, _, len) => *len,
            Array::List(items) => items.len(),
        }
    }

    fn elements(&self) -> Elements<'a> {
        match *self {
            Array::Tape(tape, at, len) => Elements::Tape { tape, at: at + 1, left: len },
            Array::List(items) => Elements::List(items.iter()),
        }
    }

    fn is_unique(&self) -> bool {
        let texts: Option<Vec<&str>> = self.elements().map(|item| item.text()).collect();
        match (texts, self) {
            (Some(mut texts), _) => {
                texts.sort_unstable();
                !texts.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
            }
            (None, Array::List(items)) => unique::is_unique(items),
            (None, Array::Tape(..)) => {
                unique::is_unique(&self.elements().map(|item| item.tree()).collect::<Vec<_>>())
            }
        }
    }
}

/// The items of an array.
pub(super) enum Elements<'a> {
    Tape { tape: &'a Tape<'a>, at: usize, left: usize },
    List(std::slice::Iter<'a, Value>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Doc<'a>;

    fn next(&mut self) -> Option<Doc<'a>> {
        match self {
            Elements::Tape { tape, at, left } => {
                *left = left.checked_sub(1)?;
                let item = *at;
                *at = tape.after(item);
                Some(Doc::Tape(tape, item))
            }
            Elements::List(items) => items.next().map(Doc::Value),
        }
    }
}
