//! Numbers that name a card or a person: digits in groups, told from other digits by the check that each kind has.

use super::checks::{bsn, card, nhs, nir, number, pesel, ssn, tax_id};

/// The most digits of any of them.
const MOST: usize = 19;

/// The fewest digits before an exponent that are looked at.
const SCALED: usize = 8;

/// A kind of number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    Card,
    UsSsn,
    UkNhs,
    DeTax,
    FrNir,
    EsDni,
    NlBsn,
    PlPesel,
}

impl Id {
    /// The fewest characters that one is written with: digits, and separators between them.
    fn least(self) -> usize {
        match self {
            Id::Card => 13,
            Id::UsSsn | Id::DeTax | Id::PlPesel => 11,
            Id::UkNhs => 10,
            Id::FrNir => 15,
            Id::EsDni => 7,
            Id::NlBsn => 9,
        }
    }

    /// Where one begins and ends that has these digits in these groups, from `start` to `end` of a text.
    fn within(self, one: &Written<'_>, strict: bool) -> Option<(usize, usize)> {
        if self == Id::EsDni {
            return spanish(one, strict);
        }
        let (digits, groups) = (one.digits, one.groups);
        let fits = match self {
            Id::Card => card(digits, groups),
            Id::UsSsn => ssn(digits, groups),
            Id::UkNhs => matches!(groups, [10] | [3, 3, 4]) && nhs(digits),
            Id::DeTax => matches!(groups, [11] | [2, 3, 3, 3]) && tax_id(digits),
            Id::FrNir => matches!(groups, [15] | [13, 2] | [1, 2, 2, 2, 3, 3, 2]) && nir(digits),
            Id::NlBsn => matches!(groups, [9] | [4, 2, 3] | [3, 3, 3]) && bsn(digits),
            Id::PlPesel => groups == [11] && pesel(digits),
            Id::EsDni => false,
        };
        let alone = !strict || (one.begins(one.start) && one.ends(one.end));
        (fits && alone).then_some((one.start, one.end))
    }
}

/// Digits as they stand in a text.
struct Written<'t> {
    text: &'t [u8],
    start: usize,
    end: usize,
    digits: &'t [u8],
    groups: &'t [u8],
}

impl Written<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(b' ')
    }

    fn before(&self, at: usize, count: usize) -> u8 {
        at.checked_sub(count).map_or(b' ', |at| self.byte(at))
    }

    /// Nothing in front of it makes it a part of a word or of a fraction.
    fn begins(&self, at: usize) -> bool {
        let before = self.before(at, 1);
        !(before.is_ascii_alphanumeric() || before == b'.' && self.before(at, 2).is_ascii_digit())
    }

    /// Nor does what is behind it.
    fn ends(&self, at: usize) -> bool {
        let after = self.byte(at);
        !(after.is_ascii_alphanumeric() || after == b'.' && self.byte(at + 1).is_ascii_digit())
    }
}

/// Which of them are looked for, each with its rule.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    kinds: Vec<(Id, usize)>,
    least: usize,
}

impl Numbers {
    pub(super) fn add(&mut self, id: Id, rule: usize) {
        self.kinds.push((id, rule));
        self.least = self.kinds.iter().map(|(id, _)| id.least()).min().unwrap_or(0);
    }

    /// Tells of each in a text, with its rule, until it is told to stop. What is not `strict` takes also those that stand
    /// in a word: behind an escape of JSON, the last letter of which is none of the text.
    pub(super) fn find(&self, text: &[u8], strict: bool, found: &mut dyn FnMut(usize, usize, usize) -> bool) {
        if self.kinds.is_empty() {
            return;
        }
        // In a run of digits and single separators one of any two neighbours is a digit, and one of the places that
        // are looked at, with its neighbour, is in any run that is long enough.
        let step = self.least.saturating_sub(1).max(1);
        let (mut at, mut floor) = (0, 0);
        while let Some(&byte) = text.get(at) {
            let digit = if byte.is_ascii_digit() {
                at
            } else if text.get(at + 1).is_some_and(u8::is_ascii_digit) {
                at + 1
            } else {
                at += step;
                continue;
            };
            let (start, end) = (run_start(text, digit, floor), run_end(text, digit));
            if end - start >= self.least && !self.run(text, start..end, strict, found) {
                return;
            }
            // A number of JSON may be written as a fraction with an exponent.
            let scaled = !strict && end - start >= SCALED && matches!(text.get(end), Some(b'e' | b'E'));
            if scaled && !found(start, end, 0) {
                return;
            }
            floor = end;
            at = end.max(at + 1);
        }
    }

    /// The rule of a number that is all there is.
    pub(super) fn whole(&self, digits: &[u8]) -> Option<usize> {
        let mut rule = None;
        self.find(digits, true, &mut |start, end, found| {
            rule = (start == 0 && end == digits.len()).then_some(found);
            false
        });
        rule
    }

    /// One run of digits and separators; false where it was told to stop.
    fn run(
        &self,
        text: &[u8],
        run: std::ops::Range<usize>,
        strict: bool,
        found: &mut dyn FnMut(usize, usize, usize) -> bool,
    ) -> bool {
        let mut at = run.start;
        while at < run.end {
            if let Some((start, end, rule)) = self.group(text, at, run.end, strict) {
                if !found(start, end, rule) {
                    return false;
                }
                at = at.max(end);
            }
            // Where the next group begins.
            while at < run.end && text.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at += 1;
        }
        true
    }

    /// The longest that begins with the group at `start`.
    fn group(&self, text: &[u8], start: usize, end: usize, strict: bool) -> Option<(usize, usize, usize)> {
        let (mut digits, mut groups) = ([0_u8; MOST], [0_u8; MOST]);
        let (mut count, mut at, mut best) = (0, start, None);
        for number in 0..MOST {
            let from = count;
            while let Some(digit) = text.get(at).filter(|digit| at < end && digit.is_ascii_digit()) {
                let Some(place) = digits.get_mut(count) else { return best };
                *place = digit - b'0';
                (count, at) = (count + 1, at + 1);
            }
            *groups.get_mut(number)? = u8::try_from(count - from).ok()?;
            let one = Written {
                text,
                start,
                end: at,
                digits: digits.get(..count)?,
                groups: groups.get(..=number)?,
            };
            for (id, rule) in &self.kinds {
                if let Some((start, end)) = id.within(&one, strict) {
                    best = Some((start, end, *rule));
                }
            }
            at += 1;
            if at >= end {
                break;
            }
        }
        best
    }
}

fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'-')
}

fn run_start(text: &[u8], mut at: usize, floor: usize) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or_default();
    loop {
        if at > floor && byte(at - 1).is_ascii_digit() {
            at -= 1;
        } else if at > floor + 1 && is_between(byte(at - 1)) && byte(at - 2).is_ascii_digit() {
            at -= 2;
        } else {
            return at;
        }
    }
}

fn run_end(text: &[u8], mut at: usize) -> usize {
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    loop {
        if is_digit(at) {
            at += 1;
        } else if text.get(at).is_some_and(|byte| is_between(*byte)) && is_digit(at + 1) {
            at += 2;
        } else {
            return at;
        }
    }
}

/// DNI: eight digits and a letter. NIE: `X`, `Y` or `Z`, seven digits and a letter.
fn spanish(one: &Written<'_>, strict: bool) -> Option<(usize, usize)> {
    let letter = if one.byte(one.end) == b'-' { one.end + 1 } else { one.end };
    let (value, start) = match one.groups {
        [8] | [2, 3, 3] => (number(one.digits), one.start),
        [7] => {
            let first = match one.before(one.start, 1).to_ascii_uppercase() {
                b'X' => 0,
                b'Y' => 1,
                b'Z' => 2,
                b'-' => match one.before(one.start, 2).to_ascii_uppercase() {
                    b'X' => 0,
                    b'Y' => 1,
                    b'Z' => 2,
                    _ => return None,
                },
                _ => return None,
            };
            let length = if one.before(one.start, 1) == b'-' { 2 } else { 1 };
            (first * 10_000_000 + number(one.digits), one.start - length)
        }
        _ => return None,
    };
    let expected = b"TRWAGMYFPDXBNJZSQVHLCKE".get(usize::try_from(value % 23).ok()?)?;
    let fits = one.byte(letter).eq_ignore_ascii_case(expected) && letter < one.text.len();
    let alone = !strict || (one.begins(start) && one.ends(letter + 1));
    (fits && alone).then_some((start, letter + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Id; 8] =
        [Id::Card, Id::UsSsn, Id::UkNhs, Id::DeTax, Id::FrNir, Id::EsDni, Id::NlBsn, Id::PlPesel];

    fn found(ids: &[Id], text: &str) -> Vec<String> {
        let mut numbers = Numbers::default();
        ids.iter().enumerate().for_each(|(rule, id)| numbers.add(*id, rule));
        let mut found = Vec::new();
        numbers.find(text.as_bytes(), true, &mut |start, end, rule| {
            found.push(format!("{:?} {}", ids[rule], &text[start..end]));
            true
        });
        found
    }

    #[test]
    fn each_kind_is_told_by_its_check() {
        for (id, good, bad) in [
            (Id::Card, "4111111111111111", "4111111111111112"),
            (Id::Card, "4222222222222", "4222222222223"),
            (Id::Card, "4111 1111 1111 1111", "4111 1111 1111 1121"),
            (Id::Card, "5555-5555-5555-4444", "5555-5555-5555-4445"),
            (Id::Card, "378282246310005", "378282246310006"),
            (Id::Card, "3782 822463 10005", "37828 22463 10005"),
            (Id::Card, "30569309025904", "30569309025905"),
            (Id::Card, "6011111111111117", "6011111111111118"),
            (Id::Card, "3530111333300000", "3530111333300001"),
            (Id::Card, "2223003122003222", "2223003122003223"),
            (Id::Card, "6200000000000005", "6200000000000006"),
            // Luhn's digit alone makes no card: nobody issues these.
            (Id::Card, "4111111111111111", "1111111111111117"),
            (Id::UsSsn, "078-05-1120", "000-12-3456"),
            (Id::UsSsn, "219 09 9999", "666-12-3456"),
            (Id::UsSsn, "078-05-1120", "900-12-3456"),
            (Id::UsSsn, "078-05-1120", "078-00-1120"),
            (Id::UsSsn, "078-05-1120", "078-05-0000"),
            (Id::UsSsn, "078-05-1120", "078051120"),
            (Id::UkNhs, "9434765919", "9434765918"),
            (Id::UkNhs, "943 476 5919", "943 47 65919"),
            (Id::DeTax, "86095742719", "86095742718"),
            (Id::DeTax, "47 036 892 816", "47 036 892 817"),
            (Id::DeTax, "65929970489", "11111111115"),
            (Id::FrNir, "255081416802538", "255081416802539"),
            (Id::FrNir, "2 55 08 14 168 025 38", "2 55 08 14 168 025 39"),
            (Id::EsDni, "12345678Z", "12345678A"),
            (Id::EsDni, "12345678-z", "12345678"),
            (Id::EsDni, "X1234567L", "X1234567M"),
            (Id::EsDni, "Y-1234567-X", "W1234567L"),
            (Id::NlBsn, "111222333", "111222334"),
            (Id::NlBsn, "123456782", "000000000"),
            (Id::PlPesel, "44051401359", "44051401358"),
            (Id::PlPesel, "02070803628", "44131401359"),
        ] {
            assert_eq!(found(&[id], good), [format!("{id:?} {good}")]);
            assert_eq!(found(&[id], bad), [""; 0], "{id:?}");
            let text = format!("no. {good}, and so on");
            assert_eq!(found(&[id], &text), [format!("{id:?} {good}")], "{text}");
        }
    }

    #[test]
    fn what_is_part_of_something_else_is_none() {
        for text in [
            "A4111111111111111",
            "4111111111111111A",
            "0.4111111111111111",
            "4111111111111111.5",
            "41111111111111111111",
            "550e8400-e29b-41d4-a716-446655440000",
            "1700000000000",
            "2024-05-01 12:00:00",
            "4111  1111 1111 1111",
            "4111.1111.1111.1111",
            "",
            "4",
        ] {
            assert_eq!(found(&[Id::Card], text), [""; 0], "{text}");
        }
    }

    #[test]
    fn several_are_found_in_a_row_and_between_other_digits() {
        for (text, expected) in [
            ("4111111111111111 5555555555554444", vec!["4111111111111111", "5555555555554444"]),
            ("4111 1111 1111 1111 12 27", vec!["4111 1111 1111 1111"]),
            ("12 4111-1111-1111-1111", vec!["4111-1111-1111-1111"]),
            ("1,4111111111111111,2", vec!["4111111111111111"]),
            ("\u{5361}4111111111111111\u{3002}", vec!["4111111111111111"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|number| format!("Card {number}")).collect();
            assert_eq!(found(&[Id::Card], text), expected, "{text}");
        }
        // Wherever it stands, one of the places that are looked at is in it.
        for blanks in 0..40 {
            for id in [Id::Card, Id::EsDni, Id::NlBsn] {
                let one = match id {
                    Id::Card => "4222222222222",
                    Id::EsDni => "12345678Z",
                    _ => "111222333",
                };
                let text = format!("{}{one}", "x ".repeat(blanks));
                assert_eq!(found(&[id], &text).len(), 1, "{text}");
                assert_eq!(found(&[id], &format!("{}{one}", ".".repeat(blanks))).len(), 1);
            }
        }
    }

    #[test]
    fn long_runs_take_linear_time() {
        for text in ["1".repeat(1 << 20), "1 ".repeat(1 << 19), "4111 ".repeat(1 << 18)] {
            found(&ALL, &text);
        }
    }
}
