//! The masker of responses, in pieces of any size.

use bytes::Bytes;
use palisade_contract::{
    Body, Descriptor, Fault, ResponseHeader, Verdict,
    testkit::{Case, Instance, Kit, block_on},
};
use palisade_plugins::DataMask;
use std::sync::LazyLock;

const YAML: &str = "{find: [{kinds: [card, iban, us-ssn, email, jwt, bearer, api-key]}, \
    {kinds: [private-key, stack-trace], action: remove}, {name: staff, pattern: 'S-[0-9]{6}', action: remove}, \
    {name: never, pattern: 'NEVER-[0-9]{4}', action: deny}], \
    fields: [{paths: ['a.b', '**.pin'], action: remove}, {paths: ['[].c']}], max_body_size: 64KiB, stream: STREAM}";

/// The same rules over pieces, and over whole bodies.
static STREAM: LazyLock<Instance> = LazyLock::new(|| build(true));
static WHOLE: LazyLock<Instance> = LazyLock::new(|| build(false));

const KINDS: [&str; 5] =
    ["application/json", "application/x-ndjson", "text/event-stream", "text/plain; charset=utf-8", ""];

fn build(stream: bool) -> Instance {
    let yaml = YAML.replace("STREAM", &stream.to_string());
    Kit::of(Descriptor::of::<DataMask>()).build(&yaml).unwrap()
}

/// Masks a body: the first byte says of what type it is, the second one where it is cut.
///
/// # Panics
/// Where it matters how it is cut, or where JSON does not stay JSON.
pub fn run(data: &[u8]) {
    let [kind, cut, body @ ..] = data else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let expected = masked(&STREAM, kind, &[body]);
    let (step, odd) = (usize::from(cut & 31) + 1, usize::from(cut >> 5));
    let mut pieces: Vec<&[u8]> = body.chunks(step).collect();
    // Over a connection the last piece is often empty.
    pieces.extend((odd % 2 == 0).then_some(&[][..]));
    assert_eq!(masked(&STREAM, kind, &pieces), expected, "pieces of {step}");
    let (first, second) = body.split_at((step * (odd + 1)).min(body.len()));
    assert_eq!(masked(&STREAM, kind, &[first, second]), expected, "cut after {}", first.len());
    // What is there whole may be told from its first letter, where its type is vague.
    let is_vague = kind.is_empty() || kind.starts_with("text/plain");
    let looks_like_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if !(is_vague && looks_like_json) {
        let whole = masked(&WHOLE, kind, &[body]);
        // Where there is nothing to be found it is not read, and passes whatever it is.
        let unread = expected.is_none() && whole.as_deref() == Some(body);
        assert!(whole == expected || unread, "whole");
    }
    if let (Some(out), "application/json") = (expected, kind)
        && std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<serde_json::Value>(text).is_ok())
    {
        let is_json = serde_json::from_slice::<serde_json::Value>(&out).is_ok();
        assert!(is_json, "{}", String::from_utf8_lossy(&out));
    }
}

/// What a body becomes; none where the answer is refused.
fn masked(plugin: &Instance, kind: &str, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut ex = Case::get("/").exchange();
    let plugin = plugin.built.plugin();
    let mut head = ResponseHeader::build(200, None).unwrap();
    if !kind.is_empty() {
        head.insert_header("content-type", kind).unwrap();
    }
    passes(block_on(plugin.on_request(&mut ex).resolve()))?;
    passes(block_on(plugin.on_response(&mut ex, &mut head).resolve()))?;
    let (mut out, last) = (Vec::new(), pieces.len().saturating_sub(1));
    for (number, piece) in pieces.iter().enumerate() {
        let mut body = Body::new(Bytes::copy_from_slice(piece), number == last);
        passes(plugin.on_response_body(&mut ex, &mut body))?;
        out.extend_from_slice(body.bytes());
    }
    if pieces.is_empty() {
        let mut body = Body::new(Bytes::new(), true);
        passes(plugin.on_response_body(&mut ex, &mut body))?;
        out.extend_from_slice(body.bytes());
    }
    Some(out)
}

fn passes(verdict: Result<Verdict, Fault>) -> Option<()> {
    match verdict {
        Ok(Verdict::Continue) => Some(()),
        Ok(Verdict::Deny(denial)) => {
            assert_eq!(denial.status().as_u16(), 502);
            None
        }
        other => panic!("{other:?}"),
    }
}
