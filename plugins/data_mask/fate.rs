//! What becomes of strings and numbers of JSON.

use super::{
    finder::Hit,
    json_text::whole,
    rules::Action,
    text::{Text, Work, apply},
};
use memchr::memchr;

/// What becomes of a value.
pub(super) enum Fate {
    Stays,
    Becomes(String),
    Goes,
}

/// What becomes of a string for what stands in it.
pub(super) fn judge(work: &mut Work<'_>, text: &str) -> Fate {
    let bytes = text.as_bytes();
    let mut hits = std::mem::take(&mut work.hits);
    work.finder.inline(bytes, 0, false, &mut hits);
    let fate = match hits.as_slice() {
        // All that there is of it is what was found.
        [hit] if is_all(bytes, hit) => by_rule(work, hit.rule, text.trim()),
        [] if memchr(b'\n', bytes).is_none() && work.finder.trace(bytes).is_none() => Fate::Stays,
        hits => {
            let (before, mut out) = (work.tally.total, Vec::with_capacity(bytes.len()));
            if memchr(b'\n', bytes).is_some() || hits.is_empty() {
                Text::default().push(work, bytes, true, &mut out);
            } else {
                apply(work, bytes, 0, hits, &mut out);
            }
            match String::from_utf8(out) {
                _ if work.tally.total == before => Fate::Stays,
                Ok(text) => Fate::Becomes(text),
                // What an operator's pattern has cut in the middle of a character.
                Err(error) => Fate::Becomes(String::from_utf8_lossy(error.as_bytes()).into_owned()),
            }
        }
    };
    work.hits = hits;
    fate
}

fn is_all(text: &[u8], hit: &Hit) -> bool {
    let around = [text.get(..hit.start), text.get(hit.end..)];
    around.iter().all(|part| part.unwrap_or_default().trim_ascii().is_empty())
}

/// What a rule makes of a value.
pub(super) fn by_rule(work: &mut Work<'_>, rule: usize, text: &str) -> Fate {
    match work.tally.note(work.rules, rule) {
        Action::Mask(mask) => Fate::Becomes(mask.of(text)),
        Action::Remove | Action::Deny => Fate::Goes,
    }
}

/// What becomes of a number.
pub(super) fn number(work: &mut Work<'_>, token: &[u8]) -> Fate {
    let Some(digits) = whole(token) else { return Fate::Stays };
    let rule = work.finder.number_of_json(&digits);
    rule.map_or(Fate::Stays, |rule| by_rule(work, rule, &String::from_utf8_lossy(&digits)))
}
