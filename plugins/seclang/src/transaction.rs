//! One request and its response, as they are evaluated.

use crate::{
    body,
    bytes::Span,
    config::OverLimit,
    engine::{
        Run, Store,
        outcome::{Intervention, MatchedRule, Scores, Verdict},
        state::State,
    },
    rule::{Engine, Processor},
    ruleset::RuleSet,
    transform::{self, Buffers},
    variable::{List, Origin, Variable},
};
use std::{net::IpAddr, sync::Arc};

/// Buffers that one transaction after the other uses.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) store: Store,
    pub(crate) state: State,
    pub(crate) buffers: Buffers,
    pub(crate) scan: crate::plan::Scan,
}

/// One request and its response.
///
/// It is fed in this order: [`connection`](Self::connection), [`request_line`](Self::request_line),
/// [`header`](Self::header) for each field, [`request_headers`](Self::request_headers), [`body_chunk`](Self::body_chunk),
/// [`request_body`](Self::request_body), the same of the response, and [`logging`](Self::logging) at the end. The methods
/// that evaluate a phase say whether a rule wants to stop the transaction; the host stops it.
///
/// ```
/// let rules = seclang::RuleSet::builder()
///     .text("mine.conf", r#"SecRule ARGS:q "@detectSQLi" "id:1,phase:2,deny,status:406,msg:'SQL'""#)
///     .build()
///     .unwrap();
/// let mut transaction = rules.transaction();
/// transaction.request_line(b"GET", b"/?q=1'+or+'1'='1", b"HTTP/1.1");
/// transaction.header(b"Host", b"localhost");
/// assert!(transaction.request_headers().is_none());
/// let intervention = transaction.request_body().unwrap();
/// assert_eq!((intervention.rule, intervention.status), (1, 406));
/// assert_eq!(transaction.matched()[0].variables[0].name, "ARGS:q");
/// ```
#[derive(Debug)]
pub struct Transaction {
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) work: Box<Work>,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.rules.give_back(std::mem::take(&mut self.work));
    }
}

impl Transaction {
    pub(crate) fn new(rules: Arc<RuleSet>, mut work: Box<Work>) -> Self {
        work.store.reset();
        work.state.reset(&rules.config, rules.names.len(), rules.chains.len());
        let store = &mut work.store;
        store.set_copied(Variable::WebappId, rules.config.web_app_id.as_bytes());
        store.set_copied(Variable::ModsecBuild, b"0");
        for slot in [Variable::ReqbodyError, Variable::ReqbodyProcessorError, Variable::InboundDataError] {
            store.set_copied(slot, b"0");
        }
        Self { rules, work }
    }

    /// The addresses and ports of the client and of this end.
    pub fn connection(&mut self, client: (IpAddr, u16), server: (IpAddr, u16)) {
        let store = &mut self.work.store;
        for (address, variables) in [
            (client, [Variable::RemoteAddr, Variable::RemotePort]),
            (server, [Variable::ServerAddr, Variable::ServerPort]),
        ] {
            let text = address.0.to_string();
            store.set_copied(variables[0], text.as_bytes());
            store.set_number(variables[1], usize::from(address.1));
            if variables[0] == Variable::RemoteAddr {
                store.set_copied(Variable::RemoteHost, text.as_bytes());
            }
        }
    }

    /// A name for the transaction, for `UNIQUE_ID`.
    pub fn unique_id(&mut self, id: &[u8]) {
        self.work.store.set_copied(Variable::UniqueId, id);
    }

    /// The authenticated user, for `REMOTE_USER`.
    pub fn remote_user(&mut self, user: &[u8]) {
        self.work.store.set_copied(Variable::RemoteUser, user);
    }

    /// The request line: method, target and protocol such as `HTTP/1.1`.
    pub fn request_line(&mut self, method: &[u8], uri: &[u8], protocol: &[u8]) {
        let limit = self.rules.config.arguments_limit;
        let separator = self.rules.config.argument_separator;
        let store = &mut self.work.store;
        let line = store.keep(method);
        store.set(Variable::RequestMethod, line);
        store.keep(b" ");
        let raw = store.keep(uri);
        store.set(Variable::RequestUriRaw, raw);
        store.keep(b" ");
        let version = store.keep(protocol);
        store.set(Variable::RequestProtocol, version);
        store.set(Variable::RequestLine, Span { from: line.from, to: version.to });
        let uri = crate::bytes::cut(uri, 0, memchr::memchr(b'#', uri).unwrap_or(uri.len()));
        let decoded = store.keep_with(|out| transform::decode_path(uri, out));
        let text = store.text(decoded);
        let path_end = memchr::memchr(b'?', text).unwrap_or(text.len());
        let base = text.get(..path_end).and_then(|path| memchr::memrchr2(b'/', b'\\', path));
        let start = path_start(text);
        let at = |offset: usize| decoded.from + u32::try_from(offset).unwrap_or(0);
        let path = Span { from: decoded.from, to: at(path_end) };
        store.set(Variable::RequestUri, Span { from: at(start), to: decoded.to });
        store.set(Variable::RequestFilename, path);
        store.set(Variable::PathInfo, path);
        if let Some(base) = base.filter(|base| base + 1 < path_end) {
            store.set(Variable::RequestBasename, Span { from: at(base + 1), to: path.to });
        }
        if let Some(mark) = memchr::memchr(b'?', uri) {
            let query = crate::bytes::tail(uri, mark + 1);
            store.set_copied(Variable::QueryString, query);
            if !query.is_empty() {
                body::urlencoded(store, query, Origin::Query, separator, limit);
            }
        }
    }

    /// A field of the request's header.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        let Work { store, state, .. } = &mut *self.work;
        let name_at = store.keep(name);
        let value_at = store.keep(value);
        store.add(List::Headers, name_at, value_at, Origin::Any);
        if name.eq_ignore_ascii_case(b"cookie") {
            body::cookies(store, value_at);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let lower = value.to_ascii_lowercase();
            let processor = if lower.starts_with(b"multipart/form-data") {
                Some(Processor::Multipart)
            } else if lower.starts_with(b"application/x-www-form-urlencoded") {
                Some(Processor::Urlencoded)
            } else {
                None
            };
            state.processor = processor.or(state.processor);
        } else if name.eq_ignore_ascii_case(b"host") {
            let host = value.split(|byte| *byte == b':').next().unwrap_or_default();
            store.set_copied(Variable::ServerName, host);
        } else if name.eq_ignore_ascii_case(b"authorization") {
            let kind = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            store.set_copied(Variable::AuthType, kind);
        }
    }

    /// Phase 1, once the line and all fields are given.
    pub fn request_headers(&mut self) -> Option<&Intervention> {
        let args: usize = self.combined_size();
        self.work.store.set_number(Variable::ArgsCombinedSize, args);
        self.run(1);
        self.intervention()
    }

    /// Whether the body is wanted.
    #[must_use]
    pub fn wants_request_body(&self) -> bool {
        self.work.state.request_body_access && self.work.state.engine != Engine::Off
    }

    /// How the body is read, where the host knows better than the request's type says; before
    /// [`request_body`](Self::request_body).
    pub fn set_processor(&mut self, processor: Processor) {
        self.work.state.processor = Some(processor);
    }

    /// How the body will be read: what the request's type or a rule said.
    #[must_use]
    pub fn processor(&self) -> Option<Processor> {
        self.work.state.processor
    }

    /// An argument of the body that the host has found in a form of its own; `ARGS_POST` and `ARGS` have it.
    pub fn body_argument(&mut self, name: &[u8], value: &[u8]) {
        let store = &mut self.work.store;
        let (name, value) = (store.keep(name), store.keep(value));
        store.add(List::Args, name, value, Origin::Form);
    }

    /// The body that was given is the beginning of one: `INBOUND_DATA_ERROR` says so.
    pub fn body_is_cut(&mut self) {
        self.work.store.set_copied(Variable::InboundDataError, b"1");
    }

    /// A piece of the request's body. What is over the limit leads to an intervention with status 413, or is left out
    /// where the rules say `ProcessPartial`.
    pub fn body_chunk(&mut self, chunk: &[u8]) -> Option<&Intervention> {
        if self.wants_request_body() {
            let Work { store, state, .. } = &mut *self.work;
            let free = state.request_body_limit.saturating_sub(store.body.len());
            let limited = state.request_body_limit > 0 && chunk.len() > free;
            store.body.extend_from_slice(if limited { crate::bytes::cut(chunk, 0, free) } else { chunk });
            if limited {
                store.set_copied(Variable::InboundDataError, b"1");
                let reject = self.rules.config.request_body_limit_action == OverLimit::Reject;
                if reject && state.engine == Engine::On && state.intervention.is_none() {
                    state.intervention = Some(Intervention {
                        verdict: Verdict::Deny,
                        status: 413,
                        rule: 0,
                        phase: 2,
                        message: "the request's body is over its limit".into(),
                    });
                }
            }
        }
        self.intervention()
    }

    /// Phase 2, once the body is given.
    pub fn request_body(&mut self) -> Option<&Intervention> {
        if self.work.state.engine != Engine::Off && self.work.state.intervention.is_none() {
            let rules = self.rules.clone();
            let Work { store, state, .. } = &mut *self.work;
            if state.request_body_access {
                body::process(store, state, &rules.config);
            }
            let args = self.combined_size();
            let uses_whole = rules.uses(Variable::FullRequest) || rules.uses(Variable::FullRequestLength);
            let store = &mut self.work.store;
            store.set_number(Variable::ArgsCombinedSize, args);
            if uses_whole {
                body::full_request(store);
            }
            if self.work.state.request_body_access {
                self.run(2);
            }
        }
        self.intervention()
    }

    /// The response's status and protocol.
    pub fn response_line(&mut self, status: u16, protocol: &[u8]) {
        let store = &mut self.work.store;
        store.set_number(Variable::ResponseStatus, usize::from(status));
        store.set_copied(Variable::ResponseProtocol, protocol);
        let mut line = protocol.to_vec();
        line.push(b' ');
        line.extend_from_slice(status.to_string().as_bytes());
        store.set_copied(Variable::StatusLine, &line);
    }

    /// A field of the response's header.
    pub fn response_header(&mut self, name: &[u8], value: &[u8]) {
        let store = &mut self.work.store;
        store.add_copied(List::ResponseHeaders, name, value);
        if name.eq_ignore_ascii_case(b"content-type") {
            let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
            store.set_copied(Variable::ResponseContentType, crate::bytes::trim(kind));
        } else if name.eq_ignore_ascii_case(b"content-length") {
            store.set_copied(Variable::ResponseContentLength, value);
        }
    }

    /// Phase 3, once the response's header is given.
    pub fn response_headers(&mut self) -> Option<&Intervention> {
        self.run(3);
        self.intervention()
    }

    /// Whether the response's body is wanted: it is to be inspected, and of a type that is.
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        let Work { store, state, .. } = &*self.work;
        let types = &self.rules.config.response_body_types;
        let kind = store.slot(Variable::ResponseContentType).unwrap_or_default();
        state.response_body_access
            && state.engine != Engine::Off
            && (types.is_empty() || types.iter().any(|known| kind.eq_ignore_ascii_case(known.as_bytes())))
    }

    /// A piece of the response's body; what is over the limit is left out or leads to an intervention.
    pub fn response_chunk(&mut self, chunk: &[u8]) -> Option<&Intervention> {
        if self.wants_response_body() {
            let Work { store, state, .. } = &mut *self.work;
            store.response_seen = true;
            let free = state.response_body_limit.saturating_sub(store.response.len());
            let limited = state.response_body_limit > 0 && chunk.len() > free;
            store.response.extend_from_slice(if limited { crate::bytes::cut(chunk, 0, free) } else { chunk });
            if limited {
                store.set_copied(Variable::OutboundDataError, b"1");
                let reject = self.rules.config.response_body_limit_action == OverLimit::Reject;
                if reject && state.engine == Engine::On && state.intervention.is_none() {
                    state.intervention = Some(Intervention {
                        verdict: Verdict::Deny,
                        status: 502,
                        rule: 0,
                        phase: 4,
                        message: "the response's body is over its limit".into(),
                    });
                }
            }
        }
        self.intervention()
    }

    /// Phase 4, once the response's body is given, or where none is inspected.
    pub fn response_body(&mut self) -> Option<&Intervention> {
        self.run(4);
        self.intervention()
    }

    /// Phase 5, which decides nothing and always runs.
    pub fn logging(&mut self) {
        self.run(5);
    }

    /// The decision to stop the transaction, where there is one.
    #[must_use]
    pub fn intervention(&self) -> Option<&Intervention> {
        self.work.state.intervention.as_ref()
    }

    /// The rules that matched and are logged, in order; the first two hundred.
    #[must_use]
    pub fn matched(&self) -> &[MatchedRule] {
        &self.work.state.rules
    }

    /// The anomaly scores.
    #[must_use]
    pub fn scores(&self) -> Scores {
        let first = |names: &[&[u8]]| names.iter().find_map(|name| self.tx_number(name)).unwrap_or(0);
        Scores {
            inbound: first(&[b"blocking_inbound_anomaly_score", b"anomaly_score"]),
            outbound: first(&[b"blocking_outbound_anomaly_score", b"outbound_anomaly_score"]),
            detection_inbound: first(&[b"detection_inbound_anomaly_score"]),
            detection_outbound: first(&[b"detection_outbound_anomaly_score"]),
        }
    }

    /// The number under a name in `TX`, where rules use that name and set it.
    #[must_use]
    pub fn tx_number(&self, name: &[u8]) -> Option<i64> {
        let number = self.rules.names.number(&name.to_ascii_lowercase())?;
        self.work.state.tx.get(number).map(|cell| cell.number())
    }

    /// All of `TX`, for comparisons in tests.
    #[doc(hidden)]
    #[must_use]
    pub fn tx(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = self.work.state.tx.all(&self.rules.names);
        let mut values: Vec<_> = all
            .map(|(name, cell)| {
                let mut value = Vec::new();
                cell.write(&mut value);
                (name.to_vec(), value)
            })
            .collect();
        values.sort();
        values
    }

    fn combined_size(&self) -> usize {
        self.work.store.list(List::Args).iter().map(|entry| entry.name.len() + entry.value.len()).sum()
    }

    fn run(&mut self, phase: u8) {
        let Work { store, state, buffers, scan } = &mut *self.work;
        if state.engine == Engine::Off || (state.intervention.is_some() && phase < 5) {
            return;
        }
        let mut run = Run { rules: &self.rules, store, state, buffers };
        match &self.rules.plan {
            Some(plan) => plan.run(&mut run, scan, phase),
            None => run.phase(phase),
        }
    }
}

/// Where the path begins in a target that may be in absolute form.
fn path_start(text: &[u8]) -> usize {
    if text.first() == Some(&b'/') {
        return 0;
    }
    let Some(colon) = memchr::memchr(b':', text) else { return 0 };
    if !crate::bytes::tail(text, colon + 1).starts_with(b"//") {
        return 0;
    }
    memchr::memchr(b'/', crate::bytes::tail(text, colon + 3)).map_or(0, |slash| colon + 3 + slash)
}
