//! From a verdict to an HTTP response: the one mapping.

use crate::{chain::Stop, conf::model::ErrorBody};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use palisade_contract::ResponseHeader;
use serde::Serialize;
use std::collections::BTreeMap;

/// An answer that the gateway makes.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The stable reason code.
    pub reason: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

/// An RFC 9457 problem document.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    request_id: &'a str,
}

impl Answer {
    /// The answer to what stopped a request. `errors` are the operator's own bodies, the narrower first.
    pub fn of(stop: &Stop, request_id: &str, errors: &[&BTreeMap<u16, ErrorBody>]) -> Self {
        match stop {
            Stop::Denied(denial) => {
                let answer = Answer::problem(
                    denial.status(),
                    denial.reason(),
                    Some(denial.public_message()),
                    request_id,
                    errors,
                );
                Answer { headers: denial.headers().to_vec(), ..answer }
            }
            Stop::Replied(reply) => Answer {
                status: reply.status(),
                reason: reply.reason(),
                headers: reply.headers().to_vec(),
                content_type: None,
                body: reply.body_bytes().clone(),
            },
            // What failed is the operator's business, not the client's.
            Stop::Faulted(fault) => Answer::problem(fault.status(), fault.reason(), None, request_id, errors),
        }
    }

    /// A problem document, or the operator's own body for this status.
    pub fn problem(
        status: StatusCode,
        reason: &'static str,
        message: Option<&str>,
        request_id: &str,
        errors: &[&BTreeMap<u16, ErrorBody>],
    ) -> Self {
        if let Some(own) = errors.iter().find_map(|bodies| bodies.get(&status.as_u16())) {
            let content_type = Some(own.content_type.clone());
            return Answer { status, reason, headers: Vec::new(), content_type, body: own.body.clone() };
        }
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            reason,
            detail: message,
            request_id,
        };
        // Strings and a number cannot fail to serialise.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let content_type = Some(HeaderValue::from_static("application/problem+json"));
        Answer { status, reason, headers: Vec::new(), content_type, body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The head, with the body's length. What is refused must not be stored by a cache.
    pub fn head(&self) -> pingora::Result<ResponseHeader> {
        let mut head = ResponseHeader::build(self.status, Some(self.headers.len() + 4))?;
        for (name, value) in &self.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        if let Some(content_type) = &self.content_type {
            head.insert_header(header::CONTENT_TYPE, content_type.clone())?;
        }
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            head.insert_header(header::CONTENT_LENGTH, self.body.len())?;
        }
        if self.status.as_u16() >= 400 && !head.headers.contains_key(header::CACHE_CONTROL) {
            head.insert_header(header::CACHE_CONTROL, "no-store")?;
        }
        Ok(head)
    }

    /// The answer as HTTP/1.1, with this head; the body is left out for a request that has none in its answer.
    pub fn http1(&self, head: &ResponseHeader, bodyless: bool) -> Vec<u8> {
        let title = head.status.canonical_reason().unwrap_or("Refused");
        let mut bytes = format!("HTTP/1.1 {} {title}\r\n", head.status.as_u16()).into_bytes();
        for (name, value) in &head.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        if !bodyless {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{Denial, Fault, Reply};

    #[test]
    fn a_denial_becomes_a_problem_document_without_its_private_detail() {
        let denial = Denial::forbidden("acl_denied").message("No").detail("group gold is missing");
        let answer = Answer::of(&Stop::Denied(denial), "r1", &[]);
        assert_eq!(answer.status, 403);
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["reason"], "acl_denied");
        assert_eq!(body["detail"], "No");
        assert_eq!(body["request_id"], "r1");
        assert!(!String::from_utf8_lossy(answer.body()).contains("gold"));
    }

    #[test]
    fn a_problem_document_has_the_members_of_rfc_9457() {
        let denial = Denial::unauthorized("credential_missing").message("This needs a credential");
        let answer = Answer::of(&Stop::Denied(denial), "r1", &[]);
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "This needs a credential",
            "reason": "credential_missing",
            "request_id": "r1",
        });
        assert_eq!(body, expected);
        let head = answer.head().unwrap();
        assert_eq!(head.headers["content-type"], "application/problem+json");
        assert_eq!(head.headers["content-length"], answer.body().len().to_string());
    }

    #[test]
    fn a_plugins_own_headers_hold_and_no_length_stands_where_no_body_can() {
        let reply = |status| {
            Reply::new(status, "r").header(header::CACHE_CONTROL, HeaderValue::from_static("public"))
        };
        for (status, has_length) in
            [(StatusCode::GONE, true), (StatusCode::NO_CONTENT, false), (StatusCode::NOT_MODIFIED, false)]
        {
            let head = Answer::of(&Stop::Replied(reply(status)), "r1", &[]).head().unwrap();
            assert_eq!(head.headers.contains_key("content-length"), has_length, "{status}");
            assert_eq!(head.headers["cache-control"], "public", "{status}");
        }
    }

    #[test]
    fn a_fault_tells_the_client_nothing_of_its_cause() {
        let fault = Fault::unavailable("store_down").source("redis at 10.0.0.1 refused");
        let answer = Answer::of(&Stop::Faulted(fault), "r1", &[]);
        assert_eq!(answer.status, 503);
        assert!(!String::from_utf8_lossy(answer.body()).contains("redis"));
    }

    #[test]
    fn the_operators_body_replaces_the_problem_document() {
        let own = ErrorBody {
            content_type: HeaderValue::from_static("text/html"),
            body: Bytes::from_static(b"<p>no"),
            file: None,
        };
        let errors = BTreeMap::from([(401, own)]);
        let answer = Answer::of(&Stop::Denied(Denial::unauthorized("x")), "r1", &[&errors]);
        assert_eq!(answer.body(), "<p>no");
        assert_eq!(answer.head().unwrap().headers["content-type"], "text/html");
        assert_eq!(answer.head().unwrap().headers["cache-control"], "no-store");
    }
}
