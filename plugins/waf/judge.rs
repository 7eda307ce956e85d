//! A request and its response as the engine gets them, and its verdict as the gateway does.

use super::shape;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use palisade_contract::{Denial, Exchange, Reply, ResponseHeader, Verdict};
use seclang::{Intervention, Transaction};
use std::net::{IpAddr, Ipv4Addr};

/// The ids of the rules about bodies that cannot be read.
const BODY_RULES: std::ops::RangeInclusive<u64> = 8_500_010..=8_500_019;

/// What is remembered of a request between hooks.
#[derive(Debug, Default)]
pub(super) struct Seen {
    transaction: Option<Transaction>,
    /// How many matched rules were counted.
    pub(super) counted: usize,
}

impl Seen {
    pub(super) fn take(&mut self) -> Option<Transaction> {
        self.transaction.take()
    }

    pub(super) fn keep(&mut self, transaction: Transaction) {
        self.transaction = Some(transaction);
    }
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Head,
    Body,
    ResponseHead,
    Over,
}

/// A body as rules see it.
#[derive(Debug)]
pub(super) struct Readable {
    pub(super) bytes: Bytes,
    /// It is the beginning of a longer one.
    pub(super) cut: bool,
}

/// Gives the request's head to the transaction.
pub(super) fn head(ex: &Exchange, transaction: &mut Transaction) {
    let client = ex.client();
    // Which of its addresses the gateway was called at is not known.
    let own = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    transaction.connection((client.ip, client.peer.port()), (own, client.port));
    transaction.unique_id(ex.id().as_bytes());
    if let Some(principal) = ex.principal() {
        transaction.remote_user(principal.id.as_bytes());
    }
    let protocol: &[u8] = match ex.request.version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    };
    transaction.request_line(ex.method().as_str().as_bytes(), ex.request.raw_path(), protocol);
    if !ex.request.headers.contains_key(header::HOST) && !ex.host().is_empty() {
        // HTTP/2 has it in a field of its own.
        transaction.header(b"host", ex.host().as_bytes());
    }
    for (name, value) in &ex.request.headers {
        transaction.header(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// Gives the body to the transaction, and runs the rules on it.
pub(super) fn body(transaction: &mut Transaction, kind: Option<&HeaderValue>, plain: &Readable) {
    if plain.cut {
        transaction.body_is_cut();
    }
    shape::feed(transaction, kind.map_or(&[], HeaderValue::as_bytes), &plain.bytes);
    let _ = transaction.request_body();
}

pub(super) fn response_head(transaction: &mut Transaction, head: &ResponseHeader) {
    let protocol: &[u8] = if head.version == Version::HTTP_2 { b"HTTP/2.0" } else { b"HTTP/1.1" };
    transaction.response_line(head.status.as_u16(), protocol);
    for (name, value) in &head.headers {
        transaction.response_header(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// What the engine's decision means to the client.
#[cold]
pub(super) fn verdict(found: &Intervention, transaction: &Transaction) -> Verdict {
    if let seclang::Verdict::Redirect(to) = &found.verdict
        && let Ok(to) = HeaderValue::from_str(to)
    {
        return Verdict::Respond(
            Reply::new(StatusCode::FOUND, "waf_redirected").header(header::LOCATION, to),
        );
    }
    let written = StatusCode::from_u16(found.status).ok();
    let written = written.filter(|status| status.is_client_error() || status.is_server_error());
    let denial = match found.phase {
        // The fault is not the client's.
        3.. => {
            Denial::new(StatusCode::BAD_GATEWAY, "waf_response_blocked").message("The response was refused")
        }
        _ if BODY_RULES.contains(&found.rule) => {
            Denial::bad_request("waf_body_malformed").message("The body is not what its type says")
        }
        _ => Denial::new(written.unwrap_or(StatusCode::FORBIDDEN), "waf_blocked")
            .message("The request was refused"),
    };
    Verdict::Deny(denial.detail(detail(found, transaction)))
}

/// Which rules led to it, for the operator.
fn detail(found: &Intervention, transaction: &Transaction) -> String {
    const MOST: usize = 16;
    let scores = transaction.scores();
    let score = if found.phase < 3 { scores.inbound } else { scores.outbound };
    let ids: Vec<String> = transaction.matched().iter().take(MOST).map(|rule| rule.id.to_string()).collect();
    let more = if transaction.matched().len() > MOST { " and more" } else { "" };
    format!("rule {} refused it; score {score}; matched: {}{more}", found.rule, ids.join(", "))
}

#[cold]
pub(super) fn response_too_large() -> Denial {
    Denial::new(StatusCode::BAD_GATEWAY, "waf_response_too_large")
        .message("The response is longer than what is inspected")
}
