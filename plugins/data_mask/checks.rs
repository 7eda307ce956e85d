//! The checks that tell a number from any other digits.

/// Digits as a number.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(*digit))
}

fn weighed(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// ISO/IEC 7812: the ranges of the issuers that there are, and the check digit of Luhn. In groups the first one has four.
pub(super) fn card(digits: &[u8], groups: &[u8]) -> bool {
    let (Some(first), length) = (digits.get(..4).map(number), digits.len()) else { return false };
    let known = match first {
        4000..=4999 => matches!(length, 13 | 16 | 19),
        5100..=5599 | 2221..=2720 => length == 16,
        3400..=3499 | 3700..=3799 => length == 15,
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&length),
        3528..=3589 | 6011 | 6440..=6599 | 6200..=6299 | 8100..=8199 => (16..=19).contains(&length),
        5000..=5099 | 5600..=5899 | 6000..=6999 => (13..=19).contains(&length),
        2200..=2204 | 9792 => (16..=19).contains(&length),
        _ => false,
    };
    known && (groups.len() == 1 || groups.first() == Some(&4)) && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().fold(0, |sum, (at, digit)| {
        let digit = u32::from(*digit) << (at % 2);
        sum + if digit > 9 { digit - 9 } else { digit }
    });
    sum.is_multiple_of(10)
}

/// Has no check digit: it is one only as it is written, in groups, and not with what is never issued.
pub(super) fn ssn(digits: &[u8], groups: &[u8]) -> bool {
    let part = |range: std::ops::Range<usize>| number(digits.get(range).unwrap_or_default());
    groups == [3, 2, 4] && !matches!(part(0..3), 0 | 666 | 900..) && part(3..5) != 0 && part(5..9) != 0
}

/// Modulus 11 over ten digits.
pub(super) fn nhs(digits: &[u8]) -> bool {
    let check = (11 - weighed(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    digits.last().is_some_and(|last| u32::from(*last) == check) && number(digits) != 0
}

/// ISO 7064 mod 11,10; of the first ten digits one stands twice or three times, and no other one does.
pub(super) fn tax_id(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let mut counts = [0_u8; 10];
    for digit in body {
        if let Some(count) = counts.get_mut(usize::from(*digit)) {
            *count += 1;
        }
    }
    let often = counts.iter().filter(|count| **count > 1).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    let product = body.iter().fold(10, |product, digit| {
        let sum = (u32::from(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    body.first() != Some(&0) && often == 1 && most <= 3 && u32::from(*check) == (11 - product) % 10
}

/// The key is what is missing to a multiple of 97.
pub(super) fn nir(digits: &[u8]) -> bool {
    let Some((body, key)) = digits.split_at_checked(13) else { return false };
    let month = number(digits.get(3..5).unwrap_or_default());
    matches!(body.first(), Some(1..=4 | 7 | 8))
        && matches!(month, 1..=12 | 20..=42 | 50..=99)
        && number(key) == 97 - number(body) % 97
}

/// With Corsica's `2A` and `2B` in the place of a department, which count as 19 and 18.
pub(super) fn corsican(text: &[u8]) -> bool {
    let mut digits = [0_u8; 15];
    let mut count = 0;
    for byte in text.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        let Some(place) = digits.get_mut(count) else { return false };
        match (count, byte) {
            (6, b'A' | b'a' | b'B' | b'b') => {
                *place = if byte.eq_ignore_ascii_case(&b'A') { 9 } else { 8 };
                if let Some(before) = digits.get_mut(5) {
                    *before = 1;
                }
            }
            (_, b'0'..=b'9') => *place = byte - b'0',
            _ => return false,
        }
        count += 1;
    }
    count == 15 && nir(&digits)
}

/// The test of eleven.
pub(super) fn bsn(digits: &[u8]) -> bool {
    let (sum, last) = (weighed(digits, &[9, 8, 7, 6, 5, 4, 3, 2]), digits.last().copied().unwrap_or(1));
    number(digits) != 0 && sum % 11 == u32::from(last) % 11
}

/// A date of birth, with the century in its month, and a check digit.
pub(super) fn pesel(digits: &[u8]) -> bool {
    let part = |range: std::ops::Range<usize>| number(digits.get(range).unwrap_or_default());
    let sum = weighed(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    sum.is_multiple_of(10) && (1..=12).contains(&(part(2..4) % 20)) && (1..=31).contains(&part(4..6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corsicans_have_a_letter() {
        for (text, is_one) in [
            ("1 55 08 2A 168 025 50", true),
            ("155082B16802577", true),
            ("1 55 08 2A 168 025 77", false),
            ("1 55 08 2C 168 025 38", false),
            ("1550", false),
        ] {
            assert_eq!(corsican(text.as_bytes()), is_one, "{text}");
        }
    }
}
