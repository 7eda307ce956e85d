//! `10/s`: so many, given back evenly.

use super::counter::{Limit, Period};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;

const SECOND: u64 = 1_000_000_000;

/// A number of requests, and the nanoseconds in which they are given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    count: u32,
    span: u64,
}

impl Rate {
    fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count = count.parse().ok().filter(|count| (1..=1_000_000_000).contains(count))?;
        let seconds = match unit {
            "s" | "second" => 1,
            "m" | "minute" => 60,
            "h" | "hour" => 3600,
            "d" | "day" => 86_400,
            _ => return None,
        };
        Some(Rate { count, span: seconds * SECOND })
    }

    /// The bucket that holds `burst` requests.
    pub(super) fn limit(self, burst: Option<u32>) -> Limit {
        let a_second = u32::try_from(u64::from(self.count) * SECOND / self.span).unwrap_or(u32::MAX);
        Limit {
            period: Period::Rate,
            quota: burst.unwrap_or(a_second.max(1)),
            // Rounded up: never more than the rate.
            every: self.span.div_ceil(u64::from(self.count)),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Rate::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a rate; help: write a number and a unit: `10/s`, `600/m`, `1000/h` or `10000/d`"
            ))
        })
    }
}

impl JsonSchema for Rate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+/(s|m|h|d|second|minute|hour|day)|.*\\$\\{.*)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_written() {
        for (text, burst, quota, every) in [
            ("10/s", None, 10, SECOND / 10),
            ("10/s", Some(30), 30, SECOND / 10),
            ("600/m", None, 10, SECOND / 10),
            ("1/minute", None, 1, 60 * SECOND),
            ("7/s", None, 7, 142_857_143),
            ("1000/hour", None, 1, 3_600_000_000),
            ("86400/d", Some(5), 5, SECOND),
        ] {
            let limit = Rate::parse(text).unwrap().limit(burst);
            assert_eq!((limit.quota, limit.every), (quota, every), "{text}");
        }
        for text in [
            "",
            "/",
            "10",
            "10/",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "10/w",
            "10 /s",
            "9999999999/s",
            "1/s/s",
        ] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }
}
