//! Which path template a path fits, the most concrete one first.

use palisade_contract::ConfigError;
use percent_encoding::percent_decode_str;
use regex::Regex;
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// What is taken out of a path: the raw text of each `{name}`.
pub(super) type Captures<'p> = Vec<(Arc<str>, &'p str)>;

/// A tree of segments.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Segments without a `{name}`, decoded.
    literal: HashMap<Box<str>, Paths>,
    /// Segments with literal text beside a `{name}`, then those that are nothing else.
    mixed: Vec<(Segment, Paths)>,
    /// What ends here.
    leaf: Option<usize>,
}

/// A segment of a template with a `{name}` in it.
#[derive(Debug)]
struct Segment {
    names: Vec<Arc<str>>,
    /// None for one `{name}` alone.
    pattern: Option<Regex>,
    /// What two segments are the same by.
    form: String,
}

impl Segment {
    fn read(text: &str) -> Result<Option<Segment>, String> {
        if !text.contains(['{', '}']) {
            return Ok(None);
        }
        let (mut names, mut pattern, mut form) = (Vec::new(), String::from("^"), String::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
            if before.contains('}') || name.is_empty() || name.contains('{') {
                return Err("a `}` or a name is missing".to_owned());
            }
            if before.is_empty() && !names.is_empty() {
                return Err("two names stand side by side".to_owned());
            }
            pattern.push_str(&regex::escape(before));
            pattern.push_str("(.+?)");
            form.push_str(before);
            form.push_str("{}");
            names.push(Arc::from(name));
            rest = after;
        }
        if rest.contains('}') {
            return Err("a `}` closes nothing".to_owned());
        }
        pattern.push_str(&regex::escape(rest));
        pattern.push('$');
        form.push_str(rest);
        let alone = form == "{}";
        let pattern =
            (!alone).then(|| Regex::new(&format!("(?s){pattern}")).map_err(|error| error.to_string()));
        Ok(Some(Segment { names, pattern: pattern.transpose()?, form }))
    }

    fn take<'p>(&self, segment: &'p str, taken: &mut Captures<'p>) -> bool {
        match (&self.pattern, self.names.as_slice()) {
            (None, [name]) if !segment.is_empty() => {
                taken.push((name.clone(), segment));
                true
            }
            (Some(pattern), names) => {
                let Some(found) = pattern.captures(segment) else { return false };
                let texts = found.iter().skip(1).map(|text| text.map_or("", |text| text.as_str()));
                taken.extend(names.iter().cloned().zip(texts));
                true
            }
            _ => false,
        }
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

impl Paths {
    /// Adds a template, which is known as `number`. The names in it.
    ///
    /// # Errors
    /// It is none, or takes what another one takes; then the number of that one.
    pub(super) fn add(
        &mut self,
        template: &str,
        number: usize,
    ) -> Result<Vec<Arc<str>>, (String, Option<usize>)> {
        let mut names = Vec::new();
        let mut at = self;
        let inner = template.strip_prefix('/').ok_or(("a path begins with `/`".to_owned(), None))?;
        for text in inner.split('/') {
            at = match Segment::read(text).map_err(|error| (error, None))? {
                None => at.literal.entry(decoded(text).into()).or_default(),
                Some(segment) => {
                    names.extend(segment.names.iter().cloned());
                    at.mixed(segment)
                }
            };
        }
        match at.leaf {
            Some(first) => {
                Err((format!("`{template}` takes the same paths as another template"), Some(first)))
            }
            None => {
                at.leaf = Some(number);
                Ok(names)
            }
        }
    }

    fn mixed(&mut self, segment: Segment) -> &mut Paths {
        let found = self.mixed.iter().position(|(other, _)| other.form == segment.form);
        let index = found.unwrap_or_else(|| {
            // More letters of its own are more concrete; a name alone comes last.
            let own = segment.form.len();
            let index =
                self.mixed.iter().position(|(other, _)| other.form.len() < own).unwrap_or(self.mixed.len());
            self.mixed.insert(index, (segment, Paths::default()));
            index
        });
        // It was found or put there.
        self.mixed.get_mut(index).map(|(_, paths)| paths).unwrap_or_else(|| unreachable!())
    }

    /// The template that a path in normal form fits, and what its names stand for.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<(usize, Captures<'p>)> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let mut taken = Vec::new();
        self.walk(&segments, &mut taken).map(|number| (number, taken))
    }

    /// Looks at each branch of the tree at most once for a place in the path, as there is one way to each.
    fn walk<'p>(&self, segments: &[&'p str], taken: &mut Captures<'p>) -> Option<usize> {
        let Some((first, rest)) = segments.split_first() else { return self.leaf };
        if let Some(next) = self.literal.get(&*decoded(first))
            && let Some(found) = next.walk(rest, taken)
        {
            return Some(found);
        }
        for (segment, next) in &self.mixed {
            let before = taken.len();
            if segment.take(first, taken)
                && let Some(found) = next.walk(rest, taken)
            {
                return Some(found);
            }
            taken.truncate(before);
        }
        None
    }
}

/// The path that a server's address adds to all templates: without a `/` at its end.
pub(super) fn base_of(url: &str) -> Result<String, String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(""),
        None if url.starts_with('/') || url.is_empty() => url,
        None => return Err(format!("`{url}` says neither a host nor a path that begins with `/`")),
    };
    if path.contains(['?', '#', '{', '}']) {
        return Err(format!("`{url}` is no base path"));
    }
    Ok(path.trim_end_matches('/').to_owned())
}

/// The same, of the configuration.
pub(super) fn written_base(text: &str) -> Result<String, ConfigError> {
    let fits = text.starts_with('/') && !text.contains("://");
    base_of(text).ok().filter(|_| fits).ok_or_else(|| {
        ConfigError::at("base_path", format!("`{text}` is not a path"))
            .help("write what stands before the paths of the description, such as `/v1`; `/` for nothing")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_concrete_template_is_found() {
        let mut paths = Paths::default();
        let templates = [
            "/pets/{id}",
            "/pets/mine",
            "/pets/{id}/toys",
            "/{kind}/mine/toys",
            "/files/{name}.{ending}",
            "/files/{name}",
            "/a%20b",
            "/",
        ];
        for (number, template) in templates.iter().enumerate() {
            paths.add(template, number).unwrap();
        }
        let find = |path: &str| {
            let (number, taken) = paths.find(path)?;
            Some((
                templates[number],
                taken.iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>().join(" "),
            ))
        };
        for (path, template, taken) in [
            ("/pets/mine", "/pets/mine", ""),
            ("/pets/min%65", "/pets/mine", ""),
            ("/pets/7", "/pets/{id}", "id=7"),
            ("/pets/a%2Fb", "/pets/{id}", "id=a%2Fb"),
            ("/pets/mine/toys", "/pets/{id}/toys", "id=mine"),
            ("/dogs/mine/toys", "/{kind}/mine/toys", "kind=dogs"),
            ("/files/a.b.c", "/files/{name}.{ending}", "name=a ending=b.c"),
            ("/files/a", "/files/{name}", "name=a"),
            ("/a%20b", "/a%20b", ""),
            ("/", "/", ""),
        ] {
            assert_eq!(find(path), Some((template, taken.to_owned())), "{path}");
        }
        for path in ["/pets", "/pets/", "/pets/7/", "/pets//toys", "/pets/7/toys/1", "", "/x"] {
            assert_eq!(find(path), None, "{path}");
        }
        assert_eq!(paths.add("/pets/{other}", 9).unwrap_err().1, Some(0));
        for template in ["pets", "/{", "/}", "/{}", "/{a}{b}", "/{a", "/a}b", "/{a}x}"] {
            assert!(paths.add(template, 9).is_err(), "{template}");
        }
    }

    #[test]
    fn many_templates_that_almost_fit_are_looked_at_once_each() {
        let mut paths = Paths::default();
        for number in 0..12_u32 {
            let path: String = (0..12).map(|bit| if number == bit { "/b" } else { "/{x}" }).collect();
            paths.add(&format!("{path}/end"), usize::try_from(number).unwrap()).unwrap();
        }
        assert_eq!(paths.find(&format!("{}/no", "/b".repeat(12))), None);
        assert_eq!(paths.find(&format!("{}/end", "/b".repeat(12))).unwrap().0, 0);
    }

    #[test]
    fn base_paths() {
        for (url, base) in [
            ("https://shop.example.com/v1/", "/v1"),
            ("https://shop.example.com", ""),
            ("/v2", "/v2"),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(base_of(url).unwrap(), base);
        }
        assert!(base_of("v1").is_err() && base_of("/a?b").is_err());
    }
}
