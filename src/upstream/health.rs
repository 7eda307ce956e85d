//! Asks targets whether they are well, in the background.

use super::{Upstream, balance::Member};
use crate::conf::model::{Health, Protocol};
use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use palisade_contract::RequestHeader;
use pingora::{
    connectors::{TransportConnector, http::Connector},
    protocols::http::client::HttpSession,
    upstreams::peer::HttpPeer,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// The most of an answer that is read, where one is read at all.
const ANSWER_BYTES: usize = 64 * 1024;
/// An empty gRPC message: no compression, no bytes.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// `SERVING` of the gRPC health protocol, as a message.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// Checks all targets, again and again.
pub(super) async fn run(upstream: Arc<Upstream>, health: Health) {
    let (http, plain) = (Connector::new(None), TransportConnector::new(None));
    loop {
        let set = upstream.set.load_full();
        join_all(set.members.iter().map(|member| one(&upstream, &health, &http, &plain, member))).await;
        sleep(jittered(health.interval)).await;
    }
}

async fn one(
    upstream: &Upstream,
    health: &Health,
    http: &Connector,
    plain: &TransportConnector,
    member: &Member,
) {
    let mut peer = member.peer.clone();
    peer.options.connection_timeout = Some(health.timeout);
    peer.options.total_connection_timeout = Some(health.timeout);
    let check = async {
        match &health.path {
            Some(path) => {
                ask(http, &peer, upstream.blueprint.written.protocol, path, &member.authority, health).await
            }
            None => plain.new_stream(&peer).await.map(drop).map_err(|error| error.to_string()),
        }
    };
    let result = timeout(health.timeout, check)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", health.timeout.as_secs_f32())));
    let (name, address) = (&upstream.name, member.target.address);
    match (member.target.standing.checked(result.is_ok(), health), result) {
        (Some(true), _) => log::info!("upstream {name}: {address} is well again"),
        (Some(false), Err(why)) => log::warn!("upstream {name}: {address} is not well: {why}"),
        _ => {}
    }
}

async fn ask(
    connector: &Connector,
    peer: &HttpPeer,
    protocol: Protocol,
    path: &str,
    authority: &str,
    health: &Health,
) -> Result<(), String> {
    let said = |error: Box<pingora::Error>| error.to_string();
    let grpc = protocol == Protocol::Grpc;
    let request = request(peer, protocol, path, authority).map_err(said)?;
    let (mut session, _) = connector.get_http_session(peer).await.map_err(said)?;
    session.write_request_header(Box::new(request)).await.map_err(said)?;
    if grpc {
        session.write_request_body(Bytes::from_static(EMPTY_MESSAGE), true).await.map_err(said)?;
    }
    session.finish_request_body().await.map_err(said)?;
    session.read_response_header().await.map_err(said)?;
    let status = session.response_header().map(|head| head.status).ok_or("no answer")?;
    if grpc {
        return serving(session, status).await;
    }
    if health.expect.contains(&status) { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
}

fn request(
    peer: &HttpPeer,
    protocol: Protocol,
    path: &str,
    authority: &str,
) -> pingora::Result<RequestHeader> {
    let grpc = protocol == Protocol::Grpc;
    let mut request =
        RequestHeader::build(if grpc { Method::POST } else { Method::GET }, path.as_bytes(), Some(4))?;
    request.insert_header(header::USER_AGENT, "palisade")?;
    if protocol == Protocol::Http1 {
        request.insert_header(header::HOST, authority)?;
        request.insert_header(header::CONNECTION, "close")?;
        return Ok(request);
    }
    request.set_version(http::Version::HTTP_2);
    let scheme = if peer.is_tls() { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    request.set_uri(uri.map_err(|error| {
        pingora::Error::because(pingora::ErrorType::InternalError, "the address of a check", error)
    })?);
    if grpc {
        request.insert_header(header::CONTENT_TYPE, "application/grpc")?;
        request.insert_header(header::TE, "trailers")?;
    }
    Ok(request)
}

/// True to the gRPC health protocol: the call went well, and the answer is `SERVING`.
async fn serving(session: HttpSession, status: StatusCode) -> Result<(), String> {
    let said = |error: Box<pingora::Error>| error.to_string();
    let HttpSession::H2(mut session) = session else { return Err("gRPC needs HTTP/2".to_owned()) };
    let mut message = BytesMut::new();
    while let Some(piece) = session.read_response_body().await.map_err(said)? {
        message.extend_from_slice(&piece);
        if message.len() > ANSWER_BYTES {
            return Err("the answer is too long".to_owned());
        }
    }
    let trailers = session.read_trailers().await.map_err(said)?.unwrap_or_default();
    let code = |headers: &HeaderMap| {
        headers.get("grpc-status").map(|code| String::from_utf8_lossy(code.as_bytes()).into_owned())
    };
    let code = code(&trailers).or_else(|| session.response_header().and_then(|head| code(&head.headers)));
    match (status, code.as_deref()) {
        (StatusCode::OK, Some("0")) if message == SERVING => Ok(()),
        (StatusCode::OK, Some("0")) => Err("it does not say SERVING".to_owned()),
        (status, code) => Err(format!("status {}, grpc-status {}", status.as_u16(), code.unwrap_or("-"))),
    }
}

/// Up to a tenth more or less, so that many gateways do not ask at the same moment.
fn jittered(interval: Duration) -> Duration {
    let mut seed = [0u8; 4];
    // Without the system's randomness it is regular.
    if getrandom::fill(&mut seed).is_err() {
        return interval;
    }
    let share = u32::from_le_bytes(seed) % 200;
    interval.saturating_mul(900 + share) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_differ_by_a_tenth_at_most() {
        let interval = Duration::from_secs(5);
        let all: Vec<Duration> = (0..100).map(|_| jittered(interval)).collect();
        assert!(all.iter().all(|time| (4500..5500).contains(&time.as_millis())));
        assert!(all.iter().any(|time| time != all.first().unwrap()));
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_grpc_target_must_say_that_it_serves() {
        use axum::{Router, routing::post};
        let serving = || async { ([("grpc-status", "0")], SERVING) };
        let not_serving = || async { ([("grpc-status", "0")], &[0u8, 0, 0, 0, 2, 8, 2][..]) };
        let unknown = || async { ([("grpc-status", "12")], &[][..]) };
        let router = Router::new()
            .route("/serving", post(serving))
            .route("/not-serving", post(not_serving))
            .route("/unknown", post(unknown));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let limits = crate::serve::Limits {
            connections: 8,
            header_timeout: None,
            lifetime: None,
            grace: Duration::from_secs(5),
            http2: true,
        };
        let server = crate::serve::Server::start(socket, limits, |_| router).unwrap();
        let address = server.address();
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.set_http_version(2, 2);
        let (connector, health) = (Connector::new(None), Health::default());
        for (path, well) in
            [("/serving", true), ("/not-serving", false), ("/unknown", false), ("/none", false)]
        {
            let asked = ask(&connector, &peer, Protocol::Grpc, path, &address.to_string(), &health).await;
            assert_eq!(asked.is_ok(), well, "{path} {asked:?}");
        }
        // Without gRPC a method that takes no GET is no sign of health.
        let asked = ask(&connector, &peer, Protocol::Http2, "/serving", &address.to_string(), &health).await;
        assert_eq!(asked, Err("status 405".to_owned()));
        server.stop().await;
    }
}
