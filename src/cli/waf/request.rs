//! The request that is tried.

use bytes::Bytes;
use clap::Args;
use palisade_contract::{Client, Exchange, RequestHeader};
use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
};

/// The longest body that is read.
const LONGEST: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct Request {
    /// The method; by default GET, and POST where there is a body.
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// The path and query.
    #[arg(long, value_name = "PATH", default_value = "/")]
    uri: String,
    /// A header field, `Name: value`; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "FIELD")]
    headers: Vec<String>,
    /// The body.
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// A file that holds the body; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
}

impl Request {
    /// The exchange, as it is where the first plugin sees it, and the body.
    pub(super) fn exchange(&self) -> Result<(Exchange, Bytes), String> {
        let body = self.body()?;
        let method = self.method.as_deref().unwrap_or(if body.is_empty() { "GET" } else { "POST" });
        let uri = encoded(&self.uri);
        let mut request = RequestHeader::build(method, uri.as_bytes(), None)
            .map_err(|_| format!("`{method} {uri}` is no request"))?;
        let mut add = |name: &str, value: &str| {
            request
                .append_header(name.to_owned(), value)
                .map_err(|_| format!("`{name}: {value}` is not a header field"))
        };
        let mut given = Vec::new();
        for field in &self.headers {
            let (name, value) =
                field.split_once(':').ok_or_else(|| format!("`{field}` is not `Name: value`"))?;
            given.push(name.trim().to_ascii_lowercase());
            add(name.trim(), value.trim())?;
        }
        let length = body.len().to_string();
        let with_body =
            [("content-length", length.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let always = [("host", "localhost"), ("user-agent", "palisade waf try"), ("accept", "*/*")];
        for (name, value) in always.into_iter().chain(with_body.into_iter().filter(|_| !body.is_empty())) {
            if !given.iter().any(|other| other == name) {
                add(name, value)?;
            }
        }
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let client = Client {
            ip,
            peer: (ip, 40_000).into(),
            https: false,
            behind_proxy: false,
            proxies: Vec::new(),
            listener: "try".into(),
            port: 80,
            tls: None,
        };
        Ok((Exchange::new(request, Arc::new(client), "try".into()), body))
    }

    fn body(&self) -> Result<Bytes, String> {
        let Some(file) = &self.body_file else { return Ok(self.body.clone().unwrap_or_default().into()) };
        let shown = file.display();
        let mut body = Vec::new();
        let read = if file.as_os_str() == "-" {
            std::io::stdin().take(LONGEST).read_to_end(&mut body)
        } else {
            std::fs::File::open(file).and_then(|file| file.take(LONGEST).read_to_end(&mut body))
        };
        read.map_err(|error| format!("cannot read `{shown}`: {error}"))?;
        Ok(body.into())
    }
}

/// An address as a browser would send it.
fn encoded(uri: &str) -> String {
    let mut text = String::with_capacity(uri.len());
    for byte in uri.bytes() {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#' => {
                text.push_str(&format!("%{byte:02X}"));
            }
            _ if byte.is_ascii_graphic() => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
