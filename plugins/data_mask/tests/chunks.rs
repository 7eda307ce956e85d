//! Bodies that come in pieces become what they would have become whole.

use super::*;
use crate::data_mask::{
    json::Json,
    reader::{Kind, Reader},
    text::{LINE, WINDOW},
};
use proptest::{prelude::*, sample::select};

const YAML: &str = "{find: [{kinds: [card, iban, us-ssn, email, jwt, bearer, api-key]}, \
    {kinds: [private-key, stack-trace], action: remove}, {name: staff, pattern: 'S-[0-9]{6}', action: remove}], \
    fields: [{paths: ['a.b', '**.pin'], action: remove}, {paths: ['[].c']}]}";

fn masks(yaml: &str) -> Masks {
    let node = palisade_contract::conf::parse(std::path::Path::new("test.yaml"), yaml, &|_| None).unwrap();
    compile::masks(&node.deserialize::<Config>().unwrap(), &|_| Default::default()).unwrap()
}

static ALL: std::sync::LazyLock<Masks> = std::sync::LazyLock::new(|| masks(YAML));

/// What a body becomes in pieces of these lengths, over and over.
fn read(masks: &Masks, kind: Kind, body: &[u8], lengths: &[usize]) -> Result<Vec<u8>, Broken> {
    let (mut reader, mut tally) = (Reader::new(kind, masks.max), Tally::default());
    let (mut out, mut rest, mut next) = (Vec::new(), body, lengths.iter().cycle());
    while !rest.is_empty() {
        let length = next.next().copied().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (piece, after) = rest.split_at(length);
        reader.push(masks, &mut tally, piece, false, &mut out)?;
        rest = after;
    }
    reader.push(masks, &mut tally, &[], true, &mut out)?;
    Ok(out)
}

fn whole(masks: &Masks, kind: Kind, body: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut out = Vec::new();
    Reader::new(kind, masks.max).push(masks, &mut Tally::default(), body, true, &mut out).map(|()| out)
}

const PARTS: &[&str] = &[
    "4111111111111111",
    "4111 1111",
    "1111-1111",
    "078-05-1120",
    "GB29NWBK60161331926819",
    "x@example.com",
    "@",
    ".",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln",
    "Bearer ",
    "abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "S-123456",
    "12",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "-----",
    "\tat a.b.C.d(C.java:1)",
    "\n",
    "\n",
    " ",
    "\r\n",
    "word",
    "\u{e4}",
    "Traceback (most recent call last):",
    "data: ",
    "{",
    "}",
    ":",
    "\"",
];

const VALUES: &[&str] = &[
    "1",
    "-2.5e3",
    "true",
    "null",
    "\"\"",
    "\"a b\"",
    "4111111111111111",
    "\"4111111111111111\"",
    "\"x@example.com\"",
    "\"to x@example.com\"",
    "\"\\u0034111111111111111\"",
    "\"\\ud83d\\ude00\"",
    "\"S-123456\"",
    "\"a\\n\\tat a.b.C.d(C.java:1)\\nb\"",
    "\"-----BEGIN PRIVATE KEY-----\\nMIIE\"",
    "\"\\ud800\"",
];

fn json() -> impl Strategy<Value = String> {
    let leaf = select(VALUES).prop_map(str::to_owned);
    let name = select(&["a", "b", "c", "pin", "x@example.com", "S-123456", "\\u0070in"][..]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let blank = select(&["", " ", "\n\t"][..]);
        prop_oneof![
            prop::collection::vec((blank.clone(), inner.clone()), 0..5).prop_map(|items| {
                let items: Vec<_> =
                    items.iter().map(|(blank, item)| format!("{blank}{item}{blank}")).collect();
                format!("[{}]", items.join(","))
            }),
            prop::collection::vec((name.clone(), blank, inner), 0..5).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, blank, value)| format!("{blank}\"{name}\"{blank}:{blank}{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3000 }))]

    #[test]
    fn text_and_events(parts in prop::collection::vec(select(PARTS), 0..30), lengths in prop::collection::vec(1..40_usize, 1..6)) {
        let masks = &*ALL;
        let body = parts.concat();
        for kind in [Kind::Text, Kind::Events] {
            prop_assert_eq!(read(masks, kind, body.as_bytes(), &lengths), whole(masks, kind, body.as_bytes()));
            prop_assert_eq!(read(masks, kind, body.as_bytes(), &[1]), whole(masks, kind, body.as_bytes()));
        }
    }

    #[test]
    fn json_is_json_in_any_pieces(body in json(), lengths in prop::collection::vec(1..20_usize, 1..6)) {
        let masks = &*ALL;
        let expected = whole(masks, Kind::Json, body.as_bytes());
        prop_assert_eq!(&read(masks, Kind::Json, body.as_bytes(), &lengths), &expected);
        let out = expected.unwrap();
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_ok();
        prop_assert!(is_json, "{} became {}", body, String::from_utf8_lossy(&out));
        for gone in ["4111111111111111", "x@example.com", "S-123456", "MIIE", "C.java"] {
            prop_assert!(!String::from_utf8_lossy(&out).contains(gone));
        }
        // What is looked at first says so where there is anything: what passes unread is not changed by reading it.
        let mut tally = Tally::default();
        let quick = masks.whole(Kind::Json, body.as_bytes(), &mut tally).unwrap();
        prop_assert_eq!(quick.unwrap_or(body.into_bytes()), out);
    }

    #[test]
    fn whatever_is_no_json_is_refused(body in json(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let masks = &*ALL;
        let mut bytes = body.into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok()
            || bytes.iter().all(u8::is_ascii_whitespace);
        let read = whole(masks, Kind::Json, &bytes);
        // The parser looks at neither UTF-8 nor halves of pairs in what it ignores.
        if std::str::from_utf8(&bytes).is_ok() {
            prop_assert_eq!(read.is_ok(), is_json, "{}", String::from_utf8_lossy(&bytes));
        } else {
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 1..50_usize) {
        let masks = &*ALL;
        for kind in [Kind::Json, Kind::Lines, Kind::Events, Kind::Text, Kind::Unnamed] {
            let pieces = read(masks, kind, &bytes, &[length]);
            prop_assert_eq!(pieces, whole(masks, kind, &bytes));
        }
    }
}

#[test]
fn lines_that_are_too_long_are_looked_at_in_views() {
    let masks = &*ALL;
    let card = "4111 1111 1111 1111";
    let token = format!("eyJ{}", "a".repeat(3 * LINE));
    let key = format!("-----BEGIN PRIVATE KEY-----{}-----END PRIVATE KEY-----", "b".repeat(3 * LINE));
    for part in [card, &token, &key, "x@example.com"] {
        for before in [0, 1, LINE - WINDOW - 10, LINE - WINDOW, LINE - 20, LINE - 1, LINE, 2 * LINE] {
            let body = format!("{} {part} tail\nnext {card}\n", "z".repeat(before));
            let expected = whole(masks, Kind::Text, body.as_bytes()).unwrap();
            let text = String::from_utf8_lossy(&expected).into_owned();
            assert!(!text.contains(part) && !text.contains("aaaa") && !text.contains("bbbb"), "{before}");
            assert!(text.ends_with(" tail\nnext **** **** **** 1111\n"), "{before}");
            assert!(text.starts_with(&"z".repeat(before)));
            for lengths in [&[1 << 10][..], &[777], &[LINE], &[LINE - 1, 3], &[100_000]] {
                assert_eq!(
                    read(masks, Kind::Text, body.as_bytes(), lengths).unwrap(),
                    expected,
                    "{before} {lengths:?}"
                );
            }
        }
    }
}

#[test]
fn little_is_held() {
    let masks = masks("{find: [{kinds: [card]}], max_body_size: 64KiB}");
    // A string that does not end, an event that does not, blanks without an end.
    for (kind, begin, more) in [
        (Kind::Json, "{\"a\":\"", "x".repeat(1000)),
        (Kind::Json, "{", " ".repeat(1000)),
        (Kind::Events, "data: ", "x".repeat(1000)),
        (Kind::Events, "", "data: x\n".repeat(100)),
    ] {
        let body = format!("{begin}{}", more.repeat(100));
        assert!(read(&masks, kind, body.as_bytes(), &[999]).is_err(), "{kind:?} {begin}");
    }
    // What is decided is given: of a long text no more is held than a view.
    let (mut reader, mut tally, mut given) =
        (Reader::new(Kind::Text, masks.max), Tally::default(), Vec::new());
    for count in 1..1000 {
        reader.push(&masks, &mut tally, &[b'x'; 1000], false, &mut given).unwrap();
        assert!(count * 1000 - given.len() <= LINE + 1000);
    }
    let mut json = Json::new(false, masks.max);
    let mut work =
        text::Work { finder: &masks.finder, rules: &masks.rules, tally: &mut tally, hits: Vec::new() };
    json.push(&mut work, &masks.paths, b"[\"a\",1,", false, &mut given).unwrap();
    assert!(given.ends_with(b"[\"a\",1"));
}
