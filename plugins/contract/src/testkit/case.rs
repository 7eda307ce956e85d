//! One request of a table.

use crate::{Client, Consumer, Exchange, Principal};
use bytes::Bytes;
use pingora_http::{RequestHeader, ResponseHeader};
use std::{net::IpAddr, sync::Arc, time::SystemTime};

/// A request, and what the origin answers to it.
pub struct Case {
    request: RequestHeader,
    client: Client,
    host: String,
    principal: Option<Arc<Principal>>,
    attached: Vec<Arc<Principal>>,
    started: Option<SystemTime>,
    path_params: Vec<(Arc<str>, String)>,
    pub(super) body: Option<Vec<Bytes>>,
    pub(super) response: ResponseHeader,
    pub(super) response_body: Vec<Bytes>,
}

#[allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a test kit")]
impl Case {
    /// A request without a body, from 192.0.2.1, over plain text; the origin answers 200.
    pub fn new(method: &str, target: &str) -> Self {
        let client = Client {
            ip: IpAddr::from([192, 0, 2, 1]),
            peer: ([192, 0, 2, 1], 40_000).into(),
            https: false,
            behind_proxy: false,
            proxies: Vec::new(),
            listener: "public".into(),
            port: 8080,
            tls: None,
        };
        Case {
            request: RequestHeader::build(method, target.as_bytes(), None).expect("a request"),
            client,
            host: "example.com".to_owned(),
            principal: None,
            attached: Vec::new(),
            started: None,
            path_params: Vec::new(),
            body: None,
            response: ResponseHeader::build(200, None).expect("a response"),
            response_body: vec![Bytes::new()],
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Case::new("GET", target)
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request.append_header(name.to_owned(), value).expect("a header");
        self
    }

    /// What a `{name}` of the route's path stands for.
    #[must_use]
    pub fn path_param(mut self, name: &str, value: &str) -> Self {
        self.path_params.push((name.into(), value.to_owned()));
        self
    }

    /// The client's address.
    #[must_use]
    pub fn from(mut self, ip: &str) -> Self {
        self.client.ip = ip.parse().expect("an address");
        self
    }

    /// When the request came.
    #[must_use]
    pub fn started(mut self, time: SystemTime) -> Self {
        self.started = Some(time);
        self
    }

    /// Changes what is known of the client.
    #[must_use]
    pub fn client(mut self, change: impl FnOnce(&mut Client)) -> Self {
        change(&mut self.client);
        self
    }

    /// The host that the request is for.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Who was proved to be calling.
    #[must_use]
    pub fn principal(mut self, consumer: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| Arc::from(*group)).collect();
        let consumer = Arc::new(Consumer { name: consumer.into(), groups });
        self.principal = Some(Arc::new(Principal::of_consumer(consumer, None)));
        self
    }

    /// What the caller's credential says about it; needs a principal.
    #[must_use]
    pub fn claims(mut self, claims: serde_json::Value) -> Self {
        let principal = self.principal.as_mut().map(Arc::make_mut).expect("a principal first");
        principal.claims = Arc::new(serde_json::from_value(claims).expect("an object"));
        self
    }

    /// Takes the consumer from the principal: it is nobody whom the configuration names.
    #[must_use]
    pub fn unmapped(mut self) -> Self {
        self.principal.as_mut().map(Arc::make_mut).expect("a principal first").consumer = None;
        self
    }

    /// What the caller has proved so far attaches to the principal that follows, as on a route that asks for
    /// several credentials.
    #[must_use]
    pub fn besides(mut self) -> Self {
        self.attached.extend(self.principal.take());
        self
    }

    /// The exchange as it is before any hook.
    pub fn exchange(self) -> Exchange {
        let id = "00000000000000000000000000000001".into();
        let mut ex = Exchange::new(self.request, Arc::new(self.client), id);
        let host = ex.host_side();
        host.authority = self.host.into();
        host.principal = self.principal;
        host.attached = self.attached;
        host.path_params = self.path_params;
        host.started = self.started.unwrap_or(host.started);
        ex
    }

    /// The request's body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(vec![body.into()]);
        self
    }

    /// The request's body in pieces as they come, for a plugin that wants [`BodyNeed::Stream`]; others get them as one.
    /// Over a connection the last piece is often empty.
    #[must_use]
    pub fn body_pieces(mut self, pieces: &[&str]) -> Self {
        self.body = Some(pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect());
        self
    }

    /// A header field of the origin's answer.
    #[must_use]
    pub fn response_header(mut self, name: &str, value: &str) -> Self {
        self.response.append_header(name.to_owned(), value).expect("a header");
        self
    }

    /// The status of the origin's answer.
    #[must_use]
    pub fn response_status(mut self, status: u16) -> Self {
        self.response.set_status(status).expect("a status");
        self
    }

    /// The body of the origin's answer.
    #[must_use]
    pub fn response_body(mut self, body: impl Into<Bytes>) -> Self {
        self.response_body = vec![body.into()];
        self
    }

    /// The body of the origin's answer, in pieces as [`Case::body_pieces`] are.
    #[must_use]
    pub fn response_pieces(mut self, pieces: &[&str]) -> Self {
        self.response_body = pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect();
        self
    }
}
