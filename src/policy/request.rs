//! A request as somebody writes it down, made into the bytes that a client would send.

use super::world;
use crate::{conf::model::Config, edge::ConnInfo};
use bytes::Bytes;
use std::{net::IpAddr, sync::Arc};

/// The host where none is named.
const HOST: &str = "localhost";

/// A request as it is written.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) method: Option<String>,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    /// The body is JSON.
    pub(super) json: bool,
    pub(super) body: Bytes,
    pub(super) client_ip: IpAddr,
    pub(super) listener: Option<String>,
}

/// A request, and the connection that it comes in on.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// `GET /cart`.
    pub(super) shown: String,
    /// Whether TLS was asked for, where the address says so.
    pub(super) https: Option<bool>,
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
    pub(super) connection: Arc<ConnInfo>,
}

/// A field, what is wrong with it, and what to write instead.
pub(super) type Wrong = (&'static str, String, String);

impl Request {
    /// Makes it. The target stays as it is written: what is wrong with it is the gateway's to find.
    pub(super) fn make(parts: Parts, config: &Config) -> Result<Self, Wrong> {
        let Parts { method, url, headers, json, body, client_ip, listener } = parts;
        let method = method.unwrap_or_else(|| if body.is_empty() { "GET" } else { "POST" }.to_owned());
        let (https, authority, target) = split(&url)?;
        let given = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        let mut field = |name: &str, value: &str| {
            if name.contains(['\r', '\n']) || value.contains(['\r', '\n', '\0']) {
                let help = "write each field on its own".to_owned();
                return Err(("headers", format!("`{}` is not a header field", name.escape_debug()), help));
            }
            head.push_str(&format!("{name}: {value}\r\n"));
            Ok(())
        };
        let host = authority.unwrap_or(HOST);
        if !given("host") {
            field("host", host)?;
        }
        for (name, value) in &headers {
            field(name, value)?;
        }
        if json && !given("content-type") {
            field("content-type", "application/json")?;
        }
        if !body.is_empty() && !given("content-length") && !given("transfer-encoding") {
            field("content-length", &body.len().to_string())?;
        }
        head.push_str("\r\n");
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let connection =
            world::connect(config, listener.as_deref(), https, (client_ip, name)).map_err(|help| {
                ("listener", format!("there is no listener `{}`", listener.unwrap_or_default()), help)
            })?;
        let https = authority.map(|_| https);
        Ok(Request { https, shown: format!("{method} {url}"), head: head.into_bytes(), body, connection })
    }
}

/// Whether TLS is wanted, the host where one is named, and the target.
fn split(url: &str) -> Result<(bool, Option<&str>, &str), Wrong> {
    let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ if url.starts_with('/') || url == "*" => return Ok((false, None, url)),
        _ => {
            let help = "write a path from `/`, or `https://` and a host".to_owned();
            return Err(("url", format!("`{url}` is not an address"), help));
        }
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    match target {
        "" => Ok((https, Some(authority), "/")),
        target if target.starts_with('/') => Ok((https, Some(authority), target)),
        _ => Err(("url", format!("`{url}` has no path before its query"), "write `/?…`".to_owned())),
    }
}
