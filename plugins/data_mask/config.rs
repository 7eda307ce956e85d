//! What an operator writes, and what is made of it.

use super::{
    finder::{Finder, TooLarge},
    numbers::Id,
    tokens::Token,
};
use palisade_contract::conf::Size;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Masks, removes or refuses what responses must not give away: card numbers, national ids, keys and tokens, e-mail
/// addresses, stack traces, fields of JSON by their path, and headers that tell what a server runs (OWASP API3 and API8).
///
/// JSON (also `+json`, NDJSON, and the events of `text/event-stream`) is read value by value: it stays JSON, and what is not
/// changed stays as it was written. Other text is read line by line. What cannot be read is not passed on: it is 502, or where
/// it comes in pieces cut off. `data-mask: {}` looks for cards, private keys, API keys and stack traces.
///
/// In `mode: monitor` responses stay as they are, and what is found is recorded and counted. The record has counts under
/// `findings`, metrics count events; both by the kind, by the pattern's name or by the field's path as you wrote it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is looked for in every text and in every string, number and name of JSON. Without `find` and `fields`:
    /// `card`, `private-key`, `api-key` and `stack-trace`.
    pub(super) find: Vec<Find>,
    /// Fields of JSON, whatever they hold.
    pub(super) fields: Vec<Fields>,
    /// Headers that are removed from responses.
    pub(super) remove_headers: Vec<String>,
    /// Who gets bodies as they are.
    pub(super) unless: Unless,
    /// Types of bodies that pass as they are: `image/*`, `application/pdf`. What is neither of these nor can be read is
    /// refused.
    pub(super) pass: Vec<String>,
    /// The most bytes of a body that is held: `1MiB`. With `stream` the most of a string of JSON, or of an event.
    pub(super) max_body_size: Size,
    /// Pass bodies on while they come, for downloads, NDJSON and events: little is held of them, and what is found too late
    /// to be refused is cut off. Without it a response is held until it has been read.
    pub(super) stream: bool,
}

impl Default for Config {
    fn default() -> Self {
        let strings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Config {
            find: Vec::new(),
            fields: Vec::new(),
            remove_headers: strings(&[
                "server",
                "x-powered-by",
                "x-aspnet-version",
                "x-aspnetmvc-version",
                "x-generator",
                "x-runtime",
            ]),
            unless: Unless::default(),
            pass: strings(&["image/*", "audio/*", "video/*", "font/*"]),
            max_body_size: Size(1 << 20),
            stream: false,
        }
    }
}

/// Kinds of data, or a pattern.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Find {
    /// Kinds that are known: `[card, iban]`.
    pub(super) kinds: Vec<Kind>,
    /// What a pattern is called, in metrics and in the record.
    pub(super) name: Option<String>,
    /// An expression in the syntax of Rust's `regex`, in place of `kinds`. It is looked for within a line.
    pub(super) pattern: Option<String>,
    /// What becomes of it.
    pub(super) action: Does,
    /// Characters that stay at the beginning; 8 at most.
    pub(super) keep_first: Option<usize>,
    /// Characters that stay at the end; 8 at most. A card's last 4 stay unless you write otherwise.
    pub(super) keep_last: Option<usize>,
}

/// Fields of JSON.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// `customer.tax_id`, `items[].card.number`, `users.*.email`, or `**.password` at any depth.
    pub(super) paths: Vec<String>,
    /// What becomes of them.
    #[serde(default)]
    pub(super) action: Does,
    /// Characters that stay at the beginning; 8 at most.
    pub(super) keep_first: Option<usize>,
    /// Characters that stay at the end; 8 at most.
    pub(super) keep_last: Option<usize>,
}

/// What becomes of what is found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Does {
    /// Its characters are replaced by `*`. Numbers of JSON become strings.
    #[default]
    Mask,
    /// The member or item of JSON is removed; in a text, `[removed]` takes its place.
    Remove,
    /// The response is refused with 502.
    Deny,
}

/// Who gets bodies as they are: one of the groups, one of the scopes, or one of the claims.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Unless {
    /// Groups of consumers.
    pub(super) groups: Vec<String>,
    /// Scopes of the claim `scope`.
    pub(super) scopes: Vec<String>,
    /// What a claim says, as a string: of a claim that is a list one item is it.
    pub(super) claims: BTreeMap<String, String>,
}

/// A kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Card numbers: 13 to 19 digits with the beginning of an issuer and Luhn's check digit, plain or in groups.
    Card,
    /// Bank account numbers of the countries that have them, with the check digits of ISO 13616.
    Iban,
    /// US social security numbers in groups (`078-05-1120`): they have no check digit.
    UsSsn,
    /// UK NHS numbers, ten digits with modulus 11.
    UkNhs,
    /// German tax ids, eleven digits with ISO 7064.
    DeTaxId,
    /// French social security numbers (NIR), with their key of 97; Corsica's `2A` and `2B` as well.
    FrNir,
    /// Spanish DNI and NIE, with their letter.
    EsDni,
    /// Dutch BSN, nine digits with the test of eleven. One of eleven other numbers of nine digits looks like one.
    NlBsn,
    /// Polish PESEL, eleven digits with a date and a check digit.
    PlPesel,
    /// E-mail addresses.
    Email,
    /// JSON Web Tokens.
    Jwt,
    /// What stands behind `Bearer`.
    Bearer,
    /// Private keys in PEM, from `-----BEGIN` to `-----END`.
    PrivateKey,
    /// Keys whose issuers have given them a beginning: of AWS, GitHub, GitLab, Slack, Stripe, Google and others.
    ApiKey,
    /// Lines of stack traces of Java, .NET, Node, Python, PHP, Go, Ruby and Rust.
    StackTrace,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Card => "card",
            Kind::Iban => "iban",
            Kind::UsSsn => "us-ssn",
            Kind::UkNhs => "uk-nhs",
            Kind::DeTaxId => "de-tax-id",
            Kind::FrNir => "fr-nir",
            Kind::EsDni => "es-dni",
            Kind::NlBsn => "nl-bsn",
            Kind::PlPesel => "pl-pesel",
            Kind::Email => "email",
            Kind::Jwt => "jwt",
            Kind::Bearer => "bearer",
            Kind::PrivateKey => "private-key",
            Kind::ApiKey => "api-key",
            Kind::StackTrace => "stack-trace",
        }
    }

    /// It has a shape that everybody knows, which stays when it is masked.
    pub(super) fn is_shaped(self) -> bool {
        self <= Kind::PlPesel
    }

    /// It is never shown in part.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Kind::PrivateKey | Kind::StackTrace)
    }

    pub(super) fn look_for(self, finder: &mut Finder, rule: usize) -> Result<(), TooLarge> {
        match self {
            Kind::Card => finder.number(Id::Card, rule),
            Kind::UsSsn => finder.number(Id::UsSsn, rule),
            Kind::UkNhs => finder.number(Id::UkNhs, rule),
            Kind::DeTaxId => finder.number(Id::DeTax, rule),
            Kind::FrNir => return finder.french(rule),
            Kind::EsDni => finder.number(Id::EsDni, rule),
            Kind::NlBsn => finder.number(Id::NlBsn, rule),
            Kind::PlPesel => finder.number(Id::PlPesel, rule),
            Kind::Iban => finder.iban(rule),
            Kind::Email => finder.email(rule),
            Kind::Jwt => finder.token(Token::Jwt, rule),
            Kind::Bearer => finder.token(Token::Bearer, rule),
            Kind::ApiKey => finder.token(Token::ApiKey, rule),
            Kind::PrivateKey => finder.key(rule),
            Kind::StackTrace => return finder.frames(rule),
        }
        Ok(())
    }
}
