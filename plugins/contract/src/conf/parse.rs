//! Text to a node: one YAML 1.2 document, without the parts of YAML that hide what a file says.
//!
//! Refused: a second document, anchors and aliases, tags, merge keys, keys that are not scalars, the same key
//! twice, control characters, more than [`MAX_DEPTH`] levels, more than [`MAX_BYTES`] bytes. A syntax error ends
//! the reading of its file; everything else is collected.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    ConfigError, ConfigErrors, Node, Place, Value,
    mask::is_secret_name,
    node::Key,
    path,
    reference::{self, Resolved},
};

/// The longest file that is read, in bytes.
pub const MAX_BYTES: usize = 8 << 20;

/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 64;

/// Looks up `${env:NAME}`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What was read of a file, and all that is wrong with it.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The document, as far as it can be used; an empty file is an empty mapping. A reference that does not
    /// resolve leaves an empty scalar whose place is the error's.
    pub root: Option<Node>,
    /// What is wrong with it.
    pub errors: Vec<ConfigError>,
    /// The files that `${file:…}` names, readable or not.
    pub files: Vec<PathBuf>,
}

/// Parses one YAML document of a file and resolves the references in its scalars.
pub fn parse(file: &Path, text: &str, environment: Environment<'_>) -> Result<Node, ConfigErrors> {
    match parse_all(file, text, environment) {
        Parsed { root: Some(root), errors, .. } if errors.is_empty() => Ok(root),
        Parsed { errors, .. } => Err(ConfigErrors(errors)),
    }
}

/// Like [`parse`], but gives what could be read even where something is wrong with it, so that the rest can be
/// checked as well.
pub fn parse_all(file: &Path, text: &str, environment: Environment<'_>) -> Parsed {
    read(file, text, Some(environment))
}

/// Parses a document that is no configuration, such as a description of an API: `${…}` stands for itself. Nothing is
/// left of a document that something is wrong with.
pub fn parse_plain(file: &Path, text: &str) -> Result<Node, ConfigErrors> {
    match read(file, text, None) {
        Parsed { root: Some(root), errors, .. } if errors.is_empty() => Ok(root),
        Parsed { errors, .. } => Err(ConfigErrors(errors)),
    }
}

fn read(file: &Path, text: &str, environment: Option<Environment<'_>>) -> Parsed {
    let file: Arc<Path> = file.into();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Err(error) = check_text(&file, text) {
        return Parsed { errors: vec![error], ..Parsed::default() };
    }
    let mut builder = Builder::new(file, environment);
    let mut parser = Parser::new_from_str(text);
    if let Err(error) = builder.read(&mut parser) {
        builder.parsed.errors.push(error);
        builder.parsed.root = None;
    } else if builder.parsed.root.as_ref().is_none_or(Node::is_null) {
        let place = builder.place(Marker::new(0, 1, 0));
        builder.parsed.root = Some(Node { value: Value::Map(Vec::new()), place, path: String::new() });
    }
    builder.parsed
}

/// A parser would take a NUL for the end of the file and pass over what follows.
fn check_text(file: &Arc<Path>, text: &str) -> Result<(), ConfigError> {
    if text.len() > MAX_BYTES {
        return Err(ConfigError::new(format!("the file is longer than {} MiB", MAX_BYTES >> 20))
            .help("split it, or keep large data in files of its own")
            .place(Place::of_file(file.clone())));
    }
    for (line, content) in (1u32..).zip(text.split('\n')) {
        let content = content.strip_suffix('\r').unwrap_or(content);
        let Some((column, c)) = (1u32..).zip(content.chars()).find(|(_, c)| is_forbidden(*c)) else {
            continue;
        };
        let name = u32::from(c);
        return Err(ConfigError::new(format!("the control character U+{name:04X} may not stand in a file"))
            .help(format!("remove it, or write it as \"\\u{name:04x}\" in double quotes"))
            .place(Place { file: file.clone(), line, column }));
    }
    Ok(())
}

fn is_forbidden(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Makes a tree of the parser's events. Its own stack, so that depth costs no call stack.
struct Builder<'a> {
    file: Arc<Path>,
    /// None where nothing is looked up.
    environment: Option<Environment<'a>>,
    stack: Vec<Frame>,
    documents: usize,
    parsed: Parsed,
}

/// A list or mapping that has begun and not ended.
struct Frame {
    place: Place,
    path: String,
    secret: bool,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: HashMap<String, Place>, key: Option<(Key, bool)> },
}

impl<'a> Builder<'a> {
    fn new(file: Arc<Path>, environment: Option<Environment<'a>>) -> Self {
        Builder { file, environment, stack: Vec::new(), documents: 0, parsed: Parsed::default() }
    }

    fn read(&mut self, parser: &mut Parser<'_, StrInput<'_>>) -> Result<(), ConfigError> {
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| self.syntax_error(&error))?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), ConfigError> {
        let place = self.place(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.document(place),
            Event::Alias(_) => Err(no_anchors(place)),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                Err(no_anchors(place))
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                Err(ConfigError::new(format!("the tag `{tag}` is not supported"))
                    .help("leave it out; quotes make a string of anything")
                    .place(place))
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style == ScalarStyle::Plain, place),
            Event::SequenceStart(..) => self.begin(place, FrameKind::List(Vec::new())),
            Event::MappingStart(..) => {
                self.begin(place, FrameKind::Map { entries: Vec::new(), seen: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end();
                Ok(())
            }
        }
    }

    fn document(&mut self, place: Place) -> Result<(), ConfigError> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(ConfigError::new("a second document begins")
                .help(
                    "write one document a file: remove the `---`, or move what follows to a file of its own",
                )
                .place(place));
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, kind: FrameKind) -> Result<(), ConfigError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(ConfigError::new(format!("more than {MAX_DEPTH} levels of lists and mappings"))
                .help("no section needs so many: look for a bracket that is not closed")
                .place(place));
        }
        if self.expects_key() {
            return Err(ConfigError::new("a key must be a plain word or a string, not a list or mapping")
                .help("quote a value that begins with `{` or `[`")
                .place(place));
        }
        let (path, secret, place) = self.next_path(place, false);
        self.stack.push(Frame { place, path, secret, kind });
        Ok(())
    }

    fn end(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let value = match frame.kind {
            FrameKind::List(items) => Value::List(items),
            FrameKind::Map { entries, .. } => Value::Map(entries),
        };
        self.add(Node { value, place: frame.place, path: frame.path });
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { kind: FrameKind::Map { key: None, .. }, .. }))
    }

    fn scalar(&mut self, text: &str, plain: bool, place: Place) -> Result<(), ConfigError> {
        if self.expects_key() {
            return self.key(text, plain, place);
        }
        let (path, secret, place) = self.next_path(place, plain && text.is_empty());
        let files = &mut self.parsed.files;
        let resolved = match self.environment.map_or_else(
            || Ok(Resolved::as_written(text)),
            |environment| reference::resolve(text, &self.file, environment, files),
        ) {
            Ok(resolved) => resolved,
            Err(error) => {
                self.parsed.errors.push(ConfigError { path: path.clone(), ..error.place(place.clone()) });
                Resolved::as_written("")
            }
        };
        let value = Value::Scalar {
            plain: if resolved.composed { false } else { plain || resolved.secret },
            secret: secret || resolved.secret,
            text: resolved.text,
        };
        self.add(Node { value, place, path });
        Ok(())
    }

    fn key(&mut self, text: &str, plain: bool, place: Place) -> Result<(), ConfigError> {
        if plain && text == "<<" {
            return Err(ConfigError::new("merge keys (`<<`) are not supported")
                .help("write the fields out")
                .place(place));
        }
        if plain && text.is_empty() {
            return Err(ConfigError::new("a key is missing before the `:`")
                .help("write the name of the field, or quote a value that begins with `:`")
                .place(place));
        }
        if self.environment.is_some() && text.contains("${") {
            self.parsed.errors.push(
                ConfigError::new("references are resolved in values, not in keys")
                    .help("write the key itself; `$${` in a value stands for `${`")
                    .place(place.clone()),
            );
        }
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        let FrameKind::Map { seen, key, .. } = &mut frame.kind else { return Ok(()) };
        let first = seen.get(text).cloned();
        if let Some(first) = first.clone() {
            let error = ConfigError::at(frame.path.clone(), format!("the key `{text}` stands here twice"))
                .help("keep one of them")
                .place(place.clone())
                .other("the first one", first);
            self.parsed.errors.push(error);
        } else {
            seen.insert(text.to_owned(), place.clone());
        }
        *key = Some((Key { text: text.to_owned(), place }, first.is_some()));
        Ok(())
    }

    /// The path of the value that comes now, whether its key says that it is a secret, and where it stands: at
    /// its key where there is nothing, for the parser then names the next token.
    fn next_path(&self, place: Place, nothing: bool) -> (String, bool, Place) {
        let Some(frame) = self.stack.last() else { return (String::new(), false, place) };
        match &frame.kind {
            FrameKind::List(items) => (path::item(&frame.path, items.len()), frame.secret, place),
            FrameKind::Map { key: Some((key, _)), .. } => {
                let place = if nothing { key.place.clone() } else { place };
                (path::field(&frame.path, &key.text), is_secret_name(&key.text), place)
            }
            FrameKind::Map { key: None, .. } => (frame.path.clone(), false, place),
        }
    }

    fn add(&mut self, node: Node) {
        let Some(frame) = self.stack.last_mut() else {
            self.parsed.root = Some(node);
            return;
        };
        match &mut frame.kind {
            FrameKind::List(items) => items.push(node),
            FrameKind::Map { entries, key, .. } => {
                if let Some((key, duplicate)) = key.take()
                    && !duplicate
                {
                    entries.push((key, node));
                }
            }
        }
    }

    fn place(&self, marker: Marker) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            file: self.file.clone(),
            line: number(marker.line()).max(1),
            column: number(marker.col()).saturating_add(1),
        }
    }

    fn syntax_error(&self, error: &ScanError) -> ConfigError {
        ConfigError::new(format!("not valid YAML: {}", error.info()))
            .help("indent with spaces; quote a value that holds `: `, ` #` or begins with one of `{[*&!|>%@`")
            .place(self.place(*error.marker()))
    }
}

fn no_anchors(place: Place) -> ConfigError {
    ConfigError::new("anchors (`&name`) and aliases (`*name`) are not supported")
        .help("write the value out; quote a string that begins with `&` or `*`")
        .place(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, ConfigErrors> {
        parse(Path::new("test.yaml"), text, &|name| (name == "A").then(|| "12".to_owned()))
    }

    #[test]
    fn nodes_know_their_place_and_path() {
        let root =
            read("a:\r\n  - ü: \"${env:A}\"\r\n    b: [x, 'y']\r\n  -\r\nc: {token: t}\r\nd:\r\n").unwrap();
        for (path, place, debug) in [
            ("a", "2:3", "[{\"ü\": [hidden], \"b\": [x, \"y\"]}, ]"),
            ("a[0].ü", "2:8", "[hidden]"),
            ("a[0].b[1]", "3:12", "\"y\""),
            ("c.token", "5:12", "[hidden]"),
            ("d", "6:1", ""),
        ] {
            let node = root.find(path);
            assert_eq!(node.path, path);
            assert_eq!(node.place.to_string(), format!("test.yaml:{place}"), "{path}");
            assert_eq!(format!("{:?}", node.value), debug);
        }
        assert!(
            matches!(&root.find("a[0].ü").value, Value::Scalar { plain: true, text, .. } if text == "12")
        );
    }

    #[test]
    fn empty_files_hold_nothing() {
        for text in ["", "\n", "# only a comment\n", "---\n", "--- ~\n...\n", "\u{feff}"] {
            assert!(
                matches!(read(text).unwrap().value, Value::Map(entries) if entries.is_empty()),
                "{text:?}"
            );
        }
        assert_eq!(read("\u{feff}a: 1").unwrap().find("a").place.to_string(), "test.yaml:1:4");
    }

    #[test]
    fn a_path_may_have_dots_in_its_keys() {
        let root = read("a: 1\na.b: {c: 2, c.d: {e: 3}}\n").unwrap();
        assert_eq!(root.find("a.b.c").text(), Some("2"));
        assert_eq!(root.find("a.b.c.d.e").text(), Some("3"));
        assert_eq!(root.find("a.x[3]").text(), Some("1"));
    }

    #[test]
    fn what_hides_the_meaning_of_a_file_is_refused() {
        let deep = |open: &str, n: usize| open.repeat(n);
        let mut wrong = Vec::new();
        for (text, place, expect) in [
            ("a: 1\na: 2\n", "2:1", "key `a` stands here twice"),
            ("{a: 1, \"a\": 2}", "1:8", "key `a` stands here twice"),
            ("a: &x 1\n", "1:4", "anchors"),
            ("a: *x\n", "1:4", "unknown anchor"),
            ("a: &x {}\nb: *x\n", "1:4", "anchors"),
            ("a: !secret x\n", "1:4", "tag `!secret`"),
            ("a: !!str 1\n", "1:4", "tag"),
            ("a: 1\n---\nb: 2\n", "2:1", "second document"),
            ("<<: {a: 1}\n", "1:1", "merge keys"),
            ("? [a]\n: 1\n", "1:3", "a key must be"),
            ("{a}: 1\n", "1:1", "a key must be"),
            (": 1\n", "1:1", "a key is missing"),
            ("${env:A}: 1\n", "1:1", "not in keys"),
            ("a: ${env:B}\n", "1:4", "`B` is not set"),
            ("a: b: c\n", "1:5", "not valid YAML"),
            ("a: 1\n\tb: 1\n", "1:4", "not valid YAML"),
            ("a:\n\tb: 1\n", "2:2", "not valid YAML"),
            ("a: \"x\n", "1:4", "not valid YAML"),
            ("a: [1\nb: 2\n", "2:2", "not valid YAML"),
            ("a: 1\0b: 2\n", "1:5", "U+0000"),
            ("a: x\u{85}y\n", "1:5", "U+0085"),
            ("a: x\ry\n", "1:5", "U+000D"),
            ("a: 1\nb: \u{1b}[31m\n", "2:4", "U+001B"),
            (&deep("[", 100), "1:65", "more than 64 levels"),
            (&deep("{a: ", 100), "1:257", "more than 64 levels"),
            (&deep("[", 100_000), "1:256", "recursion limit"),
            (&deep("- ", 100_000), "1:129", "more than 64 levels"),
        ] {
            let errors = read(text).err().unwrap_or_default().0;
            let [error] = errors.as_slice() else {
                wrong.push(format!("{text:?}: {errors:?}"));
                continue;
            };
            let place = format!("test.yaml:{place}");
            if !error.message.contains(expect) || error.place.as_ref().map(Place::to_string) != Some(place) {
                let text: String = text.chars().take(40).collect();
                wrong.push(format!("{text:?}: {:?} {}", error.place, error.message));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(read(&" ".repeat(MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn what_can_be_read_is_read_all_the_same() {
        let parsed = parse_all(Path::new("test.yaml"), "a: ${env:B}\na: 1\nb: ${x}\nc: 1\n", &|_| None);
        assert_eq!(parsed.errors.len(), 3);
        assert_eq!(parsed.root.unwrap().get("c").unwrap().text(), Some("1"));
    }
}
