//! International bank account numbers (ISO 13616).

/// How many characters those of each country have.
const LENGTHS: [(&[u8; 2], u8); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];
/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Tells of each in a text until it is told to stop. What is not `strict` takes also those that stand in a word.
pub(super) fn find(text: &[u8], strict: bool, found: &mut dyn FnMut(usize, usize) -> bool) {
    let mut base = 0;
    while base < text.len() {
        let window = text.get(base..text.len().min(base + BLOCK + 3)).unwrap_or_default();
        if has_head(window) {
            let mut at = base;
            while at < base + BLOCK {
                let alone = |at: usize| {
                    let before = at.checked_sub(1).and_then(|at| text.get(at)).copied().unwrap_or(b' ');
                    !strict || !before.is_ascii_alphanumeric()
                };
                match text.get(at..).and_then(|rest| length(rest, strict)).filter(|_| alone(at)) {
                    Some(length) => {
                        if !found(at, at + length) {
                            return;
                        }
                        at += length;
                    }
                    None => at += 1,
                }
            }
            base = at.max(base + BLOCK);
        } else {
            base += BLOCK;
        }
    }
}

/// Two letters and two digits stand somewhere. Without branches: the compiler makes vector code of it.
fn has_head(window: &[u8]) -> bool {
    let (Some(second), Some(third), Some(fourth)) = (window.get(1..), window.get(2..), window.get(3..))
    else {
        return false;
    };
    let letter = |byte: &u8| (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = |byte: &u8| byte.wrapping_sub(b'0') < 10;
    let pairs = window.iter().zip(second).zip(third.iter().zip(fourth));
    pairs.fold(false, |any, ((a, b), (c, d))| any | (letter(a) & letter(b) & digit(c) & digit(d)))
}

/// How many bytes the one has that a text begins with.
fn length(text: &[u8], strict: bool) -> Option<usize> {
    let head: &[u8; 4] = text.first_chunk()?;
    let [a, b, c, d] = *head;
    if !(a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return None;
    }
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    let at = LENGTHS.binary_search_by(|(name, _)| (*name).cmp(&country)).ok()?;
    let wanted = usize::from(LENGTHS.get(at)?.1);
    let mut characters = [0_u8; 34];
    let (mut count, mut end) = (0, 0);
    while count < wanted {
        match text.get(end)? {
            byte if byte.is_ascii_alphanumeric() => {
                *characters.get_mut(count)? = byte.to_ascii_uppercase();
                count += 1;
            }
            // In print they are in groups of four.
            b' ' | b'-' if count.is_multiple_of(4) && text.get(end + 1)?.is_ascii_alphanumeric() => {}
            _ => return None,
        }
        end += 1;
    }
    if strict && text.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let (head, body) = characters.get(..count)?.split_at_checked(4)?;
    let rest = body.iter().chain(head).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    (rest == 1).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text.as_bytes(), true, &mut |start, end| {
            found.push(&text[start..end]);
            true
        });
        found
    }

    #[test]
    fn those_with_the_right_length_and_check_are_found() {
        assert!(LENGTHS.is_sorted());
        for one in [
            "GB29NWBK60161331926819",
            "GB29 NWBK 6016 1331 9268 19",
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "FR1420041010050500013M02606",
            "NL91ABNA0417164300",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
            "PL61109010140000071219812874",
            "ch9300762011623852957",
        ] {
            assert_eq!(found(one), [one]);
            for blanks in 0..130 {
                let text = format!("{}{one}.", "\u{20}".repeat(blanks));
                assert_eq!(found(&text), [one], "{text}");
            }
        }
        assert_eq!(found("DE89370400440532013000,NO9386011117947").len(), 2);
        for none in [
            "GB29NWBK60161331926818",
            "GB29NWBK6016133192681",
            "XGB29NWBK60161331926819",
            "GB29NWBK60161331926819X",
            "GB29NW BK60161331926819",
            "GB29  NWBK60161331926819",
            "ZZ29NWBK60161331926819",
            "550e8400-e29b-41d4-a716-446655440000",
            "GB29",
            "",
        ] {
            assert_eq!(found(none), [""; 0], "{none}");
        }
    }
}
