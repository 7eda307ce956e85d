//! Lists of addresses and networks.

use std::net::IpAddr;

/// Networks, IPv4 ones as IPv6-mapped, as ranges in order.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    ranges: Vec<(u128, u128)>,
}

impl Addresses {
    /// Reads addresses and networks in CIDR notation; the first one that is none of these is the error.
    pub(crate) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut ranges = Vec::new();
        for word in words.map(str::trim).filter(|word| !word.is_empty()) {
            ranges.push(range(word).ok_or_else(|| word.to_string())?);
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self { ranges: merged })
    }

    pub(crate) fn contain(&self, address: &[u8]) -> bool {
        let Some(address) =
            std::str::from_utf8(address).ok().and_then(|text| text.trim().parse::<IpAddr>().ok())
        else {
            return false;
        };
        let address = bits(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn range(word: &str) -> Option<(u128, u128)> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address.parse::<IpAddr>().ok()?, Some(length.parse::<u32>().ok()?)),
        None => (word.parse::<IpAddr>().ok()?, None),
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(width);
    if length > width {
        return None;
    }
    let free = width - length;
    let mask = if free == 128 { 0 } else { u128::MAX << free };
    let first = bits(address) & mask;
    Some((first, first | !mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let list = Addresses::parse("10.0.0.0/8, 127.0.0.1 ,::1,2001:db8::/32".split(',')).unwrap();
        for (address, inside) in [
            ("10.1.2.3", true),
            ("11.0.0.0", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::1", true),
            ("::ffff:10.0.0.1", true),
            ("2001:db8:1::", true),
            ("2001:db9::", false),
            ("nonsense", false),
        ] {
            assert_eq!(list.contain(address.as_bytes()), inside, "{address}");
        }
        assert_eq!(Addresses::parse(["10.0.0.0/33"].into_iter()).unwrap_err(), "10.0.0.0/33");
        assert!(Addresses::parse(["0.0.0.0/0", "::/0"].into_iter()).unwrap().contain(b"8.8.8.8"));
    }
}
