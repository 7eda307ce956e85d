//! Content codings of responses (RFC 9110 §8.4), decoded under a cap.

use bytes::Bytes;
use std::io::Read;

/// The most codings that are taken off, one after the other.
const MAX_CODINGS: usize = 3;

/// Decodes a body. `codings` are the values of `Content-Encoding`; the last one was applied last. More than
/// `max` bytes at any step is an error, so that a small body cannot become a large one.
///
/// # Errors
/// A stable reason code.
pub fn decode(codings: &[Vec<u8>], body: &Bytes, max: usize) -> Result<Bytes, &'static str> {
    let names: Vec<&[u8]> = codings
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
        .collect();
    if names.len() > MAX_CODINGS {
        return Err("upstream_encoding");
    }
    let mut plain = body.clone();
    for name in names.iter().rev() {
        if plain.is_empty() {
            break;
        }
        plain = take_off(&name.to_ascii_lowercase(), &plain, max)?;
    }
    Ok(plain)
}

fn take_off(coding: &[u8], body: &[u8], max: usize) -> Result<Bytes, &'static str> {
    let reader: Box<dyn Read + '_> = match coding {
        b"gzip" | b"x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        b"deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        b"br" => Box::new(brotli::Decompressor::new(body, 4096)),
        b"zstd" => Box::new(zstd::stream::read::Decoder::new(body).map_err(|_| "upstream_encoding")?),
        _ => return Err("upstream_encoding"),
    };
    let mut plain = Vec::new();
    let most = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(&mut plain).map_err(|_| "upstream_encoding")?;
    if plain.len() > max { Err("response_too_large") } else { Ok(plain.into()) }
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
        decode(&[coding.as_bytes().to_vec()], body, 1000)
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
        let mut br = Vec::new();
        brotli::CompressorWriter::new(&mut br, 4096, 5, 20).write_all(b"hello").unwrap();
        assert_eq!(decoded("br", &br.into()).unwrap(), "hello");
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
