use super::*;

fn types(value: &str, quote: Quote, mysql: bool) -> String {
    let mut tokens = Tokens::new(value.as_bytes(), quote, mysql);
    std::iter::from_fn(|| tokens.next()).map(|token| char::from(token.kind)).collect()
}

#[test]
fn values_become_tokens() {
    for (value, expected) in [
        ("select 1 from a", "E1kn"),
        ("1' or '1'='1", "1s1s1"),
        ("'a' /* c */ -- d", "scc"),
        ("@@version @`x`", "vv"),
        ("0x1f 1.5e3 .5 1e", "111n"),
        ("$1,000 $$a$$ $t$b$t$ $", "1ssn"),
        ("x'0f' b'01' e'a' n'b' q'[c]' u&'d'", "11ssss"),
        ("a.b [c d] `now`", "nnf"),
        ("!= <=> || :: :", "oo&oo"),
        ("\\N \\", "1\\"),
        ("/*!1*/", "X"),
    ] {
        assert_eq!(types(value, Quote::None, false), expected, "{value}");
    }
    assert_eq!(types("a' or 'b", Quote::Single, false), "s&s");
    assert_eq!(types("1 # x", Quote::None, true), "1c");
    assert_eq!(types("1 # x", Quote::None, false), "1on");
}

#[test]
fn every_byte_moves_on() {
    for first in 0..=255u8 {
        for second in 0..=255u8 {
            let value = [first, second, b'\'', first];
            for quote in [Quote::None, Quote::Single, Quote::Double] {
                let mut tokens = Tokens::new(&value, quote, second % 2 == 0);
                let count = std::iter::from_fn(|| tokens.next()).take(20).count();
                assert!(count < 20, "{value:?}");
            }
        }
    }
}
