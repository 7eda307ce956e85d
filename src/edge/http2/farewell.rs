//! Answers of ours on HTTP/2 streams, written between h2's frames: to a head that has not come to its end, of which h2
//! knows nothing as yet; and that a client may go on, which Pingora does not pass on.

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// A frame may be as long as that whatever the client has said of it (RFC 9113 §4.2).
const FRAME: usize = 16 * 1024;
/// A literal of a name that is written out, which nobody remembers (RFC 7541 §6.2.2): what h2 has agreed on with the
/// client stays as it is.
const LITERAL: u8 = 0;

/// `:status 100` on a stream, whose name is in HPACK's static table (RFC 7541 appendix A).
pub(in crate::edge) fn go_on(stream: u32) -> [u8; 14] {
    let [a, b, c, d] = stream.to_be_bytes();
    [0, 0, 5, HEADERS, END_HEADERS, a, b, c, d, 0x08, 3, b'1', b'0', b'0']
}

/// The frames of an answer that was made for HTTP/1; none where it is too long for one frame each.
pub(super) fn answer(stream: u32, http1: &[u8]) -> Option<Vec<u8>> {
    let end = memchr::memmem::find(http1, b"\r\n\r\n")?;
    let (head, body) = (http1.get(..end)?, http1.get(end + 4..)?);
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut block = Vec::new();
    field(&mut block, b":status", lines.next()?.split(|byte| *byte == b' ').nth(1)?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..colon)?.to_ascii_lowercase(), line.get(colon + 1..)?.trim_ascii());
        // It is of HTTP/1 alone (RFC 9113 §8.2.2).
        if name != b"connection" {
            field(&mut block, &name, value);
        }
    }
    let mut frames = Vec::new();
    let ends = if body.is_empty() { END_STREAM } else { 0 };
    frame(&mut frames, HEADERS, END_HEADERS | ends, stream, &block)?;
    if !body.is_empty() {
        frame(&mut frames, DATA, END_STREAM, stream, body)?;
    }
    Some(frames)
}

fn frame(frames: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Option<()> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= FRAME)?;
    let [_, length @ ..] = length.to_be_bytes();
    frames.extend(length);
    frames.extend([kind, flags]);
    frames.extend(stream.to_be_bytes());
    frames.extend(payload);
    Some(())
}

fn field(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(LITERAL);
    for text in [name, value] {
        length(block, text.len());
        block.extend(text);
    }
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(0x7f) else { return block.extend(u8::try_from(length)) };
    block.push(0x7f);
    while rest >= 0x80 {
        block.extend(u8::try_from(rest & 0x7f | 0x80));
        rest >>= 7;
    }
    block.extend(u8::try_from(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_two_frames() {
        let long = "v".repeat(300);
        let http1 =
            format!("HTTP/1.1 408 Request Timeout\r\nX-Long: {long}\r\nconnection: close\r\n\r\nlate");
        let block = [&b"\x00\x07:status\x03408\x00\x06x-long\x7f\xad\x01"[..], long.as_bytes()].concat();
        let length = u8::try_from(block.len() - 256).unwrap();
        let head = [&[0, 1, length, HEADERS, END_HEADERS, 0, 0, 0, 7][..], &block].concat();
        let expected = [&head[..], &[0, 0, 4, DATA, END_STREAM, 0, 0, 0, 7], b"late"].concat();
        assert_eq!(answer(7, http1.as_bytes()), Some(expected));
        assert_eq!(
            answer(1, b"HTTP/1.1 408 x\r\n\r\n"),
            Some(b"\0\0\x0d\x01\x05\0\0\0\x01\0\x07:status\x03408".to_vec())
        );
    }

    #[test]
    fn what_does_not_fit_is_no_answer() {
        for http1 in [
            Vec::new(),
            b"HTTP/1.1 408 x\r\n".to_vec(),
            [&b"HTTP/1.1 408 x\r\n\r\n"[..], &[b'x'; 20_000]].concat(),
        ] {
            assert_eq!(answer(1, &http1), None);
        }
    }
}
