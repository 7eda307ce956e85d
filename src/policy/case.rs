//! Files of policy tests, read: every request is made, every name is known.

mod fields;

use super::{
    host::Dependency,
    judge::{Expect, Told},
    request::{Parts, Request},
    written::{
        RawCase, RawDependency, RawExpect, RawFile, RawOrigin, RawPrincipal, RawRequest, RawStep, RawStore,
        RawTold,
    },
};
use crate::{
    conf::{LoadError, model::Config},
    gateway::NO_ROUTE,
    proxy::Origin,
    server::environment,
};
use http::{HeaderValue, Method, StatusCode, header};
use palisade_contract::{
    ConfigError, ConfigErrors, Node, Place, Principal, Value,
    conf::{At, HumanDuration, Parsed, Sources, parse_all, suggest},
};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Where nothing says when a case begins.
const CLOCK: &str = "2026-01-01T00:00:00Z";
/// How often a request may be sent in one step.
const MOST: u32 = 100_000;

/// A file of policy tests.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) down: Vec<String>,
    pub(super) cases: Vec<Case>,
}

/// A case.
pub(super) struct Case {
    pub(super) name: At<String>,
    pub(super) started: SystemTime,
    pub(super) steps: Vec<Step>,
}

/// A request, and what must come of it.
pub(super) struct Step {
    pub(super) place: Place,
    pub(super) wait: Duration,
    pub(super) repeat: u32,
    pub(super) request: Request,
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) origin: Origin,
    pub(super) expect: Expect,
}

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(path: &Path, config: &Config) -> Result<File, LoadError> {
    let mut sources = Sources::default();
    let fail = |errors: Vec<ConfigError>, sources: Sources| LoadError {
        errors: ConfigErrors(errors).without_secrets(&sources),
        sources: Arc::new(sources),
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let error = ConfigError::new(format!("cannot be read: {error}")).place(Place::of_file(path));
            return Err(fail(vec![error], sources));
        }
    };
    let Parsed { root, mut errors, .. } = parse_all(path, &text, &environment);
    sources.add(path, text);
    let Some(root) = root.filter(|_| errors.is_empty()) else { return Err(fail(errors, sources)) };
    sources.add_secrets(&root);
    let (raw, found) = root.read::<RawFile>();
    errors.extend(found.0);
    let mut reading = Reading { config, path, errors };
    let file = raw.map(|raw| reading.file(&root, raw));
    match file {
        Some(file) if reading.errors.is_empty() => Ok(file),
        _ => Err(fail(reading.errors, sources)),
    }
}

struct Reading<'a> {
    config: &'a Config,
    path: &'a Path,
    errors: Vec<ConfigError>,
}

impl Reading<'_> {
    fn file(&mut self, root: &Node, raw: RawFile) -> File {
        let clock = self.clock(raw.clock.as_ref(), None);
        for name in raw.stores.keys() {
            self.known(root.find(&format!("stores.{name}")), "store", name, self.config.stores.keys());
        }
        let down = raw.stores.into_iter().filter(|(_, store)| *store == RawStore::Down);
        let cases = root.get("cases").map_or(&[][..], |cases| match &cases.value {
            Value::List(items) => items,
            _ => &[],
        });
        File {
            path: self.path.to_owned(),
            dependencies: raw.http.into_iter().filter_map(|one| self.dependency(one)).collect(),
            down: down.map(|(name, _)| name).collect(),
            cases: raw
                .cases
                .into_iter()
                .zip(cases)
                .map(|(case, node)| self.case(node, case, clock))
                .collect(),
        }
    }

    fn wrong(&mut self, (path, place): (&str, &Place), message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(ConfigError::at(path, message).help(help).place(place.clone()));
    }

    fn known<'n>(
        &mut self,
        node: &Node,
        what: &str,
        name: &str,
        names: impl Iterator<Item = &'n Arc<str>> + Clone,
    ) {
        if !names.clone().any(|known| **known == *name) {
            let help = suggest(name, names.map(|known| &**known), "known here:");
            self.wrong((&node.path, &node.place), format!("there is no {what} `{name}`"), help);
        }
    }

    fn clock(&mut self, written: Option<&At<String>>, outer: Option<SystemTime>) -> SystemTime {
        let read = |text: &str| text.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
        let default = || outer.or_else(|| read(CLOCK)).unwrap_or(SystemTime::UNIX_EPOCH);
        let Some(at) = written else { return default() };
        read(&at.value).unwrap_or_else(|| {
            let help = format!("write it as `{CLOCK}`");
            self.wrong((&at.path, &at.place), format!("`{}` is not a time", at.value), help);
            default()
        })
    }

    fn case(&mut self, node: &Node, raw: RawCase, clock: SystemTime) -> Case {
        let started = self.clock(raw.clock.as_ref(), Some(clock));
        let RawCase { name, steps, repeat, request, principal, origin, expect, .. } = raw;
        let at = (&*node.path, &node.place);
        let single = request.is_some() || expect.is_some() || principal.is_some() || origin.is_some();
        let steps = match (steps, request, expect) {
            (Some(steps), ..) if !single && repeat.is_none() => steps,
            (Some(_), ..) => {
                self.wrong(at, "a case with `steps` has nothing beside them", "move it into the first step");
                Vec::new()
            }
            (None, Some(request), Some(expect)) => {
                let step = RawStep { wait: None, repeat, request, principal, origin, expect };
                vec![At { value: step, place: node.place.clone(), path: node.path.clone() }]
            }
            // One of them may be there under another name, which is said.
            (None, ..) if self.errors.iter().any(|error| error.path == node.path) => Vec::new(),
            (None, ..) => {
                self.wrong(at, "a case needs `request` and `expect`", "write them, or several in `steps`");
                Vec::new()
            }
        };
        Case { name, started, steps: steps.into_iter().filter_map(|step| self.step(step)).collect() }
    }

    fn step(&mut self, At { value: raw, place, path }: At<RawStep>) -> Option<Step> {
        let repeat = raw.repeat.unwrap_or(1);
        if !(1..=MOST).contains(&repeat) {
            let help = format!("write a number from 1 to {MOST}");
            self.wrong((&path, &place), format!("`repeat: {repeat}` cannot be"), help);
        }
        let origin = self.origin(raw.origin.unwrap_or_default());
        Some(Step {
            wait: raw.wait.map_or(Duration::ZERO, |HumanDuration(time)| time),
            repeat,
            principal: raw.principal.and_then(|written| self.principal(&written)),
            expect: self.expect(&raw.expect)?,
            request: self.request(&raw.request)?,
            origin: origin?,
            place,
        })
    }

    fn request(&mut self, node: &Node) -> Option<Request> {
        let raw = match &node.value {
            Value::Scalar { text, .. } => {
                let Some((method, url)) = text.split_once(' ') else {
                    let help = "write `GET /path`";
                    self.wrong(
                        (&node.path, &node.place),
                        format!("`{text}` is not a method and an address"),
                        help,
                    );
                    return None;
                };
                let (method, url) = (Some(method.to_owned()), url.trim().to_owned());
                RawRequest { method, url, ..RawRequest::default() }
            }
            _ => self.parts::<RawRequest>(node)?,
        };
        let headers = self.fields(&raw.headers);
        let body = self.body((raw.body, raw.json.as_ref(), raw.file), node)?;
        let parts = Parts {
            method: raw.method,
            url: raw.url,
            headers,
            json: raw.json.is_some(),
            body,
            client_ip: raw.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            listener: raw.listener.map(|listener| listener.value),
        };
        match Request::make(parts, self.config) {
            Ok(request) => Some(request),
            Err((field, message, help)) => {
                let at = node.find(field);
                self.wrong((&at.path, &at.place), message, help);
                None
            }
        }
    }

    fn origin(&mut self, raw: RawOrigin) -> Option<Origin> {
        let mut headers = self.headers(&raw.headers);
        if raw.json.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let whole =
            Node { value: Value::NOTHING, place: Place::of_file(self.path), path: "origin".to_owned() };
        let body = self.body((raw.body, raw.json.as_ref(), raw.file), &whole)?;
        let status = raw.status.unwrap_or(200);
        Some(Origin { status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK), headers, body })
    }

    fn dependency(&mut self, At { value: raw, place, path }: At<RawDependency>) -> Option<Dependency> {
        let whole = Node { value: Value::NOTHING, place, path };
        let fields = raw.headers.into_iter();
        let text = |value| Value::Scalar { text: value, plain: false, secret: false };
        let fields = fields.map(|(name, value)| (name, Node { value: text(value), ..whole.clone() }));
        Some(Dependency {
            url: raw.url,
            method: raw.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()),
            containing: raw.containing,
            status: StatusCode::from_u16(raw.status.unwrap_or(200)).unwrap_or(StatusCode::OK),
            headers: self.headers(&fields.collect()),
            body: self.body((raw.body, raw.json.as_ref(), raw.file), &whole)?,
        })
    }

    fn principal(&mut self, at: &At<RawPrincipal>) -> Option<Arc<Principal>> {
        let raw = &at.value;
        let mut consumer = None;
        if let Some(name) = &raw.consumer {
            let consumers = &self.config.consumers;
            let Some(found) = consumers.get(name.as_str()) else {
                let help = suggest(name, consumers.keys().map(|name| &**name), "the consumers are");
                self.wrong((&at.path, &at.place), format!("there is no consumer `{name}`"), help);
                return None;
            };
            consumer = Some(found.consumer.clone());
        }
        let claim = |name| raw.claims.get(name).and_then(serde_json::Value::as_str);
        let subject = || Some(format!("{}|{}", claim("iss")?, claim("sub")?));
        let id = raw.id.clone().or_else(|| raw.consumer.clone()).or_else(subject);
        let Some(id) = id else {
            let help = "write `consumer`, `id`, or the claims `iss` and `sub`";
            self.wrong((&at.path, &at.place), "nothing says who this is", help);
            return None;
        };
        Some(Arc::new(Principal {
            id: id.into(),
            consumer,
            credential: raw.credential.as_deref().map(Arc::from),
            claims: Arc::new(raw.claims.clone()),
            anonymous: false,
        }))
    }

    fn expect(&mut self, node: &Node) -> Option<Expect> {
        let raw = match &node.value {
            Value::Scalar { text, .. } => {
                let Ok(status) = text.parse() else {
                    let help = "write the status: `expect: 200`";
                    self.wrong((&node.path, &node.place), format!("`{text}` is not a status"), help);
                    return None;
                };
                RawExpect { status, ..RawExpect::default() }
            }
            _ => self.parts::<RawExpect>(node)?,
        };
        let config = self.config;
        if let Some(name) = &raw.route
            && name != NO_ROUTE
        {
            self.known(node.find("route"), "route", name, config.routes.keys());
        }
        let routes = config.routes.values().map(|route| &route.value.plugins);
        let consumers = config.consumers.values().map(|consumer| &consumer.plugins);
        let all = routes.chain(consumers).chain([&config.plugins]).flat_map(BTreeMap::keys);
        let ended = raw.plugin.iter().filter(|name| !matches!(name.as_str(), "palisade" | "none"));
        for name in ended.chain(raw.would_deny.iter().flatten()) {
            let field = if raw.plugin.as_ref() == Some(name) { "plugin" } else { "would_deny" };
            self.known(node.find(field), "entry", name, all.clone());
        }
        let told = match &raw.origin {
            None => None,
            Some(origin) if origin.text() == Some("none") => Some(None),
            Some(origin) => Some(Some(self.told(origin)?)),
        };
        Some(Expect {
            status: raw.status,
            plugin: raw.plugin,
            reason: raw.reason,
            route: raw.route,
            principal: raw.principal,
            would_deny: raw.would_deny,
            headers: raw.headers,
            body: raw.body,
            json: raw.json,
            body_without: raw.body_without,
            origin: told,
        })
    }

    fn told(&mut self, node: &Node) -> Option<Told> {
        let raw = self.parts::<RawTold>(node)?;
        if let Some(name) = &raw.upstream
            && !(self.config.demo && name == "demo")
        {
            self.known(node.find("upstream"), "upstream", name, self.config.upstreams.keys());
        }
        let RawTold { upstream, method, path, headers, body, json } = raw;
        Some(Told { upstream, method, path, headers, body, json })
    }
}
