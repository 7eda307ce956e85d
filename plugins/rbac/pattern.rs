//! Path patterns, as routes write them.

/// `/orders/{id}`: whole segments, literal or any; `/orders/*` takes `/orders` and all that is below.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The literal segments at its beginning: most paths are told from it by them.
    head: String,
    /// None: any one segment that is not empty.
    segments: Vec<Option<String>>,
    below: bool,
}

impl Pattern {
    /// Reads one; an error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("does not begin with `/`")?;
        if text.contains(['?', '#']) {
            return Err("is more than a path");
        }
        let below = rest == "*" || rest.ends_with("/*");
        let rest = if below { rest.trim_end_matches('*').trim_end_matches('/') } else { rest };
        let mut segments = Vec::new();
        for segment in rest.split('/').filter(|_| !(below && rest.is_empty())) {
            let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            segments.push(match name {
                Some("") => return Err("has a name without letters"),
                Some(name) if name.contains(['{', '}', '*']) => return Err("has a name that is none"),
                Some(_) => None,
                None if segment.contains(['{', '}', '*']) => {
                    return Err("has a wildcard that is not a whole segment");
                }
                None if matches!(segment, "." | "..") => return Err("is not in normal form"),
                None => Some(segment.to_owned()),
            });
        }
        let literal: Vec<&str> =
            segments.iter().map_while(|segment: &Option<String>| segment.as_deref()).collect();
        let head = format!("/{}", literal.join("/"));
        Ok(Pattern { head, segments, below })
    }

    /// True for a path in normal form that is one of these.
    pub(super) fn matches(&self, path: &str) -> bool {
        if !path.starts_with(&self.head) {
            return false;
        }
        let Some(rest) = path.strip_prefix('/') else { return false };
        let mut found = rest.split('/');
        for wanted in &self.segments {
            match (wanted, found.next()) {
                (Some(wanted), Some(found)) if wanted == found => {}
                (None, Some(found)) if !found.is_empty() => {}
                _ => return false,
            }
        }
        self.below || found.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_match() {
        for (pattern, path, fits) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/a/", "/a/", true),
            ("/a/*", "/a", true),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/ab", false),
            ("/a/{id}", "/a/7", true),
            ("/a/{id}", "/a/", false),
            ("/a/{id}", "/a/7/b", false),
            ("/a/{id}/b", "/a/7/b", true),
            ("/a/{id}/*", "/a/7", true),
            ("/a/{id}/*", "/a", false),
            ("/a", "*", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(path), fits, "{pattern} {path}");
        }
        for text in ["", "a", "*", "/a*", "/{}", "/{a", "/a/{b}c", "/*/a", "/a/**", "/a?b", "/../a", "/{a*}"]
        {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
