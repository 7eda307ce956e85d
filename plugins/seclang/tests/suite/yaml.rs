//! YAML as a tree; only what the suite's files use.

use saphyr_parser::{Event, Parser, ScalarStyle};

#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub fn map(&self) -> &[(String, Value)] {
        match self {
            Self::Map(fields) => fields,
            _ => &[],
        }
    }
}

/// The first document of a text.
pub fn parse(text: &str) -> Value {
    let mut events = Parser::new_from_str(text).map(|event| event.expect("valid YAML").0);
    loop {
        match events.next().expect("a document") {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd => return Value::Null,
            event => return value(event, &mut events),
        }
    }
}

fn value<'a>(event: Event<'a>, events: &mut dyn Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() || text == "~" || text == "null" => {
            Value::Null
        }
        Event::Scalar(text, ..) => Value::Text(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().expect("an item") {
                    Event::SequenceEnd => return Value::List(items),
                    event => items.push(value(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut fields = Vec::new();
            loop {
                match events.next().expect("a field") {
                    Event::MappingEnd => return Value::Map(fields),
                    event => {
                        let name = value(event, events).text().unwrap_or_default().to_string();
                        let event = events.next().expect("a value");
                        fields.push((name, value(event, events)));
                    }
                }
            }
        }
        other => panic!("{other:?} in a test file"),
    }
}
