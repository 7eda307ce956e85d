//! Where a store is, and how it is spoken to.

use palisade_contract::Secret;
use redis::{ConnectionAddr, IntoConnectionInfo};
use std::{fmt, path::PathBuf, time::Duration};

/// The port of sentinels where none is written.
const SENTINEL_PORT: u16 = 26379;

/// What an operator writes, in the types of the fields.
#[derive(Debug)]
pub struct Written<'a> {
    /// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`; `rediss` for TLS.
    pub redis: &'a Secret,
    /// A cluster.
    pub cluster: bool,
    /// More nodes of the cluster, as `HOST:PORT`.
    pub nodes: &'a [String],
    /// Sentinels; the URL's host is then the name that they know the primary by.
    pub sentinel: Option<Sentinel>,
    /// The longest that a command waits.
    pub timeout: Duration,
    /// Connections.
    pub pool: usize,
    /// A PEM file of the authorities that may have signed the server's certificate; none: the system's.
    pub ca: Option<PathBuf>,
}

/// Who is asked for the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinel {
    /// Where they are, as `HOST[:PORT]`.
    pub nodes: Vec<String>,
    /// What they ask for.
    pub username: Option<String>,
    /// What they ask for.
    pub password: Option<Secret>,
}

/// Something wrong with what is written: the field, what is wrong, what to write instead. Never a part of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bad {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: &'static str,
    /// What to write instead.
    pub help: &'static str,
}

/// A host and its port.
pub(crate) type Node = (String, u16);

/// How a store is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// One server.
    Server(Node),
    /// A cluster that one of these is of.
    Cluster(Vec<Node>),
    /// The primary that these know by the name.
    Sentinels { name: String, nodes: Vec<Node>, username: Option<String>, password: Option<Secret> },
}

/// A store's settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub(crate) place: Place,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: i64,
    pub(crate) timeout: Duration,
    pub(crate) pool: usize,
    pub(crate) ca: Option<PathBuf>,
}

impl Settings {
    /// The same, with this much time for a command at least.
    #[must_use]
    pub fn patient(mut self, timeout: Duration) -> Self {
        self.timeout = self.timeout.max(timeout);
        self
    }

    /// Checks what is written.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(written: Written<'_>) -> Result<Self, Bad> {
        let url = written.redis.expose();
        let bad = |message| Bad { field: "redis", message, help: URL };
        let tls = url.starts_with("rediss://");
        if !tls && !url.starts_with("redis://") {
            return Err(bad("this is no URL of a Redis server"));
        }
        if url.contains(['#', '?']) {
            let message = "a URL of a store ends with its database";
            return Err(Bad { help: "encode `#` and `?` in a password as `%23` and `%3F`", ..bad(message) });
        }
        let info = url.into_connection_info().map_err(|_| bad("this URL cannot be read"))?;
        let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) =
            info.addr().clone()
        else {
            return Err(bad("this URL names no host"));
        };
        let redis = info.redis_settings();
        let database = redis.db();
        let place = place(&written, host, port, names_port(url), database)?;
        if written.ca.is_some() && !tls {
            return Err(Bad {
                field: "ca",
                message: "the store is not spoken to over TLS",
                help: "write `rediss://` in `redis`, or leave `ca` out",
            });
        }
        Ok(Settings {
            place,
            tls,
            username: redis.username().map(str::to_owned),
            password: redis.password().map(Secret::new),
            database,
            timeout: written.timeout,
            pool: written.pool,
            ca: written.ca,
        })
    }

    /// How it is reached, for people; no credential is in it.
    pub fn address(&self) -> String {
        let list = |nodes: &[Node]| {
            nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
        };
        match &self.place {
            Place::Server((host, port)) => format!("{host}:{port}"),
            Place::Cluster(nodes) => list(nodes),
            Place::Sentinels { name, nodes, .. } => format!("{name} of {}", list(nodes)),
        }
    }

    /// `server`, `cluster` or `sentinel`.
    pub fn kind(&self) -> &'static str {
        match self.place {
            Place::Server(_) => "server",
            Place::Cluster(_) => "cluster",
            Place::Sentinels { .. } => "sentinel",
        }
    }
}

const URL: &str = "write `redis://HOST:PORT`, `rediss://` for TLS; with a password `redis://:${env:REDIS_PASSWORD}@HOST:PORT`";

fn place(
    written: &Written<'_>,
    host: String,
    port: u16,
    names_port: bool,
    database: i64,
) -> Result<Place, Bad> {
    let nodes_help = "write `HOST:PORT` of each";
    match &written.sentinel {
        Some(_) if written.cluster => Err(Bad {
            field: "sentinel",
            message: "a cluster has no sentinels",
            help: "leave `sentinel` or `cluster` out",
        }),
        _ if !written.cluster && !written.nodes.is_empty() => Err(Bad {
            field: "nodes",
            message: "only a cluster has several nodes",
            help: "write `cluster: true`, or leave `nodes` out; sentinels have `nodes` of their own",
        }),
        Some(sentinel) => {
            if names_port {
                return Err(Bad {
                    field: "redis",
                    message: "with `sentinel` the URL names the primary as the sentinels know it, and no port",
                    help: "write `redis://mymaster`, and the sentinels' addresses in `sentinel.nodes`",
                });
            }
            let nodes = nodes(&sentinel.nodes, Some(SENTINEL_PORT));
            let nodes = nodes.filter(|nodes| !nodes.is_empty()).ok_or(Bad {
                field: "sentinel.nodes",
                message: "these are not the addresses of sentinels",
                help: nodes_help,
            })?;
            let (username, password) = (sentinel.username.clone(), sentinel.password.clone());
            Ok(Place::Sentinels { name: host, nodes, username, password })
        }
        None if written.cluster => {
            if database != 0 {
                let message = "a cluster has database 0 alone";
                return Err(Bad { field: "redis", message, help: "leave the database out of the URL" });
            }
            let more = nodes(written.nodes, None).ok_or(Bad {
                field: "nodes",
                message: "these are not the addresses of nodes",
                help: nodes_help,
            })?;
            Ok(Place::Cluster(std::iter::once((host, port)).chain(more).collect()))
        }
        None => Ok(Place::Server((host, port))),
    }
}

/// True where a URL that could be read names a port.
fn names_port(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.rsplit(']').next().unwrap_or_default().contains(':')
}

fn nodes(written: &[String], port: Option<u16>) -> Option<Vec<Node>> {
    written.iter().map(|text| node(text, port)).collect()
}

/// `HOST:PORT`, `[ADDRESS]:PORT`.
fn node(text: &str, default: Option<u16>) -> Option<Node> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (text, default?),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, change: impl FnOnce(&mut Written<'_>)) -> Result<Settings, Bad> {
        let secret = Secret::new(url);
        let mut written = Written {
            redis: &secret,
            cluster: false,
            nodes: &[],
            sentinel: None,
            timeout: Duration::from_millis(50),
            pool: 1,
            ca: None,
        };
        change(&mut written);
        Settings::parse(written)
    }

    fn sentinel(nodes: &[&str]) -> Option<Sentinel> {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        Some(Sentinel { nodes, username: None, password: None })
    }

    #[test]
    fn urls_are_read() {
        let plain = parse("redis://cache.internal", |_| ()).unwrap();
        assert_eq!((plain.address().as_str(), plain.kind()), ("cache.internal:6379", "server"));
        let whole = parse("rediss://user:p%40ss@[::1]:7000/3", |_| ()).unwrap();
        assert_eq!(whole.address(), "::1:7000");
        assert_eq!((whole.tls, whole.database, whole.username.as_deref()), (true, 3, Some("user")));
        assert_eq!(whole.password.as_ref().map(Secret::expose), Some("p@ss"));
        assert!(!format!("{whole:?}").contains("p@ss"));
        let cluster = parse("redis://a:1", |it| it.cluster = true).unwrap();
        assert_eq!((cluster.address().as_str(), cluster.kind()), ("a:1", "cluster"));
        let behind = parse("redis://:x@mymaster", |it| it.sentinel = sentinel(&["s1", "s2:7"])).unwrap();
        assert_eq!(behind.address(), "mymaster of s1:26379,s2:7");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        let more = ["b:2".to_owned()];
        for (url, field, words) in [
            ("http://hunter2@a", "redis", "no URL of a Redis"),
            ("hunter2", "redis", "no URL of a Redis"),
            ("redis://", "redis", "cannot be read"),
            ("redis://:hunter2@", "redis", "cannot be read"),
            ("redis://a:hunter2", "redis", "cannot be read"),
            ("redis://a:70000", "redis", "cannot be read"),
            ("redis://a/hunter2", "redis", "cannot be read"),
            ("rediss://a/#insecure", "redis", "ends with its database"),
            ("redis://a/?protocol=hunter2", "redis", "ends with its database"),
            ("redis+unix:///hunter2", "redis", "no URL of a Redis"),
        ] {
            let bad = parse(url, |_| ()).unwrap_err();
            assert!(bad.field == field && bad.message.contains(words), "{url}: {bad:?}");
            assert!(!format!("{bad:?}").contains("hunter2"), "{bad:?}");
        }
        let wrong = |url: &str, change: fn(&mut Written<'_>), field: &str, words: &str| {
            let bad = parse(url, change).unwrap_err();
            assert!(bad.field == field && bad.message.contains(words), "{url}: {bad:?}");
        };
        wrong("redis://a/1", |it| it.cluster = true, "redis", "database 0 alone");
        wrong("redis://a", |it| it.ca = Some("ca.pem".into()), "ca", "not spoken to over TLS");
        wrong("redis://a", |it| it.sentinel = sentinel(&[]), "sentinel.nodes", "addresses of sentinels");
        wrong("redis://a", |it| it.sentinel = sentinel(&["a b"]), "sentinel.nodes", "addresses of sentinels");
        wrong("redis://a:1", |it| it.sentinel = sentinel(&["s"]), "redis", "no port");
        let both = |it: &mut Written<'_>| (it.cluster, it.sentinel) = (true, sentinel(&["s"]));
        wrong("redis://a", both, "sentinel", "a cluster has no sentinels");
        let bad = {
            let secret = Secret::new("redis://a");
            let time = Duration::from_millis(50);
            let written = Written {
                redis: &secret,
                cluster: false,
                nodes: &more,
                sentinel: None,
                timeout: time,
                pool: 1,
                ca: None,
            };
            Settings::parse(written).unwrap_err()
        };
        assert_eq!(bad.field, "nodes");
    }
}
