//! Numbers with check digits.

fn digits(text: &[u8]) -> Vec<u32> {
    text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect()
}

/// The sum that Luhn's formula wants to be a multiple of ten.
pub(super) fn is_credit_card(text: &[u8]) -> bool {
    let digits = digits(text);
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 1 { doubled(*digit) } else { *digit })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Brazil's number of a person.
pub(super) fn is_cpf(text: &[u8]) -> bool {
    let digits = digits(text);
    if digits.len() != 11 || digits.iter().all(|digit| Some(digit) == digits.first()) {
        return false;
    }
    let check = |count: usize| {
        let weights = (2..=u32::try_from(count + 1).unwrap_or(0)).rev();
        let sum: u32 = digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum();
        let rest = sum % 11;
        if rest < 2 { 0 } else { 11 - rest }
    };
    digits.get(9) == Some(&check(9)) && digits.get(10) == Some(&check(10))
}

/// The United States' number of a person: area, group and serial that are given out.
pub(super) fn is_ssn(text: &[u8]) -> bool {
    let digits = digits(text);
    let number = |from: usize, to: usize| {
        digits.iter().skip(from).take(to - from).fold(0, |value, digit| value * 10 + digit)
    };
    if digits.len() != 9 {
        return false;
    }
    let (area, group, serial) = (number(0, 3), number(3, 5), number(5, 9));
    let in_sequence = digits.windows(2).all(|pair| matches!(pair, [a, b] if *b == a + 1));
    let all_same = digits.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    area != 0 && group != 0 && serial != 0 && area < 740 && area != 666 && !in_sequence && !all_same
}

/// Austria's number of a person.
pub(super) fn is_svnr(text: &[u8]) -> bool {
    let digits = digits(text);
    const WEIGHTS: [u32; 10] = [3, 7, 9, 0, 5, 8, 4, 2, 1, 6];
    if digits.len() != 10 || digits.iter().all(|digit| Some(digit) == digits.first()) {
        return false;
    }
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    digits.get(3) == Some(&(sum % 11))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits() {
        assert!(
            is_credit_card(b"5484605089158216")
                && !is_credit_card(b"5484605089158217")
                && !is_credit_card(b"x")
        );
        assert!(is_cpf(b"529.982.247-25") && !is_cpf(b"529.982.247-26") && !is_cpf(b"111.111.111-11"));
        assert!(is_ssn(b"078-05-1120") && !is_ssn(b"000-05-1120") && !is_ssn(b"123456789"));
        assert!(is_svnr(b"1237010180") && !is_svnr(b"1238010180"));
    }
}
