//! The PROXY protocol, versions 1 and 2: what a proxy says before a connection about who is behind it.
//!
//! Read strictly, bounded, and to the byte: what follows the header belongs to TLS or HTTP.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::TcpStream,
};

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part of version 2.
const FIXED: usize = 16;
/// The longest line of version 1, its CRLF included.
const LINE: usize = 107;
/// The most that may follow the fixed part of version 2: the addresses, and fields that are not read.
const MOST: usize = 4096;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The client.
    Client(SocketAddr),
    /// No address: the proxy speaks for itself, or does not know.
    Unknown,
}

/// What came instead of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// Nothing: the connection ended before its first byte.
    Nothing,
    /// Something that is no header, or half of one.
    Malformed,
}

/// Reads the header, and no byte of what follows it.
pub async fn read(stream: &mut TcpStream) -> Result<Source, Failed> {
    let mut start = [0; SIGNATURE.len()];
    let length = stream.read(&mut start).await.unwrap_or(0);
    let (begun, rest) = start.split_at_mut_checked(length).ok_or(Failed::Malformed)?;
    if begun.is_empty() {
        return Err(Failed::Nothing);
    }
    // What cannot become a header is not waited for.
    if !b"PROXY ".starts_with(begun) && !begun.starts_with(b"PROXY ") && !SIGNATURE.starts_with(begun) {
        return Err(Failed::Malformed);
    }
    stream.read_exact(rest).await.map_err(|_| Failed::Malformed)?;
    if start == *SIGNATURE { version2(stream).await } else { version1(stream, &start).await }
}

async fn version2(stream: &mut TcpStream) -> Result<Source, Failed> {
    let mut fixed = [0; FIXED - SIGNATURE.len()];
    stream.read_exact(&mut fixed).await.map_err(|_| Failed::Malformed)?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST {
        return Err(Failed::Malformed);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await.map_err(|_| Failed::Malformed)?;
    parse_version2(command, family, &rest).ok_or(Failed::Malformed)
}

/// Version 1 has no length: it is looked at before it is taken, so that nothing behind its end is.
async fn version1(stream: &mut TcpStream, start: &[u8]) -> Result<Source, Failed> {
    let mut line = Vec::with_capacity(LINE);
    line.extend_from_slice(start);
    if line.contains(&b'\n') {
        return Err(Failed::Malformed);
    }
    let mut ahead = [0; LINE];
    loop {
        let room = LINE.saturating_sub(line.len());
        let window = ahead.get_mut(..room).filter(|window| !window.is_empty()).ok_or(Failed::Malformed)?;
        stream.ready(Interest::READABLE).await.map_err(|_| Failed::Malformed)?;
        let seen = stream.peek(window).await.map_err(|_| Failed::Malformed)?;
        let seen = window.get(..seen).filter(|seen| !seen.is_empty()).ok_or(Failed::Malformed)?;
        let end = memchr::memchr(b'\n', seen);
        let taken = end.map_or(seen.len(), |end| end + 1);
        let taken = window.get_mut(..taken).ok_or(Failed::Malformed)?;
        stream.read_exact(taken).await.map_err(|_| Failed::Malformed)?;
        line.extend_from_slice(taken);
        if end.is_some() {
            return parse_version1(&line).ok_or(Failed::Malformed);
        }
    }
}

/// The whole header, and how many bytes it has; none where it is not one. What is read from sockets is judged by the
/// same parts; this is for tests that have all the bytes.
pub fn parse(bytes: &[u8]) -> Option<(Source, usize)> {
    if let Some(rest) = bytes.strip_prefix(SIGNATURE) {
        let [command, family, high, low, rest @ ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let rest = rest.get(..length).filter(|_| length <= MOST)?;
        return Some((parse_version2(*command, *family, rest)?, FIXED + length));
    }
    let end = memchr::memchr(b'\n', bytes.get(..bytes.len().min(LINE))?)? + 1;
    Some((parse_version1(bytes.get(..end)?)?, end))
}

fn parse_version1(line: &[u8]) -> Option<Source> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let rest = line.strip_prefix("PROXY ")?;
    if rest.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    // What follows is of no meaning, says the protocol.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Source::Unknown);
    }
    let mut parts = rest.split(' ');
    let mut next = || parts.next();
    let (family, from, to, from_port, to_port) = (next()?, next()?, next()?, next()?, next()?);
    if next().is_some() {
        return None;
    }
    let ip = match family {
        "TCP4" => both::<Ipv4Addr>(from, to)?,
        "TCP6" => both::<Ipv6Addr>(from, to)?,
        _ => return None,
    };
    port(to_port)?;
    Some(Source::Client(SocketAddr::new(ip.to_canonical(), port(from_port)?)))
}

/// The first of two addresses that must both be of the family.
fn both<T: FromStr + Into<IpAddr>>(from: &str, to: &str) -> Option<IpAddr> {
    to.parse::<T>().ok()?;
    Some(from.parse::<T>().ok()?.into())
}

/// A port in the only way that it is written: digits, no sign, no zero before them.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn parse_version2(command: u8, family: u8, rest: &[u8]) -> Option<Source> {
    match (command, family) {
        // LOCAL: the proxy's own connection; what else it says is to be passed over.
        (0x20, _) => Some(Source::Unknown),
        (0x21, 0x00) => fields(rest).map(|()| Source::Unknown),
        (0x21, 0x11) => {
            let (from, rest) = rest.split_first_chunk::<4>()?;
            client(IpAddr::from(*from), rest.get(4..)?)
        }
        (0x21, 0x21) => {
            let (from, rest) = rest.split_first_chunk::<16>()?;
            client(IpAddr::from(*from), rest.get(16..)?)
        }
        // Two paths of UNIX sockets, which are not addresses of clients.
        (0x21, 0x31) => fields(rest.get(216..)?).map(|()| Source::Unknown),
        // Datagrams do not come on a stream; the rest does not exist.
        _ => None,
    }
}

/// What follows the addresses: two ports, and fields.
fn client(ip: IpAddr, rest: &[u8]) -> Option<Source> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    fields(rest.get(2..)?)?;
    Some(Source::Client(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(*port))))
}

/// Passes over fields, which must fill the header to its end.
fn fields(mut rest: &[u8]) -> Option<()> {
    while !rest.is_empty() {
        let [_, high, low, after @ ..] = rest else { return None };
        rest = after.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    fn source(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
    }

    fn two(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 1, 187];

    #[test]
    fn what_a_proxy_says() {
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[9], &[0; 16], &[0, 80, 1, 187]].concat();
        let mapped = [&[0; 10][..], &[255, 255, 192, 0, 2, 7], &[0; 16], &[0, 80, 1, 187]].concat();
        let tlvs = [&V4[..], &[4, 0, 3, 1, 2, 3], &[0xea, 0, 0]].concat();
        for (bytes, wanted) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n".to_vec(), source("192.0.2.7:8080")),
            (b"PROXY TCP6 2001:db8::9 ::1 80 443\r\n".to_vec(), source("[2001:db8::9]:80")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 80 443\r\n".to_vec(), source("192.0.2.7:80")),
            (b"PROXY TCP4 0.0.0.0 10.0.0.1 0 65535\r\n".to_vec(), source("0.0.0.0:0")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Unknown),
            (b"PROXY UNKNOWN ::1 anything 1 2 3\r\n".to_vec(), Source::Unknown),
            (two(0x21, 0x11, &V4), source("192.0.2.7:8080")),
            (two(0x21, 0x11, &tlvs), source("192.0.2.7:8080")),
            (two(0x21, 0x21, &v6), source("[2001:db8::9]:80")),
            (two(0x21, 0x21, &mapped), source("192.0.2.7:80")),
            (two(0x21, 0x31, &[7; 216]), Source::Unknown),
            (two(0x21, 0x00, &[]), Source::Unknown),
            (two(0x20, 0x11, &V4), Source::Unknown),
            (two(0x20, 0x00, &[1, 2, 3]), Source::Unknown),
        ] {
            let all = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&all), Some((wanted, bytes.len())), "{}", bytes.escape_ascii());
            for short in 0..bytes.len() {
                assert_eq!(parse(&bytes[..short]), None, "{short} of {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn hostile_input() {
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 8080 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 443 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 443 1\r\n",
            "PROXY TCP4\t192.0.2.7 10.0.0.1 8080 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 8080 443\r\n",
            "PROXY TCP4 192.0.2 10.0.0.1 8080 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.256 8080 443\r\n",
            "PROXY TCP4 ::1 ::1 8080 443\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 8080 443\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 8080 443\r\n",
            "PROXY TCP6 [::1] ::1 8080 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 08080 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +80 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 80 -1\r\n",
            "PROXY tcp4 192.0.2.7 10.0.0.1 80 443\r\n",
            "proxy TCP4 192.0.2.7 10.0.0.1 80 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 80 443\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN \0\r\n",
            "PROXY \r\n",
            " PROXY UNKNOWN\r\n",
            "\r\nPROXY UNKNOWN\r\n",
            "GET / HTTP/1.1\r\n",
            "\r\n\r\n\0\r\nQUIT\n",
            "",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE - 16));
        assert_eq!(parse(long.as_bytes()), Some((Source::Unknown, LINE)));
        assert_eq!(parse(long.replace(" x", " xx").as_bytes()), None);
    }

    #[test]
    fn hostile_input_in_binary() {
        let tlv = |bytes: &[u8]| [&V4[..], bytes].concat();
        for (what, bytes) in [
            ("another version", two(0x11, 0x11, &V4)),
            ("no version", two(0x01, 0x11, &V4)),
            ("another command", two(0x22, 0x11, &V4)),
            ("datagrams", two(0x21, 0x12, &V4)),
            ("no such family", two(0x21, 0x41, &V4)),
            ("a family without a protocol", two(0x21, 0x10, &V4)),
            ("half an address", two(0x21, 0x11, &V4[..11])),
            ("the addresses of the other family", two(0x21, 0x21, &V4)),
            ("half a path", two(0x21, 0x31, &[0; 215])),
            ("half a field", two(0x21, 0x11, &tlv(&[4, 0]))),
            ("a field longer than the header", two(0x21, 0x11, &tlv(&[4, 0, 2, 1]))),
            ("a field longer than any", two(0x21, 0x11, &tlv(&[4, 255, 255]))),
            ("rubbish without an address", two(0x21, 0x00, &[1])),
            ("too much", two(0x20, 0x00, &[0; MOST + 1])),
        ] {
            assert_eq!(parse(&bytes), None, "{what}");
        }
        assert!(parse(&two(0x20, 0x00, &[0; MOST])).is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_take_more_than_there_is(
            one in proptest::bool::ANY,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let start: &[u8] = if one { b"PROXY TCP4 " } else { SIGNATURE };
            for bytes in [bytes.clone(), [start, &bytes].concat()] {
                let end = parse(&bytes).map_or(0, |(_, end)| end);
                proptest::prop_assert!(end <= bytes.len() && end <= FIXED + MOST);
            }
        }
    }

    #[tokio::test]
    async fn sockets_are_read_to_the_byte_however_the_bytes_come() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let good = b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n";
        for header in [good.to_vec(), two(0x21, 0x11, &V4), b"PROXY UNKNOWN\r\n".to_vec()] {
            for step in [1, 5, 13, 1000] {
                let mut client = TcpStream::connect(address).await.unwrap();
                let (mut server, _) = listener.accept().await.unwrap();
                client.set_nodelay(true).unwrap();
                let all = [&header[..], b"GET"].concat();
                let send = async {
                    for piece in all.chunks(step) {
                        client.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let ((), read) = tokio::join!(send, read(&mut server));
                assert_eq!(read.ok(), parse(&all).map(|(source, _)| source));
                let mut rest = [0; 3];
                server.read_exact(&mut rest).await.unwrap();
                assert_eq!(&rest, b"GET");
            }
        }
        for (bytes, wanted) in [
            (&b""[..], Failed::Nothing),
            (b"G", Failed::Malformed),
            (b"\r\n\r\nG", Failed::Malformed),
            (b"PROXY TCP4 192.0.2.7", Failed::Malformed),
            (b"PROXY \n", Failed::Malformed),
            (&SIGNATURE[..], Failed::Malformed),
            (&[b'P'; 200], Failed::Malformed),
        ] {
            let mut client = TcpStream::connect(address).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            client.write_all(bytes).await.unwrap();
            // What cannot become a header is refused without an end.
            if !matches!(bytes.first(), Some(b'G')) {
                client.shutdown().await.unwrap();
            }
            assert_eq!(read(&mut server).await, Err(wanted), "{}", bytes.escape_ascii());
        }
    }
}
