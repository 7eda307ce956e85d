//! Paths into a document: the part of XPath that rules use.
//!
//! A path is absolute. Its steps are names, `*`, and at its end also `@name`, `@*` and `text()`, each after `/` or `//`. Names
//! with prefixes are those of the rule's `xmlns`. The document is read once, and each path is a few bits for each open element.

use crate::{
    bytes::Span,
    engine::Store,
    variable::{List, Origin},
};

/// The most steps of a path.
const MOST_STEPS: usize = 30;
/// What paths select of a document may have so many bytes together, or as many as four times the document where that is more.
const MOST_SELECTED: usize = 4 << 20;
/// The most namespaces that are declared at once.
const MOST_NAMESPACES: usize = 64;

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// As [`resolve`] writes it; also the name of what it selects.
    text: Box<[u8]>,
    steps: Vec<Step>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// After `//`.
    anywhere: bool,
    name: Name,
}

/// What an element or attribute must be called; `None` for anything.
type Name = Option<(Box<[u8]>, Box<[u8]>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Element,
    Text(bool),
    Attribute(bool, Name),
}

/// Writes a path with `{namespace}name` for `prefix:name`. An error has its place in the text.
pub(crate) fn resolve(text: &str, namespaces: &[(String, String)]) -> Result<String, (usize, String)> {
    let mut out = String::new();
    for (at, anywhere, step) in steps(text)? {
        out.push_str(if anywhere { "//" } else { "/" });
        let (sign, name) = match step.strip_prefix('@') {
            Some(name) => ("@", name),
            None => ("", step),
        };
        out.push_str(sign);
        match name.split_once(':') {
            Some((prefix, local)) if !name.starts_with('{') => {
                let known = namespaces.iter().find(|(known, _)| known == prefix);
                let (_, namespace) = known.ok_or_else(|| {
                    (at, format!("the prefix `{prefix}` is of no `xmlns` action of the rule"))
                })?;
                out.push_str(&format!("{{{namespace}}}{local}"));
            }
            _ => out.push_str(name),
        }
    }
    Ok(out)
}

/// A step with its place, and whether it follows `//`.
type Written<'a> = (usize, bool, &'a str);

/// The steps of a path.
fn steps(text: &str) -> Result<Vec<Written<'_>>, (usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let anywhere = rest.starts_with("//");
        if !rest.starts_with('/') {
            return Err((at, "a path begins with `/`".into()));
        }
        at += if anywhere { 2 } else { 1 };
        let rest = text.get(at..).unwrap_or_default();
        let from =
            if rest.trim_start_matches('@').starts_with('{') { rest.find('}').unwrap_or(0) } else { 0 };
        let length = rest.get(from..).and_then(|rest| rest.find('/')).map_or(rest.len(), |end| from + end);
        let step = rest.get(..length).unwrap_or_default();
        check(step).map_err(|message| (at, message))?;
        found.push((at, anywhere, step));
        at += length;
    }
    match found.len() {
        0 => Err((0, "a path begins with `/`".into())),
        count if count > MOST_STEPS => Err((0, format!("a path has at most {MOST_STEPS} steps"))),
        _ => Ok(found),
    }
}

fn check(step: &str) -> Result<(), String> {
    let name = step.strip_prefix('@').unwrap_or(step);
    let local = name.split_once('}').map_or(name, |(_, local)| local);
    let of_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':');
    let is_name = local.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
        && local.chars().all(of_name)
        && local.matches(':').count() < 2;
    if step == "text()" || name == "*" || is_name {
        return Ok(());
    }
    Err(format!("the step `{step}` is not supported: names, `*`, `@name`, `@*` and `text()` are"))
}

impl Path {
    /// Parses what [`resolve`] wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut all = steps(text)?;
        let last = all.last().copied().unwrap_or_default();
        let end = match (last.2.strip_prefix('@'), last.2) {
            (Some(attribute), _) => End::Attribute(last.1, name(attribute)),
            (None, "text()") => End::Text(last.1),
            _ => End::Element,
        };
        if end != End::Element {
            all.pop();
        }
        if let Some((at, _, step)) =
            all.iter().find(|(_, _, step)| step.starts_with('@') || *step == "text()")
        {
            return Err((*at, format!("nothing comes after `{step}`")));
        }
        let steps =
            all.iter().map(|(_, anywhere, step)| Step { anywhere: *anywhere, name: name(step) }).collect();
        Ok(Self { text: text.as_bytes().into(), steps, end })
    }

    /// The name of what the path selects.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }
}

fn name(step: &str) -> Name {
    let (namespace, local) =
        step.strip_prefix('{').and_then(|rest| rest.split_once('}')).unwrap_or(("", step));
    (local != "*").then(|| (namespace.as_bytes().into(), local.as_bytes().into()))
}

/// How far paths have come at one element.
#[derive(Debug, Default)]
struct Level {
    /// For each path, a bit for each number of steps that end at this element, and at it or around it.
    here: Vec<u64>,
    around: Vec<u64>,
    /// Where the element's text begins.
    start: usize,
    /// How many namespaces were declared outside of it.
    namespaces: usize,
}

/// Follows paths through a document.
#[derive(Debug)]
pub(super) struct Follower<'a> {
    paths: &'a [Path],
    levels: Vec<Level>,
    namespaces: Vec<(Vec<u8>, Vec<u8>)>,
    left: usize,
    /// Where the text begins that no tag has ended yet.
    text: usize,
}

impl<'a> Follower<'a> {
    pub(super) fn new(paths: &'a [Path], document: usize) -> Self {
        let left = MOST_SELECTED.max(document.saturating_mul(4));
        let root = Level { here: vec![1; paths.len()], around: vec![1; paths.len()], ..Level::default() };
        Self { paths, levels: vec![root], namespaces: Vec::new(), left, text: 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.paths.is_empty()
    }

    /// An element begins, with its attributes as they are written.
    pub(super) fn open(
        &mut self,
        store: &mut Store,
        element: &[u8],
        attributes: &[(&[u8], Vec<u8>)],
        content: &[u8],
    ) -> Result<(), &'static str> {
        if self.is_idle() {
            return Ok(());
        }
        self.end_text(store, content)?;
        let mut level = Level { start: content.len(), namespaces: self.namespaces.len(), ..Level::default() };
        for (name, value) in attributes {
            let prefix = if *name == b"xmlns" { Some(&b""[..]) } else { name.strip_prefix(b"xmlns:") };
            if let Some(prefix) = prefix {
                self.namespaces.push((prefix.to_vec(), value.clone()));
            }
        }
        if self.namespaces.len() > MOST_NAMESPACES {
            return Err("too many namespaces");
        }
        let Some(outer) = self.levels.last() else { return Ok(()) };
        let full = self.full_name(element, true);
        for ((path, here), around) in self.paths.iter().zip(&outer.here).zip(&outer.around) {
            let mut bits = 0;
            for (step, number) in path.steps.iter().zip(0u32..) {
                let reached = if step.anywhere { around } else { here } >> number & 1 == 1;
                if reached && is(&step.name, full) {
                    bits |= 1 << (number + 1);
                }
            }
            level.here.push(bits);
            level.around.push(around | bits);
        }
        self.levels.push(level);
        for (name, value) in attributes.iter().filter(|(name, _)| !name.starts_with(b"xmlns")) {
            for number in 0..self.paths.len() {
                let Some(path) = self.paths.get(number) else { continue };
                if let End::Attribute(anywhere, wanted) = &path.end
                    && self.is_at_end(number, *anywhere)
                    && is(wanted, self.full_name(name, false))
                {
                    self.select(store, number, value)?;
                }
            }
        }
        Ok(())
    }

    /// The innermost element ends.
    pub(super) fn close(&mut self, store: &mut Store, content: &[u8]) -> Result<(), &'static str> {
        if self.is_idle() {
            return Ok(());
        }
        self.end_text(store, content)?;
        let start = self.levels.last().map_or(0, |level| level.start);
        for number in 0..self.paths.len() {
            if self.paths.get(number).is_some_and(|path| path.end == End::Element)
                && self.is_at_end(number, false)
            {
                self.select(store, number, crate::bytes::tail(content, start))?;
            }
        }
        if let Some(level) = self.levels.pop() {
            self.namespaces.truncate(level.namespaces);
        }
        Ok(())
    }

    /// A piece of text ends, by a tag or a comment.
    pub(super) fn end_text(&mut self, store: &mut Store, content: &[u8]) -> Result<(), &'static str> {
        let text = crate::bytes::tail(content, self.text);
        self.text = content.len();
        for number in 0..self.paths.len() {
            if let Some(End::Text(anywhere)) = self.paths.get(number).map(|path| &path.end)
                && !text.is_empty()
                && self.is_at_end(number, *anywhere)
            {
                self.select(store, number, text)?;
            }
        }
        Ok(())
    }

    fn is_at_end(&self, number: usize, anywhere: bool) -> bool {
        let (Some(level), Some(path)) = (self.levels.last(), self.paths.get(number)) else { return false };
        let bits = if anywhere { level.around.get(number) } else { level.here.get(number) };
        bits.is_some_and(|bits| bits >> path.steps.len() & 1 == 1)
    }

    fn select(&mut self, store: &mut Store, number: usize, text: &[u8]) -> Result<(), &'static str> {
        let Some(path) = self.paths.get(number) else { return Ok(()) };
        let error = "what paths select of it is too long together";
        self.left = self.left.checked_sub(text.len() + path.text.len()).ok_or(error)?;
        let name: Span = store.keep(&path.text);
        let value = store.keep(text);
        store.add(List::XmlPaths, name, value, Origin::Any);
        Ok(())
    }

    /// The namespace and local name of a name as it is written. Attributes without a prefix are in none.
    fn full_name<'n>(&'n self, name: &'n [u8], is_element: bool) -> (&'n [u8], &'n [u8]) {
        let colon = memchr::memchr(b':', name);
        let (prefix, local) = match colon {
            Some(colon) => (crate::bytes::cut(name, 0, colon), crate::bytes::tail(name, colon + 1)),
            None => (&b""[..], name),
        };
        if colon.is_none() && !is_element {
            return (b"", local);
        }
        let known = self.namespaces.iter().rev().find(|(known, _)| known == prefix);
        (known.map_or(&b""[..], |(_, namespace)| namespace), local)
    }
}

fn is(wanted: &Name, (namespace, local): (&[u8], &[u8])) -> bool {
    wanted.as_ref().is_none_or(|(known, name)| **known == *namespace && **name == *local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(path: &str, document: &str) -> Vec<String> {
        let namespaces = [("q".to_string(), "urn:q".to_string())];
        let path = Path::parse(&resolve(path, &namespaces).unwrap()).unwrap();
        let mut store = Store::default();
        super::super::xml::parse(&mut store, document.as_bytes(), &[path]).unwrap();
        let found = store.list(List::XmlPaths).iter();
        found.map(|entry| String::from_utf8_lossy(store.text(entry.value)).into_owned()).collect()
    }

    #[test]
    fn paths_select_what_they_say() {
        let document = "<a x='1'><b x='2'>one<c>two</c>three</b><b>four</b><d y='3'><b>five</b></d>\
            <p:b xmlns:p='urn:q' p:x='4'>six</p:b><b xmlns='urn:q'>seven</b></a>";
        for (path, expected) in [
            ("/a/b", &["onetwothree", "four"][..]),
            ("/a/b/text()", &["one", "three", "four"]),
            ("/a/b//text()", &["one", "two", "three", "four"]),
            ("//b", &["onetwothree", "four", "five"]),
            ("/a/*/b", &["five"]),
            ("//c", &["two"]),
            ("/b", &[]),
            ("/a/@x", &["1"]),
            ("//@x", &["1", "2"]),
            ("/a/b/@*", &["2"]),
            ("//d//@y", &["3"]),
            ("/a/q:b", &["six", "seven"]),
            ("//q:b/@q:x", &["4"]),
            ("/a/b/c/d", &[]),
        ] {
            assert_eq!(select(path, document), expected, "{path}");
        }
        assert_eq!(select("/a/text()", "<a>x<!-- c -->y<![CDATA[z]]></a>"), ["x", "yz"]);
        assert_eq!(select("/a", "<a/>"), [""]);
    }

    #[test]
    fn other_paths_are_refused_with_their_place() {
        for (path, at, message) in [
            ("a/b", 0, "a path begins with `/`"),
            ("", 0, "a path begins with `/`"),
            ("/a/b[1]", 3, "the step `b[1]` is not supported"),
            ("/a/../b", 3, ""),
            ("/a/child::b", 3, ""),
            ("/a/", 3, "the step `` is not supported"),
            ("/q:a/z:b", 5, "the prefix `z` is of no `xmlns` action"),
            ("/a/@b/c", 3, "nothing comes after `@b`"),
            ("/text()/a", 1, "nothing comes after `text()`"),
        ] {
            let namespaces = [("q".to_string(), "urn:q".to_string())];
            let error = resolve(path, &namespaces).and_then(|path| Path::parse(&path)).unwrap_err();
            assert!(error.1.starts_with(message), "{path}: {error:?}");
            if !path.contains("..") && !path.contains("::") {
                assert_eq!(error.0, at, "{path}");
            }
        }
    }

    #[test]
    fn what_paths_select_is_bounded() {
        let path = Path::parse("//a").unwrap();
        let document = format!("{}{}{}", "<a>".repeat(200), "x".repeat(100_000), "</a>".repeat(200));
        let mut store = Store::default();
        assert!(super::super::xml::parse(&mut store, document.as_bytes(), &[path]).is_err());
        assert!(store.buffer.len() < 2 * MOST_SELECTED);
    }
}
