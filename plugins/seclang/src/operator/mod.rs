//! Operators: what is asked of a value.

mod address;
mod check;
mod number;
pub(crate) mod pattern;
mod phrases;
mod word;

pub(crate) use address::Addresses;
pub(crate) use check::ByteRange;
pub(crate) use pattern::Pattern;
pub(crate) use phrases::Phrases;

use crate::{
    bytes::{Span, integer},
    injection,
    template::{Piece, Template},
};
use std::borrow::Cow;

/// How a number is compared with the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Equal,
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Order {
    pub(crate) fn holds(self, value: i64, parameter: i64) -> bool {
        match self {
            Self::Equal => value == parameter,
            Self::AtLeast => value >= parameter,
            Self::Above => value > parameter,
            Self::AtMost => value <= parameter,
            Self::Below => value < parameter,
        }
    }
}

/// An operator with its parameter.
#[derive(Debug)]
pub(crate) enum Operator {
    Always,
    Never,
    /// `@rx`.
    Rx(Pattern),
    /// `@rxGlobal`: all matches, numbered on.
    RxGlobal(Pattern),
    /// `@rx` with macros, which are put in as literal text.
    RxMacro(Template),
    Pm(Phrases),
    Number(Order, Template),
    Streq(Template),
    Contains(Template),
    ContainsWord(Template),
    BeginsWith(Template),
    EndsWith(Template),
    Within(Template),
    IpMatch(Addresses),
    DetectSqli,
    DetectXss,
    ValidateByteRange(ByteRange),
    ValidateUrlEncoding,
    ValidateUtf8Encoding,
    VerifyCreditCard(Pattern),
    VerifyCpf(Pattern),
    VerifySsn(Pattern),
    VerifySvnr(Pattern),
}

/// Names of all operators that the engine runs, for suggestions.
pub(crate) const NAMES: &[&str] = &[
    "@rx",
    "@rxGlobal",
    "@pm",
    "@pmFromFile",
    "@pmf",
    "@eq",
    "@ge",
    "@gt",
    "@le",
    "@lt",
    "@streq",
    "@strmatch",
    "@contains",
    "@containsWord",
    "@beginsWith",
    "@endsWith",
    "@within",
    "@ipMatch",
    "@ipMatchFromFile",
    "@ipMatchF",
    "@geoLookup",
    "@detectSQLi",
    "@detectXSS",
    "@validateByteRange",
    "@validateUrlEncoding",
    "@validateUtf8Encoding",
    "@verifyCC",
    "@verifyCPF",
    "@verifySSN",
    "@verifySVNR",
    "@unconditionalMatch",
    "@noMatch",
];

/// Operators of ModSecurity that are refused, with the reason.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("@gsblookup", "it needs a service that no longer exists"),
    ("@rbl", "it asks a name server while a request waits"),
    ("@inspectfile", "it runs a program"),
    ("@fuzzyhash", "it needs a library that the engine does not have"),
    ("@validatedtd", "the XML processor does not read document types"),
    ("@validateschema", "the XML processor does not read schemas"),
    ("@validatehash", "hash protection of links is not part of the engine"),
    ("@rsub", "it changes bodies, which the engine only reads"),
];

/// What expands the macros of a parameter.
pub(crate) trait Expand {
    /// Writes the value of a piece that is no plain text.
    fn expand(&self, piece: &Piece, out: &mut Vec<u8>);

    /// The whole template, borrowed where it has no macros.
    fn template<'a>(&self, template: &'a Template) -> Cow<'a, [u8]> {
        if let Some(text) = template.constant() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                piece => self.expand(piece, &mut out),
            }
        }
        Cow::Owned(out)
    }

    /// The number that a template stands for; a macro of `TX` alone needs no text in between.
    fn number(&self, template: &Template) -> i64 {
        integer(&self.template(template))
    }
}

/// What an operator captures: up to ten pieces of the value, or text of its own.
#[derive(Debug, Default)]
pub(crate) struct Captures {
    text: Vec<u8>,
    pieces: Vec<(u8, Span)>,
}

impl Captures {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.pieces.clear();
    }

    /// The numbers and texts of all pieces.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.pieces.iter().map(|(number, span)| (*number, span.of(&self.text)))
    }

    fn set(&mut self, number: usize, text: &[u8]) {
        if let Ok(number) = u8::try_from(number)
            && number < 10
        {
            let from = self.text.len();
            self.text.extend_from_slice(text);
            self.pieces.push((number, Span::new(from..self.text.len())));
        }
    }
}

impl Operator {
    /// Whether the value matches, before negation; `None` where a bound was met before that was decided. `captures` is given
    /// where the rule captures.
    pub(crate) fn decide(
        &self,
        value: &[u8],
        expand: &dyn Expand,
        captures: Option<&mut Captures>,
    ) -> Option<bool> {
        match self {
            Self::Rx(pattern) => pattern.decide(value, captures),
            _ => Some(self.matches(value, expand, captures)),
        }
    }

    /// Whether the value matches, or may.
    pub(crate) fn matches(&self, value: &[u8], expand: &dyn Expand, captures: Option<&mut Captures>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Rx(pattern) => pattern.find(value, captures),
            Self::RxGlobal(pattern) => pattern.find_all(value, captures),
            Self::RxMacro(template) => pattern::find_macro(&expand.template(template), value, captures),
            Self::Pm(phrases) => phrases.find(value, captures),
            Self::Number(order, template) => order.holds(integer(value), expand.number(template)),
            Self::Streq(template) => *expand.template(template) == *value,
            Self::Contains(template) => memchr::memmem::find(value, &expand.template(template)).is_some(),
            Self::ContainsWord(template) => word::contains(value, &expand.template(template)),
            Self::BeginsWith(template) => value.starts_with(&expand.template(template)),
            Self::EndsWith(template) => value.ends_with(&expand.template(template)),
            Self::Within(template) => memchr::memmem::find(&expand.template(template), value).is_some(),
            Self::IpMatch(addresses) => addresses.contain(value),
            Self::DetectSqli => match injection::sqli(value) {
                Some(fingerprint) => {
                    if let Some(captures) = captures {
                        captures.set(0, fingerprint.text());
                    }
                    true
                }
                None => false,
            },
            Self::DetectXss => {
                let found = injection::xss(value);
                if let (true, Some(captures)) = (found, captures) {
                    captures.set(0, value);
                }
                found
            }
            Self::ValidateByteRange(range) => range.violated(value),
            Self::ValidateUrlEncoding => check::bad_url_encoding(value),
            Self::ValidateUtf8Encoding => check::bad_utf8(value),
            Self::VerifyCreditCard(pattern) => pattern.any(value, captures, number::is_credit_card),
            Self::VerifyCpf(pattern) => pattern.any(value, captures, number::is_cpf),
            Self::VerifySsn(pattern) => pattern.any(value, captures, number::is_ssn),
            Self::VerifySvnr(pattern) => pattern.any(value, captures, number::is_svnr),
        }
    }
}
