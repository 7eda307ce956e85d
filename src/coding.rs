//! Content codings of responses (RFC 9110 §8.4), decoded under a cap.

use crate::budget::rooms;
use bytes::Bytes;
use std::io::Read;

/// The most codings that are taken off, one after the other.
const MAX_CODINGS: usize = 3;

/// The reason where `hold` refuses.
pub const FULL: &str = "buffers_full";
const BROKEN: &str = "upstream_encoding";

/// What is made room for at first, in bytes.
const LEAST: usize = 4096;
/// The largest window of zstd, as a power of two: what the content coding may use (RFC 9659 §3).
const ZSTD_WINDOW: u32 = 23;

/// Decodes a body. `codings` are the values of `Content-Encoding`; the last one was applied last. More than
/// `max` bytes at any step is an error, so that a small body cannot become a large one. `hold` is asked, before it is
/// taken, whether so many bytes may be held besides `body`.
///
/// # Errors
/// A stable reason code.
pub fn decode(
    codings: &[Vec<u8>],
    body: &Bytes,
    max: usize,
    hold: &mut dyn FnMut(usize) -> bool,
) -> Result<Bytes, &'static str> {
    let names: Vec<&[u8]> = codings
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
        .collect();
    if names.len() > MAX_CODINGS {
        return Err(BROKEN);
    }
    let (mut plain, mut held) = (body.clone(), 0);
    for name in names.iter().rev() {
        if plain.is_empty() {
            break;
        }
        let mut both = |room: usize| hold(room.saturating_add(held));
        plain = take_off(&name.to_ascii_lowercase(), &plain, max, &mut both)?;
        held = plain.len();
    }
    Ok(plain)
}

#[allow(clippy::disallowed_methods, reason = "this is where they are capped")]
fn take_off(
    coding: &[u8],
    body: &[u8],
    max: usize,
    hold: &mut dyn FnMut(usize) -> bool,
) -> Result<Bytes, &'static str> {
    let mut reader: Box<dyn Read + '_> = match coding {
        b"gzip" | b"x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        b"deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        b"br" => Box::new(brotli::Decompressor::new(body, LEAST)),
        b"zstd" => {
            let mut decoder = zstd::stream::read::Decoder::new(body).map_err(|_| BROKEN)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|_| BROKEN)?;
            Box::new(decoder)
        }
        _ => return Err(BROKEN),
    };
    let (mut plain, mut piece) = (Vec::new(), [0; LEAST]);
    loop {
        let read = reader.read(&mut piece).map_err(|_| BROKEN)?;
        let piece = piece.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return Ok(plain.into());
        }
        let length = plain.len().saturating_add(read);
        if length > max {
            return Err("response_too_large");
        }
        if length > plain.capacity() {
            let rooms = rooms(plain.capacity(), length).map(|room| room.min(max));
            let room = rooms.into_iter().find(|room| hold(*room)).ok_or(FULL)?;
            plain.reserve_exact(room.saturating_sub(plain.len()));
        }
        plain.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn decoded(coding: &str, body: &Bytes) -> Result<Bytes, &'static str> {
        decode(&[coding.as_bytes().to_vec()], body, 1000, &mut |_| true)
    }

    #[test]
    fn codings_are_taken_off() {
        let text = Bytes::from_static(b"hello");
        assert_eq!(decoded("identity", &text).unwrap(), "hello");
        assert_eq!(decoded("GZIP", &gzip(b"hello")).unwrap(), "hello");
        assert_eq!(decoded("gzip, gzip", &gzip(&gzip(b"hello"))).unwrap(), "hello");
        assert_eq!(
            decoded("zstd", &zstd::stream::encode_all(&b"hello"[..], 1).unwrap().into()).unwrap(),
            "hello"
        );
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(b"hello").unwrap();
        assert_eq!(decoded("deflate", &encoder.finish().unwrap().into()).unwrap(), "hello");
        let mut br = Vec::new();
        brotli::CompressorWriter::new(&mut br, 4096, 5, 20).write_all(b"hello").unwrap();
        assert_eq!(decoded("br", &br.into()).unwrap(), "hello");
    }

    #[test]
    fn what_is_held_is_asked_for_before_it_is_taken() {
        let twice = gzip(&gzip(&[7; 50_000]));
        let mut most = 0;
        let mut hold = |bytes: usize| {
            most = most.max(bytes);
            true
        };
        let plain = decode(&[b"gzip, gzip".to_vec()], &twice, 60_000, &mut hold).unwrap();
        assert_eq!(plain.len(), 50_000);
        assert!((50_000..61_000).contains(&most), "{most}");
        let mut scarce = |bytes: usize| bytes <= 40_000;
        assert_eq!(decode(&[b"gzip, gzip".to_vec()], &twice, 60_000, &mut scarce), Err(FULL));
    }

    #[test]
    fn a_window_larger_than_the_coding_allows_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(25).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(b"hello").unwrap();
        assert_eq!(decoded("zstd", &encoder.finish().unwrap().into()), Err("upstream_encoding"));
    }

    #[test]
    fn bombs_and_garbage_are_refused() {
        assert_eq!(decoded("gzip", &gzip(&[0; 1_000_000])), Err("response_too_large"));
        assert_eq!(decoded("gzip", &Bytes::from_static(b"garbage")), Err("upstream_encoding"));
        assert_eq!(decoded("compress", &Bytes::from_static(b"x")), Err("upstream_encoding"));
        assert_eq!(decoded("gzip,gzip,gzip,gzip", &gzip(b"x")), Err("upstream_encoding"));
        let whole = gzip(b"hello, hello, hello");
        assert_eq!(decoded("gzip", &whole.slice(..whole.len() - 4)), Err("upstream_encoding"));
    }
}
