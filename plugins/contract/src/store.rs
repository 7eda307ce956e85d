//! State that several gateways share: a store by its name in the configuration.
//!
//! A plugin asks for one while it is built ([`BuildEnv::store`](crate::BuildEnv::store)), and then runs commands of
//! Redis on it. A call takes the store's `timeout` at most, and next to nothing where the store is known to be gone;
//! what a plugin does without an answer is its own to say, and to fail closed is the default.

use bytes::Bytes;
use std::{collections::BTreeMap, error::Error, fmt, sync::Arc};

use crate::{
    conf::{ConfigError, suggest},
    verdict::{BoxFuture, Fault},
};

/// A shared store.
pub trait Store: Send + Sync + 'static {
    /// Runs one command. It is not repeated: whether a command that got no answer has run is not known.
    fn run(&self, command: Command) -> BoxFuture<'static, Result<Answer, StoreError>>;
}

/// A command of Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    name: &'static str,
    args: Vec<Bytes>,
    key: Option<usize>,
}

impl Command {
    /// A command by its name: `SET`.
    pub fn new(name: &'static str) -> Self {
        Command { name, args: Vec::new(), key: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Bytes>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an argument that is a key. Its first one says which node of a cluster answers; all must be of one node.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = self.key.or(Some(self.args.len()));
        self.arg(key)
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The arguments, keys among them.
    pub fn args(&self) -> &[Bytes] {
        &self.args
    }

    /// The first key.
    pub fn first_key(&self) -> Option<&Bytes> {
        self.args.get(self.key?)
    }
}

/// The name alone: arguments may be secret.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} and {} arguments)", self.name, self.args.len())
    }
}

/// What a store answers.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: there is no such key, or a condition was not met.
    Nil,
    /// Done.
    Done,
    /// A number.
    Int(i64),
    /// Bytes.
    Bytes(Bytes),
    /// Several.
    List(Vec<Answer>),
}

/// What kind it is: the content may be secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Nil => f.write_str("Nil"),
            Answer::Done => f.write_str("Done"),
            Answer::Int(number) => write!(f, "Int({number})"),
            Answer::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Answer::List(list) => f.debug_list().entries(list).finish(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// It is known to be gone: nothing was tried.
    Down,
    /// No answer in the store's `timeout`; whether the command has run is not known.
    Timeout,
    /// The connection broke; whether the command has run is not known.
    Broken,
    /// Too many commands wait for an answer already.
    Busy,
    /// The store refuses the command, with this code: `OOM` where it is full.
    Refused(String),
    /// An answer that is none.
    Nonsense,
}

impl StoreError {
    /// The word in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            StoreError::Down => "down",
            StoreError::Timeout => "timeout",
            StoreError::Broken => "broken",
            StoreError::Busy => "busy",
            StoreError::Refused(_) => "refused",
            StoreError::Nonsense => "nonsense",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Down => f.write_str("the store is down"),
            StoreError::Timeout => f.write_str("the store did not answer in time"),
            StoreError::Broken => f.write_str("the connection to the store broke"),
            StoreError::Busy => f.write_str("too many commands wait for the store"),
            StoreError::Refused(code) => write!(f, "the store refuses the command: {code}"),
            StoreError::Nonsense => f.write_str("the store's answer makes no sense"),
        }
    }
}

impl Error for StoreError {}

/// 503, or 504 where it did not answer, or 502 where the answer is of no use; the cause is shown to the operator alone.
impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let fault = match error {
            StoreError::Down | StoreError::Broken | StoreError::Busy => {
                Fault::unavailable("store_unavailable")
            }
            StoreError::Timeout => Fault::timeout("store_timeout"),
            StoreError::Refused(_) | StoreError::Nonsense => Fault::bad_dependency("store_refused"),
        };
        fault.source(error)
    }
}

/// The stores of a configuration, by name.
#[derive(Clone, Default)]
pub struct Stores {
    all: BTreeMap<Arc<str>, Arc<dyn Store>>,
    /// True where some may be missing here, because something is wrong with them.
    uncertain: bool,
}

impl Stores {
    /// All there are; `uncertain` where more are written that could not be read.
    pub fn new(all: BTreeMap<Arc<str>, Arc<dyn Store>>, uncertain: bool) -> Self {
        Stores { all, uncertain }
    }

    /// The store of a name.
    ///
    /// # Errors
    /// There is none. The error names `field`.
    pub fn get(&self, name: &str, field: &str) -> Result<Arc<dyn Store>, ConfigError> {
        if let Some(store) = self.all.get(name) {
            return Ok(store.clone());
        }
        if self.uncertain {
            return Ok(Arc::new(Missing));
        }
        let error = ConfigError::at(field, format!("there is no store `{name}`"));
        Err(if self.all.is_empty() {
            error.help("write it in the top-level `stores`: `main: {redis: redis://127.0.0.1:6379}`")
        } else {
            error.help(suggest(name, self.all.keys().map(|key| &**key), "the stores are"))
        })
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all.keys()).finish()
    }
}

/// In the place of one that something is wrong with, which is said already: nothing is served.
struct Missing;

impl Store for Missing {
    fn run(&self, _: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        Box::pin(async { Err(StoreError::Down) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_there_is_an_error_with_a_suggestion() {
        let none = Stores::default();
        assert!(none.get("main", "store").err().unwrap().help.unwrap().contains("top-level `stores`"));
        let one: BTreeMap<Arc<str>, Arc<dyn Store>> = [(Arc::from("main"), Arc::new(Missing) as _)].into();
        let known = Stores::new(one.clone(), false);
        assert!(known.get("main", "store").is_ok());
        let error = known.get("mian", "store").err().unwrap();
        assert_eq!((error.path.as_str(), error.message.as_str()), ("store", "there is no store `mian`"));
        assert!(error.help.unwrap().contains("`main`"));
        assert!(Stores::new(one, true).get("other", "store").is_ok());
    }

    #[test]
    fn what_is_sent_and_answered_does_not_show() {
        let command = Command::new("SET").key("k").arg("hunter2");
        assert_eq!(command.first_key().unwrap(), "k");
        let shown = format!("{command:?} {:?}", Answer::List(vec![Answer::Bytes("hunter2".into())]));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(Fault::from(StoreError::Down).status(), 503);
        assert_eq!(Fault::from(StoreError::Timeout).status(), 504);
        assert_eq!(Fault::from(StoreError::Refused("OOM".into())).status(), 502);
    }
}
