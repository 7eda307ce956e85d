//! The way of one request, step by step.

mod text;

use super::{
    near::{self, Near},
    request::{Parts, Request},
    world::World,
};
use crate::{
    conf::model::Config,
    proxy::{Attempt, Origin, Tried},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use palisade_contract::{Built, CredentialPlace, Decision, Descriptor, Principal};
use serde::Serialize;
use std::{net::IpAddr, sync::Arc, time::SystemTime};
use tokio::runtime::Builder;

/// A request that somebody asks about.
#[derive(Debug)]
pub struct Question {
    /// By default GET, and POST where there is a body.
    pub method: Option<String>,
    /// A path, or a whole address.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Who connects.
    pub client_ip: IpAddr,
    /// The listener.
    pub listener: Option<String>,
    /// A consumer who is presumed to call.
    pub consumer: Option<String>,
}

/// The way of a request.
#[derive(Debug, Serialize)]
pub struct Explained {
    request: String,
    listener: Listener,
    client: String,
    /// None where no reading of it is the only one.
    canonical: Option<Canonical>,
    route: RouteOf,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    decisions: Vec<Verdict>,
    /// None where the origin does not get it.
    upstream: Option<UpstreamOf>,
    /// What the client gets where the gateway answers.
    answer: Option<AnswerOf>,
}

#[derive(Debug, Serialize)]
struct Listener {
    name: String,
    address: String,
    tls: bool,
    /// The address asked for TLS or for none, and no listener speaks so.
    unlike: bool,
    place: String,
}

#[derive(Debug, Serialize)]
struct Canonical {
    method: String,
    host: String,
    target: String,
    /// The target is not as it was sent.
    changed: bool,
    /// What only the gateway writes, and what belongs to one hop: nobody sees it.
    dropped: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RouteOf {
    name: String,
    place: Option<String>,
    params: Vec<(String, String)>,
    not: Vec<Near>,
    others: usize,
}

#[derive(Debug, Serialize)]
struct Verdict {
    entry: String,
    stage: Option<&'static str>,
    effect: &'static str,
    reason: Option<&'static str>,
    detail: Option<String>,
    micros: f64,
    place: Option<String>,
}

#[derive(Debug, Serialize)]
struct UpstreamOf {
    name: String,
    targets: Vec<String>,
    method: String,
    target: String,
    headers: Vec<Field>,
    body_bytes: usize,
    body_replaced: bool,
}

#[derive(Debug, Serialize)]
struct Field {
    change: Change,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Kept,
    Added,
    Changed,
    Removed,
}

#[derive(Debug, Serialize)]
struct AnswerOf {
    status: u16,
    reason: Option<&'static str>,
    headers: Vec<(String, String)>,
    body: String,
}

/// Follows a request through a configuration that is good, without a network: dependencies and stores are as if nobody
/// listened there.
///
/// # Errors
/// What makes it no request that could be tried.
pub fn explain(question: Question, config: &Config, registry: &[Descriptor]) -> Result<Explained, String> {
    let principal = question.consumer.as_ref().map(|name| consumer(name, config)).transpose()?;
    let sent = question.body.clone();
    let parts = Parts {
        method: question.method,
        url: question.url,
        headers: question.headers,
        json: false,
        body: question.body,
        client_ip: question.client_ip,
        listener: question.listener,
    };
    let request =
        Request::make(parts, config).map_err(|(_, message, help)| format!("{message}\nhelp: {help}"))?;
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    let tried = runtime.block_on(async {
        let down: Vec<String> = config.stores.keys().map(|name| name.as_ref().to_owned()).collect();
        let mut world = World::new(config, registry, Vec::new(), &down);
        let snapshot = world.begin(SystemTime::now()).await.map_err(|error| error.to_string())?;
        let (started, begun) = world.now();
        let origin = Origin { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        let attempt = Attempt {
            head: request.head.clone(),
            body: request.body.clone(),
            connection: request.connection.clone(),
            started,
            begun,
            principal,
            origin,
        };
        attempt.run(&snapshot).await
    })?;
    Ok(Explained::of(&request, &sent, &tried, config))
}

fn consumer(name: &str, config: &Config) -> Result<Arc<Principal>, String> {
    let consumers = &config.consumers;
    match consumers.get(name) {
        Some(found) => Ok(Arc::new(Principal::of_consumer(found.consumer.clone(), None))),
        None => {
            let help = crate::conf::suggest(name, consumers.keys().map(|name| &**name), "the consumers are");
            Err(format!("there is no consumer `{name}`\nhelp: {help}"))
        }
    }
}

impl Explained {
    fn of(request: &Request, sent: &Bytes, tried: &Tried, config: &Config) -> Self {
        let ex = &tried.ex;
        let client = ex.client();
        let listener = config.listeners.get(&client.listener);
        let (not, others) = if tried.came.is_some() { near::near(config, ex) } else { (Vec::new(), 0) };
        let written = ex.route().and_then(|name| config.routes.get(name));
        let params = ex.path_params().iter().map(|(name, value)| (name.to_string(), value.clone()));
        Explained {
            request: request.shown.clone(),
            listener: Listener {
                name: client.listener.to_string(),
                address: listener.map(|at| at.value.address.value.to_string()).unwrap_or_default(),
                tls: client.tls.is_some(),
                unlike: request.https.is_some_and(|https| https != client.tls.is_some()),
                place: listener.map(|at| at.place.to_string()).unwrap_or_default(),
            },
            client: client.ip.to_string(),
            canonical: tried.came.as_ref().filter(|_| !ex.host().is_empty()).map(|came| Canonical {
                method: ex.method().to_string(),
                host: ex.host().to_owned(),
                target: ex.request.uri.to_string(),
                changed: ex.request.uri != came.uri,
                dropped: names(&came.headers).filter(|name| !ex.request.headers.contains_key(name)).collect(),
            }),
            route: RouteOf {
                name: tried.route.name.to_string(),
                place: written.map(|at| at.place.to_string()),
                params: params.collect(),
                not,
                others,
            },
            principal: ex.principal().map(|principal| principal.id.to_string()),
            decisions: ex.decisions().iter().map(|decision| Verdict::of(decision, tried)).collect(),
            upstream: UpstreamOf::of(tried, sent, config),
            answer: tried.reason.map(|reason| AnswerOf {
                status: tried.answer.status.as_u16(),
                reason: Some(reason),
                headers: pairs(&tried.answer.headers),
                body: String::from_utf8_lossy(&tried.body).into_owned(),
            }),
        }
    }
}

impl Verdict {
    fn of(decision: &Decision, tried: &Tried) -> Self {
        let entry = decision.entry.as_ref();
        let slots = tried.route.chain.slots();
        let slot = entry.and_then(|entry| slots.iter().find(|slot| slot.info.key == entry.key));
        Verdict {
            entry: entry.map_or("palisade", |entry| &entry.key).to_owned(),
            stage: slot.map(|slot| slot.stage.as_str()),
            effect: decision.effect.as_str(),
            reason: decision.reason,
            detail: decision.detail.as_ref().map(ToString::to_string),
            micros: f64::from(decision.nanos) / 1000.0,
            place: entry.map(|entry| entry.place.to_string()),
        }
    }
}

impl UpstreamOf {
    fn of(tried: &Tried, sent: &Bytes, config: &Config) -> Option<Self> {
        let (told, came) = (tried.told.as_ref()?, tried.came.as_ref()?);
        let name = tried.ex.upstream()?;
        let targets = config.upstreams.get(name).map(|at| &at.value.targets[..]).unwrap_or_default();
        let targets = targets.iter().map(|at| format!("{}:{}", at.value.host, at.value.port));
        let mut headers: Vec<Field> = names(&told.request.headers)
            .map(|name| {
                let (before, after) = (all(&came.headers, &name), all(&told.request.headers, &name));
                let change = match before {
                    None => Change::Added,
                    Some(before) if Some(&before) == after.as_ref() => Change::Kept,
                    Some(_) => Change::Changed,
                };
                let shown = if hidden(&name, tried) { None } else { after };
                Field { change, name, value: shown }
            })
            .collect();
        let gone = names(&came.headers).filter(|name| !told.request.headers.contains_key(name));
        headers.extend(gone.map(|name| Field { change: Change::Removed, name, value: None }));
        headers.sort_by(|a, b| (a.change, &a.name).cmp(&(b.change, &b.name)));
        Some(UpstreamOf {
            name: name.to_string(),
            targets: targets.collect(),
            method: told.request.method.to_string(),
            target: told.request.uri.to_string(),
            headers,
            body_bytes: told.body.len(),
            body_replaced: told.body != sent,
        })
    }
}

/// What is a credential is named and not shown: what is printed may be passed on.
fn hidden(name: &str, tried: &Tried) -> bool {
    let read = tried.route.chain.slots().iter().any(|slot| match &slot.built {
        Built::Authenticator(authenticator) => {
            let places = authenticator.credential_places();
            places.iter().any(|place| matches!(place, CredentialPlace::Header(header) if header == name))
        }
        Built::Plugin(_) => false,
    });
    read || [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION]
        .iter()
        .any(|secret| secret == name)
}

fn names(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.keys().map(ToString::to_string)
}

fn all(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!values.is_empty()).then(|| String::from_utf8_lossy(&values.join(&b", "[..])).into_owned())
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&http::HeaderName, &HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(pair).collect()
}
