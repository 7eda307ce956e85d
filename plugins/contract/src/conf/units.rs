//! Scalar types of the configuration: durations, sizes, address ranges.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr, time::Duration};

/// A duration as written: `250ms`, `10s`, `5m`, `1h`, `30d`. Whole numbers only, at most 10 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A size in bytes as written: `512B`, `16KiB`, `1MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address. IPv4-mapped ranges are IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(pub IpNet);

const TEN_YEARS_MS: u64 = 3653 * 24 * 3600 * 1000;

/// Splits `10s` into its number and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    if number.len() > 1 && number.starts_with('0') { None } else { Some((number.parse().ok()?, unit)) }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor = |unit: &str| match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        };
        let millis = split(text)
            .and_then(|(number, unit)| number.checked_mul(factor(unit)?))
            .filter(|ms| *ms <= TEN_YEARS_MS);
        millis.map(|ms| HumanDuration(Duration::from_millis(ms))).ok_or_else(|| {
            format!("`{text}` is not a duration; help: write a whole number and a unit: `250ms`, `10s`, `5m`, `1h`, `30d`")
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
            if ms >= factor && ms % factor == 0 {
                return write!(f, "{}{unit}", ms / factor);
            }
        }
        write!(f, "{ms}ms")
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor = |unit: &str| match unit {
            "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        split(text)
            .and_then(|(number, unit)| number.checked_mul(factor(unit)?))
            .map(Size)
            .ok_or_else(|| format!("`{text}` is not a size; help: write a whole number and a unit: `512B`, `16KiB`, `1MiB`, `2GiB`"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift && self.0 % (1 << shift) == 0 {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write an address such as `10.1.2.3`, or a range such as `10.0.0.0/8` or `2001:db8::/32`";
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Cidr(IpNet::from(address.to_canonical())));
        }
        let net: IpNet =
            text.parse().map_err(|_| format!("`{text}` is not an address range; help: {help}"))?;
        if net.trunc() != net {
            return Err(format!("`{text}` has bits set behind its prefix; help: write `{}`", net.trunc()));
        }
        Ok(Cidr(unmapped(net)))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: clients are compared in their IPv4 form.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(address, prefix)| ipnet::Ipv4Net::new(address, prefix).ok()).map_or(net, IpNet::V4)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! text_type {
    ($($type:ident $pattern:literal $description:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    )*};
}

text_type! {
    HumanDuration r"^[0-9]+(ms|s|m|h|d)$|^\$\{" "A duration: `250ms`, `10s`, `5m`, `1h`, `30d`.";
    Size r"^[0-9]+(B|KiB|MiB|GiB)$|^\$\{" "A size: `512B`, `16KiB`, `1MiB`, `2GiB`.";
    Cidr r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$|^\$\{" "An address or a range of addresses: `10.0.0.0/8`.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().0.as_millis(), ms, "{text}");
        }
        assert_eq!(HumanDuration(Duration::from_millis(90_000)).to_string(), "90s");
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            " 1s",
            "1s ",
            "1S",
            "1w",
            "01s",
            "99999999999999999999s",
            "99999999d",
            "1_0s",
            "１s",
        ] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("16KiB", 16_384), ("1MiB", 1_048_576), ("2GiB", 2_147_483_648)]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), text);
        }
        for text in
            ["", "1", "1K", "1KB", "1kib", "KiB", "-1B", "1.5MiB", "18446744073709551616B", "99999999999GiB"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("1.2.3.4", "1.2.3.4/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:1.2.3.4", "1.2.3.4/32"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
        assert!("10.1.0.0/8".parse::<Cidr>().unwrap_err().contains("write `10.0.0.0/8`"));
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "a", "10.0.0.0/", "10.0.0.0 /8", "0x0a.0.0.1", "010.0.0.1"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
