//! Frames of HTTP/2, byte by byte.

/// The preface, and empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
pub const ENHANCE_YOUR_CALM: u8 = 0xb;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /a`, without a Huffman code.
pub fn request() -> Vec<u8> {
    [&[0x82, 0x86][..], &[0x04, 2], b"/a", &[0x01, 1], b"a"].concat()
}

/// Why the server says that it closes, if it does.
pub fn goaway(mut bytes: &[u8]) -> Option<u8> {
    while let Some((header, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        if header[3] == 7 {
            return payload.get(7).copied();
        }
        bytes = rest;
    }
    None
}

/// Kind, flags, stream and payload of each whole frame.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        let stream = u32::from_be_bytes(header[5..9].try_into().unwrap());
        found.push((header[3], header[4], stream, payload.to_vec()));
        bytes = rest;
    }
    found
}
