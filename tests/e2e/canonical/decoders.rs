//! How origins read a path: each step written from its standard, none of them from the gateway's own normaliser.

use icu_normalizer::ComposingNormalizerBorrowed;
use std::borrow::Cow;

/// One thing that a reader of paths does. A decoder does several, in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Percent sequences to bytes (RFC 3986 §2.1); what is no sequence stays.
    Percent,
    /// Control characters, format characters and what Unicode calls ignorable are left out.
    Controls,
    /// A backslash is a slash.
    Backslash,
    /// A segment ends at its first `;` (RFC 3986 §3.3, as servlet containers read it).
    Params,
    /// Lower case by the full mapping of Unicode.
    Lower,
    /// Upper case by the full mapping of Unicode.
    Upper,
    /// Lower case, one character for each, as languages do that map characters and not strings.
    Simple,
    /// Unicode's compatibility composition (UAX #15).
    Nfkc,
    /// Spaces at the end of a segment are cut.
    Spaces,
    /// Dots at the end of a segment are cut; dot segments stay.
    Dots,
    /// Slashes in a row are one.
    Merge,
    /// Dot segments are removed (RFC 3986 §5.2.4).
    Resolve,
}

/// All but the last, which every decoder ends with.
pub const STEPS: [Step; 11] = [
    Step::Percent,
    Step::Controls,
    Step::Backslash,
    Step::Params,
    Step::Lower,
    Step::Upper,
    Step::Simple,
    Step::Nfkc,
    Step::Spaces,
    Step::Dots,
    Step::Merge,
];

/// What an origin with these steps takes a request target for. The path ends where the query begins.
pub fn decode(target: &str, steps: &[Step]) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    steps.iter().fold(path.to_owned(), |path, step| step.apply(&path))
}

impl Step {
    pub fn apply(self, path: &str) -> String {
        match self {
            Step::Percent => percent(path),
            Step::Controls => path.chars().filter(|c| !is_ignorable(*c)).collect(),
            Step::Backslash => path.replace('\\', "/"),
            Step::Params => segments(path, |segment| segment.split(';').next().unwrap_or_default()),
            Step::Lower => path.to_lowercase(),
            Step::Upper => path.to_uppercase(),
            Step::Simple => path.chars().map(simple_lower).collect(),
            Step::Nfkc => nfkc(path).into_owned(),
            Step::Spaces => segments(path, |segment| segment.trim_end_matches(' ')),
            Step::Dots => segments(path, |segment| match segment {
                "." | ".." => segment,
                _ => segment.trim_end_matches('.'),
            }),
            Step::Merge => merge(path),
            Step::Resolve => resolve(path),
        }
    }
}

/// Unicode's compatibility composition.
pub fn nfkc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfkc().normalize(text)
}

fn segments(path: &str, change: impl Fn(&str) -> &str) -> String {
    path.split('/').map(change).collect::<Vec<_>>().join("/")
}

fn percent(path: &str) -> String {
    let bytes = path.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// General category Cc or Cf, or `Default_Ignorable_Code_Point`.
pub fn is_ignorable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}'
            | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// `Simple_Lowercase_Mapping`: the only character whose full mapping is longer is `İ`.
fn simple_lower(c: char) -> char {
    if c == '\u{130}' { 'i' } else { c.to_lowercase().next().unwrap_or(c) }
}

fn merge(path: &str) -> String {
    let mut out = String::new();
    for c in path.chars() {
        if !(c == '/' && out.ends_with('/')) {
            out.push(c);
        }
    }
    out
}

/// The algorithm of RFC 3986 §5.2.4, word for word.
fn resolve(path: &str) -> String {
    let (mut input, mut output) = (path.to_owned(), String::new());
    while !input.is_empty() {
        let starts = |prefix: &str| input.starts_with(prefix);
        if starts("../") || starts("./") {
            input = input.split_once('/').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        } else if starts("/./") || input == "/." {
            input = format!("/{}", input.get(3..).unwrap_or_default());
        } else if starts("/../") || input == "/.." {
            input = format!("/{}", input.get(4..).unwrap_or_default());
            output.truncate(output.rfind('/').unwrap_or(0));
        } else if input == "." || input == ".." {
            input.clear();
        } else {
            let end = input.get(1..).and_then(|rest| rest.find('/')).map_or(input.len(), |at| at + 1);
            let rest = input.split_off(end);
            output.push_str(&input);
            input = rest;
        }
    }
    output
}

#[test]
fn decoders_read_as_their_standards_say() {
    for (path, steps, read) in [
        ("/a/b/c/./../../g", &[Step::Resolve][..], "/a/g"),
        ("/a//../b", &[Step::Resolve], "/a/b"),
        ("/a//../b", &[Step::Merge, Step::Resolve], "/b"),
        ("/a/..", &[Step::Resolve], "/"),
        ("/%2e%2e/%zz%4", &[Step::Percent], "/../%zz%4"),
        ("/%252e", &[Step::Percent, Step::Percent], "/."),
        ("/a;b=c/d;/e?x=;", &[Step::Params], "/a/d/e"),
        ("/a\\b", &[Step::Backslash], "/a/b"),
        ("/\u{ff41}\u{2024}/\u{fb01}", &[Step::Nfkc], "/a./fi"),
        ("/ADM\u{130}N", &[Step::Simple], "/admin"),
        ("/a\tb\u{200d}c", &[Step::Controls], "/abc"),
        ("/a. ./b ./..", &[Step::Dots, Step::Spaces], "/a./b/.."),
    ] {
        assert_eq!(decode(path, steps), read, "{path} {steps:?}");
    }
}
