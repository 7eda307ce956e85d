//! How serde walks through lists, mappings, keys and variants.

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::StrDeserializer,
    },
    forward_to_deserialize_any,
};
use std::{collections::HashSet, slice::Iter};

use super::{
    Node,
    de::{Context, De, id, key},
    de_error::DeError,
    node::Key,
};

pub(super) struct Items<'a> {
    pub(super) items: Iter<'a, Node>,
    pub(super) cx: &'a Context,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, DeError> {
        let skip = &self.cx.skip;
        let Some(node) = self.items.find(|node| !skip.contains(&id(node))) else { return Ok(None) };
        seed.deserialize(De { node, cx: self.cx }).map(Some).map_err(|error| error.attach(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

pub(super) struct Entries<'a> {
    pub(super) entries: Iter<'a, (Key, Node)>,
    pub(super) value: Option<&'a Node>,
    pub(super) unknown: HashSet<usize>,
    pub(super) cx: &'a Context,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        let (skip, unknown) = (&self.cx.skip, &self.unknown);
        let next = self.entries.find(|(_, node)| !skip.contains(&id(node)) && !unknown.contains(&id(node)));
        let Some((name, node)) = next else { return Ok(None) };
        self.value = Some(node);
        key(seed, &name.text).map(Some).map_err(|error| error.attach_at(node, name.place.clone()))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, DeError> {
        let node = self.value.take().ok_or_else(|| DeError::own("a value without a key".into()))?;
        seed.deserialize(De { node, cx: self.cx }).map_err(|error| error.attach(node))
    }
}

/// A key: a string, or what can be read from one.
pub(super) struct KeyDe<'k>(pub(super) StrDeserializer<'k, DeError>, pub(super) &'k str);

macro_rules! key_numbers {
    ($($method:ident $visit:ident $type:ident $what:literal,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            let wrong = || DeError::own(format!("expected {}, found the key `{}`", $what, self.1));
            visitor.$visit(self.1.parse::<$type>().map_err(|_| wrong())?)
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyDe<'_> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_str(self.1)
    }

    key_numbers! {
        deserialize_i8 visit_i8 i8 "a whole number", deserialize_i16 visit_i16 i16 "a whole number",
        deserialize_i32 visit_i32 i32 "a whole number", deserialize_i64 visit_i64 i64 "a whole number",
        deserialize_u8 visit_u8 u8 "a whole number", deserialize_u16 visit_u16 u16 "a whole number",
        deserialize_u32 visit_u32 u32 "a whole number", deserialize_u64 visit_u64 u64 "a whole number",
        deserialize_bool visit_bool bool "`true` or `false`",
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// A variant: a word, or a mapping of one key.
pub(super) struct Variant<'a> {
    pub(super) name: &'a str,
    pub(super) content: Option<&'a Node>,
    pub(super) cx: &'a Context,
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = DeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), DeError> {
        let name: StrDeserializer<'_, DeError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'a> Variant<'a> {
    fn content(&self) -> Result<De<'a>, DeError> {
        match self.content {
            Some(node) if self.cx.skip.contains(&id(node)) => Err(DeError::consequence()),
            Some(node) => Ok(De { node, cx: self.cx }),
            None => Err(DeError::own(format!("`{}` needs a value", self.name))
                .help(format!("write `{{{}: …}}`", self.name))),
        }
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(DeError::own(format!("`{}` takes no value", self.name))
                .help(format!("write `{}` alone", self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, DeError> {
        let content = self.content()?;
        seed.deserialize(content).map_err(|error| error.attach(content.node))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.content()?.deserialize_struct("", fields, visitor)
    }
}
