//! Who may ask what: the host that is asked for, and the token.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE},
    uri::Authority,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AdminState, api};
use crate::{logging, serve::problem};

/// How often refused tokens are told in the log.
const REFUSAL_LOG: Duration = Duration::from_secs(10);

/// What access to one listener depends on.
pub(super) struct Access {
    /// Where it listens.
    pub(super) address: IpAddr,
    /// True where others than this machine may reach it.
    pub(super) exposed: bool,
    pub(super) state: Arc<dyn AdminState>,
}

/// Lets a request through, or says why not. It asks before anything is known of the path, so that an unknown
/// path is not told from a known one either.
pub(super) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let refused = {
        if !access.exposed && !names_this_host(request.uri(), request.headers(), access.address) {
            let detail = "ask for `localhost` or the address that the admin API listens on";
            Some(problem(StatusCode::FORBIDDEN, "host_not_allowed", detail))
        } else if access.needs_token(request.method(), request.uri().path()) {
            authorize(request.headers(), access.state.token().as_ref().map(|token| token.expose())).err()
        } else {
            None
        }
    };
    match refused {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

impl Access {
    fn needs_token(&self, method: &Method, path: &str) -> bool {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        !reads || path == api::LOCKOUTS || (self.exposed && !api::PROBES.contains(&path))
    }
}

/// True where the request names this machine's loopback: `localhost`, `127.0.0.1`, `[::1]` or the address
/// that is listened on. A page from elsewhere whose name resolves to loopback names its own host.
fn names_this_host(uri: &Uri, headers: &HeaderMap, address: IpAddr) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = Authority::try_from(host.as_bytes()) else { return false };
    is_this_host(&host, address) && uri.authority().is_none_or(|target| is_this_host(target, address))
}

fn is_this_host(authority: &Authority, address: IpAddr) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ours = |ip: IpAddr| ip == address || ip == IpAddr::from([127, 0, 0, 1]) || is_v6_loopback(ip);
    host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(ours)
}

fn is_v6_loopback(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_loopback())
}

fn authorize(headers: &HeaderMap, token: Option<&str>) -> Result<(), Response> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        let detail = "this needs the admin token, and none is configured: set `admin.token`";
        return Err(problem(StatusCode::FORBIDDEN, "admin_token_not_set", detail));
    };
    if !headers.contains_key(AUTHORIZATION) {
        return Err(unauthorized("admin_token_missing", "Bearer realm=\"palisade admin\""));
    }
    if bearer(headers).is_some_and(|presented| same(presented, token.as_bytes())) {
        return Ok(());
    }
    logging::every(REFUSAL_LOG, "admin token", || log::warn!("a wrong token was shown to the admin API"));
    Err(unauthorized("admin_token_wrong", "Bearer realm=\"palisade admin\", error=\"invalid_token\""))
}

/// The one bearer token (RFC 6750); none where there are two headers, or another scheme.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Compares digests: the time taken tells neither where two tokens differ nor how long the right one is.
fn same(presented: &[u8], token: &[u8]) -> bool {
    Sha256::digest(presented).ct_eq(&Sha256::digest(token)).into()
}

fn unauthorized(reason: &'static str, challenge: &'static str) -> Response {
    let detail = "write `Authorization: Bearer TOKEN` with the value of `admin.token`";
    let mut answer = problem(StatusCode::UNAUTHORIZED, reason, detail);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_host_are_taken() {
        let address = IpAddr::from([127, 0, 0, 7]);
        for (host, ours) in [
            ("localhost", true),
            ("LocalHost:9901", true),
            ("127.0.0.1:9901", true),
            ("127.0.0.7", true),
            ("[::1]:9901", true),
            ("127.0.0.8", false),
            ("127.1", false),
            ("2130706433", false),
            ("0.0.0.0", false),
            ("[::ffff:127.0.0.1]", false),
            ("localhost.", false),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("evil@localhost", false),
            ("localhost:9901@evil.example", false),
            ("localhost/", false),
            ("localhost, evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            assert_eq!(names_this_host(&Uri::from_static("/"), &headers, address), ours, "{host}");
            let elsewhere = Uri::from_static("http://evil.example/");
            assert!(!names_this_host(&elsewhere, &headers, address), "{host}");
            headers.append(HOST, HeaderValue::from_static("localhost"));
            assert!(!names_this_host(&Uri::from_static("/"), &headers, address), "two hosts");
        }
        assert!(!names_this_host(&Uri::from_static("/"), &HeaderMap::new(), address));
    }

    #[test]
    fn only_the_token_itself_is_the_token() {
        for (value, right) in [
            ("Bearer sesame", true),
            ("bearer sesame", true),
            ("Bearer  sesame", false),
            ("Bearer sesame ", false),
            ("Bearer Sesame", false),
            ("Bearer sesam", false),
            ("Bearer sesames", false),
            ("Bearer sesame, Bearer x", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic sesame", false),
            ("sesame", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(authorize(&headers, Some("sesame")).is_ok(), right, "{value}");
            assert!(authorize(&headers, None).is_err() && authorize(&headers, Some("")).is_err(), "{value}");
            headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer sesame"));
            assert!(authorize(&headers, Some("sesame")).is_err(), "two headers");
        }
    }
}
