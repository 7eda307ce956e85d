//! What an expression is made of while it is evaluated.

use http::HeaderMap;
use serde_json::Value as Json;
use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, sync::Arc};

/// A value. It borrows from the expression and from the exchange.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Groups(&'a [Arc<str>]),
    Headers(&'a HeaderMap),
    Claims(&'a BTreeMap<String, Json>),
    /// An array or an object; scalars are the variants above.
    Json(&'a Json),
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request does not have it.
    Missing,
    /// It has another type than the expression needs, is not text, overflows.
    Unusable,
}

impl<'a> Value<'a> {
    pub(super) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Value::Int(int),
                (None, Some(double)) => Value::Double(double),
                (None, None) => Value::Json(json),
            },
            Json::String(text) => Value::Text(Cow::Borrowed(text)),
            Json::Array(_) | Json::Object(_) => Value::Json(json),
        }
    }

    pub(super) fn of_text(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }

    pub(super) fn bool(self) -> Result<bool, Failure> {
        if let Value::Bool(value) = self { Ok(value) } else { Err(Failure::Unusable) }
    }

    pub(super) fn text(self) -> Result<Cow<'a, str>, Failure> {
        if let Value::Text(text) = self { Ok(text) } else { Err(Failure::Unusable) }
    }

    /// The value of a key or index.
    pub(super) fn at(&self, key: &Value<'_>) -> Result<Value<'a>, Failure> {
        let index = || match key {
            Value::Int(index) => usize::try_from(*index).map_err(|_| Failure::Missing),
            _ => Err(Failure::Unusable),
        };
        let name = || match key {
            Value::Text(name) => Ok(&**name),
            _ => Err(Failure::Unusable),
        };
        let found = match self {
            Value::Headers(headers) => return header(headers, name()?),
            Value::Claims(claims) => claims.get(name()?).map(Value::of_json),
            Value::Json(Json::Object(fields)) => fields.get(name()?).map(Value::of_json),
            Value::Json(Json::Array(items)) => items.get(index()?).map(Value::of_json),
            Value::List(items) => items.get(index()?).cloned(),
            Value::Groups(groups) => groups.get(index()?).map(|group| Value::of_text(group)),
            _ => return Err(Failure::Unusable),
        };
        found.ok_or(Failure::Missing)
    }

    /// True where a list holds it, or a map has it as a key.
    pub(super) fn holds(&self, wanted: &Value<'_>) -> Result<bool, Failure> {
        match (self, wanted) {
            (Value::List(items), _) => Ok(items.iter().any(|item| item.equals(wanted))),
            (Value::Groups(groups), Value::Text(name)) => Ok(groups.iter().any(|group| **group == **name)),
            (Value::Groups(_), _) => Ok(false),
            (Value::Json(Json::Array(items)), _) => {
                Ok(items.iter().any(|item| Value::of_json(item).equals(wanted)))
            }
            (Value::Headers(headers), Value::Text(name)) => Ok(headers.contains_key(&**name)),
            (Value::Claims(claims), Value::Text(name)) => Ok(claims.contains_key(&**name)),
            (Value::Json(Json::Object(fields)), Value::Text(name)) => Ok(fields.contains_key(&**name)),
            _ => Err(Failure::Unusable),
        }
    }

    /// Characters of a string, entries of a list or map.
    pub(super) fn size(&self) -> Result<i64, Failure> {
        let size = match self {
            Value::Text(text) => text.chars().count(),
            Value::List(items) => items.len(),
            Value::Groups(groups) => groups.len(),
            Value::Headers(headers) => headers.keys_len(),
            Value::Claims(claims) => claims.len(),
            Value::Json(Json::Array(items)) => items.len(),
            Value::Json(Json::Object(fields)) => fields.len(),
            _ => return Err(Failure::Unusable),
        };
        i64::try_from(size).map_err(|_| Failure::Unusable)
    }

    /// Values of different types are not equal, but for numbers, which compare as numbers.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Text(one), Value::Text(other)) => one == other,
            (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_)) => {
                self.compare(other) == Ok(Ordering::Equal)
            }
            (Value::Json(one), Value::Json(other)) => one == other,
            _ => match (self.items(), other.items()) {
                (Some(one), Some(other)) => {
                    one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| one.equals(other))
                }
                _ => false,
            },
        }
    }

    /// The order of two numbers or two strings.
    pub(super) fn compare(&self, other: &Value<'_>) -> Result<Ordering, Failure> {
        match (self, other) {
            (Value::Int(one), Value::Int(other)) => Ok(one.cmp(other)),
            (Value::Double(one), Value::Double(other)) => one.partial_cmp(other).ok_or(Failure::Unusable),
            (Value::Int(one), Value::Double(other)) => int_to_double(*one, *other),
            (Value::Double(one), Value::Int(other)) => int_to_double(*other, *one).map(Ordering::reverse),
            (Value::Text(one), Value::Text(other)) => Ok(one.cmp(other)),
            _ => Err(Failure::Unusable),
        }
    }

    fn items(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Value::List(items) => Some(items.clone()),
            Value::Groups(groups) => Some(groups.iter().map(|group| Value::of_text(group)).collect()),
            Value::Json(Json::Array(items)) => Some(items.iter().map(Value::of_json).collect()),
            _ => None,
        }
    }
}

/// Exact also where the integer has more digits than a double holds.
fn int_to_double(int: i64, double: f64) -> Result<Ordering, Failure> {
    let rounded = (int as f64).partial_cmp(&double).ok_or(Failure::Unusable)?;
    // Equal after rounding: then the double is a whole number, and within the range of i128.
    Ok(if rounded.is_eq() { i128::from(int).cmp(&(double as i128)) } else { rounded })
}

/// All values of a header as one. A value that is not text cannot be judged.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Value<'a>, Failure> {
    let mut values = headers.get_all(name).iter().map(|value| value.to_str().map_err(|_| Failure::Unusable));
    let first = values.next().ok_or(Failure::Missing)??;
    let mut joined = Cow::Borrowed(first);
    for value in values {
        let joined = joined.to_mut();
        joined.push_str(", ");
        joined.push_str(value?);
    }
    Ok(Value::Text(joined))
}
