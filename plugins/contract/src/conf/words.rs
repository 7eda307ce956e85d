//! `did you mean …`.

use super::ConfigError;

/// An error about a word that is not among those that are known, and the one that was probably meant. `what`
/// names it: `field`, `plugin`.
pub fn unknown<'c>(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'c str>,
) -> (ConfigError, Option<&'c str>) {
    let known: Vec<&str> = known.into_iter().collect();
    let meant = closest(word, &known);
    let list = if known.is_empty() {
        format!("there is no {what} here")
    } else {
        format!("known: {}", list(&known))
    };
    let help = match meant {
        Some(meant) => format!("did you mean `{meant}`? {list}"),
        None => list,
    };
    (ConfigError::new(format!("unknown {what} `{word}`")).help(help), meant)
}

/// The help for a word that is not among those that are known: the one that was probably meant, else `lead` and
/// all of them.
pub fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone, lead: &str) -> String {
    let known: Vec<&str> = known.collect();
    match closest(word, &known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => format!("{lead} none"),
        None => format!("{lead} {}", list(&known)),
    }
}

/// `1 file`, `2 files`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `one of …`.
pub(super) fn one_of<'c>(known: impl IntoIterator<Item = &'c str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    format!("one of {}", list(&known))
}

fn list(known: &[&str]) -> String {
    known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The known word that is nearest, if it is near: one typing error in three characters.
fn closest<'c>(word: &str, known: &[&'c str]) -> Option<&'c str> {
    // What a user pastes may be long, and the distance costs the product of the lengths.
    let length = word.chars().count();
    if length > 64 {
        return None;
    }
    let folded = fold(word);
    let near = |candidate: &&&str| length.max(candidate.chars().count()).div_ceil(3).max(1);
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= near(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| *candidate)
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        let known = ["key_names", "hide_credentials", "paths", "mode"];
        for (word, expect) in [
            ("key_nams", Some("key_names")),
            ("keynames", Some("key_names")),
            ("key-names", Some("key_names")),
            ("path", Some("paths")),
            ("Mode", Some("mode")),
            ("upstream", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, &known), expect, "{word}");
        }
        assert_eq!(closest(&"a".repeat(10_000), &known), None);
    }
}
