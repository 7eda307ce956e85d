//! The configuration as written, and what it comes to.

use super::{
    fields::{Choice, Field},
    line::Layout,
    mask::{Mask, Masks},
    queue::{BATCH, Bounds},
    sink::{
        Rotate, Settings, Sink, http,
        syslog::{Target, To},
    },
};
use ::http::{
    HeaderName, HeaderValue, Uri,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};
use palisade_contract::{
    BuildEnv, ConfigError, Secret,
    conf::{HumanDuration, Size},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// Writes the access record: exactly one JSON line for each request, whatever happened to it, with the decision
/// of every plugin that ran. Exactly one of `file`, `stdout`, `syslog` and `http`. Bodies are never written, and
/// credentials are always masked. Counts the events `records_lost` and `write_failures`. With `on_full: block` or `deny`
/// it runs before all others (stage screen), to ask for the record's place.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A file, relative to `state_dir`; lines are appended. It is opened again on `SIGUSR1`, and when it was
    /// renamed or removed.
    file: Option<String>,
    /// Standard output.
    stdout: bool,
    /// A syslog collector (RFC 5424).
    syslog: Option<Syslog>,
    /// A collector that takes batches of lines by `POST` (`application/x-ndjson`, 64 KiB at most). Any answer but
    /// a 2xx is a failure, and the batch is sent again, with growing pauses, until it is taken: a collector may
    /// see a batch twice.
    http: Option<Http>,
    /// When the file is put aside as `FILE.1`, `FILE.2` and so on.
    rotate: Option<Rotation>,
    /// Which fields a line has; all but `query` by default.
    fields: Choice,
    /// Header fields of the request to add, under `headers`.
    headers: Vec<String>,
    /// Write the query too, with credentials masked; the same as the field `query`.
    query: bool,
    /// What is masked besides credentials, which always are.
    mask: Mask,
    /// What happens when records come faster than they can be written, or cannot be written.
    pub(super) on_full: OnFull,
    /// How much may wait to be written; with `block` and `deny` each request in flight keeps 8 KiB of it.
    queue: Size,
    /// How long a line waits to be written with others; what a crash may lose.
    flush: HumanDuration,
    /// Make each batch durable (`fdatasync`) before the next one is written.
    sync: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            file: None,
            stdout: false,
            syslog: None,
            http: None,
            rotate: None,
            fields: Choice::default(),
            headers: Vec::new(),
            query: false,
            mask: Mask::default(),
            on_full: OnFull::Drop,
            queue: Size(64 << 20),
            flush: HumanDuration(Duration::from_millis(50)),
            sync: false,
        }
    }
}

/// What happens when records come faster than they can be written, or cannot be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Records wait as long as there is room, then they are lost; how many is logged, counted and recorded.
    #[default]
    Drop,
    /// New requests wait until records can be written again. None is served unrecorded.
    Block,
    /// New requests are refused with 503 until records can be written again. None is served unrecorded.
    Deny,
}

/// A syslog collector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// `unix:/dev/log`, `udp:HOST:PORT`, or `tcp:HOST:PORT` with octet counting (RFC 6587).
    to: String,
    /// The facility's number, 0 to 23; 16 is `local0`, 13 `log audit`.
    #[serde(default = "local0")]
    facility: u8,
    /// The name of the application in messages.
    #[serde(default = "palisade")]
    app_name: String,
    /// The name of this host in messages; the system's by default.
    hostname: Option<String>,
}

fn local0() -> u8 {
    16
}

fn palisade() -> String {
    "palisade".to_owned()
}

/// A collector over HTTP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// An `http` or `https` address.
    url: String,
    /// Header fields of each call, such as `authorization`.
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    /// For each call.
    #[serde(default = "ten_seconds")]
    timeout: HumanDuration,
    /// A PEM file of the authorities that may have signed the collector's certificate, relative to this file;
    /// the system's by default.
    ca: Option<String>,
}

fn ten_seconds() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

/// When a file is put aside.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Before it would grow beyond this.
    size: Option<Size>,
    /// At each full multiple of this since 1970 (UTC): `1d` is at midnight.
    every: Option<HumanDuration>,
    /// How many are kept.
    #[serde(default = "a_week")]
    keep: u32,
}

fn a_week() -> u32 {
    7
}

impl Config {
    pub(super) fn sink(&self, env: &BuildEnv<'_>) -> Result<Sink, ConfigError> {
        match (&self.file, self.stdout, &self.syslog, &self.http) {
            (Some(path), false, None, None) => Ok(Sink::File(env.path_to_write(path))),
            (None, true, None, None) => Ok(Sink::Stdout),
            (None, false, Some(syslog), None) => syslog.compile().map(Sink::Syslog),
            (None, false, None, Some(http)) => http.compile(env).map(Sink::Http),
            _ => Err(ConfigError::new("exactly one of `file`, `stdout`, `syslog` and `http` says where to")
                .help("write `file: audit.jsonl`, `stdout: true`, or `syslog: {to: \"unix:/dev/log\"}`")),
        }
    }

    /// Under which name the sink stands, for errors.
    pub(super) fn sink_field(&self) -> &'static str {
        match (&self.file, &self.syslog, &self.http) {
            (Some(_), ..) => "file",
            (_, Some(_), _) => "syslog.to",
            (.., Some(_)) => "http",
            _ => "stdout",
        }
    }

    pub(super) fn settings(&self, errors: &mut Vec<ConfigError>) -> Settings {
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(60));
        if !(least..=most).contains(&self.flush.0) {
            errors.push(ConfigError::at("flush", "a line waits between `1ms` and `60s`"));
        }
        let capacity = usize::try_from(self.queue.0).unwrap_or(usize::MAX);
        if capacity < BATCH {
            errors.push(ConfigError::at("queue", "the queue holds at least `64KiB`"));
        }
        let rotate = self.rotate.as_ref().map(|rotate| {
            if self.file.is_none() {
                errors.push(ConfigError::at("rotate", "only a file can be rotated").help("remove `rotate`"));
            }
            if rotate.size.is_none() && rotate.every.is_none() {
                let error = ConfigError::at("rotate", "nothing says when the file is put aside");
                errors.push(error.help("write `size: 100MiB`, `every: 1d`, or both"));
            }
            if rotate.size.is_some_and(|size| size.0 == 0) {
                errors.push(ConfigError::at("rotate.size", "a file of no size holds nothing"));
            }
            if rotate.every.is_some_and(|every| every.0 < Duration::from_secs(1)) {
                errors.push(ConfigError::at("rotate.every", "the shortest time is `1s`"));
            }
            if !(1..=10_000).contains(&rotate.keep) {
                errors.push(ConfigError::at("rotate.keep", "between 1 and 10000 files can be kept"));
            }
            let (size, every) = (rotate.size.map(|size| size.0), rotate.every.map(|every| every.0));
            Rotate { size, every, keep: rotate.keep }
        });
        Settings { bounds: Bounds { capacity, flush: self.flush.0 }, sync: self.sync, rotate }
    }

    pub(super) fn layout(self, env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Option<Layout> {
        let fields = self.fields.compile().map_err(|wrong| errors.push(ConfigError::at("fields", wrong)));
        let mut headers = Vec::new();
        for (index, text) in self.headers.iter().enumerate() {
            let at = |what: &str| ConfigError::at(format!("headers[{index}]"), format!("`{text}` {what}"));
            match HeaderName::from_bytes(text.as_bytes()) {
                Ok(name) if headers.contains(&name) => errors.push(at("is named twice")),
                Ok(name) => headers.push(name),
                Err(_) => errors.push(at("is not the name of a header")),
            }
        }
        let fields = fields.ok()?;
        let fields = if self.query { fields.with(Field::Query) } else { fields };
        Some(Layout { fields, headers, masks: Masks::new(self.mask, env.credential_places.clone()) })
    }
}

impl Syslog {
    fn compile(&self) -> Result<Target, ConfigError> {
        let to = To::parse(&self.to).ok_or_else(|| {
            ConfigError::at("syslog.to", format!("`{}` is not the place of a collector", self.to))
                .help("write `unix:/dev/log`, `udp:127.0.0.1:514` or `tcp:127.0.0.1:601`")
        })?;
        if self.facility > 23 {
            return Err(ConfigError::at("syslog.facility", "facilities go from 0 to 23"));
        }
        let system = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let hostname = self.hostname.clone().or_else(|| Some(system()?.trim().to_owned()));
        let hostname = hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned());
        // RFC 5424 §6: visible ASCII, of these lengths.
        for (field, value, longest) in
            [("syslog.app_name", &self.app_name, 48), ("syslog.hostname", &hostname, 255)]
        {
            if !(1..=longest).contains(&value.len()) || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                let message = format!("`{value}` is not 1 to {longest} visible characters without spaces");
                return Err(ConfigError::at(field, message));
            }
        }
        Ok(Target { to, facility: self.facility, app_name: self.app_name.clone(), hostname })
    }
}

impl Http {
    fn compile(&self, env: &BuildEnv<'_>) -> Result<http::Target, ConfigError> {
        let url = self.url.parse::<Uri>().ok().filter(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        // A password in it would show in logs.
        let plain = |url: &Uri| !url.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let url = url.filter(plain).ok_or_else(|| {
            ConfigError::at("http.url", "this is not an `http` or `https` address without a password")
                .help("write `https://collector.internal/records`, and what is secret under `headers`")
        })?;
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let field = || format!("http.headers.{name}");
            let known = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| ConfigError::at(field(), format!("`{name}` is not the name of a header")))?;
            if matches!(known, CONTENT_LENGTH | CONTENT_TYPE | TRANSFER_ENCODING | CONNECTION | HOST) {
                return Err(ConfigError::at(field(), format!("`{name}` is set by the gateway")));
            }
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
                ConfigError::at(field(), "the value has characters that a header cannot have")
            })?;
            value.set_sensitive(true);
            headers.push((known, value));
        }
        let timeout = self.timeout.0;
        if timeout.is_zero() || timeout > Duration::from_secs(300) {
            return Err(ConfigError::at("http.timeout", "a call may take between `1ms` and `5m`"));
        }
        let ca = self.ca.as_deref().map(|ca| env.path_to_read(ca));
        Ok(http::Target { url, headers, timeout, ca })
    }
}
