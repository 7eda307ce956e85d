//! Connections to a store that is there, and what they are asked for.

use crate::settings::{Node, Place, Settings};
use bytes::Bytes;
use palisade_contract::{Answer, Command, StoreError};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// For a connection with all its greetings.
pub(crate) const CONNECTING: Duration = Duration::from_secs(2);

/// What commands go over.
pub(crate) enum Link {
    /// Connections to one server, in turn.
    Server(Vec<MultiplexedConnection>, AtomicUsize),
    Cluster(ClusterConnection),
}

/// Why a command has no answer, as the connections see it.
pub(crate) enum Failed {
    /// The connection is of no use any more, or the server not the one that it was.
    Gone(StoreError),
    /// The server has answered.
    Refused(StoreError),
}

impl Link {
    /// Connects.
    pub(crate) async fn connect(settings: &Settings, ca: Option<Vec<u8>>) -> Result<Self, RedisError> {
        let certificates = TlsCertificates { client_tls: None, root_cert: ca };
        // The time of a command is looked after outside.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTING))
            .set_response_timeout(Some(CONNECTING));
        match &settings.place {
            Place::Server(node) => {
                let info = info(settings, node)?;
                let client = if settings.tls {
                    Client::build_with_tls(info, certificates)?
                } else {
                    Client::open(info)?
                };
                let mut all = Vec::new();
                for _ in 0..settings.pool {
                    all.push(client.get_multiplexed_async_connection_with_config(&config).await?);
                }
                Ok(Link::Server(all, AtomicUsize::new(0)))
            }
            Place::Cluster(nodes) => {
                let nodes = nodes.iter().map(|node| info(settings, node)).collect::<Result<Vec<_>, _>>()?;
                let mut builder = ClusterClientBuilder::new(nodes)
                    .connection_timeout(settings.timeout.max(Duration::from_millis(100)))
                    .response_timeout(settings.timeout)
                    .retries(1);
                if settings.tls {
                    builder = builder.tls(TlsMode::Secure).certs(certificates);
                }
                Ok(Link::Cluster(builder.build()?.get_async_connection().await?))
            }
            Place::Sentinels { .. } => {
                let mut client = sentinels(settings, certificates)?.build()?;
                let mut all = Vec::new();
                for _ in 0..settings.pool {
                    all.push(client.get_async_connection_with_config(&config).await?);
                }
                Ok(Link::Server(all, AtomicUsize::new(0)))
            }
        }
    }

    /// Runs a command.
    pub(crate) async fn run(&self, command: &Command) -> Result<Answer, Failed> {
        let mut cmd = Cmd::new();
        cmd.arg(command.name());
        for arg in command.args() {
            cmd.arg(&arg[..]);
        }
        let done = match self {
            Link::Server(all, turn) => {
                let index = turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
                let Some(connection) = all.get(index) else { return Err(Failed::Gone(StoreError::Down)) };
                connection.clone().req_packed_command(&cmd).await
            }
            Link::Cluster(connection) => connection.clone().req_packed_command(&cmd).await,
        };
        match done.map_err(failed)? {
            Value::ServerError(error) => Err(refused(error.code())),
            value => answer(value).ok_or(Failed::Refused(StoreError::Nonsense)),
        }
    }

    /// Asks every connection whether the server is there; of a cluster, any node.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let ping = redis::cmd("PING");
        match self {
            Link::Server(all, _) => {
                for connection in all {
                    pong(connection.clone().req_packed_command(&ping).await)?;
                }
                Ok(())
            }
            Link::Cluster(connection) => {
                let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                pong(connection.clone().route_command(ping, any).await)
            }
        }
    }

    /// Asks the node that a key belongs to. A `PING` may go to another one where there is no connection to it.
    pub(crate) async fn has_node_of(&self, key: Bytes) -> bool {
        !matches!(self.run(&Command::new("EXISTS").key(key)).await, Err(Failed::Gone(_)))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Link::Cluster(_))
    }
}

fn pong(answer: Result<Value, RedisError>) -> Result<(), String> {
    match answer {
        Ok(Value::ServerError(error)) if error.code() == "NOAUTH" => {
            Err("the store asks for a password".to_owned())
        }
        Ok(Value::ServerError(error)) => Err(format!("the store answers {}", error.code())),
        Ok(_) => Ok(()),
        Err(error) => Err(words(&error)),
    }
}

fn address(settings: &Settings, (host, port): &Node) -> ConnectionAddr {
    if settings.tls {
        ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host.clone(), *port)
    }
}

fn info(settings: &Settings, node: &Node) -> Result<ConnectionInfo, RedisError> {
    let mut redis = RedisConnectionInfo::default().set_db(settings.database);
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.expose());
    }
    Ok(address(settings, node).into_connection_info()?.set_redis_settings(redis))
}

fn sentinels(
    settings: &Settings,
    certificates: TlsCertificates,
) -> Result<SentinelClientBuilder, RedisError> {
    let Place::Sentinels { name, nodes, username, password } = &settings.place else {
        return Err((ErrorKind::InvalidClientConfig, "no sentinels").into());
    };
    let nodes = nodes.iter().map(|node| address(settings, node));
    let mut builder = SentinelClientBuilder::new(nodes, name, SentinelServerType::Master)?
        .set_client_to_redis_db(settings.database);
    if let Some(username) = &settings.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &settings.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    if let Some(username) = username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_sentinel_password(password.expose());
    }
    if settings.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates);
    }
    Ok(builder)
}

/// What the server says besides its code is not kept: it may repeat arguments. A primary that is one no longer, or a
/// node that cannot serve, is as good as gone.
fn refused(code: &str) -> Failed {
    let code: String = code.chars().take(32).collect();
    if matches!(code.as_str(), "READONLY" | "LOADING" | "MASTERDOWN" | "NOAUTH" | "CLUSTERDOWN") {
        Failed::Gone(StoreError::Refused(code))
    } else {
        Failed::Refused(StoreError::Refused(code))
    }
}

fn failed(error: RedisError) -> Failed {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => refused(error.code().unwrap_or("ERR")),
        ErrorKind::Io if error.is_timeout() => Failed::Gone(StoreError::Timeout),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Failed::Gone(StoreError::Nonsense),
        _ => Failed::Gone(StoreError::Broken),
    }
}

fn answer(value: Value) -> Option<Answer> {
    Some(match value {
        Value::Nil => Answer::Nil,
        Value::Okay => Answer::Done,
        Value::Int(number) => Answer::Int(number),
        Value::Boolean(yes) => Answer::Int(i64::from(yes)),
        Value::BulkString(bytes) => Answer::Bytes(bytes.into()),
        Value::SimpleString(text) => Answer::Bytes(Bytes::from(text)),
        Value::Array(list) | Value::Set(list) => {
            Answer::List(list.into_iter().map(answer).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Why nothing could be connected to, in words without anything of ours that is secret.
pub(crate) fn words(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => "the store refuses the user or the password".to_owned(),
        ErrorKind::Server(_) | ErrorKind::Extension => {
            format!("the store answers {}", error.code().unwrap_or("ERR"))
        }
        ErrorKind::MasterNameNotFoundBySentinel => "the sentinels know no primary of that name".to_owned(),
        ErrorKind::Io if error.is_connection_refusal() => "nobody listens there".to_owned(),
        ErrorKind::Io if error.is_timeout() => "no answer in time".to_owned(),
        ErrorKind::Io => "the connection cannot be made, or broke".to_owned(),
        _ => "there is no store to be spoken to there".to_owned(),
    }
}
