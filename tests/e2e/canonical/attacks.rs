//! Paths that somebody would try: a path that is protected, written in other ways, one change after the other.

use super::decoders::{STEPS, Step, is_ignorable, nfkc};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{collections::BTreeMap, sync::LazyLock};

/// What is protected: prefixes, an exact path, one with a parameter, one in mixed case, one that is not ASCII.
pub const PROTECTED: [&str; 5] = ["/admin/*", "/secret", "/api/{version}/keys/*", "/Private/*", "/café/*"];

/// Where the changes begin.
const BASES: [&str; 9] = [
    "/admin/x",
    "/admin",
    "/secret",
    "/api/v1/keys/7",
    "/Private/file",
    "/café/menu",
    "/public/a/../../admin/x",
    "/admin/../public/a",
    "/public/a",
];

/// One change; the numbers choose the place and the variant.
#[derive(Debug, Clone)]
pub struct Change {
    kind: Kind,
    place: usize,
    pick: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Encode,
    Percent,
    LookAlike,
    Case,
    Backslash,
    Parameter,
    Control,
    Trail,
    Detour,
    Rubbish,
}

const KINDS: [Kind; 10] = [
    Kind::Encode,
    Kind::Percent,
    Kind::LookAlike,
    Kind::Case,
    Kind::Backslash,
    Kind::Parameter,
    Kind::Control,
    Kind::Trail,
    Kind::Detour,
    Kind::Rubbish,
];

/// A request target, and decoders that may resolve it: one that takes the changes back, and others.
#[derive(Debug, Clone)]
pub struct Attack {
    pub target: String,
    pub decoders: Vec<Vec<Step>>,
}

/// Attacks of up to five changes.
pub fn attacks() -> impl Strategy<Value = Attack> {
    let change = (select(&KINDS[..]), 0usize..64, 0usize..4096);
    let change = change.prop_map(|(kind, place, pick)| Change { kind, place, pick });
    let others = (1usize..3, vec(select(&STEPS[..]), 0..6)).prop_map(|(times, steps)| decoder(times, steps));
    (select(&BASES[..]), vec(change, 0..6), vec(others, 6), proptest::bool::weighted(0.1)).prop_map(
        |(base, changes, mut decoders, absolute)| {
            let target = changes.iter().fold(base.to_owned(), |path, change| change.apply(&path));
            let undo: Vec<Step> = changes.iter().rev().flat_map(Change::undone_by).copied().collect();
            decoders.push(decoder(1, [&undo[..], &[Step::Merge]].concat()));
            decoders.push(decoder(1, undo));
            let target = if absolute { format!("http://gateway.test{target}") } else { target };
            Attack { target, decoders }
        },
    )
}

/// A decoder that does these steps, and decodes percent sequences at least so many times and at most twice: a path that
/// is not decoded at all is nobody's reading. What is cut off names is cut by file systems, behind everything that decodes.
fn decoder(times: usize, steps: Vec<Step>) -> Vec<Step> {
    let (cuts, mut steps): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| matches!(step, Step::Spaces | Step::Dots));
    let mut decoded = 0;
    steps.retain(|step| {
        decoded += usize::from(*step == Step::Percent);
        *step != Step::Percent || decoded <= 2
    });
    while steps.iter().filter(|step| **step == Step::Percent).count() < times {
        steps.insert(0, Step::Percent);
    }
    [steps, cuts, vec![Step::Resolve]].concat()
}

/// The path of a target in whichever form.
pub fn path_of(target: &str) -> &str {
    target.strip_prefix("http://gateway.test").unwrap_or(target)
}

impl Change {
    fn apply(&self, path: &str) -> String {
        let Change { kind, place, pick } = *self;
        let pieces = |list: &[&'static str]| list[pick % list.len()];
        match kind {
            Kind::Encode => at_char(
                path,
                place,
                |_| true,
                |c| {
                    let upper = pick % 2 == 0;
                    let hex = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
                    c.to_string().bytes().map(hex).collect()
                },
            ),
            Kind::Percent => at_char(path, place, |c| c == '%', |_| "%25".to_owned()),
            Kind::Backslash => at_char(path, place, |c| c == '/', |_| "\\".to_owned()),
            Kind::Case => at_char(
                path,
                place,
                |c| CASES.contains_key(&c),
                |c| {
                    let others = &CASES[&c];
                    others[pick % others.len()].to_string()
                },
            ),
            Kind::LookAlike => look_alike(path, place, pick),
            Kind::Parameter => {
                at_end_of_segment(path, place, pieces(&[";", ";x", ";a=b", ";..", ";a=%2f", "%3b"]))
            }
            Kind::Trail => {
                at_end_of_segment(path, place, pieces(&[".", " ", "..", "%20", "%2e", ". .", "%20."]))
            }
            Kind::Control => {
                let mut at = place % (path.len() + 1);
                while !path.is_char_boundary(at) {
                    at -= 1;
                }
                let control = IGNORABLE[pick % IGNORABLE.len()];
                format!("{}{control}{}", &path[..at], &path[at..])
            }
            Kind::Detour => at_char(
                path,
                place,
                |c| c == '/',
                |_| {
                    let detours = [
                        "//",
                        "/./",
                        "/x/../",
                        "/../",
                        "/x//../",
                        "/x/%20/../",
                        "/x/.../../",
                        "/;/",
                        "/x/;/../",
                        "/..;/",
                        "/x/ /../../",
                        "/public/%2e%2e/",
                        "/.%2e/",
                        "/\u{ff0e}\u{ff0e}/",
                    ];
                    pieces(&detours).to_owned()
                },
            ),
            Kind::Rubbish => {
                let rubbish = [
                    "%c0%ae",
                    "%c0%af",
                    "%u002e",
                    "%u002f",
                    "%2",
                    "%",
                    "?",
                    "#",
                    "?/../admin",
                    "%00",
                    "%3f",
                    "%23",
                    "%e0%80%af",
                    "%ff",
                    "~",
                    "+",
                    ":",
                    "@",
                ];
                at_end_of_segment(path, place, pieces(&rubbish))
            }
        }
    }

    fn undone_by(&self) -> &'static [Step] {
        match self.kind {
            Kind::Encode | Kind::Percent => &[Step::Percent],
            Kind::LookAlike => &[Step::Nfkc],
            Kind::Case => [&[Step::Lower][..], &[Step::Upper, Step::Lower], &[Step::Simple]][self.pick % 3],
            Kind::Backslash => &[Step::Backslash],
            Kind::Parameter => &[Step::Params],
            Kind::Control => &[Step::Controls],
            Kind::Trail => {
                [&[Step::Spaces, Step::Dots][..], &[Step::Dots, Step::Spaces], &[Step::Spaces]][self.pick % 3]
            }
            Kind::Detour | Kind::Rubbish => &[],
        }
    }
}

/// Replaces one of the characters that are wanted.
fn at_char(path: &str, place: usize, wanted: impl Fn(char) -> bool, new: impl Fn(char) -> String) -> String {
    let places: Vec<(usize, char)> = path.char_indices().filter(|(_, c)| wanted(*c)).collect();
    let Some((at, c)) = places.get(place % places.len().max(1)).copied() else { return path.to_owned() };
    format!("{}{}{}", &path[..at], new(c), &path[at + c.len_utf8()..])
}

fn at_end_of_segment(path: &str, place: usize, new: &str) -> String {
    let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    let at = place % segments.len();
    segments[at].push_str(new);
    segments.join("/")
}

/// Replaces a piece of the path by one character that NFKC makes this piece of.
fn look_alike(path: &str, place: usize, pick: usize) -> String {
    let places: Vec<usize> = path.char_indices().map(|(at, _)| at).collect();
    let Some(at) = places.get(place % places.len().max(1)).copied() else { return path.to_owned() };
    let (before, rest) = path.split_at(at);
    let found: Vec<_> = rest
        .chars()
        .next()
        .and_then(|first| LOOK_ALIKES.get(&first))
        .into_iter()
        .flatten()
        .filter(|(expansion, _)| rest.starts_with(expansion.as_str()))
        .collect();
    match found.get(pick % found.len().max(1)) {
        Some((expansion, c)) => format!("{before}{c}{}", &rest[expansion.len()..]),
        None => path.to_owned(),
    }
}

fn characters() -> impl Iterator<Item = char> {
    (0x80..=0x10_ffff).filter_map(char::from_u32)
}

/// What NFKC makes ASCII of, by the first character that it makes.
static LOOK_ALIKES: LazyLock<BTreeMap<char, Vec<(String, char)>>> = LazyLock::new(|| {
    let mut found: BTreeMap<char, Vec<(String, char)>> = BTreeMap::new();
    let mut text = [0; 4];
    for c in characters() {
        let expansion = nfkc(c.encode_utf8(&mut text));
        if expansion.is_ascii()
            && let Some(first) = expansion.chars().next()
        {
            found.entry(first).or_default().push((expansion.into_owned(), c));
        }
    }
    found
});

/// Other characters that some mapping of case makes this letter of.
static CASES: LazyLock<BTreeMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut found: BTreeMap<char, Vec<char>> = BTreeMap::new();
    for c in ('a'..='z').chain('A'..='Z').chain(characters()) {
        let (lower, upper) = (Step::Simple.apply(&c.to_string()), Step::Upper.apply(&c.to_string()));
        for other in [&lower, &upper, &Step::Lower.apply(&upper)] {
            let mut letters = other.chars();
            if let (Some(one), None) = (letters.next(), letters.next())
                && one != c
            {
                found.entry(one).or_default().push(c);
            }
        }
    }
    found
});

static IGNORABLE: LazyLock<Vec<char>> = LazyLock::new(|| {
    ('\u{1}'..='\u{7f}').chain(characters()).filter(|c| is_ignorable(*c)).take(200).collect()
});

#[test]
fn the_tables_of_look_alikes_hold_what_is_known_of_them() {
    let of = |first: char, expansion: &str| -> String {
        LOOK_ALIKES[&first].iter().filter(|(text, _)| text == expansion).map(|(_, c)| *c).collect()
    };
    assert!(
        of('/', "/").contains('\u{ff0f}') && of('.', "..").contains('\u{fe30}') && of('k', "k").len() > 20
    );
    assert!(CASES[&'i'].contains(&'\u{130}') && CASES[&'s'].contains(&'\u{17f}'));
    assert!(IGNORABLE.contains(&'\u{200d}'));
}
