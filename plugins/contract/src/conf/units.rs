//! Scalar types of the configuration: durations, sizes, address ranges.

use ipnet::{IpNet, Ipv4Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr, time::Duration};

use super::de_error::HELP;

/// The longest duration: a hundred years. More than that overflows clocks.
const MAX_DAYS: u64 = 36_500;

/// A duration as written: `250ms`, `10s`, `5m`, `1h`, `30d`; a whole number and one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

/// A size in bytes as written: `512B`, `16KiB`, `1MiB`, `2GiB`; a whole number and one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`; a bare address stands for itself alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(pub IpNet);

/// Units from small to large, each in the smallest.
const TIME: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BYTES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// For the `Deserialize` of a type that is read from a string. What follows `; help: ` in its error becomes the
/// help of the configuration error.
pub fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(std::marker::PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(std::marker::PhantomData))
}

/// Reads a whole number and a unit; the result is in the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)], what: &str, example: &str) -> Result<u64, String> {
    let names = units.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let help = format!("write a whole number and one of {names}, such as `{example}`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let Some((number, unit)) = text.split_at_checked(digits) else {
        return Err(refuse(format!("`{text}` is not a {what}"), help));
    };
    if unit.is_empty() && digits > 0 {
        return Err(refuse(format!("`{text}` has no unit"), help));
    }
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let (Some(factor), true) = (factor, digits > 0) else {
        return Err(refuse(format!("`{text}` is not a {what}"), help));
    };
    let large =
        || refuse(format!("`{text}` is too large"), format!("write fewer digits, such as `{example}`"));
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(large)
}

fn refuse(message: String, help: impl fmt::Display) -> String {
    format!("{message}{HELP}{help}")
}

/// Writes a number in the largest unit that needs no fraction.
fn show_unit(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| number.is_multiple_of(*factor) && (number > 0 || *factor == 1);
    match units.iter().rev().find(fits) {
        Some((name, factor)) => write!(f, "{}{name}", number / factor),
        None => write!(f, "{number}"),
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let milliseconds = with_unit(text, &TIME, "duration", "10s")?;
        if milliseconds > MAX_DAYS * 86_400_000 {
            return Err(refuse(format!("`{text}` is too long"), format!("write at most `{MAX_DAYS}d`")));
        }
        Ok(HumanDuration(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_unit(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIME)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        with_unit(text, &BYTES, "size", "16KiB").map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_unit(f, self.0, &BYTES)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write an address, `10.0.0.1` or `2001:db8::1`, or a range, `10.0.0.0/8`";
        let wrong = || refuse(format!("`{text}` is not an address range"), help);
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| wrong())?,
        };
        if net.addr() != net.network() {
            let (range, address) = (net.trunc(), net.addr());
            let help = format!("write `{range}` for the range, or `{address}` for the address");
            return Err(refuse(format!("`{text}` has bits set beyond its prefix"), help));
        }
        Ok(Cidr(unmapped(net)))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: clients are known by their IPv4 address.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(net, IpNet::V4)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! scalar {
    ($type:ident, $title:literal, $description:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "title": $title, "description": $description, "pattern": $pattern })
            }
        }
    };
}

// A reference may stand wherever a string may.
scalar!(
    HumanDuration,
    "duration",
    "A duration: `250ms`, `10s`, `5m`, `1h`, `30d`.",
    r"^([0-9]+(ms|s|m|h|d)|.*\$\{.+\}.*)$"
);
scalar!(
    Size,
    "size",
    "A size in bytes: `512B`, `16KiB`, `1MiB`, `2GiB`.",
    r"^([0-9]+(B|KiB|MiB|GiB)|.*\$\{.+\}.*)$"
);
scalar!(
    Cidr,
    "address or range",
    "An address or a range: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`.",
    r"^([0-9a-fA-F:.]+(/[0-9]+)?|.*\$\{.+\}.*)$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, milliseconds, shown) in [
            ("0s", 0, "0ms"),
            ("250ms", 250, "250ms"),
            ("10s", 10_000, "10s"),
            ("5m", 300_000, "5m"),
            ("60s", 60_000, "1m"),
            ("1h", 3_600_000, "1h"),
            ("90m", 5_400_000, "90m"),
            ("30d", 2_592_000_000, "30d"),
            ("36500d", 3_153_600_000_000, "36500d"),
        ] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!(duration.0.as_millis(), milliseconds, "{text}");
            assert_eq!(duration.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for (text, expect) in [
            ("", "not a duration"),
            ("10", "has no unit"),
            ("0", "has no unit"),
            ("s", "not a duration"),
            ("-1s", "not a duration"),
            ("+1s", "not a duration"),
            ("1.5s", "not a duration"),
            ("1 s", "not a duration"),
            (" 1s", "not a duration"),
            ("1s ", "not a duration"),
            ("1S", "not a duration"),
            ("1sec", "not a duration"),
            ("1h30m", "not a duration"),
            ("1e3s", "not a duration"),
            ("٣s", "not a duration"),
            ("1ſ", "not a duration"),
            ("1µs", "not a duration"),
            ("99999999999999999999s", "too large"),
            ("18446744073709551615d", "too large"),
            ("36501d", "too long"),
        ] {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("0B", 0, "0B"),
            ("512B", 512, "512B"),
            ("16KiB", 16 << 10, "16KiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("2GiB", 2 << 30, "2GiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), shown);
        }
        for text in ["", "1024", "KiB", "1KB", "1kib", "1K", "-1B", "1 MiB", "1.5MiB", "17179869184GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_read() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("::1", "::1/128"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:1.2.3.4", "1.2.3.4/32"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
        for (text, help) in [
            ("", "write an address"),
            ("10.0.0.0/33", "write an address"),
            ("010.0.0.1", "write an address"),
            ("10.0.0", "write an address"),
            ("10.0.0.1:80", "write an address"),
            ("example.com", "write an address"),
            ("10.1.2.3/8", "write `10.0.0.0/8`"),
            ("2001:db8::1/32", "write `2001:db8::/32`"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert!(error.contains(&format!("; help: {help}")), "{text}: {error}");
        }
    }
}
