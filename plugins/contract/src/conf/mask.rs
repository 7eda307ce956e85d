//! Keeps secrets out of what is shown: literals under `password`, `secret`, `token` and the like in a source
//! line, and values of references in a message.

/// What stands in a secret's place.
pub(crate) const HIDDEN: &str = "[hidden]";

/// True where a value under this key is a secret: the last word is `token`, `secret`, `password` …
pub(crate) fn is_secret_name(key: &str) -> bool {
    let word = key.rsplit(['_', '-', '.']).next().unwrap_or(key).to_ascii_lowercase();
    let word = word.strip_suffix('s').unwrap_or(&word);
    matches!(word, "token" | "secret" | "password" | "passwd" | "passphras" | "passphrase")
}

/// True for what holds a key: TLS has the name of a file there, a consumer's credential has (or, by mistake,
/// has in the hash's place) the key itself.
fn is_key_name(key: &str) -> bool {
    matches!(key, "key" | "apikey" | "key_sha256" | "password_hash")
}

/// True where a literal names a file, as keys of TLS do.
fn is_key_file(chars: &[char], start: usize, end: usize) -> bool {
    let literal: String = chars.iter().skip(start).take(end.saturating_sub(start)).collect();
    let literal = literal.trim().trim_matches(['"', '\'']);
    [".key", ".pem"].iter().any(|suffix| literal.ends_with(suffix))
}

/// A source line with literal secrets hidden. `column` (from 0, in characters) is moved along.
pub(crate) fn mask_line(line: &str, column: usize) -> (String, usize) {
    let mut hidden = secret_spans(line);
    if is_key_material(line) {
        let start = line.chars().take_while(|c| c.is_whitespace()).count();
        hidden.push((start, line.chars().count()));
    }
    let mut shown = String::with_capacity(line.len());
    let mut shown_column = None;
    for (index, c) in line.chars().enumerate() {
        let span = hidden.iter().find(|(start, end)| (*start..*end).contains(&index));
        if span.is_some_and(|(start, _)| *start == index) {
            shown.push_str(HIDDEN);
        }
        if index == column {
            let behind = span.map_or(0, |(start, _)| if *start == index { HIDDEN.len() } else { 1 });
            shown_column = Some(shown.chars().count().saturating_sub(behind));
        }
        if span.is_none() {
            shown.push(if c == '\t' { ' ' } else { c });
        }
    }
    let column = shown_column.unwrap_or_else(|| shown.chars().count());
    (shown, column)
}

/// A message with every given secret hidden, and every part of one that stands in backticks or quotes.
pub(crate) fn mask_message(message: &str, secrets: &[&str]) -> String {
    let mut shown = message.to_owned();
    for secret in secrets.iter().filter(|secret| secret.chars().count() > 2) {
        shown = shown.replace(secret, HIDDEN);
    }
    for quote in ['`', '"', '\''] {
        let parts: Vec<&str> = shown.split(quote).collect();
        let is_part = |part: &str| !part.is_empty() && secrets.iter().any(|secret| secret.contains(part));
        let parts: Vec<&str> = parts
            .iter()
            .enumerate()
            .map(|(index, part)| if index % 2 == 1 && is_part(part) { HIDDEN } else { *part })
            .collect();
        shown = parts.join(&quote.to_string());
    }
    shown
}

/// A line of a PEM block or the like, on which an error of syntax may fall.
fn is_key_material(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 32 && line.chars().all(|c| c.is_ascii_alphanumeric() || "+/=_-".contains(c))
}

/// Where literals under secret keys stand, in characters.
fn secret_spans(line: &str) -> Vec<(usize, usize)> {
    let chars: Vec<char> = line.chars().collect();
    let at = |index: usize| chars.get(index).copied();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
    let mut spans = Vec::new();
    let mut index = 0;
    while index < chars.len() {
        let word: String = chars.iter().skip(index).take_while(|c| is_word(**c)).collect();
        let mut next = index + word.chars().count().max(1);
        if is_secret_name(&word) || is_key_name(&word) {
            let mut colon = next;
            while at(colon).is_some_and(|c| c == '"' || c == '\'' || c == ' ') {
                colon += 1;
            }
            if at(colon) == Some(':') {
                let blanks = chars.iter().skip(colon + 1).take_while(|c| c.is_whitespace()).count();
                let start = colon + 1 + blanks;
                let in_flow = chars.iter().take(index).any(|c| *c == '{');
                let end = end_of_value(&chars, start, in_flow);
                let names_file = is_key_name(&word) && is_key_file(&chars, start, end);
                if end > start && !names_file {
                    spans.push((start, end));
                }
                next = end.max(next);
            }
        }
        index = next;
    }
    spans.extend(
        credentials_in_urls(&chars).filter(|(start, _)| !spans_hold(&spans, *start)).collect::<Vec<_>>(),
    );
    spans
}

fn spans_hold(spans: &[(usize, usize)], index: usize) -> bool {
    spans.iter().any(|(start, end)| (*start..*end).contains(&index))
}

/// What stands before the `@` of a URL, in characters: a user and a password. Rather too much than too little.
fn credentials_in_urls(chars: &[char]) -> impl Iterator<Item = (usize, usize)> {
    let begins = (0..chars.len()).filter(|index| chars.get(*index..*index + 3) == Some(&[':', '/', '/']));
    begins.filter_map(|index| {
        let start = index + 3;
        let rest = chars.get(start..)?;
        let whole =
            rest.iter().position(|c| c.is_whitespace() || *c == '"' || *c == '\'').unwrap_or(rest.len());
        let length = rest.get(..whole)?.iter().rposition(|c| *c == '@')?;
        // A reference tells nothing.
        let text: String = rest.get(..length)?.iter().collect();
        let plain = text.trim_start_matches(':');
        let reference = plain.starts_with("${") && plain.ends_with('}') && plain.matches('$').count() == 1;
        (length > 0 && !reference).then_some((start, start + length))
    })
}

/// Where a literal ends; `start` itself for what is no literal. Rather too late than too early.
fn end_of_value(chars: &[char], start: usize, in_flow: bool) -> usize {
    let rest = || chars.iter().enumerate().skip(start);
    let first = chars.get(start).copied();
    let reference = |from: usize| chars.get(from..from + 2) == Some(&['$', '{']);
    match first {
        None | Some('#' | '{' | '|' | '>') => start,
        Some('$') if reference(start) => start,
        Some('"' | '\'') if reference(start + 1) => start,
        Some(quote @ ('"' | '\'')) => {
            rest().skip(1).find(|(_, c)| **c == quote).map_or(chars.len(), |(index, _)| index + 1)
        }
        Some('[') => rest().find(|(_, c)| **c == ']').map_or(chars.len(), |(index, _)| index + 1),
        // A stored password has commas of its own.
        Some('$')
            if chars.get(start..start + 7).is_some_and(|is| is.iter().collect::<String>() == "$argon2") =>
        {
            rest().find(|(_, c)| c.is_whitespace() || **c == '}').map_or(chars.len(), |(index, _)| index)
        }
        Some(_) if in_flow => {
            rest().find(|(_, c)| matches!(c, ',' | '}')).map_or(chars.len(), |(index, _)| index)
        }
        Some(_) => chars.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_secrets_are_hidden_in_source_lines() {
        for (line, expect) in [
            ("token: abc", "token: [hidden]"),
            ("  admin_token: abc # x", "  admin_token: [hidden]"),
            ("redis: redis://:hunter2@a:1", "redis: redis://[hidden]@a:1"),
            ("{redis: \"rediss://u:p@ss/w@a\", x: y}", "{redis: \"rediss://[hidden]@a\", x: y}"),
            ("redis: redis://:${env:P}@a:1", "redis: redis://:${env:P}@a:1"),
            ("{password_hash: $argon2id$v=19$m=8,t=1$a$b, x: y}", "{password_hash: [hidden] x: y}"),
            ("issuer: https://a.test/x", "issuer: https://a.test/x"),
            ("token: ${env:T}", "token: ${env:T}"),
            ("token: \"${env:T}\"", "token: \"${env:T}\""),
            ("\"token\" : abc", "\"token\" : [hidden]"),
            ("{token: abc, x: 1}", "{token: [hidden], x: 1}"),
            ("{a: 1, 'client-secret': \"a,b\", x: 1}", "{a: 1, 'client-secret': [hidden], x: 1}"),
            ("password: a,b c", "password: [hidden]"),
            ("secrets: [a, b]", "secrets: [hidden]"),
            ("passphrase: 'x", "passphrase: [hidden]"),
            ("secret: |", "secret: |"),
            ("reset-password: {paths: [/x]}", "reset-password: {paths: [/x]}"),
            ("key_names: [a]", "key_names: [a]"),
            ("tokenizer: a", "tokenizer: a"),
            ("token:", "token:"),
            ("    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ==", "    [hidden]"),
            ("key: MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "key: [hidden]"),
            ("- {key: hunter2, id: a}", "- {key: [hidden], id: a}"),
            ("- {key_sha256: hunter2}", "- {key_sha256: [hidden]}"),
            ("  key: ${file:k}", "  key: ${file:k}"),
            (
                "- {certificate: a.pem, key: \"../certs/gw.key\"}",
                "- {certificate: a.pem, key: \"../certs/gw.key\"}",
            ),
            ("key-auth: {key_names: [a]}", "key-auth: {key_names: [a]}"),
            ("hash_on: header:key", "hash_on: header:key"),
        ] {
            assert_eq!(mask_line(line, 0).0, expect, "{line}");
        }
    }

    #[test]
    fn the_column_moves_along() {
        for (line, column, expect) in [
            ("token: abc", 0, 0),
            ("token: abc", 7, 7),
            ("token: abc", 9, 14),
            ("{token: a, xx: 1}", 11, 18),
            ("ü: x", 3, 3),
            ("abc", 99, 3),
            ("", 0, 0),
        ] {
            assert_eq!(mask_line(line, column).1, expect, "{line} {column}");
        }
    }

    #[test]
    fn secrets_are_hidden_in_messages() {
        for (message, secret, expect) in [
            ("bad `hunter2`", "hunter2", "bad `[hidden]`"),
            ("bad hunter2!", "hunter2", "bad [hidden]!"),
            ("bad `unte` at", "hunter2", "bad `[hidden]` at"),
            ("bad \"hunt\" `x`", "hunter2", "bad \"[hidden]\" `x`"),
            ("field `name` is wrong", "hunter2", "field `name` is wrong"),
            ("nothing", "", "nothing"),
        ] {
            assert_eq!(mask_message(message, &[secret]), expect);
        }
    }
}
