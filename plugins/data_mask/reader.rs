//! What kind of body a response has, and how it is read.

use super::{
    events::Events,
    finder::Finder,
    json::{Broken, Json},
    paths::Paths,
    rules::{Rule, Tally},
    text::{Text, Work},
};
use crate::media_type::{Malformed, MediaType, Pattern};
use http::HeaderMap;
use memchr::memchr;
use serde::de::IgnoredAny;

/// Blanks before it is known what an unnamed body is.
const BLANKS: usize = 1024;

/// What a response says that its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    /// A JSON text on each line.
    Lines,
    Events,
    Text,
    /// It says nothing.
    Unnamed,
    /// Of a type that passes as it is.
    Passed,
}

/// Why a response cannot be read, for the operator.
pub(super) type Unreadable = &'static str;

impl Kind {
    /// What the head of a response says.
    ///
    /// # Errors
    /// What it says is not read here.
    pub(super) fn of(headers: &HeaderMap, pass: &[Pattern]) -> Result<Self, Unreadable> {
        let malformed = |_: Malformed| "its Content-Type is not one media type";
        let Some(found) = MediaType::of(headers).map_err(malformed)? else { return Ok(Kind::Unnamed) };
        if pass.iter().any(|pattern| pattern.matches(found)) {
            return Ok(Kind::Passed);
        }
        let kind = Kind::of_type(found).ok_or("its Content-Type is none that can be read")?;
        let charset = found.parameter("charset").map_err(malformed)?.unwrap_or("utf-8").to_ascii_lowercase();
        let readable = match kind {
            // Whatever is looked for stands for itself in these.
            Kind::Text => {
                matches!(&*charset, "utf-8" | "us-ascii" | "ascii")
                    || charset.starts_with("iso-8859-")
                    || charset.starts_with("windows-125")
            }
            _ => matches!(&*charset, "utf-8" | "us-ascii"),
        };
        if readable { Ok(kind) } else { Err("its charset is none that can be read") }
    }

    fn of_type(found: MediaType<'_>) -> Option<Self> {
        const LINES: [&str; 6] = ["x-ndjson", "ndjson", "jsonl", "x-jsonlines", "json-lines", "stream+json"];
        const TEXT: [&str; 8] = [
            "javascript",
            "ecmascript",
            "x-javascript",
            "x-www-form-urlencoded",
            "yaml",
            "x-yaml",
            "graphql",
            "sql",
        ];
        let is = |names: &[&str]| names.iter().any(|name| found.is("application", name));
        if is(&LINES) {
            Some(Kind::Lines)
        } else if found.is_json() {
            Some(Kind::Json)
        } else if found.is("text", "event-stream") {
            Some(Kind::Events)
        } else if found.is_kind("text") || found.is_xml() || is(&TEXT) {
            Some(Kind::Text)
        } else {
            None
        }
    }
}

/// All that is looked for in responses.
#[derive(Debug)]
pub(super) struct Masks {
    pub(super) finder: Finder,
    pub(super) paths: Paths,
    pub(super) rules: Vec<Rule>,
    /// The most bytes of what must be held.
    pub(super) max: usize,
}

impl Masks {
    /// A body that is there whole; none where nothing of it is to be changed.
    ///
    /// # Errors
    /// It is not what it says it is.
    pub(super) fn whole(
        &self,
        kind: Kind,
        body: &[u8],
        tally: &mut Tally,
    ) -> Result<Option<Vec<u8>>, Broken> {
        let kind = match kind {
            Kind::Passed => return Ok(None),
            Kind::Text | Kind::Unnamed if looks_like_json(body) => {
                // It is read as what it is where it is that, and else as what it says.
                let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
                if is_json { Kind::Json } else { Kind::Text }
            }
            Kind::Unnamed => Kind::Text,
            kind => kind,
        };
        let nothing = match kind {
            Kind::Json | Kind::Lines => !self.may_find_in_json(body),
            Kind::Text => memchr(0, body).is_none() && !self.finder.may_find(body),
            _ => false,
        };
        if nothing {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(body.len() + body.len() / 16);
        let before = tally.total;
        Reader::new(kind, self.max).push(self, tally, body, true, &mut out)?;
        Ok((tally.total > before).then_some(out))
    }

    /// False where nothing can be found in a JSON text, whoever reads it.
    fn may_find_in_json(&self, raw: &[u8]) -> bool {
        self.paths.names().is_none()
            || self.finder.may_find_in_json(raw)
            || memchr(0, raw).is_some()
            || std::str::from_utf8(raw).is_err()
    }
}

fn looks_like_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Reads a body, piece by piece.
#[derive(Debug)]
pub(super) enum Reader {
    Json(Box<Json>),
    Events(Events),
    Text(Text),
    /// It is not known yet; only blanks have come.
    Unnamed(Vec<u8>),
}

impl Reader {
    /// For a body of a kind.
    pub(super) fn new(kind: Kind, max: usize) -> Self {
        match kind {
            Kind::Json => Reader::Json(Box::new(Json::new(false, max))),
            Kind::Lines => Reader::Json(Box::new(Json::new(true, max))),
            Kind::Events => Reader::Events(Events::default()),
            Kind::Text | Kind::Passed => Reader::Text(Text::default()),
            Kind::Unnamed => Reader::Unnamed(Vec::new()),
        }
    }

    /// Takes a piece, and gives what is decided.
    ///
    /// # Errors
    /// It is not what it says it is. What was given so far is good.
    pub(super) fn push(
        &mut self,
        masks: &Masks,
        tally: &mut Tally,
        piece: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let mut work = Work { finder: &masks.finder, rules: &masks.rules, tally, hits: Vec::new() };
        match self {
            Reader::Json(json) => json.push(&mut work, &masks.paths, piece, end, out),
            Reader::Events(events) => events.push(&mut work, &masks.paths, (piece, end), masks.max, out),
            Reader::Text(text) => {
                if memchr(0, piece).is_some() {
                    // UTF-16 and the like: what is looked for stands there in other bytes.
                    return Err(Broken("the text is not of its charset"));
                }
                text.push(&mut work, piece, end, out);
                Ok(())
            }
            Reader::Unnamed(held) => {
                held.extend_from_slice(piece);
                if held.trim_ascii_start().is_empty() && held.len() < BLANKS && !end {
                    return Ok(());
                }
                let kind = if looks_like_json(held) { Kind::Json } else { Kind::Text };
                let held = std::mem::take(held);
                *self = Reader::new(kind, masks.max);
                self.push(masks, tally, &held, end, out)
            }
        }
    }
}
