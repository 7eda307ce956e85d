//! Text to a [`Node`], references resolved.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::{collections::HashMap, path::Path, sync::Arc};

use super::{ConfigError, ConfigErrors, Node, Place, Value, node::Key, reference};

/// Looks up `${env:NAME}`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
const MAX_DEPTH: usize = 64;

/// Parses one YAML document of a file and resolves the references in its scalars. An empty document is an
/// empty mapping.
///
/// # Errors
/// A syntax error ends the reading; references that do not resolve, keys written twice, anchors, aliases and
/// tags are all reported.
pub fn parse(file: &Path, text: &str, environment: Environment<'_>) -> Result<Node, ConfigErrors> {
    let file: Arc<Path> = file.into();
    if text.len() > MAX_BYTES {
        let error = ConfigError::new(format!("the file is larger than {} MiB", MAX_BYTES >> 20));
        return Err(error.place(Place::of_file(file)).into());
    }
    let mut builder = Builder { parser: Parser::new_from_str(text), file, environment, errors: Vec::new() };
    match builder.document() {
        Ok(node) if builder.errors.is_empty() => Ok(node),
        Ok(_) => Err(builder.errors.into()),
        Err(error) => {
            builder.errors.push(error);
            Err(builder.errors.into())
        }
    }
}

struct Builder<'a, 'e> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    file: Arc<Path>,
    environment: Environment<'e>,
    errors: Vec<ConfigError>,
}

impl Builder<'_, '_> {
    fn document(&mut self) -> Result<Node, ConfigError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if root.is_some() => {
                    let error = ConfigError::new("a second document in one file");
                    return Err(error
                        .help("remove the `---` line, or write a file of its own")
                        .place(self.place(span)));
                }
                event => root = Some(self.node(event, span, String::new(), 0)?),
            }
        }
        let empty = || Node {
            value: Value::Map(Vec::new()),
            place: Place { line: 1, column: 1, file: self.file.clone() },
            path: String::new(),
        };
        Ok(match root {
            Some(node) if !node.is_null() => node,
            _ => empty(),
        })
    }

    fn node(
        &mut self,
        event: Event<'_>,
        span: Span,
        path: String,
        depth: usize,
    ) -> Result<Node, ConfigError> {
        let place = self.place(span);
        if depth > MAX_DEPTH {
            return Err(ConfigError::at(path, format!("nested deeper than {MAX_DEPTH} levels")).place(place));
        }
        self.refuse_extras(&event, &path, &place);
        let value = match event {
            Event::Scalar(text, style, ..) => self.scalar(&text, style, &path, &place),
            Event::SequenceStart(..) => self.list(&path, depth)?,
            Event::MappingStart(..) => self.map(&path, depth)?,
            // Only an alias is left (refused above); it stands for nothing.
            _ => Value::Scalar { text: String::new(), plain: true, secret: false },
        };
        Ok(Node { value, place, path })
    }

    fn refuse_extras(&mut self, event: &Event<'_>, path: &str, place: &Place) {
        let (anchor, tag) = match event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(_) => (1, false),
            _ => (0, false),
        };
        let (what, help) = match (anchor, tag) {
            (0, false) => return,
            (0, true) => {
                ("tags (`!`) are not part of the configuration", "remove the tag; quotes make a string")
            }
            _ => (
                "anchors and aliases (`&`, `*`) are not part of the configuration",
                "write the value out; quote a text that begins with `*` or `&`",
            ),
        };
        self.errors.push(ConfigError::at(path, what).help(help).place(place.clone()));
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, path: &str, place: &Place) -> Value {
        let plain = matches!(style, ScalarStyle::Plain);
        match reference::resolve(text, &self.file, self.environment) {
            Ok(None) => Value::Scalar { text: text.to_owned(), plain, secret: false },
            Ok(Some(resolved)) => {
                Value::Scalar { text: resolved.text, plain: plain && resolved.whole, secret: resolved.secret }
            }
            Err(error) => {
                let error = ConfigError { path: path.to_owned(), ..error };
                self.errors.push(error.place(place.clone()));
                Value::Scalar { text: String::new(), plain: false, secret: true }
            }
        }
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value, ConfigError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => {
                    items.push(self.node(event, span, format!("{path}[{}]", items.len()), depth + 1)?)
                }
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Value, ConfigError> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Place> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let place = self.place(span);
            let text = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(ConfigError::at(path, "a key must be a simple text").place(place)),
            };
            let below = if path.is_empty() { text.clone() } else { format!("{path}.{text}") };
            let (event, span) = self.next()?;
            let node = self.node(event, span, below.clone(), depth + 1)?;
            if let Some(first) = seen.get(&text) {
                let error = ConfigError::at(below, format!("`{text}` is written twice"));
                self.errors.push(
                    error
                        .help("remove one of them")
                        .place(place)
                        .other("the first one is here", first.clone()),
                );
                continue;
            }
            seen.insert(text.clone(), place.clone());
            entries.push((Key { text, place }, node));
        }
    }

    fn next<'s>(&mut self) -> Result<(Event<'s>, Span), ConfigError>
    where
        Self: 's,
    {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((owned(event), span)),
            Some(Err(error)) => {
                let mark = *error.marker();
                let place = self.place(Span::empty(mark));
                Err(ConfigError::new(format!("this is not YAML: {}", error.info())).place(place))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn place(&self, span: Span) -> Place {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Place {
            file: self.file.clone(),
            line: number(span.start.line()),
            column: number(span.start.col()).saturating_add(1),
        }
    }
}

/// Detaches an event from the text, so that the builder can go on reading.
fn owned<'s>(event: Event<'_>) -> Event<'s> {
    use std::borrow::Cow;
    let tag = |tag: Option<Cow<'_, saphyr_parser::Tag>>| tag.map(|tag| Cow::Owned(tag.into_owned()));
    match event {
        Event::Scalar(text, style, anchor, t) => {
            Event::Scalar(Cow::Owned(text.into_owned()), style, anchor, tag(t))
        }
        Event::SequenceStart(anchor, t) => Event::SequenceStart(anchor, tag(t)),
        Event::MappingStart(anchor, t) => Event::MappingStart(anchor, tag(t)),
        Event::Nothing => Event::Nothing,
        Event::StreamStart => Event::StreamStart,
        Event::StreamEnd => Event::StreamEnd,
        Event::DocumentStart(explicit) => Event::DocumentStart(explicit),
        Event::DocumentEnd => Event::DocumentEnd,
        Event::Alias(id) => Event::Alias(id),
        Event::SequenceEnd => Event::SequenceEnd,
        Event::MappingEnd => Event::MappingEnd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Node, ConfigErrors> {
        parse(Path::new("test.yaml"), text, &|name| (name == "SET").then(|| "42".to_owned()))
    }

    fn first_error(text: &str) -> String {
        let error = parsed(text).unwrap_err().0.remove(0);
        format!("{}: {}: {}", error.place.unwrap(), error.path, error.message)
    }

    #[test]
    fn nodes_know_their_place_and_path() {
        let node = parsed("a:\n  b: [x, {c: 1}]\n").unwrap();
        let c = node.find("a.b[1].c");
        assert_eq!((c.path.as_str(), c.place.line, c.place.column), ("a.b[1].c", 2, 14));
    }

    #[test]
    fn hostile_texts_are_refused_with_a_place() {
        for (text, expected) in [
            ("a: 1\na: 2", "test.yaml:2:1: a: `a` is written twice"),
            ("a: &x 1\nb: *x", "test.yaml:1:4: a: anchors and aliases"),
            ("a: !!str 1", "tags (`!`)"),
            ("a: 1\n---\nb: 2", "a second document"),
            ("? [a]\n: b", "a key must be a simple text"),
            ("a: [", "this is not YAML"),
            ("a: 'x", "this is not YAML"),
            ("a: b: c", "this is not YAML"),
            ("a: ${env:UNSET}", "`${env:UNSET}` is not set"),
            ("a: ${env:SET", "is not closed"),
            ("a: ${what:SET}", "unknown reference"),
            ("a: ${file:/no/such/file}", "cannot read"),
        ] {
            let found = first_error(text);
            assert!(found.contains(expected), "{text}: {found}");
        }
        assert!(first_error(&format!("a: {}", "[".repeat(100))).contains("nested deeper"));
    }

    #[test]
    fn references_take_the_type_of_what_they_find() {
        let node = parsed("a: ${env:SET}\nb: x${env:SET}\nc: '${env:SET}'\nd: $${env:SET}\ne: ${env:NO:-7}")
            .unwrap();
        let value = |path: &str| match &node.find(path).value {
            Value::Scalar { text, plain, secret } => (text.clone(), *plain, *secret),
            other => panic!("{other:?}"),
        };
        assert_eq!(value("a"), ("42".to_owned(), true, true));
        assert_eq!(value("b"), ("x42".to_owned(), false, true));
        assert_eq!(value("c"), ("42".to_owned(), false, true));
        assert_eq!(value("d"), ("${env:SET}".to_owned(), false, false));
        assert_eq!(value("e"), ("7".to_owned(), true, true));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n\t]{0,200}") {
            let _ = parsed(&text);
        }
    }
}
