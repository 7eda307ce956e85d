//! Sockets: bound before anything else starts, and accepted from as long as the gateway runs.

use super::{
    ConnInfo, Refusal, Registry,
    connection::Shared,
    proxy_protocol::{self, Failed, Source},
    registry::{Cause, Door, Live, Refused},
    tcp::Tcp,
    tls::Term,
    turns::Turns,
    workers::Workers,
};
use crate::conf::model::Limits;
use arc_swap::ArcSwap;
use bytes::Bytes;
use ipnet::IpNet;
use palisade_contract::{Client, PeerCertificate, Tls};
use pingora::{
    listeners::tls::Acceptor,
    protocols::{ALPN, Ssl, Stream},
    proxy::ProxyHttp,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, watch},
};

const BACKLOG: i32 = 4096;
/// How long room is waited for before it is looked for again.
const ROOM: Duration = Duration::from_millis(20);

/// What of a listener may change while it listens.
pub struct Settings {
    /// Its limits; its `connections` are its own.
    pub limits: Arc<Limits>,
    /// Connections of all listeners together.
    pub connections: usize,
    /// TLS; absent: plain text.
    pub tls: Option<Arc<Term>>,
    /// HTTP/2.
    pub http2: bool,
    /// Every connection begins with a header of the PROXY protocol, and comes from a trusted proxy.
    pub proxy_protocol: bool,
    /// Proxies whose connections are not counted by address.
    pub trusted: Vec<IpNet>,
}

/// A listener that accepts.
pub struct Listener {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The address it is really bound to.
    pub address: SocketAddr,
    /// Its connections.
    pub door: Arc<Door>,
    /// What may change while it listens.
    pub settings: ArcSwap<Settings>,
}

/// Binds an address. The port is taken at once, so that a second gateway fails here and not later.
///
/// # Errors
/// Those of the system: the address is in use, or not of this machine.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until `stop` says so. Never sleeps while an idle connection can make room.
pub async fn accept<P>(
    workers: Arc<Workers<P>>,
    listener: Arc<Listener>,
    socket: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    let registry = workers.shared().registry.clone();
    let socket = tokio::net::TcpListener::from_std(socket)?;
    loop {
        let accepted = tokio::select! {
            biased;
            // An error says that nobody is left who could say stop.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let settings = listener.settings.load_full();
                tokio::select! {
                    biased;
                    () = make_room(&registry, &listener, &settings) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                admit(&workers, &listener, settings, stream, peer);
            }
            // The client gave up while it waited.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => failed(&registry, &listener, &error).await,
        }
    }
    // What waits already is still taken: where no successor listens, a close would reset it.
    while let Poll::Ready(Ok((stream, peer))) = poll_fn(|cx| Poll::Ready(socket.poll_accept(cx))).await {
        admit(&workers, &listener, listener.settings.load_full(), stream, peer);
    }
    Ok(())
}

/// Out of descriptors, mostly: somebody idle makes room; if nobody is, the next try may wait a moment.
#[cold]
async fn failed(registry: &Registry, listener: &Listener, error: &io::Error) {
    let errno = rustix::io::Errno::from_io_error(error);
    let descriptors =
        errno.is_some_and(|errno| matches!(errno, rustix::io::Errno::MFILE | rustix::io::Errno::NFILE));
    registry.fail(descriptors);
    crate::logging::every(Duration::from_secs(10), "accept", || {
        log::warn!("cannot accept on {}: {error}", listener.address)
    });
    let released = registry.released.notified();
    registry.evict(None, Cause::Descriptors);
    let _ = tokio::time::timeout(ROOM, released).await;
}

/// Waits until one more connection is within the limits. One goes for one that comes; where nobody is idle, it
/// waits, and the backlog behind it.
async fn make_room(registry: &Registry, listener: &Listener, settings: &Settings) {
    let (own, all) = (settings.limits.connections, settings.connections);
    loop {
        let released = registry.released.notified();
        let Some(cause) = registry.full(&listener.door, own, all) else { return };
        crate::logging::every(Duration::from_secs(10), "connections", || pressed(listener, cause, own, all));
        registry.evict((cause == Cause::Listener).then_some(&listener.door), cause);
        // Whoever was told to go has gone in no time; should it be held up, the next one is asked.
        let _ = tokio::time::timeout(ROOM, released).await;
    }
}

#[cold]
fn pressed(listener: &Listener, cause: Cause, own: usize, all: usize) {
    match cause {
        Cause::Listener => {
            log::warn!(
                "all {own} connections of listener `{}` are in use: idle ones make room",
                listener.name
            )
        }
        Cause::Descriptors => {
            log::warn!("there are file descriptors for no more connections: idle ones make room")
        }
        _ => log::warn!("all {all} connections are in use: idle ones make room"),
    }
}

/// There is no request yet that it would be a record of, and no memory to make one.
const NO_MEMORY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: 83\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"reason\":\"memory\"}";

/// Says that there is no memory left, as far as that can be said without any. A handshake would cost more than it is
/// worth: over TLS the connection is just closed.
#[cold]
fn turn_away(registry: &Registry, settings: &Settings, mut stream: TcpStream) {
    static AT_ONCE: Semaphore = Semaphore::const_new(128);
    registry.refuse(Refused::Memory);
    if settings.tls.is_some() || settings.proxy_protocol {
        return;
    }
    let Ok(permit) = AT_ONCE.try_acquire() else { return };
    tokio::spawn(async move {
        let answer = NO_MEMORY;
        let say = async {
            stream.write_all(answer).await?;
            stream.shutdown().await?;
            // A close with unread bytes would reset the connection before the answer is read.
            let mut unread = [0; 512];
            for _ in 0..64 {
                if stream.read(&mut unread).await? == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), say).await;
        drop(permit);
    });
}

fn admit<P>(
    workers: &Arc<Workers<P>>,
    listener: &Arc<Listener>,
    settings: Arc<Settings>,
    stream: TcpStream,
    peer: SocketAddr,
) where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    let shared = workers.shared();
    if shared.registry.is_short() {
        return turn_away(&shared.registry, &settings, stream);
    }
    let ip = peer.ip().to_canonical();
    let exempt = settings.trusts(ip);
    let per_ip = settings.limits.connections_per_ip;
    // Over its share: closed at once, before it costs anything.
    let Some(mut live) = shared.registry.admit(&listener.door, ip, per_ip, exempt) else {
        return too_many(listener, ip, per_ip);
    };
    if settings.proxy_protocol && !exempt {
        drop(stream);
        let (shared, listener) = (shared.clone(), listener.clone());
        tokio::spawn(async move {
            refuse(&shared, &listener, &settings, peer, "proxy_protocol_untrusted").await;
        });
        return;
    }
    // Small answers must not wait for an acknowledgement; where that cannot be set they do.
    let _ = stream.set_nodelay(true);
    // It goes to the event loop of the thread that will serve it; a connection that no loop takes is closed.
    let Ok(stream) = stream.into_std() else { return };
    if settings.tls.is_none() && !settings.proxy_protocol {
        let (info, h2c) = (info(listener, peer, None, settings.limits.clone()), settings.http2);
        workers.serve(|shared, seat| async move {
            live.sit(seat);
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let stream: Stream = Box::new(Tcp(stream));
            shared.serve(stream, Arc::new(info), settings.limits.clone(), h2c, live).await;
        });
    } else {
        let listener = listener.clone();
        workers.serve(|shared, seat| {
            live.sit(seat);
            arrive(shared, listener, settings, stream, peer, live)
        });
    }
}

#[cold]
fn too_many(listener: &Listener, ip: IpAddr, per_ip: usize) {
    crate::logging::every(Duration::from_secs(10), "connections_per_ip", || {
        log::warn!(
            "{ip} has {per_ip} connections to listener `{}` (`connections_per_ip`): more are closed",
            listener.name
        )
    });
}

/// Whatever comes before HTTP, in the time of a head: what is left of that is for the head. A task of its own: what a
/// handshake needs is gone once the connection is served.
async fn arrive<P>(
    shared: Arc<Shared<P>>,
    listener: Arc<Listener>,
    settings: Arc<Settings>,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    mut live: Live,
) where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    let time = settings.limits.header_timeout;
    let end = live.since + time;
    let parked = live.parked().clone();
    // It can be evicted like an idle connection: it has nothing to lose yet.
    let ticket = parked.park(time);
    let opened = tokio::select! {
        biased;
        () = poll_fn(|cx| parked.poll_evicted(cx)) => return,
        opened = tokio::time::timeout_at(end, open(&shared.handshakes, &listener, &settings, stream, peer, &mut live)) => opened,
    };
    drop(ticket);
    match opened {
        Ok(Ok((stream, info))) => {
            let h2c = settings.http2 && settings.tls.is_none();
            tokio::spawn(shared.serve(stream, Arc::new(info), settings.limits.clone(), h2c, live));
        }
        Ok(Err(Some(reason))) => Box::pin(refuse(&shared, &listener, &settings, peer, reason)).await,
        Ok(Err(None)) | Err(_) => {}
    }
}

/// The client as the proxy names it, and the TLS session. An error with a reason is recorded.
async fn open(
    handshakes: &Turns,
    listener: &Listener,
    settings: &Settings,
    stream: std::net::TcpStream,
    mut peer: SocketAddr,
    live: &mut Live,
) -> Result<(Stream, ConnInfo), Option<&'static str>> {
    let mut stream = TcpStream::from_std(stream).map_err(|_| None)?;
    let mut nameless = false;
    if settings.proxy_protocol {
        match proxy_protocol::read(&mut stream).await {
            Ok(Source::Client(client)) => {
                peer = client;
                let exempt = settings.trusts(peer.ip());
                let per_ip = settings.limits.connections_per_ip;
                if !exempt && !live.count_by(peer.ip(), per_ip) {
                    too_many(listener, peer.ip(), per_ip);
                    return Err(None);
                }
            }
            Ok(Source::Unknown) => nameless = true,
            Err(Failed::Nothing) => return Err(None),
            Err(Failed::Malformed) => return Err(Some("proxy_protocol_malformed")),
        }
    }
    let stream = Tcp(stream);
    let (stream, tls): (Stream, _) = match &settings.tls {
        None => (Box::new(stream), None),
        Some(term) => {
            let acceptor = Acceptor::from_server_config(term.config.clone());
            let stream = handshakes.take(acceptor.tls_handshake(stream)).await.map_err(|_| None)?;
            if !term.admits(stream.get_ssl().and_then(|tls| tls.peer_cert_chain_der())) {
                return Err(None);
            }
            let tls = tls_of(&stream);
            (Box::new(stream), tls)
        }
    };
    let hosts = settings.tls.as_ref().map(|term| term.hosts.clone());
    let relayed = hosts.is_some() && !nameless && settings.trusts(peer.ip());
    Ok((stream, ConnInfo { nameless, hosts, relayed, ..info(listener, peer, tls, settings.limits.clone()) }))
}

/// Records a connection that is closed before it has said a word of HTTP.
async fn refuse<P>(
    shared: &Shared<P>,
    listener: &Listener,
    settings: &Settings,
    peer: SocketAddr,
    reason: &'static str,
) {
    let info = info(listener, peer, None, settings.limits.clone());
    let _ = shared.events.refused(&info, Refusal { status: 400, reason }, &[]).await;
}

impl Settings {
    fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|net| net.contains(&ip))
    }
}

fn tls_of(stream: &impl Ssl) -> Option<Tls> {
    let digest = stream.get_ssl_digest()?;
    let server_name =
        stream.get_ssl().and_then(|tls| tls.server_name()).map(|name| Arc::from(name.to_ascii_lowercase()));
    // `TLSv1_3` there, `TLSv1.3` everywhere else.
    let version = Arc::from(digest.version.replace('_', "."));
    let alpn = match stream.selected_alpn_proto() {
        Some(ALPN::H2) => Some("h2"),
        Some(ALPN::H1) => Some("http/1.1"),
        // Nothing else is offered to clients.
        _ => None,
    };
    let certificate = stream.get_ssl().and_then(|tls| certificate(tls.peer_cert_chain_der()?));
    Some(Tls { version, cipher: Arc::from(&*digest.cipher), server_name, alpn, certificate })
}

/// What a client has shown, verified in the handshake and again after it.
fn certificate(chain: &[CertificateDer<'_>]) -> Option<Arc<PeerCertificate>> {
    let sha256 = Sha256::digest(chain.first()?).into();
    let chain = chain.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect();
    Some(Arc::new(PeerCertificate { chain, sha256 }))
}

fn info(listener: &Listener, peer: SocketAddr, tls: Option<Tls>, limits: Arc<Limits>) -> ConnInfo {
    let client = Client {
        ip: peer.ip().to_canonical(),
        peer,
        https: tls.is_some(),
        behind_proxy: false,
        proxies: Vec::new(),
        listener: listener.name.clone(),
        port: listener.address.port(),
        tls,
    };
    ConnInfo { door: Some(listener.door.clone()), ..ConnInfo::new(client, limits) }
}
