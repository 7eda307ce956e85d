//! What is recorded of each plugin that ran: the decision record.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::conf::Place;

/// How an entry's denials are treated.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A denial refuses the request.
    #[default]
    Enforce,
    /// A denial is recorded and counted, and the request goes on.
    Monitor,
    /// The entry does not run.
    Off,
}

/// Where an entry was written, from wide to narrow. The narrower one replaces a wider one of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Under the top-level `plugins`: on every route.
    Everywhere,
    /// Under a route.
    Route,
    /// Under a consumer.
    Consumer,
}

impl Scope {
    /// The name in `routes`, records and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Everywhere => "everywhere",
            Scope::Route => "route",
            Scope::Consumer => "consumer",
        }
    }
}

/// One entry of the configuration: which plugin, under which key, written where. Made by [`EntryInfo::new`].
#[derive(Debug)]
#[non_exhaustive]
pub struct EntryInfo {
    /// `name` or `name#label`.
    pub key: Arc<str>,
    /// The plugin's name.
    pub plugin: &'static str,
    /// Where it applies.
    pub scope: Scope,
    /// Where it is written.
    pub place: Place,
    /// How its denials are treated.
    pub mode: Mode,
    /// Key and place as a record of its decisions begins: `{"plugin":"…","place":"…"`. Made once, because every
    /// request has it.
    pub record: Box<str>,
}

impl EntryInfo {
    /// An entry.
    pub fn new(
        key: impl Into<Arc<str>>,
        plugin: &'static str,
        scope: Scope,
        place: Place,
        mode: Mode,
    ) -> Self {
        let key = key.into();
        // As JSON strings; only names of files could need an escape.
        let shown = |text: &str| serde_json::Value::from(text).to_string();
        let record = format!(r#"{{"plugin":{},"place":{}"#, shown(&key), shown(&place.to_string()));
        EntryInfo { key, plugin, scope, place, mode, record: record.into() }
    }
}

/// What came of one hook of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The request went on.
    Continue,
    /// An authenticator accepted the credential.
    Authenticated,
    /// An authenticator found no credential of its kind.
    NoCredential,
    /// Refused.
    Deny,
    /// Would have been refused; the entry is in monitor mode.
    WouldDeny,
    /// The plugin answered in the origin's place.
    Respond,
    /// The plugin failed and the request was refused.
    Fault,
    /// The plugin failed and `on_fault: allow` let the request go on.
    FaultAllowed,
    /// The condition in `when` was not met, so the plugin did not run.
    Skipped,
}

impl Effect {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Continue => "continue",
            Effect::Authenticated => "authenticated",
            Effect::NoCredential => "no_credential",
            Effect::Deny => "deny",
            Effect::WouldDeny => "would_deny",
            Effect::Respond => "respond",
            Effect::Fault => "fault",
            Effect::FaultAllowed => "fault_allowed",
            Effect::Skipped => "skipped",
        }
    }

    /// True where the entry ended the request.
    pub fn is_final(self) -> bool {
        matches!(self, Effect::Deny | Effect::Respond | Effect::Fault)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of a request's decision record.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The entry that decided; none where the gateway itself did (no route, a limit of the edge).
    pub entry: Option<Arc<EntryInfo>>,
    /// What came of it.
    pub effect: Effect,
    /// The stable reason code, where there is one.
    pub reason: Option<&'static str>,
    /// For the operator alone.
    pub detail: Option<Cow<'static, str>>,
    /// Time taken, in nanoseconds (4.29 s at most).
    pub nanos: u32,
}
