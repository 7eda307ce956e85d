//! Values as they are written in paths, queries, headers, cookies and forms (OpenAPI, "Style Values"; RFC 6570).

use super::spec::{Format, Shape, Style};
use crate::json;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// A name and a value of a query or a form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'q> {
    /// Both as they stand there.
    pub(super) raw: &'q str,
    pub(super) value: &'q str,
}

/// The pairs of a query or a form, each with its decoded name.
///
/// # Errors
/// A name cannot be decoded.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, Pair<'_>)>, String> {
    let all = text.split('&').filter(|raw| !raw.is_empty());
    all.map(|raw| {
        let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
        Ok((decoded(name, true)?, Pair { raw, value }))
    })
    .collect()
}

/// A text with its percent encodings taken off, once.
///
/// # Errors
/// An encoding is not whole, or what comes out is not UTF-8.
pub(super) fn decoded(text: &str, plus: bool) -> Result<String, String> {
    let bytes = text.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let whole =
        bytes.iter().enumerate().all(|(at, byte)| *byte != b'%' || (is_hex(at + 1) && is_hex(at + 2)));
    if !whole {
        return Err("a percent encoding is not whole".to_owned());
    }
    let spaced = if plus && text.contains('+') { text.replace('+', " ") } else { text.to_owned() };
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("it is not UTF-8".to_owned()),
    }
}

/// How letters are decoded in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    /// Percent encodings, once.
    Percent,
    /// The same, and `+` is a space.
    Form,
    /// As they are.
    Plain,
}

impl Letters {
    fn read(self, text: &str) -> Result<String, String> {
        match self {
            Letters::Percent => decoded(text, false),
            Letters::Form => decoded(text, true),
            Letters::Plain => Ok(text.to_owned()),
        }
    }
}

/// What is written in one place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'w> {
    pub(super) name: &'w str,
    pub(super) shape: &'w Shape,
    pub(super) letters: Letters,
}

impl Written<'_> {
    fn scalar(&self, shape: &Shape, text: &str) -> Result<Value, String> {
        self.letters.read(text).map(|text| shape.read(&text))
    }

    fn list<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Result<Value, String> {
        let text = Shape::text();
        let shape = self.shape.items.as_deref().unwrap_or(&text);
        texts.map(|text| self.scalar(shape, text)).collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    /// An object of names and values.
    fn object<'t>(&self, members: impl Iterator<Item = (&'t str, &'t str)>) -> Result<Value, String> {
        let (text, mut object) = (Shape::text(), Map::new());
        for (name, value) in members {
            let name = self.letters.read(name)?;
            let shape = self.shape.member(&name).unwrap_or(&text);
            let value = self.scalar(shape, value)?;
            if object.insert(name, value).is_some() {
                return Err("a member stands twice".to_owned());
            }
        }
        Ok(Value::Object(object))
    }

    /// Names and values in turns.
    fn in_turns(&self, text: &str) -> Result<Value, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let turns = parts.chunks(2).map(|turn| match turn {
            [name, value] => Ok((*name, *value)),
            _ => Err("a member has no value".to_owned()),
        });
        let turns = turns.collect::<Result<Vec<_>, _>>()?;
        self.object(turns.into_iter())
    }

    /// `name=value`, several of them.
    fn assigned<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Result<Value, String> {
        let members = texts.map(|text| text.split_once('=').ok_or("a member has no value".to_owned()));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        self.object(members.into_iter())
    }

    /// The value of texts that stand under its name: one in a path, one for each time in a query.
    ///
    /// # Errors
    /// They are not written by the style.
    pub(super) fn value(&self, format: Format, texts: &[&str]) -> Result<Value, String> {
        let one = || match texts {
            [text] => Ok(*text),
            _ => Err("it stands there twice".to_owned()),
        };
        match format {
            Format::Json => json::read(self.letters.read(one()?)?.as_bytes())
                .map_err(|error| format!("it is not JSON: {error}")),
            Format::Text => self.letters.read(one()?).map(Value::String),
            Format::Style(style, explode) => match style {
                Style::Simple => self.simple(one()?, explode),
                Style::Label => self.label(one()?, explode),
                Style::Matrix => self.matrix(one()?, explode),
                Style::Form if explode && self.shape.is_array() => self.list(texts.iter().copied()),
                Style::Form => self.delimited(one()?, &[","]),
                Style::SpaceDelimited | Style::PipeDelimited if explode => self.list(texts.iter().copied()),
                Style::SpaceDelimited => self.delimited(one()?, &["%20", "+"]),
                Style::PipeDelimited => self.delimited(one()?, &["|", "%7C", "%7c"]),
                Style::DeepObject => Err("it is written as `name[member]=value`".to_owned()),
            },
        }
    }

    fn simple(&self, text: &str, explode: bool) -> Result<Value, String> {
        match () {
            () if self.shape.is_object() && explode => self.assigned(text.split(',')),
            () => self.delimited(text, &[","]),
        }
    }

    /// A list or an object with delimiters, or a text.
    fn delimited(&self, text: &str, delimiters: &[&str]) -> Result<Value, String> {
        let unified = match delimiters {
            [","] => text.to_owned(),
            // A comma of a value's own is encoded first.
            several => {
                several.iter().fold(text.replace(',', "%2C"), |text, delimiter| text.replace(delimiter, ","))
            }
        };
        match () {
            () if self.shape.is_array() => {
                let trim = self.letters == Letters::Plain;
                self.list(
                    unified.split(',').map(|item| if trim { item.trim_matches([' ', '\t']) } else { item }),
                )
            }
            () if self.shape.is_object() => self.in_turns(&unified),
            () => self.scalar(self.shape, text),
        }
    }

    fn label(&self, text: &str, explode: bool) -> Result<Value, String> {
        let text = text.strip_prefix('.').ok_or("it does not begin with `.`")?;
        match () {
            () if explode && self.shape.is_array() => self.list(text.split('.')),
            () if explode && self.shape.is_object() => self.assigned(text.split('.')),
            () => self.delimited(text, &[","]),
        }
    }

    fn matrix(&self, text: &str, explode: bool) -> Result<Value, String> {
        let text = text.strip_prefix(';').ok_or("it does not begin with `;`")?;
        let own = |text: &'_ str| -> Result<String, String> {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            if self.letters.read(name)? == self.name {
                Ok(value.to_owned())
            } else {
                Err("it does not begin with its name".to_owned())
            }
        };
        match () {
            () if explode && self.shape.is_array() => {
                let items = text.split(';').map(own).collect::<Result<Vec<_>, _>>()?;
                self.list(items.iter().map(String::as_str))
            }
            () if explode && self.shape.is_object() => self.assigned(text.split(';')),
            () => self.delimited(&own(text)?, &[","]),
        }
    }

    /// An object whose members stand as pairs of their own: by their names, or as `name[member]`.
    ///
    /// # Errors
    /// They are not written by the style.
    pub(super) fn members(&self, members: &[(&str, &str)]) -> Result<Value, String> {
        let (text, mut object) = (Shape::text(), Map::new());
        for (name, value) in members {
            let shape = self.shape.member(name).unwrap_or(&text);
            if shape.is_array() {
                let items = shape.items.as_deref().unwrap_or(&text);
                let value = self.scalar(items, value)?;
                match object.entry(*name).or_insert_with(|| Value::Array(Vec::new())) {
                    Value::Array(list) => list.push(value),
                    _ => return Err("a member stands twice".to_owned()),
                }
            } else if object.insert((*name).to_owned(), self.scalar(shape, value)?).is_some() {
                return Err("a member stands twice".to_owned());
            }
        }
        Ok(Value::Object(object))
    }
}

/// The member in `name[member]`.
pub(super) fn deep<'n>(name: &str, full: &'n str) -> Option<&'n str> {
    let member = full.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
    (!member.contains(['[', ']'])).then_some(member)
}
