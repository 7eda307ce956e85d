//! The `Content-Disposition` of a part.

use crate::bytes::{at, cut, tail};

/// What the field says.
#[derive(Debug, Default)]
pub(super) struct Disposition {
    pub(super) names: Vec<Vec<u8>>,
    pub(super) filenames: Vec<Vec<u8>>,
    pub(super) invalid_quoting: bool,
}

impl Disposition {
    /// Reads the field; the error's number says where it went wrong, as ModSecurity numbers it.
    pub(super) fn parse(&mut self, value: &[u8]) -> Result<(), i32> {
        if !value.starts_with(b"form-data") {
            return Err(-1);
        }
        let mut place = skip_blanks(value, 9);
        if place >= value.len() {
            return Ok(());
        }
        if at(value, place) != b';' {
            return Err(-2);
        }
        place += 1;
        let mut extended = false;
        while place < value.len() {
            place = self.parameter(value, place, &mut extended)?;
        }
        if extended && self.filenames.is_empty() { Err(-21) } else { Ok(()) }
    }

    /// Reads `name=value` and what parts it from the next.
    fn parameter(&mut self, value: &[u8], from: usize, extended: &mut bool) -> Result<usize, i32> {
        let start = skip_blanks(value, from);
        if start >= value.len() {
            return Err(-3);
        }
        let length =
            tail(value, start).iter().take_while(|byte| !matches!(byte, b'=' | b'\t' | b' ')).count();
        let name = cut(value, start, start + length);
        let mut place = start + length;
        if place >= value.len() {
            return Err(-4);
        }
        place = skip_blanks(value, place);
        match value.get(place) {
            None => return Err(-5),
            Some(b'=') => place = skip_blanks(value, place + 1),
            Some(_) => return Err(-13),
        }
        if place >= value.len() {
            return Err(-6);
        }
        let quote = at(value, place);
        let (text, end) = if name == b"filename*" {
            extended_value(value, place)?
        } else if quote == b'"' || quote == b'\'' {
            self.invalid_quoting |= quote == b'\'';
            quoted_value(value, place)?
        } else {
            let length = tail(value, place).iter().take_while(|byte| is_token(**byte)).count();
            (cut(value, place, place + length).to_vec(), place + length)
        };
        self.keep(name, text, quote, extended)?;
        self.separator(value, end)
    }

    fn keep(&mut self, name: &[u8], text: Vec<u8>, quote: u8, extended: &mut bool) -> Result<(), i32> {
        let odd = quote != b'"' && text.contains(&b'\'');
        let again = |list: &[Vec<u8>]| list.iter().any(|known| !known.is_empty());
        match name {
            b"name" => {
                self.invalid_quoting |= odd;
                let again = again(&self.names);
                self.names.push(text);
                if again { Err(-14) } else { Ok(()) }
            }
            b"filename" => {
                self.invalid_quoting |= odd;
                let again = again(&self.filenames);
                self.filenames.push(text);
                if again { Err(-15) } else { Ok(()) }
            }
            b"filename*" if *extended => Err(-20),
            b"filename*" => {
                *extended = true;
                Ok(())
            }
            _ => Err(-11),
        }
    }

    fn separator(&mut self, value: &[u8], end: usize) -> Result<usize, i32> {
        let place = skip_blanks(value, end);
        match value.get(place) {
            None => Ok(value.len()),
            Some(b';') => Ok(place + 1),
            Some(_) => {
                self.invalid_quoting |= matches!(at(value, place.saturating_sub(1)), b'\'' | b'"');
                Err(-12)
            }
        }
    }
}

/// `charset'language'value`.
fn extended_value(value: &[u8], start: usize) -> Result<(Vec<u8>, usize), i32> {
    let of_charset = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&+-^_`{}~".contains(byte);
    let length = tail(value, start).iter().take_while(|byte| of_charset(byte)).count();
    let mut place = start + length;
    if length == 0 || at(value, place) != b'\'' {
        return Err(-16);
    }
    let language = memchr::memchr(b'\'', tail(value, place + 1)).ok_or(-17)?;
    place += language + 2;
    let from = place;
    while place < value.len() && at(value, place) != b';' {
        match at(value, place) {
            b'%' if at(value, place + 1).is_ascii_hexdigit() && at(value, place + 2).is_ascii_hexdigit() => {
                place += 3
            }
            b'%' => return Err(-18),
            byte if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`~".contains(&byte) => place += 1,
            _ => return Err(-19),
        }
    }
    Ok((cut(value, from, place).to_vec(), place))
}

fn quoted_value(value: &[u8], start: usize) -> Result<(Vec<u8>, usize), i32> {
    let quote = at(value, start);
    let mut place = start + 1;
    if place >= value.len() {
        return Err(-7);
    }
    let mut text = Vec::new();
    while let Some(byte) = value.get(place) {
        if *byte == quote {
            break;
        }
        if *byte == b'\\' {
            match value.get(place + 1) {
                None => return Err(-8),
                Some(next) if *next == quote || *next == b'\\' => place += 1,
                Some(_) => {}
            }
        }
        text.push(at(value, place));
        place += 1;
    }
    Ok((text, (place + 1).min(value.len())))
}

fn skip_blanks(value: &[u8], from: usize) -> usize {
    from + tail(value, from).iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

fn is_token(byte: u8) -> bool {
    (33..127).contains(&byte) && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        type Row<'a> = (&'a [u8], Result<(), i32>, &'a [u8], &'a [u8], bool);
        let table: [Row<'_>; 13] = [
            (b"form-data; name=\"a\"; filename=\"b.txt\"", Ok(()), b"a", b"b.txt", false),
            (b"form-data; name=a", Ok(()), b"a", b"", false),
            (b"form-data; name='a'", Ok(()), b"a", b"", true),
            (b"form-data; name=\"a\\\"b\\x\"", Ok(()), b"a\"b\\x", b"", false),
            (b"form-data; name=\"a\"; filename*=utf-8'en'x%20y; filename=z", Ok(()), b"a", b"z", false),
            (b"form-data; filename*=utf-8''x; name=a", Err(-21), b"a", b"", false),
            (b"form-data; name=\"a\"; name=\"b\"", Err(-14), b"a", b"", false),
            (b"form-data; other=\"a\"", Err(-11), b"", b"", false),
            (b"form-data; name=\"a\"x", Err(-12), b"a", b"", true),
            (b"form-data; name", Err(-4), b"", b"", false),
            (b"form-data;", Ok(()), b"", b"", false),
            (b"attachment", Err(-1), b"", b"", false),
            (b"form-data; name=\"open", Ok(()), b"open", b"", false),
        ];
        for (value, result, name, filename, quoting) in table {
            let mut read = Disposition::default();
            assert_eq!(read.parse(value), result, "{}", value.escape_ascii());
            assert_eq!(read.names.first().map(Vec::as_slice).unwrap_or_default(), name);
            assert_eq!(read.filenames.first().map(Vec::as_slice).unwrap_or_default(), filename);
            assert_eq!(read.invalid_quoting, quoting, "{}", value.escape_ascii());
        }
    }
}
