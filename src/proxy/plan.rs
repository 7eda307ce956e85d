//! Which origin a request goes to, and what the origin is told.

use super::{
    attempt::Attempts,
    ctx::{Ctx, Flight},
};
use crate::{
    edge::{
        headers,
        stream::{self, Origin},
    },
    upstream::{Key, Lease, Upstream, is_alone, speaks_http2},
};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts, uri::PathAndQuery};
use palisade_contract::{BodyNeed, RequestHeader};
use parking_lot::Mutex;
use pingora::{
    ErrorType::InternalError, OrErr, Result, prelude::HttpPeer, protocols::Digest, proxy::Session,
};
use std::{net::SocketAddr, os::fd::RawFd, sync::Arc, time::Instant};

/// Room for what an origin is told of an ordinary request.
const TOLD: usize = 8;

/// What is decided about a request that goes to an origin. Made once, applied at each attempt.
pub(super) struct Plan {
    pub(super) upstream: Arc<Upstream>,
    pub(super) key: Key,
    /// Counts the request at its target.
    pub(super) lease: Option<Lease>,
    /// Targets that did not serve it.
    pub(super) tried: Vec<SocketAddr>,
    pub(super) attempts: Attempts,
    /// What a subrequest tells the origin.
    edits: Vec<Edit>,
    target: Option<PathAndQuery>,
    /// The length of a body that takes the place of the client's.
    pub(super) body_length: Option<usize>,
    pub(super) report: Report,
    /// Where the parent of a subrequest sees what came of it, whatever becomes of the subrequest.
    shared: Option<Arc<Mutex<Report>>>,
}

/// A header of the request to the origin.
#[derive(Clone)]
enum Edit {
    Remove(HeaderName),
    Set(HeaderName, HeaderValue),
}

/// What came of the attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    pub(super) address: Option<SocketAddr>,
    pub(super) attempts: u32,
    pub(super) sent: Option<Instant>,
    pub(super) head: Option<Instant>,
}

impl Plan {
    pub(super) fn new(flight: &mut Flight, session: &mut Session, upstream: Arc<Upstream>) -> Result<Self> {
        Ok(Plan {
            key: if upstream.is_keyed() {
                flight.lend(session, |flight| upstream.key(&flight.ex))
            } else {
                Key::default()
            },
            upstream,
            lease: None,
            tried: Vec::new(),
            attempts: Attempts::default(),
            edits: Vec::new(),
            target: target(flight, &session.req_header().uri)?,
            body_length: None,
            report: Report::default(),
            shared: None,
        })
    }

    /// For a subrequest: notes what the origin is told, as the snapshot of its parent has it, and lets the parent see
    /// what comes of it.
    pub(super) fn hand_over(&mut self, session: &Session, ctx: &mut Ctx) -> Result<()> {
        ctx.report = Some(self.shared.get_or_insert_default().clone());
        let Some(flight) = &ctx.flight else { return Ok(()) };
        let client = &session.req_header().headers;
        edits(flight, client, &ctx.snapshot.headers.late, |edit| self.edits.push(edit))
    }

    /// Notes what came of an attempt.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report);
        if let Some(shared) = &self.shared {
            *shared.lock() = self.report;
        }
    }
}

impl Ctx {
    pub(super) fn connected(
        &mut self,
        session: &mut Session,
        peer: &HttpPeer,
        connection: RawFd,
        digest: Option<&Digest>,
    ) {
        self.end_connecting(session);
        // Others share one that speaks HTTP/2, but for bodies that are on their way.
        if !self.child && session.is_http2() && is_alone(peer) {
            stream::set_origin(if speaks_http2(peer) {
                let own = digest.and_then(|digest| digest.socket_digest.as_ref()?.local_addr()?.as_inet());
                own.map(|own| Origin { connection, port: Some(own.port()) })
            } else {
                Some(Origin { connection, port: None })
            });
        }
        if let Some(gate) = &self.gate {
            gate.close();
        }
        if let Some(plan) = &mut self.plan {
            plan.note(|report| report.sent = Some(Instant::now()));
        }
    }

    /// Writes what the origin is told into the copy of the request that goes to it.
    pub(super) fn tell_origin(&mut self, session: &mut Session, request: &mut RequestHeader) -> Result<()> {
        let (Some(plan), client) = (&self.plan, &session.req_header().headers) else { return Ok(()) };
        if self.exchange_total.is_some() && self.kept.is_none() {
            // Pingora has just copied it, so that another copy shares every value.
            self.kept = Some(Box::new(session.req_header().clone()));
        }
        headers::edit(request, |request| {
            // At once: growing is what an insertion costs most.
            request.headers.reserve(TOLD);
            let headers = &mut request.headers;
            match &self.flight {
                Some(flight) if !self.child => {
                    edits(flight, client, &self.snapshot.headers.late, |edit| edit.apply(headers))?;
                }
                _ => plan.edits.iter().cloned().for_each(|edit| edit.apply(headers)),
            }
            aim(request, plan.target.as_ref(), plan.body_length);
            Ok(())
        })
    }
}

/// The request as an origin gets it, for who sends none: the flight has its head.
pub(super) fn told(
    flight: &Flight,
    late: &[HeaderName],
    body_length: Option<usize>,
) -> Result<RequestHeader> {
    let client = &flight.ex.request;
    let (mut request, target) = (client.clone(), target(flight, &client.uri)?);
    headers::edit(&mut request, |request| -> Result<()> {
        edits(flight, &client.headers, late, |edit| edit.apply(&mut request.headers))?;
        aim(request, target.as_ref(), body_length);
        Ok(())
    })?;
    Ok(request)
}

/// The target of a request to the origin, and the length of its body where that is another one.
fn aim(request: &mut Parts, target: Option<&PathAndQuery>, body_length: Option<usize>) {
    if let Some(target) = target {
        request.uri = http::Uri::from(target.clone());
    }
    if let Some(length) = body_length {
        request.headers.remove(header::TRANSFER_ENCODING);
        request.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

impl Edit {
    fn apply(self, headers: &mut HeaderMap) {
        match self {
            Edit::Remove(name) => drop(headers.remove(name)),
            Edit::Set(name, value) => drop(headers.insert(name, value)),
        }
    }
}

/// Headers that the gateway sets (or removes) for the origin, identity last so that nothing can overwrite it.
/// `client` is what the client sent; what is in `late` it may not send.
fn edits(flight: &Flight, client: &HeaderMap, late: &[HeaderName], mut edit: impl FnMut(Edit)) -> Result<()> {
    let ex = &flight.ex;
    let changes = ex.origin_changes();
    late.iter().chain(&changes.remove_headers).for_each(|name| edit(Edit::Remove(name.clone())));
    if !changes.remove_cookies.is_empty() {
        edit(match without_cookies(client, &changes.remove_cookies) {
            Some(left) => Edit::Set(header::COOKIE, left),
            None => Edit::Remove(header::COOKIE),
        });
    }
    for (name, value) in &changes.set_headers {
        edit(Edit::Set(name.clone(), value.clone()));
    }
    // Who wants to read a response must be able to: pieces only as they are, the whole in codings that we know.
    match flight.chain.response_body_need() {
        BodyNeed::None => {}
        BodyNeed::Stream => edit(Edit::Set(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
        BodyNeed::Whole { .. } if client.contains_key(header::ACCEPT_ENCODING) => {
            edit(Edit::Set(header::ACCEPT_ENCODING, readable_codings(client)));
        }
        BodyNeed::Whole { .. } => {}
    }
    if flight.chain.reframes_request() && client.contains_key(header::CONTENT_LENGTH) {
        // It goes in pieces of any length.
        edit(Edit::Remove(header::CONTENT_LENGTH));
    }
    headers::forwarding(ex, &flight.host, &flight.connection, |name, value| {
        edit(Edit::Set(name.clone(), value))
    });
    if let Some(principal) = ex.principal() {
        if let Some(consumer) = &principal.consumer {
            edit(Edit::Set(headers::CONSUMER_ID.clone(), value(&consumer.name)?));
            if !consumer.groups.is_empty() {
                edit(Edit::Set(headers::CONSUMER_GROUPS.clone(), value(&consumer.groups.join(","))?));
            }
        }
        if let Some(credential) = &principal.credential {
            edit(Edit::Set(headers::CREDENTIAL_IDENTIFIER.clone(), value(credential)?));
        }
    }
    Ok(())
}

/// What the client accepts, of what can be decoded here.
fn readable_codings(client: &HeaderMap) -> HeaderValue {
    let accepted = client.get_all(header::ACCEPT_ENCODING);
    let names = accepted.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let kept: Vec<&str> = names
        .map(str::trim)
        .filter(|name| {
            matches!(
                name.split(';').next().unwrap_or_default().trim(),
                "gzip" | "deflate" | "br" | "zstd" | "identity"
            )
        })
        .collect();
    HeaderValue::from_str(&kept.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or(HeaderValue::from_static("identity"))
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).or_err(InternalError, "an identity that is not a header value")
}

/// The path without the route's prefix, the query without the parameters that the origin must not see; none
/// where both stay as they are.
fn target(flight: &Flight, uri: &http::Uri) -> Result<Option<PathAndQuery>> {
    let path = flight.route.strip_prefix.as_deref().and_then(|prefix| uri.path().strip_prefix(prefix));
    let removed = &flight.ex.origin_changes().remove_query;
    let query = match (uri.query(), removed.is_empty()) {
        (Some(query), false) => Some(without_parameters(query, removed)),
        _ => None,
    };
    if path.is_none() && query.is_none() {
        return Ok(None);
    }
    let path = match path {
        // `/v1` and `/v1/` are both the root below the prefix.
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        Some(rest) => format!("/{rest}"),
        None => uri.path().to_owned(),
    };
    let target = match query.as_deref().or(uri.query()) {
        Some(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path,
    };
    target.parse().map(Some).or_err(InternalError, "a rewritten path that is not one")
}

fn without_parameters(query: &str, names: &[Arc<str>]) -> String {
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or("").replace('+', " ");
        let name = percent_encoding::percent_decode_str(&name).decode_utf8_lossy();
        !names.iter().any(|removed| **removed == *name)
    });
    kept.collect::<Vec<_>>().join("&")
}

fn without_cookies(client: &HeaderMap, names: &[Arc<str>]) -> Option<HeaderValue> {
    let mut kept: Vec<u8> = Vec::new();
    for value in client.get_all(header::COOKIE) {
        for pair in value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or(pair).trim_ascii();
            if pair.is_empty() || names.iter().any(|removed| removed.as_bytes() == name) {
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair);
        }
    }
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_removed_by_their_decoded_name_only() {
        let names = [Arc::from("apikey"), Arc::from("a b")];
        for (query, left) in [
            ("apikey=1", ""),
            ("a=1&apikey=2&b=3", "a=1&b=3"),
            ("%61pikey=1&a=2", "a=2"),
            ("apikey", ""),
            ("apikeys=1&xapikey=2", "apikeys=1&xapikey=2"),
            ("a=apikey=1", "a=apikey=1"),
            ("a+b=1&a%20b=2&a%2Bb=3", "a%2Bb=3"),
        ] {
            assert_eq!(without_parameters(query, &names), left, "{query}");
        }
    }
}
