//! Expressions for values in small letters, made to match values in any.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Repetition};

/// The expression that matches a value where the given one matches that value in small letters. Captures are left out.
pub(super) fn fold(hir: &Hir) -> Option<Hir> {
    map(hir, true)
}

/// The expression without its captures.
pub(super) fn plain(hir: &Hir) -> Option<Hir> {
    map(hir, false)
}

fn map(hir: &Hir, fold: bool) -> Option<Hir> {
    Some(match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Literal(literal) if !fold => Hir::literal(literal.0.clone()),
        HirKind::Literal(literal) => Hir::concat(literal.0.iter().map(|byte| letter(*byte)).collect()),
        HirKind::Class(Class::Bytes(class)) => Hir::class(Class::Bytes(set(class, fold))),
        HirKind::Class(Class::Unicode(class)) => {
            // Without Unicode a class of characters has ASCII alone.
            let class = class.to_byte_class()?;
            Hir::class(Class::Bytes(set(&class, fold)))
        }
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            min: repetition.min,
            max: repetition.max,
            greedy: repetition.greedy,
            sub: Box::new(map(&repetition.sub, fold)?),
        }),
        HirKind::Capture(capture) => map(&capture.sub, fold)?,
        HirKind::Concat(parts) => {
            Hir::concat(parts.iter().map(|part| map(part, fold)).collect::<Option<_>>()?)
        }
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(|part| map(part, fold)).collect::<Option<_>>()?)
        }
    })
}

fn letter(byte: u8) -> Hir {
    let mut class = ClassBytes::empty();
    if !byte.is_ascii_uppercase() {
        class.push(ClassBytesRange::new(byte, byte));
        class.push(ClassBytesRange::new(byte.to_ascii_uppercase(), byte.to_ascii_uppercase()));
    }
    Hir::class(Class::Bytes(class))
}

/// The bytes that are in a class once they are small.
fn set(class: &ClassBytes, fold: bool) -> ClassBytes {
    if !fold {
        return class.clone();
    }
    let mut out = ClassBytes::empty();
    for byte in 0..=255u8 {
        let small = byte.to_ascii_lowercase();
        if class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&small)) {
            out.push(ClassBytesRange::new(byte, byte));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_automata::meta::Regex;

    #[test]
    fn a_folded_expression_matches_what_the_small_value_does() {
        let expressions = [
            "abc",
            "[^a-f]x",
            "[A-Z]",
            "a.c",
            r"\bon\w+",
            "(?i)SeLect",
            "^[a-z]+$",
            "[^A]",
            "é",
            r"\xc3[\xa0-\xaf]",
            "x{2,3}?y",
        ];
        let values: [&[u8]; 14] = [
            b"",
            b"abc",
            b"ABC",
            b"aBc x",
            b"GX",
            b"gx",
            b"A",
            b"a",
            b"ONload=",
            b"SELECT",
            "É é".as_bytes(),
            b"\xc3\xa9",
            b"XXY",
            b"a\nC",
        ];
        for expression in expressions {
            let hir = crate::operator::pattern::parser().build().parse(expression).unwrap();
            let build = |hir: &Hir| Regex::builder().build_from_hir(hir).unwrap();
            let (plain, folded) = (build(&plain(&hir).unwrap()), build(&fold(&hir).unwrap()));
            for value in values {
                let small = value.to_ascii_lowercase();
                assert_eq!(
                    folded.is_match(value),
                    plain.is_match(&small),
                    "{expression} {}",
                    value.escape_ascii()
                );
            }
        }
    }
}
