//! Keys and tokens, told by what they begin with, and e-mail addresses.

/// A kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Jwt,
    Bearer,
    ApiKey,
}

/// What a token begins with, and what follows.
struct Shape {
    prefix: &'static str,
    /// So many characters follow at least.
    least: usize,
    follows: fn(u8) -> bool,
}

const fn shape(prefix: &'static str, least: usize, follows: fn(u8) -> bool) -> Shape {
    Shape { prefix, least, follows }
}

/// Keys that their issuers have given a beginning of their own, so that they can be found.
const KEYS: &[Shape] = &[
    shape("AKIA", 16, is_upper), // AWS access key ids, of users and of sessions
    shape("ASIA", 16, is_upper),
    shape("ghp_", 20, is_word), // GitHub
    shape("gho_", 20, is_word),
    shape("ghu_", 20, is_word),
    shape("ghs_", 20, is_word),
    shape("ghr_", 20, is_word),
    shape("github_pat_", 20, is_word),
    shape("glpat-", 16, is_dashed), // GitLab
    shape("xoxb-", 10, is_dashed),  // Slack
    shape("xoxp-", 10, is_dashed),
    shape("xoxa-", 10, is_dashed),
    shape("xoxe-", 10, is_dashed),
    shape("xoxe.", 10, is_dotted),
    shape("xoxr-", 10, is_dashed),
    shape("xoxs-", 10, is_dashed),
    shape("xapp-", 10, is_dashed),
    shape("sk_live_", 10, is_word), // Stripe
    shape("sk_test_", 10, is_word),
    shape("rk_live_", 10, is_word),
    shape("rk_test_", 10, is_word),
    shape("whsec_", 16, is_base64),
    shape("AIza", 30, is_dashed), // Google
    shape("ya29.", 20, is_dotted),
    shape("SG.", 30, is_dotted), // SendGrid
    shape("npm_", 30, is_word),
    shape("pypi-", 30, is_dashed),
    shape("dop_v1_", 30, is_word), // DigitalOcean
    shape("hvs.", 20, is_dotted),  // Vault
    shape("sk-ant-", 20, is_dashed),
    shape("sk-proj-", 20, is_dashed),
];

const BEARER: &[&str] = &["Bearer ", "bearer ", "BEARER "];
/// The most bytes of an address before its `@`.
const LOCAL: usize = 256;
/// The most bytes of an address behind its `@`.
const DOMAIN: usize = 255;

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_dashed(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn is_dotted(byte: u8) -> bool {
    is_dashed(byte) || byte == b'.'
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// What a token may be made of at all.
pub(super) fn is_token(byte: u8) -> bool {
    is_dotted(byte) || is_base64(byte) || byte == b'~'
}

impl Token {
    /// What one begins with: each with its index.
    pub(super) fn prefixes(self) -> Vec<&'static str> {
        match self {
            Token::Jwt => vec!["eyJ"],
            Token::Bearer => BEARER.to_vec(),
            Token::ApiKey => KEYS.iter().map(|key| key.prefix).collect(),
        }
    }

    /// Where a token begins and ends whose prefix of the index stands from `start` to `end`. A token that is still going on
    /// where the text ends is one where `goes_on`: what there is of it is too long to be a word.
    pub(super) fn within(
        self,
        text: &[u8],
        index: usize,
        (start, end): (usize, usize),
        goes_on: bool,
    ) -> Option<(usize, usize)> {
        let before = start.checked_sub(1).and_then(|at| text.get(at)).copied().unwrap_or(b' ');
        if is_word(before) {
            return None;
        }
        let run = |from: usize, follows: fn(u8) -> bool| {
            let rest = text.get(from..).unwrap_or_default();
            from + rest.iter().position(|byte| !follows(*byte)).unwrap_or(rest.len())
        };
        match self {
            Token::Jwt => {
                let last = run(end, is_dotted);
                let dots = text.get(start..last).unwrap_or_default().iter().filter(|byte| **byte == b'.');
                let whole = dots.count() >= 2 && run(end, is_dashed) - start >= 10;
                (whole || (goes_on && last == text.len())).then_some((start, last))
            }
            Token::Bearer => {
                let first = run(end, |byte| byte == b' ');
                let last = run(first, is_token);
                // A word of prose has no digit, and is not so long.
                let token = text.get(first..last).unwrap_or_default();
                let is_token = token.len() >= 20 || token.iter().any(u8::is_ascii_digit);
                (token.len() >= 8 && is_token).then_some((first, last))
            }
            Token::ApiKey => {
                let key = KEYS.get(index)?;
                let last = run(end, key.follows);
                (last - end >= key.least).then_some((start, last))
            }
        }
    }
}

/// Where the e-mail address begins and ends whose `@` is at a place.
pub(super) fn email(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let (before, after) = (text.get(..at)?, text.get(at + 1..)?);
    let is_local =
        |byte: &u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(byte) || *byte > 127;
    let local = before.iter().rev().take(LOCAL).take_while(|byte| is_local(byte)).count();
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || *byte > 127;
    let length = after.iter().take(DOMAIN).take_while(|byte| is_domain(byte)).count();
    let domain = after.get(..length)?.trim_ascii_end();
    // What ends a sentence is not of the domain.
    let length = domain.iter().rposition(|byte| !matches!(byte, b'.' | b'-'))? + 1;
    let domain = domain.get(..length)?;
    let top = domain.iter().rposition(|byte| *byte == b'.')?;
    let is_top = domain.len() - top > 2 && !domain.get(top + 1..)?.iter().all(u8::is_ascii_digit);
    (local > 0 && top > 0 && is_top).then_some((at - local, at + 1 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("alice@example.com", Some("alice@example.com")),
            ("<alice.b+c@mail.example.co.uk>.", Some("alice.b+c@mail.example.co.uk")),
            ("to alice@example.com.", Some("alice@example.com")),
            ("j\u{f6}rg@b\u{fc}cher.example", Some("j\u{f6}rg@b\u{fc}cher.example")),
            ("@example.com", None),
            ("alice@", None),
            ("alice@localhost", None),
            ("alice@.com", None),
            ("react@18.2.0", None),
            ("a@b.c", None),
            ("@", None),
        ] {
            let at = text.find('@').unwrap();
            let found = email(text.as_bytes(), at).map(|(start, end)| &text[start..end]);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn prefixes_are_told_apart() {
        for (at, key) in KEYS.iter().enumerate() {
            for other in KEYS.get(at + 1..).unwrap() {
                assert!(!other.prefix.starts_with(key.prefix), "{} {}", key.prefix, other.prefix);
            }
        }
    }
}
