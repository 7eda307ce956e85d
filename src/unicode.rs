//! What other readers of a path may take a character for.

use icu_normalizer::ComposingNormalizerBorrowed;
use std::borrow::Cow;

/// Compatibility composition (UAX #15).
pub fn nfkc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfkc().normalize(text)
}

/// True where compatibility composition makes path syntax, a control character or nothing but blanks of a character.
pub fn is_path_syntax(c: char) -> bool {
    let mut bytes = [0; 4];
    let text = nfkc(c.encode_utf8(&mut bytes));
    let syntax = |c: char| matches!(c, '/' | '\\' | '.' | ';' | '%' | '?' | '#') || c.is_control();
    text.contains(syntax) || text.trim_matches(' ').is_empty()
}

/// True for control and format characters, and for what Unicode calls ignorable: seen by nobody, dropped by some.
pub fn is_ignorable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}'
            | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A text as who composes it sees it, without what is ignorable.
pub fn seen(text: &str) -> String {
    let visible = |text: &str| -> String { text.chars().filter(|c| !is_ignorable(*c)).collect() };
    visible(&nfkc(&visible(text)))
}

/// Forgets case, compatibility and what is ignorable. Two texts that some reader makes the same are the same then.
pub fn caseless(text: &str) -> String {
    // By way of upper case, because some letters (`ı`, `ſ`) differ from their ASCII look-alike in lower case only.
    let lower: String =
        seen(text).chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    // `İ` is `i` for who maps characters, and `i` with a dot above for who maps strings.
    seen(&lower).replace("i\u{307}", "i")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_become_path_syntax() {
        for c in [
            '\u{2024}', '\u{2025}', '\u{fe30}', '\u{2488}', '\u{33c2}', '\u{2100}', '\u{3000}', '\u{37e}',
            '/',
        ] {
            assert!(is_path_syntax(c), "{c:?}");
        }
        for c in ['é', '✓', '\u{2764}', '日', 'ﬁ', '\u{b4}', '\u{1d4b6}', 'a'] {
            assert!(!is_path_syntax(c), "{c:?}");
        }
    }

    #[test]
    fn texts_that_some_take_for_the_same() {
        for (text, same) in [
            ("ADMIN", "admin"),
            ("\u{1d4b6}dmin", "admin"),
            ("\u{24d0}\u{1d48}min", "admin"),
            ("adm\u{130}n", "admin"),
            ("admI\u{307}n", "admin"),
            ("admI\u{fe0f}\u{307}n", "admin"),
            ("adm\u{131}n", "admin"),
            ("ad\u{fe0f}min", "admin"),
            ("a\u{ffa0}b", "ab"),
            ("\u{fb01}le", "file"),
            ("STRASSE", "stra\u{df}e"),
            ("e\u{301}t\u{c9}", "été"),
        ] {
            assert_eq!(caseless(text), caseless(same), "{text}");
        }
        assert_ne!(caseless("admin"), caseless("adm\u{301}in"));
    }
}
