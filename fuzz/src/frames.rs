//! The counter of HTTP/2 frames against a slow count, whole and cut in two at every place.

use palisade::edge::frames::Frames;

/// Fields that a request may have; twice as many in one block are too much.
const FIELDS: usize = 4;
/// Longer inputs are not cut at each place.
const CUT: usize = 600;

/// Counts what a connection sends, both ways.
///
/// # Panics
/// Where they differ, or where it matters how the bytes are cut.
pub fn run(data: &[u8]) {
    let wanted = slowly(data.get(24..).unwrap_or_default());
    assert_eq!(in_pieces(&[data]), wanted, "the counter, and the slow count");
    if data.len() > CUT {
        return;
    }
    for cut in 0..=data.len() {
        let (one, other) = data.split_at(cut);
        assert_eq!(in_pieces(&[one, other]), wanted, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(in_pieces(&bytes), wanted, "byte by byte");
}

fn in_pieces(pieces: &[&[u8]]) -> Result<(), &'static str> {
    let mut frames = Frames::new(FIELDS);
    pieces.iter().try_for_each(|piece| frames.advance(piece).map_err(|refusal| refusal.reason))
}

/// All frames at once, the last one perhaps not whole (RFC 9113 §4.1).
fn slowly(mut data: &[u8]) -> Result<(), &'static str> {
    let (mut streams, mut resets, mut control, mut updates) = (0u32, 0u32, 0u32, 0u32);
    let mut block: Vec<u8> = Vec::new();
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = data {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let payload = &rest[..length.min(rest.len())];
        data = &rest[payload.len()..];
        let ends_stream = *kind == 0 && flags & 1 != 0;
        match *kind {
            1 => {
                streams += 1;
                block.clear();
                block.extend(fragment(payload, length, *flags));
            }
            9 if length > 0 => block.extend_from_slice(payload),
            0 if length > 0 || ends_stream => {}
            3 => resets += 1,
            8 => updates += 1,
            _ => control += 1,
        }
        if control > 500 + 2 * streams {
            return Err("http2_control_frames");
        }
        if updates > 2000 {
            return Err("http2_window_updates");
        }
        if resets > 200 && resets > streams / 2 {
            return Err("http2_resets");
        }
        if fields(&block) > 2 * FIELDS {
            return Err("http2_header_count");
        }
    }
    Ok(())
}

/// The part of a HEADERS frame that is a header block (RFC 9113 §6.2): as much of it as has come.
fn fragment(payload: &[u8], length: usize, flags: u8) -> &[u8] {
    let (padded, priority) = (flags & 8 != 0, flags & 0x20 != 0);
    let padding = if padded { usize::from(payload.first().copied().unwrap_or(0)) } else { 0 };
    let start = usize::from(padded) + if priority { 5 } else { 0 };
    let end = length.saturating_sub(padding).min(payload.len());
    payload.get(start..end).unwrap_or_default()
}

/// How many representations begin in a block (RFC 7541 §6).
fn fields(block: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while let Some(first) = block.get(at) {
        count += 1;
        let (prefix, literal) = match *first {
            byte if byte & 0x80 != 0 => (7, false),
            byte if byte & 0x40 != 0 => (6, true),
            byte if byte & 0x20 != 0 => (5, false),
            _ => (4, true),
        };
        let index = integer(block, &mut at, prefix);
        let strings = match (literal, index) {
            (false, _) => 0,
            (true, 0) => 2,
            (true, _) => 1,
        };
        for _ in 0..strings {
            if at < block.len() {
                let length = integer(block, &mut at, 7);
                at = at.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            }
        }
    }
    count
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1). What is larger than a string can be is as good as any.
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> u128 {
    let most = (1u128 << prefix) - 1;
    let mut value = u128::from(block[*at]) & most;
    *at += 1;
    if value < most {
        return value;
    }
    let mut shift = 0;
    while let Some(byte) = block.get(*at) {
        *at += 1;
        if shift < 64 {
            value += u128::from(byte & 0x7f) << shift;
        } else if byte & 0x7f != 0 {
            value = u128::from(u64::MAX);
        }
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
