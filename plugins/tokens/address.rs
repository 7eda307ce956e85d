//! Addresses of those who make tokens.

use http::Uri;
use std::net::IpAddr;

/// An address to call: `https`, or `http` on this machine. `plain` says what is wrong with any other `http`.
pub(crate) fn read(text: &str, plain: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| format!("`{text}` is not an address"))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("an address does not hold a password".to_owned());
    }
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) if !host.is_empty() => Ok(uri),
        (Some("http"), Some(host)) if is_here(host) => Ok(uri),
        (Some("http"), _) => Err(format!("`{text}` {plain}")),
        _ => Err(format!("`{text}` is not an `https` address")),
    }
}

fn is_here(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
