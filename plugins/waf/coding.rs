//! Content codings of requests (RFC 9110 §8.4), taken off under caps.

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_ENCODING};
use std::io::Read;

/// The most codings that are taken off, one after the other.
const MAX_CODINGS: usize = 3;
/// How many times its length a body may have when it is decoded, where that is more than `SMALL`.
const RATIO: usize = 256;
const SMALL: usize = 64 << 10;
const PIECE: usize = 4096;

/// A decoded body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) bytes: Bytes,
    /// There is more of it than was asked for.
    pub(super) cut: bool,
}

/// Why a body is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecoded {
    /// A coding that is not known, or too many.
    Unknown,
    /// It is not what its coding says.
    Broken,
    /// It grows as no honest body does.
    Bomb,
}

/// The body without its codings, at most `max` bytes of it.
pub(super) fn decode(headers: &HeaderMap, body: &Bytes, max: usize) -> Result<Plain, Undecoded> {
    let mut names = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let parts = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.extend(parts.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")));
    }
    if names.len() > MAX_CODINGS {
        return Err(Undecoded::Unknown);
    }
    let mut plain = Plain { cut: body.len() > max && names.is_empty(), bytes: body.clone() };
    for (number, name) in names.iter().rev().enumerate().filter(|_| !body.is_empty()) {
        // What is inside of another coding is as long as that lets it be.
        let last = number + 1 == names.len();
        plain = take_off(&name.to_ascii_lowercase(), &plain.bytes, max)?;
        if plain.cut && !last {
            return Err(Undecoded::Bomb);
        }
    }
    if plain.cut {
        plain.bytes.truncate(max);
    }
    Ok(plain)
}

#[allow(clippy::disallowed_methods, reason = "this is where those of requests are capped")]
fn take_off(coding: &[u8], body: &[u8], max: usize) -> Result<Plain, Undecoded> {
    let mut reader: Box<dyn Read + '_> = match coding {
        b"gzip" | b"x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        b"deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        b"br" => Box::new(brotli::Decompressor::new(body, PIECE)),
        _ => return Err(Undecoded::Unknown),
    };
    let most = SMALL.max(body.len().saturating_mul(RATIO));
    let (mut plain, mut piece) = (Vec::with_capacity(body.len().saturating_mul(4).min(max)), [0; PIECE]);
    loop {
        let read = reader.read(&mut piece).map_err(|_| Undecoded::Broken)?;
        let piece = piece.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return Ok(Plain { bytes: plain.into(), cut: false });
        }
        plain.extend_from_slice(piece);
        if plain.len() > max {
            return Ok(Plain { bytes: plain.into(), cut: true });
        }
        if plain.len() > most {
            return Err(Undecoded::Bomb);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn decoded(coding: &'static str, body: &Bytes, max: usize) -> Result<(usize, bool), Undecoded> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        decode(&headers, body, max).map(|plain| (plain.bytes.len(), plain.cut))
    }

    #[test]
    fn codings_are_taken_off_under_caps() {
        let (small, zeros) = (Bytes::from_static(b"hello"), gzip(&[0; 1_000_000]));
        let mut br = Vec::new();
        brotli::CompressorWriter::new(&mut br, 4096, 5, 20).write_all(b"hello").unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(b"hello").unwrap();
        for (coding, body, max, expected) in [
            ("identity", small.clone(), 10, Ok((5, false))),
            ("identity", small.clone(), 4, Ok((4, true))),
            ("GZIP", gzip(b"hello"), 5, Ok((5, false))),
            ("gzip, gzip", gzip(&gzip(b"hello")), 100, Ok((5, false))),
            ("br", br.into(), 10, Ok((5, false))),
            ("deflate", zlib.finish().unwrap().into(), 10, Ok((5, false))),
            ("gzip", zeros.clone(), 1000, Ok((1000, true))),
            ("gzip", zeros.clone(), usize::MAX, Err(Undecoded::Bomb)),
            ("gzip, gzip", gzip(&zeros), 10, Err(Undecoded::Bomb)),
            ("gzip", small.clone(), 10, Err(Undecoded::Broken)),
            ("gzip", gzip(b"hello").slice(..10), 10, Err(Undecoded::Broken)),
            ("zstd", small.clone(), 10, Err(Undecoded::Unknown)),
            ("gzip,gzip,gzip,gzip", small, 10, Err(Undecoded::Unknown)),
            ("gzip", Bytes::new(), 10, Ok((0, false))),
        ] {
            assert_eq!(decoded(coding, &body, max), expected, "{coding} {} {max}", body.len());
        }
    }
}
