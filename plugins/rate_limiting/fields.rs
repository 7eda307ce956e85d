//! What the client is told: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), and
//! `Retry-After`.

use super::{
    counter::{Limit, Period, Standing},
    table::Taken,
};
use http::{HeaderName, HeaderValue};
use palisade_contract::ResponseHeader;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const SECOND: u64 = 1_000_000_000;

/// The fields of one entry, as far as they are the same for all answers.
pub(super) struct Fields {
    policy: HeaderValue,
    /// The beginning of `RateLimit` for each limit: `"minute";r=`.
    begin: Box<[String]>,
}

impl Fields {
    pub(super) fn of(limits: &[Limit], label: Option<&str>) -> Self {
        let policies: Vec<String> = limits
            .iter()
            .map(|limit| format!("\"{}\";q={};w={}", name(limit, label), limit.quota, window(limit)))
            .collect();
        Fields {
            // Names of ours, labels of lower-case letters, and numbers: a header value.
            policy: HeaderValue::try_from(policies.join(", ")).unwrap_or(HeaderValue::from_static("")),
            begin: limits.iter().map(|limit| format!("\"{}\";r=", name(limit, label))).collect(),
        }
    }

    /// Adds the fields to those of other entries.
    pub(super) fn write(&self, taken: &Taken, head: &mut ResponseHeader) {
        let Some(begin) = self.begin.get(taken.limit) else { return };
        let left = if taken.refused { 0 } else { taken.standing.left };
        let mut text = String::with_capacity(begin.len() + 34);
        let mut digits = itoa::Buffer::new();
        text.push_str(begin);
        text.push_str(digits.format(left));
        text.push_str(";t=");
        text.push_str(digits.format(seconds(if left == 0 {
            wait(&taken.standing)
        } else {
            taken.standing.more
        })));
        if let Ok(value) = HeaderValue::try_from(text) {
            // A head has room for two fields; one that has none goes without.
            let _ = head.append_header(POLICY, self.policy.clone());
            let _ = head.append_header(LIMIT, value);
        }
    }
}

/// A limit's name for clients and operators.
pub(super) fn name(limit: &Limit, label: Option<&str>) -> String {
    match label {
        Some(label) => format!("{label}-{}", limit.period.name()),
        None => limit.period.name().to_owned(),
    }
}

/// When the client may try again, in whole seconds and never at once.
pub(super) fn retry_after(standing: &Standing) -> HeaderValue {
    HeaderValue::from(seconds(wait(standing)).max(1))
}

fn wait(standing: &Standing) -> u64 {
    if standing.wait > 0 { standing.wait } else { standing.more }
}

/// The window; for a bucket the time in which it fills.
fn window(limit: &Limit) -> u64 {
    match limit.period {
        Period::Rate => seconds(limit.every.saturating_mul(u64::from(limit.quota))).max(1),
        other => other.length().as_secs(),
    }
}

fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(SECOND)
}
