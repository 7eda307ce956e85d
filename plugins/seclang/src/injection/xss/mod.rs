//! Cross-site scripting: what a value would be as HTML, in five contexts.

mod html;

use crate::bytes::{at, hex, tail};
use html::{Context, Kind, Tokens};

/// Whether a value is active in a document.
pub(crate) fn xss(value: &[u8]) -> bool {
    // Without these there is no tag, and no attribute with a value.
    if memchr::memchr2(b'<', b'=', value).is_none() {
        return false;
    }
    let contexts: &[Context] =
        &[Context::Data, Context::NoQuote, Context::SingleQuote, Context::DoubleQuote, Context::BackQuote];
    contexts.iter().any(|context| is_active(value, *context))
}

/// What an attribute's value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Plain,
    /// A script or worse, whatever the value.
    Active,
    Url,
    /// The value is an attribute's name.
    Name,
}

fn is_active(value: &[u8], context: Context) -> bool {
    let mut attribute = Attribute::Plain;
    for token in Tokens::new(value, context) {
        if token.kind != Kind::AttributeValue {
            attribute = Attribute::Plain;
        }
        let found = match token.kind {
            Kind::Doctype => true,
            Kind::TagOpen => is_black_tag(token.text),
            Kind::AttributeName => {
                attribute = kind_of(token.text);
                false
            }
            Kind::AttributeValue => {
                let found = match attribute {
                    Attribute::Plain => false,
                    Attribute::Active => true,
                    Attribute::Url => is_black_url(token.text),
                    Attribute::Name => kind_of(token.text) != Attribute::Plain,
                };
                attribute = Attribute::Plain;
                found
            }
            Kind::Comment => is_black_comment(token.text),
            Kind::Other => false,
        };
        if found {
            return true;
        }
    }
    false
}

/// Whether two names are the same, without case and NULs.
fn same(upper: &[u8], name: &[u8]) -> bool {
    name.iter().filter(|byte| **byte != 0).map(u8::to_ascii_uppercase).eq(upper.iter().copied())
}

fn is_black_comment(text: &[u8]) -> bool {
    let starts = |word: &[u8]| text.get(..word.len()).is_some_and(|head| same(word, head));
    text.contains(&b'`')
        || (text.len() > 3 && (starts(b"[IF") || starts(b"XML")))
        || (text.len() > 5 && (starts(b"IMPORT") || starts(b"ENTITY")))
}

fn is_black_tag(name: &[u8]) -> bool {
    const TAGS: [&[u8]; 20] = [
        b"APPLET",
        b"BASE",
        b"COMMENT",
        b"EMBED",
        b"FRAME",
        b"FRAMESET",
        b"HANDLER",
        b"IFRAME",
        b"IMPORT",
        b"ISINDEX",
        b"LINK",
        b"LISTENER",
        b"META",
        b"NOSCRIPT",
        b"OBJECT",
        b"SCRIPT",
        b"STYLE",
        b"VMLFRAME",
        b"XML",
        b"XSS",
    ];
    name.len() >= 3
        && (TAGS.iter().any(|tag| same(tag, name))
            || name
                .get(..3)
                .is_some_and(|head| head.eq_ignore_ascii_case(b"SVG") || head.eq_ignore_ascii_case(b"XSL")))
}

fn kind_of(name: &[u8]) -> Attribute {
    const KINDS: [(&[u8], Attribute); 20] = [
        (b"ACTION", Attribute::Url),
        (b"ATTRIBUTENAME", Attribute::Name),
        (b"BY", Attribute::Url),
        (b"BACKGROUND", Attribute::Url),
        (b"DATAFORMATAS", Attribute::Active),
        (b"DATASRC", Attribute::Active),
        (b"DYNSRC", Attribute::Url),
        (b"FILTER", Attribute::Active),
        (b"FORMACTION", Attribute::Url),
        (b"FOLDER", Attribute::Url),
        (b"FROM", Attribute::Url),
        (b"HANDLER", Attribute::Url),
        (b"HREF", Attribute::Url),
        (b"LOWSRC", Attribute::Url),
        (b"POSTER", Attribute::Url),
        (b"SRC", Attribute::Url),
        (b"STYLE", Attribute::Active),
        (b"TO", Attribute::Url),
        (b"VALUES", Attribute::Url),
        (b"XLINK:HREF", Attribute::Url),
    ];
    if name.len() < 2 {
        return Attribute::Plain;
    }
    if let Some(head) = name.get(..5)
        && (head.get(..2).is_some_and(|on| on.eq_ignore_ascii_case(b"ON"))
            || same(b"XMLNS", head)
            || same(b"XLINK", head))
    {
        return Attribute::Active;
    }
    KINDS.iter().find(|(known, _)| same(known, name)).map_or(Attribute::Plain, |(_, kind)| *kind)
}

fn is_black_url(text: &[u8]) -> bool {
    let start = text.iter().position(|byte| (33..127).contains(byte)).unwrap_or(text.len());
    let text = tail(text, start);
    [b"DATA".as_slice(), b"VIEW-SOURCE", b"JAVA", b"VBSCRIPT"]
        .iter()
        .any(|scheme| decoded_starts(scheme, text))
}

/// Whether a text begins with a word in capitals, with references decoded and NULs and line ends passed over.
fn decoded_starts(word: &[u8], text: &[u8]) -> bool {
    let mut wanted = word.iter();
    let mut next = wanted.next();
    let mut rest = text;
    let mut first = true;
    while let (Some(letter), false) = (next, rest.is_empty()) {
        let (code, consumed) = character(rest);
        rest = tail(rest, consumed);
        if first && code <= 32 {
            continue;
        }
        first = false;
        if code == 0 || code == 10 {
            continue;
        }
        let upper = if (97..=122).contains(&code) { code - 32 } else { code };
        // Only the low byte counts.
        if upper & 0xff != u32::from(*letter) {
            return false;
        }
        next = wanted.next();
    }
    next.is_none()
}

/// The first character of a text and how many bytes it takes.
fn character(text: &[u8]) -> (u32, usize) {
    const MOST: u32 = 0x10_00ff;
    let ampersand = (u32::from(b'&'), 1);
    let byte = at(text, 0);
    if byte != b'&' || text.len() < 2 {
        return (u32::from(byte), 1);
    }
    if at(text, 1) != b'#' {
        return ampersand;
    }
    let hexadecimal = at(text, 2) | 0x20 == b'x';
    let (mut place, base) = if hexadecimal { (3, 16) } else { (2, 10) };
    let digit = |place: usize| {
        let byte = at(text, place);
        if hexadecimal { hex(byte) } else { byte.is_ascii_digit().then(|| byte - b'0') }
    };
    let Some(first) = digit(place) else { return ampersand };
    let mut code = u32::from(first);
    place += 1;
    while place < text.len() {
        if at(text, place) == b';' {
            return (code, place + 1);
        }
        let Some(digit) = digit(place) else { break };
        code = code * base + u32::from(digit);
        if code > MOST {
            return ampersand;
        }
        place += 1;
    }
    (code, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found() {
        for value in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "\" onmouseover=\"alert(1)",
            "' onclick='x",
            "<a href=\"javascript:alert(1)\">",
            "<a href=\"&#106;&#x61;va\tscript:alert(1)\">",
            "<a href=\"\x01 java\0script:x\">",
            "<svg/onload=x>",
            "<!DOCTYPE html>",
            "<!--[if IE]>x<![endif]-->",
            "x style=y",
            "` onfocus=x",
            "<sc\0ript>",
            "<% ` %>",
            "<set attributeName=onmouseover to=x>",
        ] {
            assert!(xss(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn text_is_not() {
        for value in [
            "",
            "plain",
            "a < b and c > d",
            "x=1",
            "<b>bold</b>",
            "1<2",
            "https://example.com/?a=b&c=d",
            "<a href=\"https://example.com\">",
            "a == b",
            "<3",
            "<!-- a comment -->",
        ] {
            assert!(!xss(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn what_is_passed_over_is_nothing() {
        // Neither `<` nor `=`: no context finds anything.
        for value in ["onload javascript:x", "\"' onerror > / `", "style xmlns", "data:x"] {
            for context in [
                Context::Data,
                Context::NoQuote,
                Context::SingleQuote,
                Context::DoubleQuote,
                Context::BackQuote,
            ] {
                assert!(!is_active(value.as_bytes(), context), "{value}");
            }
        }
    }
}
