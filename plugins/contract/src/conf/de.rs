//! A serde deserializer over a [`Node`] that reports more than the first error.

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use std::fmt;

use super::{ConfigError, ConfigErrors, Node, Place, Value, node::Key};

/// The most errors of one entry that are reported.
const MAX_ERRORS: usize = 50;

/// Reads a node as a type. After an error the offending key is taken away and the rest is read again, so that
/// every unknown key and most wrong values of an entry are reported at once.
pub(super) fn deserialize<T: DeserializeOwned>(node: &Node) -> Result<T, ConfigErrors> {
    let mut errors: Vec<ConfigError> = Vec::new();
    let mut rest = node.clone();
    for _ in 0..MAX_ERRORS {
        let error = match T::deserialize(&rest) {
            Ok(value) if errors.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(error) => error,
        };
        // What is missing because it was just taken away is no news.
        let echo = error.missing.as_ref().is_some_and(|field| {
            let lost = if error.path.is_empty() { field.clone() } else { format!("{}.{field}", error.path) };
            errors.iter().any(|known| known.path == lost)
        });
        let path = error.path.clone();
        if !echo {
            errors.push(error.into());
        }
        if !remove(&mut rest, &path) {
            break;
        }
    }
    Err(errors.into())
}

/// Takes away the value at a path of a document (of an item of a list the whole list); false where there is
/// nothing to take away.
fn remove(node: &mut Node, path: &str) -> bool {
    let path = match path.rsplit_once('[') {
        Some((list, index)) if index.ends_with(']') => list,
        _ => path,
    };
    let base = node.path.clone();
    let own = |key: &str| if base.is_empty() { key.to_owned() } else { format!("{base}.{key}") };
    match &mut node.value {
        Value::Map(entries) => {
            if let Some(index) = entries.iter().position(|(key, _)| own(&key.text) == path) {
                entries.remove(index);
                return true;
            }
            entries.iter_mut().any(|(_, child)| remove(child, path))
        }
        Value::List(items) => items.iter_mut().any(|item| remove(item, path)),
        Value::Scalar { .. } => false,
    }
}

/// An error on its way to becoming a [`ConfigError`].
#[derive(Debug)]
pub struct Error {
    message: String,
    help: Option<String>,
    path: String,
    place: Option<Place>,
    missing: Option<String>,
    /// True where the message may hold the value itself.
    tells_value: bool,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Error {
            message: message.into(),
            help: None,
            path: String::new(),
            place: None,
            missing: None,
            tells_value: false,
        }
    }

    fn at(mut self, node: &Node) -> Self {
        if self.place.is_none() {
            self.place = Some(node.place.clone());
            self.path.clone_from(&node.path);
            if self.tells_value && matches!(node.value, Value::Scalar { secret: true, .. }) {
                "the value that the reference stands for is not acceptable here"
                    .clone_into(&mut self.message);
                self.help = None;
            }
        }
        self
    }

    fn at_key(mut self, parent: &Node, key: &Key) -> Self {
        if self.place.is_none() {
            self.place = Some(key.place.clone());
            self.path = if parent.path.is_empty() {
                key.text.clone()
            } else {
                format!("{}.{}", parent.path, key.text)
            };
        }
        self
    }
}

impl From<Error> for ConfigError {
    fn from(error: Error) -> Self {
        ConfigError {
            path: error.path,
            message: error.message,
            help: error.help,
            place: error.place,
            other: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        // Messages of our own types may end with what to write instead.
        let text = message.to_string();
        let (message, help) = match text.split_once("; help: ") {
            Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
            None => (text, None),
        };
        Error { tells_value: true, help, ..Error::new(message) }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Seq => "a list",
            de::Unexpected::Map => "a mapping",
            de::Unexpected::Unit | de::Unexpected::Option => "nothing",
            de::Unexpected::Bool(_) => "a boolean",
            de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) | de::Unexpected::Float(_) => "a number",
            _ => "a text",
        };
        Error::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Error::new(format!("expected {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Error::new(format!("unknown field `{field}`"));
        error.help = Some(suggest(field, expected.iter().copied(), "the fields are"));
        error
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Error::new(format!("unknown value `{variant}`"));
        error.tells_value = true;
        error.help = Some(suggest(variant, expected.iter().copied(), "possible are"));
        error
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Error::new(format!("`{field}` is missing"));
        error.missing = Some(field.to_owned());
        error
    }
}

/// `did you mean …`, or what there is.
pub fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone, lead: &str) -> String {
    let nearest = known.clone().map(|name| (strsim::osa_distance(word, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 2.max(name.len() / 4) => format!("did you mean `{name}`?"),
        Some(_) => format!("{lead} {}", known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        None => format!("{lead} none"),
    }
}

/// The text of a scalar, with whether it is plain.
fn scalar<'n>(node: &'n Node, expected: &str) -> Result<(&'n str, bool), Error> {
    match &node.value {
        Value::Scalar { text, plain, .. } => Ok((text, *plain)),
        Value::List(_) => Err(Error::new(format!("expected {expected}, found a list")).at(node)),
        Value::Map(_) => Err(Error::new(format!("expected {expected}, found a mapping")).at(node)),
    }
}

macro_rules! number {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let (text, plain) = scalar(self, $what)?;
            let value = plain.then(|| text.replace('_', "").parse::<$type>().ok()).flatten();
            let value = value.ok_or_else(|| Error::new(concat!("expected ", $what)).at(self))?;
            visitor.$visit(value).map_err(|error: Error| error.at(self))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::List(items) => visitor.visit_seq(Items { items: items.iter() }),
            Value::Map(entries) => {
                visitor.visit_map(Fields { parent: self, entries: entries.iter(), value: None })
            }
            Value::Scalar { text, plain: false, .. } => visitor.visit_str(text),
            Value::Scalar { .. } if self.is_null() => visitor.visit_unit(),
            Value::Scalar { text, .. } => plain(text, visitor),
        }
        .map_err(|error| error.at(self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match scalar(self, "`true` or `false`")? {
            ("true", true) => visitor.visit_bool(true),
            ("false", true) => visitor.visit_bool(false),
            _ => Err(Error::new("expected `true` or `false`")),
        }
        .map_err(|error| error.at(self))
    }

    number! {
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number of at least 0";
        deserialize_u64 visit_u64 u64, "a whole number of at least 0";
        deserialize_i8 visit_i8 i8, "a whole number";
        deserialize_i16 visit_i16 i16, "a whole number";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // A text keeps what was written, also where it looks like a number: `key_sha256: 12e5…`.
        let (text, _) = scalar(self, "a text")?;
        if self.is_null() {
            return Err(Error::new("expected a text, found nothing").at(self));
        }
        visitor.visit_str(text).map_err(|error: Error| error.at(self))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
            .map_err(|error| error.at(self))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self).map_err(|error: Error| error.at(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::List(_) => self.deserialize_any(visitor),
            _ => Err(Error::new("expected a list").at(self)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Map(_) => self.deserialize_any(visitor),
            // `key-auth:` with nothing behind it is an entry with every default.
            _ if self.is_null() => visitor
                .visit_map(Fields { parent: self, entries: [].iter(), value: None })
                .map_err(|error: Error| error.at(self)),
            _ => Err(Error::new("expected a mapping").at(self)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let access = match &self.value {
            Value::Scalar { .. } => Variant { node: self, content: None },
            Value::Map(entries) if entries.len() == 1 => Variant { node: self, content: entries.first() },
            _ => return Err(Error::new("expected a name, or a mapping with one key").at(self)),
        };
        visitor.visit_enum(access).map_err(|error: Error| error.at(self))
    }

    serde::forward_to_deserialize_any! { bytes byte_buf unit_struct tuple tuple_struct identifier ignored_any i128 u128 }
}

/// A plain scalar by YAML 1.2's core schema.
fn plain<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Error> {
    match text {
        "true" => return visitor.visit_bool(true),
        "false" => return visitor.visit_bool(false),
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if let Ok(number) = text.parse::<u64>() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return visitor.visit_i64(number);
    }
    match text.parse::<f64>() {
        Ok(number) if numeric => visitor.visit_f64(number),
        _ => visitor.visit_str(text),
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.items.next().map(|node| seed.deserialize(node).map_err(|error| error.at(node))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'de> {
    parent: &'de Node,
    entries: std::slice::Iter<'de, (Key, Node)>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        self.value = Some(node);
        let text: de::value::StrDeserializer<'_, Error> = key.text.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|error| error.at_key(self.parent, key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let Some(node) = self.value.take() else { return Err(Error::new("a value without a key")) };
        seed.deserialize(node).map_err(|error| error.at(node))
    }
}

struct Variant<'de> {
    node: &'de Node,
    content: Option<&'de (Key, Node)>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name = match self.content {
            Some((key, _)) => key.text.as_str(),
            None => scalar(self.node, "a name")?.0,
        };
        let text: de::value::StrDeserializer<'_, Error> = name.into_deserializer();
        let value = seed.deserialize(text).map_err(|error| match self.content {
            Some((key, _)) => error.at_key(self.node, key),
            None => error.at(self.node),
        })?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None => Ok(()),
            Some((key, node)) => Err(Error::new(format!("`{}` takes no value", key.text)).at(node)),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        match self.content {
            Some((_, node)) => seed.deserialize(node).map_err(|error| error.at(node)),
            None => Err(Error::new("it needs a value").at(self.node)),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        match self.content {
            Some((_, node)) => de::Deserializer::deserialize_seq(node, visitor),
            None => Err(Error::new("it needs a list").at(self.node)),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.content {
            Some((_, node)) => de::Deserializer::deserialize_map(node, visitor),
            None => Err(Error::new("it needs a mapping").at(self.node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use serde::Deserialize;
    use std::path::Path;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        count: u16,
        #[serde(default)]
        flag: bool,
        inner: Option<Inner>,
        #[serde(default)]
        kind: Kind,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        list: Vec<u32>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        #[default]
        RoundRobin,
        Hash(String),
    }

    fn read(text: &str) -> Result<Sample, Vec<String>> {
        let node = parse(Path::new("t.yaml"), text, &|_| Some("hunter2".to_owned())).unwrap();
        node.deserialize::<Sample>().map_err(|errors| {
            let line = |error: crate::ConfigError| {
                format!(
                    "{} {}: {} ({})",
                    error.place.unwrap(),
                    error.path,
                    error.message,
                    error.help.unwrap_or_default()
                )
            };
            errors.0.into_iter().map(line).collect()
        })
    }

    #[test]
    fn texts_stay_as_written() {
        for text in ["12e5", "0123", "true", "1.0", "9b74"] {
            assert_eq!(read(&format!("name: {text}")).unwrap().name, text);
        }
        assert_eq!(read("name: x\ninner: ~\nkind: {hash: h}").unwrap().kind, Kind::Hash("h".into()));
    }

    #[test]
    fn every_error_of_an_entry_is_reported() {
        let errors =
            read("nam: x\ncount: 70000\nflag: yes\ninner: {list: [1, b], lisd: 2}\nkind: round_robbin")
                .unwrap_err();
        let all = errors.join("\n");
        for expected in [
            "t.yaml:1:1 nam: unknown field `nam` (did you mean `name`?)",
            "t.yaml:2:8 count: expected a whole number from 0 to 65535",
            "t.yaml:3:7 flag: expected `true` or `false`",
            "inner.list[1]: expected a whole number",
            "t.yaml:5:7 kind: unknown value `round_robbin` (did you mean `round_robin`?)",
        ] {
            assert!(all.contains(expected), "{expected}\nin\n{all}");
        }
    }

    #[test]
    fn a_reference_never_shows_in_an_error() {
        for text in [
            "name: x\ncount: ${env:S}",
            "name: x\nkind: ${env:S}",
            "name: x\ninner: ${env:S}",
            "name: x\nflag: ${env:S}",
        ] {
            let errors = read(text).unwrap_err().join("\n");
            assert!(!errors.contains("hunter2"), "{errors}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(read("count: 1").unwrap_err().join("").contains("`name` is missing"));
    }
}
