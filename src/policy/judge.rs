//! What was expected of a request, and what came.

use crate::proxy::Tried;
use http::{HeaderMap, HeaderValue};
use palisade_contract::{Decision, Effect};
use serde_json::Value;
use std::collections::BTreeMap;

/// What must come of a request.
#[derive(Debug, Default)]
pub(super) struct Expect {
    pub(super) status: u16,
    pub(super) plugin: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) route: Option<String>,
    pub(super) principal: Option<String>,
    pub(super) would_deny: Option<Vec<String>>,
    pub(super) headers: BTreeMap<String, Option<String>>,
    pub(super) body: Option<String>,
    pub(super) json: Option<Value>,
    pub(super) body_without: Vec<String>,
    /// The inner none: the origin must not get it.
    pub(super) origin: Option<Option<Told>>,
}

/// A request as the origin must get it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) upstream: Option<String>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) headers: BTreeMap<String, Option<String>>,
    pub(super) body: Option<String>,
    pub(super) json: Option<Value>,
}

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) got: String,
}

/// Any value.
const ANY: &str = "*";

/// The entry that ended the request, where one did.
pub(super) fn ended(tried: &Tried) -> Option<&Decision> {
    tried.ex.decisions().iter().rev().find(|decision| decision.effect.is_final())
}

/// Who ended it: the key of an entry, `palisade`, or `none`.
pub(super) fn who(tried: &Tried) -> &str {
    match ended(tried).and_then(|decision| decision.entry.as_ref()) {
        Some(entry) => &entry.key,
        None if tried.reason.is_some() => "palisade",
        None => "none",
    }
}

impl Expect {
    /// All differences.
    pub(super) fn compare(&self, tried: &Tried) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut same = |what: &str, expected: Option<&str>, got: &str| {
            if let Some(expected) = expected.filter(|expected| *expected != got) {
                found.push(Difference::new(what, expected, got));
            }
        };
        let principal = tried.ex.principal().map_or("none", |principal| &principal.id);
        same("status", Some(&self.status.to_string()), &tried.answer.status.as_u16().to_string());
        same("plugin", self.plugin.as_deref(), who(tried));
        same("reason", self.reason.as_deref(), tried.reason.unwrap_or("none"));
        same("route", self.route.as_deref(), &tried.route.name);
        same("principal", self.principal.as_deref(), principal);
        if let Some(expected) = &self.would_deny {
            let monitored = tried.ex.decisions().iter().filter(|one| one.effect == Effect::WouldDeny);
            let mut got: Vec<&str> = monitored.filter_map(|one| Some(&*one.entry.as_ref()?.key)).collect();
            let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            got.sort_unstable();
            got.dedup();
            expected.sort_unstable();
            same("would_deny", Some(&expected.join(", ")), &got.join(", "));
        }
        let body = String::from_utf8_lossy(&tried.body);
        same("body", self.body.as_deref(), &body);
        headers("headers", &self.headers, &tried.answer.headers, &mut found);
        json("json", self.json.as_ref(), &tried.body, &mut found);
        for text in self.body_without.iter().filter(|text| body.contains(text.as_str())) {
            found.push(Difference::new("body_without", &format!("no `{text}`"), &body));
        }
        match (&self.origin, &tried.told) {
            (Some(None), Some(told)) => {
                let got = format!("{} {}", told.request.method, told.request.uri);
                found.push(Difference::new("origin", "none", &got));
            }
            (Some(Some(_)), None) => found.push(Difference::new("origin", "a request", "none")),
            (Some(Some(expected)), Some(_)) => expected.compare(tried, &mut found),
            _ => {}
        }
        found
    }
}

impl Told {
    fn compare(&self, tried: &Tried, found: &mut Vec<Difference>) {
        let Some(told) = &tried.told else { return };
        let upstream = tried.ex.upstream().map_or("none", |name| name);
        for (what, expected, got) in [
            ("origin.upstream", &self.upstream, upstream),
            ("origin.method", &self.method, told.request.method.as_str()),
            ("origin.path", &self.path, &told.request.uri.to_string()),
            ("origin.body", &self.body, &String::from_utf8_lossy(&told.body)),
        ] {
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != got) {
                found.push(Difference::new(what, expected, got));
            }
        }
        headers("origin.headers", &self.headers, &told.request.headers, found);
        json("origin.json", self.json.as_ref(), &told.body, found);
    }
}

impl Difference {
    fn new(what: &str, expected: &str, got: &str) -> Self {
        Difference { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() }
    }
}

fn headers(
    what: &str,
    expected: &BTreeMap<String, Option<String>>,
    got: &HeaderMap,
    found: &mut Vec<Difference>,
) {
    for (name, expected) in expected {
        let values: Vec<_> = got.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let value = values.join(&b", "[..]);
        let value = String::from_utf8_lossy(&value);
        let (fits, shown) = match expected.as_deref() {
            None => (values.is_empty(), "absent"),
            Some(ANY) => (!values.is_empty(), "any"),
            Some(expected) => (!values.is_empty() && expected == value, expected),
        };
        if !fits {
            let got = if values.is_empty() { "absent" } else { &value };
            found.push(Difference::new(&format!("{what}.{name}"), shown, got));
        }
    }
}

fn json(what: &str, expected: Option<&Value>, body: &[u8], found: &mut Vec<Difference>) {
    let Some(expected) = expected else { return };
    match serde_json::from_slice::<Value>(body) {
        Ok(got) => inside(what, expected, &got, found),
        Err(_) => {
            let got = String::from_utf8_lossy(body);
            found.push(Difference::new(what, &expected.to_string(), &format!("no JSON: {got}")));
        }
    }
}

/// What is expected stands in what came; of objects, what stands beside it is not looked at.
fn inside(what: &str, expected: &Value, got: &Value, found: &mut Vec<Difference>) {
    let (Value::Object(expected), Value::Object(members)) = (expected, got) else {
        if expected != got {
            found.push(Difference::new(what, &expected.to_string(), &got.to_string()));
        }
        return;
    };
    for (name, expected) in expected {
        let what = format!("{what}.{name}");
        match members.get(name) {
            Some(got) => inside(&what, expected, got, found),
            None => found.push(Difference::new(&what, &expected.to_string(), "absent")),
        }
    }
}
