//! Drives one plugin from a table of requests, without sockets.
//!
//! ```
//! use palisade_contract::{testkit::{Case, Kit}, *};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config { word: String }
//!
//! struct Refuse { word: String }
//!
//! impl Plugin for Refuse {
//!     fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
//!         match ex.header("x-word") {
//!             Some(value) if value.as_bytes() == self.word.as_bytes() => Denial::forbidden("word_refused").into(),
//!             _ => Step::CONTINUE,
//!         }
//!     }
//! }
//!
//! impl PluginKind for Refuse {
//!     const NAME: &'static str = "refuse";
//!     const SUMMARY: &'static str = "Refuses a word.";
//!     type Config = Config;
//!     fn stage(_: &Config) -> Stage { Stage::Authorize }
//!     fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
//!         Ok(Refuse { word: config.word })
//!     }
//! }
//!
//! let kit = Kit::of(Descriptor::of::<Refuse>());
//! let plugin = kit.build("word: no").unwrap();
//! plugin.run(Case::get("/").header("x-word", "no")).denied(403, "word_refused");
//! plugin.run(Case::get("/").header("x-word", "yes")).passed();
//! assert!(kit.build("wurd: no").unwrap_err().contains("did you mean `word`"));
//! ```

mod case;
mod host;

pub use case::Case;
pub use host::{Answer, TestHost};

use bytes::Bytes;
use http::HeaderMap;
use pingora_http::ResponseHeader;
use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

use crate::{
    Authentication, Body, BodyNeed, BuildEnv, Built, ConfigErrors, Consumer, ConsumerSource, CredentialPlace,
    CredentialPlaces, Denial, Descriptor, EntryInfo, Exchange, Fault, Hooks, Host, Lockouts, Mode, Outcome,
    Place, Plugin, Presented, Principal, Scope, Stage, Store, Stores, Tried, Verdict,
    conf::{Sources, parse},
    counters::Event,
    env::{CredentialEntry, Credentials, FilesRead, Keep},
};

/// Builds one plugin from YAML.
pub struct Kit {
    descriptor: Descriptor,
    consumers: HashMap<Arc<str>, Arc<Consumer>>,
    credentials: Credentials,
    state_dir: PathBuf,
    keep: Keep,
    host: Arc<dyn Host>,
    stores: Stores,
    source: Option<Arc<dyn ConsumerSource>>,
    credential_places: CredentialPlaces,
}

impl Kit {
    /// A kit for the plugin of a descriptor.
    pub fn of(descriptor: Descriptor) -> Self {
        Kit {
            descriptor,
            consumers: HashMap::new(),
            credentials: Credentials::new(),
            state_dir: PathBuf::from("."),
            keep: Keep::default(),
            host: Arc::new(TestHost::offline()),
            stores: Stores::default(),
            source: None,
            credential_places: CredentialPlaces::default(),
        }
    }

    /// Where authenticators look for credentials.
    #[must_use]
    pub fn credential_places(self, places: Vec<CredentialPlace>) -> Self {
        self.credential_places.complete(places);
        self
    }

    /// What the plugin has counted of an event.
    pub fn counted(&self, event: impl Into<Event>) -> u64 {
        self.keep.counters().get(&self.descriptor.name.into(), event).get()
    }

    /// What instances share under a name, as [`BuildEnv::share`] gives it.
    pub fn shared<T: Default + Any + Send + Sync>(&self, name: &str) -> Arc<T> {
        let share = |name: &str| self.keep.share::<T, ()>(name, || Ok(T::default()));
        share(&format!("{}/{name}", self.descriptor.name)).unwrap_or_default()
    }

    /// Takes over what the plugin carries along, as the process does that follows another at an upgrade.
    pub fn take_over_from(&self, predecessor: &Kit) {
        for (name, carried) in predecessor.keep.carried().all() {
            self.keep.carried().take_over(&name, &carried);
        }
    }

    /// What the plugin shows of whom it locks out.
    pub fn lockouts(&self) -> Vec<Arc<dyn Lockouts>> {
        self.keep.lockouts().into_iter().map(|of| of.lockouts).collect()
    }

    /// Where the plugin writes files.
    #[must_use]
    pub fn state_dir(mut self, dir: &Path) -> Self {
        dir.clone_into(&mut self.state_dir);
        self
    }

    /// What the plugin has outside of requests; without this there is no network.
    #[must_use]
    pub fn host(mut self, host: Arc<dyn Host>) -> Self {
        self.host = host;
        self
    }

    /// The one store that the configuration has.
    #[must_use]
    pub fn store(mut self, name: &str, store: Arc<dyn Store>) -> Self {
        self.stores = Stores::new(BTreeMap::from([(Arc::from(name), store)]), false);
        self
    }

    /// Consumers outside of the configuration.
    #[must_use]
    pub fn source(mut self, source: Arc<dyn ConsumerSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// A consumer, with credentials for this plugin: YAML of one credential each.
    ///
    /// # Panics
    /// When a credential is refused.
    #[must_use]
    #[allow(clippy::panic, reason = "a test kit")]
    pub fn consumer(mut self, name: &str, groups: &[&str], credentials: &[&str]) -> Self {
        let groups = groups.iter().map(|group| Arc::from(*group)).collect();
        let consumer = Arc::new(Consumer { name: name.into(), groups });
        for yaml in credentials {
            let node = node(yaml).unwrap_or_else(|error| panic!("{error}"));
            let value = match self.descriptor.credential(&node) {
                Some(Ok(value)) => value,
                Some(Err(errors)) => panic!("{}", rendered(&errors, yaml)),
                None => panic!("{} has no credentials", self.descriptor.name),
            };
            let place = Place {
                line: u32::try_from(self.credentials.values().flatten().count() + 1).unwrap_or(1),
                ..node.place.clone()
            };
            let entry = CredentialEntry { consumer: consumer.clone(), value, place };
            self.credentials.entry(self.descriptor.name).or_default().push(entry);
        }
        self.consumers.insert(name.into(), consumer);
        self
    }

    /// What is wrong with a credential; `Ok` where nothing is.
    pub fn check_credential(&self, yaml: &str) -> Result<(), String> {
        let node = node(yaml)?;
        match self.descriptor.credential(&node) {
            Some(Err(errors)) => Err(rendered(&errors, yaml)),
            Some(Ok(_)) => Ok(()),
            None => Err("the plugin has no credentials".to_owned()),
        }
    }

    /// Builds the plugin from its own fields; an error is rendered as an operator would see it.
    pub fn build(&self, yaml: &str) -> Result<Instance, String> {
        self.build_as(yaml, Mode::Enforce)
    }

    /// Builds it as an entry with a `mode`.
    pub fn build_as(&self, yaml: &str, mode: Mode) -> Result<Instance, String> {
        let node = node(yaml)?;
        let name = self.descriptor.name;
        let info = EntryInfo::new(name, name, Scope::Route, node.place.clone(), mode);
        let groups = self.consumers.values().flat_map(|consumer| consumer.groups.clone()).collect();
        let env = BuildEnv {
            entry: &info,
            route: Some("test"),
            consumers: &self.consumers,
            // A kit without consumers says nothing about groups.
            groups: (!self.consumers.is_empty()).then_some(&groups),
            all_credentials: &self.credentials,
            source: self.source.as_ref(),
            state_dir: &self.state_dir,
            keep: &self.keep,
            host: &self.host,
            stores: &self.stores,
            credential_places: &self.credential_places,
            files: &FilesRead::default(),
            dry_run: false,
            trial: false,
        };
        let (stage, built) = self.descriptor.build(&node, &env).map_err(|errors| rendered(&errors, yaml))?;
        Ok(Instance { built, stage, info: Arc::new(info) })
    }
}

fn node(yaml: &str) -> Result<crate::Node, String> {
    parse(Path::new("test.yaml"), yaml, &|_| None).map_err(|errors| rendered(&errors, yaml))
}

fn rendered(errors: &ConfigErrors, yaml: &str) -> String {
    let mut sources = Sources::default();
    sources.add(Path::new("test.yaml"), yaml);
    errors.render(&sources)
}

/// A built plugin.
#[derive(Debug)]
pub struct Instance {
    /// The plugin.
    pub built: Built,
    /// Where it stands.
    pub stage: Stage,
    /// Its entry.
    pub info: Arc<EntryInfo>,
}

impl Instance {
    /// Runs every hook in the order of a request. A hook that `hooks()` leaves out runs as well, and must do
    /// nothing: a gateway would never call it.
    ///
    /// # Panics
    /// When a hook that `hooks()` leaves out does something, and when the plugin sets a header for the origin that
    /// `writes_to_origin()` does not name.
    #[allow(clippy::panic, reason = "a test kit")]
    pub fn run(&self, case: Case) -> Ran {
        let plugin = self.built.plugin();
        // A plugin that wants the whole of it is told where there is none.
        let whole = matches!(plugin.request_body(), BodyNeed::Whole { .. });
        let sent = case.body.clone().or(whole.then(Vec::new));
        let (head, body) = (case.response.clone(), case.response_body.clone());
        let mut ran = Ran {
            found: None,
            verdict: Ok(Verdict::Continue),
            head,
            body: Body::default(),
            request_body: Body::default(),
            ex: case.exchange(),
        };
        if let Built::Authenticator(authenticator) = &self.built {
            ran.found = Some(block_on(authenticator.authenticate(&mut ran.ex).resolve()));
            check_written(plugin, &ran.ex);
            return ran;
        }
        let declared = plugin.hooks();
        let step = |hook: Hooks, verdict: Result<Verdict, Fault>| {
            let silent = matches!(verdict, Ok(Verdict::Continue));
            if !silent && !declared.contains(hook) {
                panic!("a hook decides something and `hooks()` does not name it");
            }
            verdict
        };
        ran.verdict = step(Hooks::REQUEST, block_on(plugin.on_request(&mut ran.ex).resolve()));
        match sent {
            Some(pieces) if ran.goes_on() => {
                let (ex, need) = (&mut ran.ex, plugin.request_body());
                let hook = |body: &mut Body| block_on(plugin.on_request_body(ex, body).resolve());
                let verdict = feed(need, pieces, &mut ran.request_body, hook);
                ran.verdict = step(Hooks::REQUEST_BODY, verdict);
            }
            pieces => ran.request_body = Body::new(pieces.unwrap_or_default().concat().into(), true),
        }
        if ran.goes_on() {
            let before = ran.head.headers.clone();
            ran.verdict =
                step(Hooks::RESPONSE, block_on(plugin.on_response(&mut ran.ex, &mut ran.head).resolve()));
            if !declared.contains(Hooks::RESPONSE) && before != ran.head.headers {
                panic!("`on_response` changes the answer and `hooks()` does not name it");
            }
        }
        if ran.goes_on() {
            let (ex, need) = (&mut ran.ex, plugin.response_body());
            let hook = |body: &mut Body| plugin.on_response_body(ex, body);
            let verdict = feed(need, body, &mut ran.body, hook);
            ran.verdict = step(Hooks::RESPONSE_BODY, verdict);
        } else {
            ran.body = Body::new(body.concat().into(), true);
        }
        check_written(plugin, &ran.ex);
        let status = ran.status();
        ran.ex.host_side().outcome = Outcome { status, ..Outcome::default() };
        plugin.on_log(&ran.ex);
        ran
    }
}

impl Instance {
    /// Shows a credential to the plugin, as the chain does before an authenticator looks at it, and where that passes says
    /// what came of it.
    ///
    /// # Errors
    /// It was refused, before or after.
    ///
    /// # Panics
    /// When `hooks()` leaves `on_credential` out, and when the plugin fails or answers.
    #[allow(clippy::panic, reason = "a test kit")]
    pub fn attempt(&self, ex: &mut Exchange, presented: &Presented, tried: Tried) -> Result<(), Denial> {
        let plugin = self.built.plugin();
        assert!(plugin.hooks().contains(Hooks::CREDENTIAL), "`hooks()` does not name it");
        let said = |verdict| match verdict {
            Ok(Verdict::Continue) => Ok(()),
            Ok(Verdict::Deny(denial)) => Err(denial),
            other => panic!("neither passed nor refused: {other:?}"),
        };
        said(block_on(plugin.on_credential(ex, presented).resolve()))?;
        said(block_on(plugin.on_authentication(ex, presented, tried).resolve()))
    }
}

impl Ran {
    /// The status that the client would get.
    fn status(&self) -> u16 {
        let status = match &self.verdict {
            Ok(Verdict::Deny(denial)) => denial.status(),
            Ok(Verdict::Respond(reply)) => reply.status(),
            Ok(Verdict::Continue) => self.head.status,
            Err(fault) => fault.status(),
        };
        status.as_u16()
    }
}

/// Gives a body to a hook as it asks for it: in pieces, or whole. `seen` is what goes on.
fn feed(
    need: BodyNeed,
    pieces: Vec<Bytes>,
    seen: &mut Body,
    mut hook: impl FnMut(&mut Body) -> Result<Verdict, Fault>,
) -> Result<Verdict, Fault> {
    if need != BodyNeed::Stream {
        *seen = Body::new(pieces.concat().into(), true);
        return hook(seen);
    }
    let (mut passed, mut replaced, count) = (Vec::new(), false, pieces.len());
    let mut verdict = Ok(Verdict::Continue);
    for (index, piece) in pieces.into_iter().enumerate() {
        let mut body = Body::new(piece, index + 1 == count);
        verdict = hook(&mut body);
        if !matches!(verdict, Ok(Verdict::Continue)) {
            break;
        }
        replaced |= body.is_replaced();
        passed.extend_from_slice(body.bytes());
    }
    *seen = Body::new(Bytes::new(), true);
    if replaced {
        seen.replace(passed);
    } else {
        *seen = Body::new(passed.into(), true);
    }
    verdict
}

/// What a plugin sets and does not name would not be removed from what clients send.
#[allow(clippy::panic, reason = "a test kit")]
fn check_written(plugin: &dyn Plugin, ex: &Exchange) {
    let named = plugin.writes_to_origin();
    let set = &ex.origin_changes().set_headers;
    if let Some((name, _)) = set.iter().find(|(name, _)| !named.contains(name)) {
        panic!("it sets `{name}` for the origin and `writes_to_origin()` does not name it");
    }
}

/// What came of a request.
#[derive(Debug)]
pub struct Ran {
    /// What an authenticator found.
    pub found: Option<Result<Authentication, Fault>>,
    /// The last verdict.
    pub verdict: Result<Verdict, Fault>,
    /// The answer's head, after the response hook.
    pub head: ResponseHeader,
    /// The answer's body, after the response body hook.
    pub body: Body,
    /// The request's body, after the request body hook.
    pub request_body: Body,
    /// The exchange.
    pub ex: Exchange,
}

#[allow(clippy::panic, clippy::missing_panics_doc, reason = "a test kit: a wrong outcome panics")]
impl Ran {
    fn goes_on(&self) -> bool {
        matches!(self.verdict, Ok(Verdict::Continue))
    }

    /// The request went on through every hook.
    #[track_caller]
    pub fn passed(self) -> Self {
        if !self.goes_on() {
            panic!("it did not pass: {:?} {:?}", self.verdict, self.ex.findings());
        }
        self
    }

    /// It was refused so.
    #[track_caller]
    pub fn denied(self, status: u16, reason: &str) -> Denial {
        match (self.found, self.verdict) {
            (Some(Ok(Authentication::Rejected(denial))), _) | (None, Ok(Verdict::Deny(denial)))
                if denial.status().as_u16() == status && denial.reason() == reason =>
            {
                denial
            }
            other => panic!("it was not denied with {status} {reason}: {other:?}"),
        }
    }

    /// The plugin answered so; the headers of the answer.
    #[track_caller]
    pub fn replied(self, status: u16) -> (HeaderMap, Bytes) {
        match self.verdict {
            Ok(Verdict::Respond(reply)) if reply.status().as_u16() == status => {
                (reply.headers().iter().cloned().collect(), reply.body_bytes().clone())
            }
            other => panic!("it did not answer {status}: {other:?}"),
        }
    }

    /// The credential was accepted; whose it is.
    #[track_caller]
    pub fn authenticated(&self) -> Arc<Principal> {
        match &self.found {
            Some(Ok(Authentication::Authenticated(principal))) => principal.clone(),
            other => panic!("it was not authenticated: {other:?}"),
        }
    }

    /// There was no credential.
    #[track_caller]
    pub fn no_credential(&self) {
        if !matches!(self.found, Some(Ok(Authentication::NoCredential))) {
            panic!("it found something: {:?}", self.found);
        }
    }

    /// There was a credential, and it was left to another authenticator.
    #[track_caller]
    pub fn not_mine(&self) {
        if !matches!(self.found, Some(Ok(Authentication::NotMine))) {
            panic!("it was not left to others: {:?}", self.found);
        }
    }

    /// The plugin failed so.
    #[track_caller]
    pub fn faulted(self, reason: &str) {
        match (self.found, self.verdict) {
            (Some(Err(fault)), _) | (None, Err(fault)) if fault.reason() == reason => {}
            other => panic!("it did not fail with {reason}: {other:?}"),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
