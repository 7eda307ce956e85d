//! Character references of HTML.

use crate::bytes::{at, cut, hex};

/// Decodes numeric references (their low byte) and the few named ones that matter.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        if *byte != b'&' {
            out.push(*byte);
            place += 1;
            continue;
        }
        match reference(value, place + 1) {
            Some((code, end)) => {
                out.push(code);
                place = if at(value, end) == b';' { end + 1 } else { end };
            }
            None => {
                out.push(b'&');
                place += 1;
            }
        }
    }
}

/// The byte of the reference whose text begins at `from`, and where the text ends.
fn reference(value: &[u8], from: usize) -> Option<(u8, usize)> {
    if at(value, from) != b'#' {
        let length =
            (from..value.len()).take_while(|place| at(value, *place).is_ascii_alphanumeric()).count();
        let code = match cut(value, from, from + length).to_ascii_lowercase().as_slice() {
            b"quot" => b'"',
            b"amp" => b'&',
            b"lt" => b'<',
            b"gt" => b'>',
            b"nbsp" => 0xa0,
            _ => return None,
        };
        return Some((code, from + length));
    }
    let hexadecimal = at(value, from + 1) | 0x20 == b'x';
    let start = if hexadecimal { from + 2 } else { from + 1 };
    let digit = |place: usize| {
        let byte = at(value, place);
        if hexadecimal { hex(byte) } else { byte.is_ascii_digit().then(|| byte - b'0') }
    };
    let base: u32 = if hexadecimal { 16 } else { 10 };
    let mut end = start;
    let mut code = 0u32;
    while let Some(digit) = digit(end) {
        code = code.saturating_mul(base).saturating_add(u32::from(digit));
        end += 1;
    }
    (end > start).then_some(((code & 0xff) as u8, end))
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::check;

    #[test]
    fn references() {
        check(
            "htmlEntityDecode",
            &[
                (b"&lt;a&GT;&quot&amp;&nbsp;", b"<a>\"&\xa0"),
                (b"&#65;&#x42;&#X43&#", b"ABC&#"),
                (b"&unknown;&", b"&unknown;&"),
                (b"&#x;&#0000000065", b"&#x;A"),
                (b"&ltx", b"&ltx"),
            ],
        );
    }
}
