//! A serde deserializer over a node that reports more than the first error.
//!
//! Serde stops at the first wrong value. Here every unknown key of every struct that is reached is noted, and
//! after a wrong value the whole is read again without it, until nothing new is found. The limits: of several
//! missing fields of one mapping the first is named; what serde buffers (internally tagged and untagged enums)
//! is named as a whole; an error that a leaf's absence may have caused is left out.

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor},
};
use std::{cell::RefCell, collections::HashSet};

use super::{
    ConfigError, ConfigErrors, Node, Value,
    at::{self, hand},
    de_access::{Entries, Items, Variant},
    de_error::{DeError, Kind},
    scalar::{self, Plain},
    words,
};

/// More wrong values than these in one entry are not looked for.
const MAX_ERRORS: usize = 100;

pub(super) fn deserialize<T: DeserializeOwned>(node: &Node) -> Result<T, ConfigErrors> {
    match read(node) {
        (Some(value), errors) if errors.is_empty() => Ok(value),
        (_, errors) => Err(errors),
    }
}

/// The value as well, as far as it can be read: without what is wrong. None where a list has lost an item, for then
/// the others would not be found in their places.
pub(super) fn read<T: DeserializeOwned>(node: &Node) -> (Option<T>, ConfigErrors) {
    let mut cx = Context::default();
    let mut errors = Vec::new();
    let (mut read, mut whole_lists) = (None, true);
    while errors.len() < MAX_ERRORS {
        let error = match T::deserialize(De { node, cx: &cx }) {
            Ok(value) => {
                read = whole_lists.then_some(value);
                break;
            }
            Err(error) => error.attach(node),
        };
        let wrong = error.node;
        if !cx.is_consequence(node, &error) {
            errors.push(error.into_config_error(node));
        }
        let lost = wrong.and_then(|wrong| find(node, wrong));
        whole_lists &= lost.is_some_and(|lost| !lost.path.ends_with(']'));
        if wrong == Some(id(node)) || wrong.is_none_or(|wrong| !cx.skip.insert(wrong)) {
            break;
        }
    }
    errors.extend(cx.unknown.into_inner().into_iter().map(|(_, _, error)| error));
    if errors.is_empty() && read.is_none() {
        errors.push(ConfigError::at(node.path.clone(), "cannot be read").place(node.place.clone()));
    }
    (read, ConfigErrors(errors))
}

/// What tells a node from all others of its tree, which is not moved meanwhile.
pub(super) fn id(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// What is known so far.
#[derive(Default)]
pub(super) struct Context {
    /// Nodes that were found wrong: read as if they were not there.
    pub(super) skip: HashSet<usize>,
    /// Unknown keys: the node under the key, the field that was probably meant, and the error.
    unknown: RefCell<Vec<(usize, Option<String>, ConfigError)>>,
}

impl Context {
    fn note_unknown(&self, of: &Node, fields: &'static [&'static str]) -> HashSet<usize> {
        let mut unknown = HashSet::new();
        let mut noted = self.unknown.borrow_mut();
        for (key, node) in of.entries().iter().filter(|(key, _)| !fields.contains(&key.text.as_str())) {
            unknown.insert(id(node));
            if !noted.iter().any(|(known, ..)| *known == id(node)) {
                let (error, meant) = words::unknown("field", &key.text, fields.iter().copied());
                let error = ConfigError { path: of.path.clone(), ..error.place(key.place.clone()) };
                noted.push((id(node), meant.map(str::to_owned), error));
            }
        }
        unknown
    }

    /// True for an error that may be there only because something was left out.
    fn is_consequence(&self, root: &Node, error: &DeError) -> bool {
        let Some(node) = error.node.and_then(|wanted| find(root, wanted)) else { return false };
        let left_out = |node: &Node| self.skip.contains(&id(node));
        let unknown = self.unknown.borrow();
        let is_unknown = |node: &Node| unknown.iter().any(|(known, ..)| *known == id(node));
        match &error.kind {
            Kind::Consequence => true,
            Kind::Missing(field) => node.entries().iter().any(|(key, value)| {
                (key.text == *field && left_out(value))
                    || unknown
                        .iter()
                        .any(|(known, meant, _)| *known == id(value) && meant.as_deref() == Some(*field))
            }),
            Kind::Custom => {
                children(node).any(|child| any(child, &|node| left_out(node) || is_unknown(node)))
            }
            Kind::Own => false,
        }
    }
}

fn children(node: &Node) -> impl Iterator<Item = &Node> {
    let items = if let Value::List(items) = &node.value { items.as_slice() } else { &[] };
    items.iter().chain(node.entries().iter().map(|(_, node)| node))
}

fn any(node: &Node, test: &dyn Fn(&Node) -> bool) -> bool {
    test(node) || children(node).any(|child| any(child, test))
}

fn find(node: &Node, wanted: usize) -> Option<&Node> {
    if id(node) == wanted { Some(node) } else { children(node).find_map(|child| find(child, wanted)) }
}

#[derive(Clone, Copy)]
pub(super) struct De<'a> {
    pub(super) node: &'a Node,
    pub(super) cx: &'a Context,
}

impl<'a> De<'a> {
    fn expected(self, what: &str) -> DeError {
        DeError::own(format!("expected {what}, found {}", describe(self.node))).attach(self.node)
    }

    fn text(self, what: &str) -> Result<&'a str, DeError> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.value.is_null() => Ok(text),
            value => {
                let error = self.expected(what);
                let written = matches!(value, Value::Scalar { text, .. } if !text.is_empty());
                Err(if written {
                    error.help("write it in quotes if the word itself is meant")
                } else {
                    error
                })
            }
        }
    }

    fn plain(self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, plain: true, .. } => Some(text),
            _ => None,
        }
    }

    fn number<T: TryFrom<i128>>(
        self,
        least: &dyn std::fmt::Display,
        most: &dyn std::fmt::Display,
    ) -> Result<T, DeError> {
        let Some(number) = self.plain().and_then(scalar::int) else {
            let error = self.expected("a whole number");
            let quoted = self.node.text().is_some_and(|text| scalar::int(text).is_some());
            return Err(if quoted { error.help("write it without quotes") } else { error });
        };
        T::try_from(number).map_err(|_| {
            let out = DeError::own(format!("{} is out of range", describe(self.node)));
            out.help(format!("write a whole number from {least} to {most}")).attach(self.node)
        })
    }

    fn float(self) -> Result<f64, DeError> {
        let read = |text| match scalar::read(text) {
            Plain::Float(number) => Some(number),
            Plain::Int(number) => Some(number as f64),
            _ => None,
        };
        self.plain().and_then(read).ok_or_else(|| self.expected("a number"))
    }

    fn items<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        let Value::List(items) = &self.node.value else {
            let error = self.expected("a list");
            let hint = match &self.node.value {
                Value::Scalar { text, secret: false, .. }
                    if !self.node.value.is_null() && text.len() < 60 =>
                {
                    format!("write `[{text}]`")
                }
                _ => "write `[…]`, or one `- …` a line".to_owned(),
            };
            return Err(error.help(hint));
        };
        visitor.visit_seq(Items { items: items.iter(), cx: self.cx }).map_err(|error| error.attach(self.node))
    }

    fn entries<V: Visitor<'a>>(self, unknown: HashSet<usize>, visitor: V) -> Result<V::Value, DeError> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            // `key-auth:` stands for `key-auth: {}`.
            value if value.is_null() => &[],
            _ => return Err(self.expected("a mapping")),
        };
        let access = Entries { entries: entries.iter(), value: None, unknown, cx: self.cx };
        visitor.visit_map(access).map_err(|error| error.attach(self.node))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ident,)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
            let number = self.number::<$type>(&$type::MIN, &$type::MAX)?;
            visitor.$visit(number).map_err(|error: DeError| error.attach(self.node))
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
            visitor.visit_str(self.text("a string")?).map_err(|error: DeError| error.attach(self.node))
        }
    )*};
}

impl<'a> Deserializer<'a> for De<'a> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        let plain = match &self.node.value {
            Value::List(_) => return self.items(visitor),
            Value::Map(_) => return self.entries(HashSet::new(), visitor),
            Value::Scalar { text, plain: true, .. } => scalar::read(text),
            Value::Scalar { text, .. } => Plain::Text(text),
        };
        let result = match plain {
            Plain::Null => visitor.visit_unit(),
            Plain::Bool(value) => visitor.visit_bool(value),
            Plain::Int(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_f64(value as f64),
            },
            Plain::Float(value) => visitor.visit_f64(value),
            Plain::Text(value) => visitor.visit_str(value),
        };
        result.map_err(|error: DeError| error.attach(self.node))
    }

    numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
    }

    texts! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        let value = self.plain().and_then(scalar::bool);
        let value = value.ok_or_else(|| self.expected("`true` or `false`"))?;
        visitor.visit_bool(value).map_err(|error: DeError| error.attach(self.node))
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_f64(self.float()?).map_err(|error: DeError| error.attach(self.node))
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor
            .visit_bytes(self.text("a string")?.as_bytes())
            .map_err(|error: DeError| error.attach(self.node))
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        let result = if self.node.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) };
        result.map_err(|error: DeError| error.attach(self.node))
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        if !self.node.value.is_null() {
            return Err(self.expected("nothing"));
        }
        visitor.visit_unit().map_err(|error: DeError| error.attach(self.node))
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let result = match name {
            at::NODE => {
                hand(self.node.clone());
                visitor.visit_unit()
            }
            at::AT => {
                hand(Node {
                    value: Value::NOTHING,
                    place: self.node.place.clone(),
                    path: self.node.path.clone(),
                });
                visitor.visit_newtype_struct(self)
            }
            _ => visitor.visit_newtype_struct(self),
        };
        result.map_err(|error: DeError| error.attach(self.node))
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.items(visitor)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.items(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.items(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.entries(HashSet::new(), visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let unknown = self.cx.note_unknown(self.node, fields);
        self.entries(unknown, visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let (name, place, content) = match &self.node.value {
            Value::Map(entries) => match entries.as_slice() {
                [(key, content)] => (key.text.as_str(), &key.place, Some(content)),
                _ => return Err(self.expected(&words::one_of(variants.iter().copied()))),
            },
            Value::Scalar { .. } if !self.node.value.is_null() => {
                (self.text("a word")?, &self.node.place, None)
            }
            _ => return Err(self.expected(&words::one_of(variants.iter().copied()))),
        };
        if !variants.contains(&name) {
            let secret = content.is_none() && matches!(self.node.value, Value::Scalar { secret: true, .. });
            let shown = if secret { super::mask::HIDDEN } else { name };
            let (error, _) = words::unknown("value", shown, variants.iter().copied());
            return Err(DeError::from(error).attach_at(self.node, place.clone()));
        }
        let variant = Variant { name, content, cx: self.cx };
        visitor.visit_enum(variant).map_err(|error| error.attach(self.node))
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }
}

/// What is there instead of what was expected.
fn describe(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a mapping".into(),
        value if value.is_null() => "nothing".into(),
        Value::Scalar { secret: true, .. } => "a value that is not shown".into(),
        Value::Scalar { text, plain, .. } => {
            let short: String = text.chars().take(60).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("{}`{short}{more}`", if *plain { "" } else { "the string " })
        }
    }
}

/// Reads a key: the text itself, a number or a variant.
pub(super) fn key<'de, S: DeserializeSeed<'de>>(seed: S, text: &str) -> Result<S::Value, DeError> {
    seed.deserialize(super::de_access::KeyDe(text.into_deserializer(), text))
}
