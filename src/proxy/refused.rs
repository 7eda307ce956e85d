//! What the edge refused before Pingora saw it: it gets its answer, its record and its metrics like any request, on the
//! route `_none`.

use super::overrides;
use crate::{
    chain::{Run, Stop},
    edge::{ConnInfo, Refusal, canonical, headers},
    gateway::Snapshot,
    respond::Answer,
    server::request_id,
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use palisade_contract::{Decision, Denial, Effect, Exchange, Outcome, RequestHeader, ResponseHeader};

/// Runs the everywhere-entries of Screen and Observe on what can be made out of the `head`, makes the answer as bytes
/// (which close the connection), and the record.
pub(crate) async fn answer_refused(
    snapshot: &Snapshot,
    connection: &ConnInfo,
    refusal: Refusal,
    head: &[u8],
) -> Vec<u8> {
    let Refused { mut ex, mut run, answer, head, bodyless } =
        refuse(snapshot, connection, refusal, head).await;
    let mut bytes = Vec::new();
    if let Some(mut head) = head {
        // Adding to a head of a few fields does not fail.
        let _ = head.insert_header(header::CONNECTION, "close");
        bytes = answer.http1(&head, bodyless);
    }
    let none = &snapshot.none;
    ex.host_side().outcome = Outcome {
        status: answer.status.as_u16(),
        reason: Some(answer.reason),
        duration: ex.begun().elapsed(),
        ..Outcome::default()
    };
    none.metrics.finished(answer.status.as_u16(), ex.outcome().duration, None);
    none.chain.log(&mut ex, &mut run);
    bytes
}

/// What a refusal of the edge comes to.
pub(super) struct Refused {
    pub(super) ex: Exchange,
    run: Run,
    pub(super) answer: Answer,
    /// None where it could not be made.
    pub(super) head: Option<ResponseHeader>,
    bodyless: bool,
}

/// Runs the everywhere-entries of Screen and Observe on what can be made out of the `head`, and makes the answer.
pub(super) async fn refuse(
    snapshot: &Snapshot,
    connection: &ConnInfo,
    refusal: Refusal,
    head: &[u8],
) -> Refused {
    let mut request = readable(head).unwrap_or_else(headers::empty);
    let bodyless = request.method == Method::HEAD;
    let client = canonical::client(&request, connection, snapshot);
    let trusted = snapshot.client_ip.header.as_ref();
    // What only the gateway writes is no more believed here than elsewhere. Removing does not fail.
    let _ = headers::strip(&mut request, &snapshot.headers, trusted, || false);
    overrides::remove(&mut request, snapshot, &[]);
    let mut ex = Exchange::new(request, client, request_id());
    let decision =
        Decision { entry: None, effect: Effect::Deny, reason: Some(refusal.reason), detail: None, nanos: 0 };
    ex.host_side().decisions.push(decision);
    let (none, mut run) = (&snapshot.none, Run::new(ex.begun()));
    let mut stop = none.chain.screen(&mut ex, &mut run).await;
    if stop.is_none() {
        stop = none.chain.request(&mut ex, &mut run).await;
    }
    let stop = stop.unwrap_or_else(|| {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
        Stop::Denied(Denial::new(status, refusal.reason))
    });
    let errors: Vec<_> = none.errors.iter().collect();
    let answer = Answer::of(&stop, ex.id(), &errors);
    let mut head = answer.head().ok();
    if let Some(head) = &mut head {
        // A response hook that fails on a refusal cannot make it an admission: the answer stands.
        let _ = none.chain.response(&mut ex, &mut run, head, true).await;
    }
    Refused { ex, run, answer, head, bodyless }
}

/// As much of a refused head as can be shown: method, path and well-formed fields; the rest stays out, and so does a
/// line that has not come to its end.
fn readable(head: &[u8]) -> Option<RequestHeader> {
    let whole = head.get(..=memchr::memrchr(b'\n', head)?)?;
    let mut lines = whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut parts = lines.next()?.split(|byte| *byte == b' ');
    let method = parts.next().and_then(|method| Method::from_bytes(method).ok()).unwrap_or(Method::GET);
    let target = parts.next().unwrap_or(b"/").split(|byte| *byte == b'?').next().unwrap_or(b"/");
    let mut request = RequestHeader::build(method.clone(), target, None)
        .or_else(|_| RequestHeader::build(method, b"/", None))
        .ok()?;
    for line in lines.take_while(|line| !line.is_empty()).take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            request.append_header(name, value).ok()?;
        }
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_shown() {
        let shown = readable(b"POST /a?secret HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1").unwrap();
        assert_eq!((shown.method.as_str(), shown.uri.path()), ("POST", "/a"));
        assert_eq!((&shown.headers["host"], shown.headers.len()), (&HeaderValue::from_static("a"), 1));
        assert!(shown.uri.query().is_none());
        for head in [&b""[..], b"GET", b"GET / HTTP/1.1"] {
            assert!(readable(head).is_none());
        }
        assert_eq!(readable(b"\0\0\n").unwrap().method, Method::GET);
    }
}
