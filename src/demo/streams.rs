//! Answers that are late, long, in pieces or compressed.

use std::{
    convert::Infallible,
    io::{self, Write},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::Path,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{any, get},
};
use flate2::{Compression, write::GzEncoder};
use futures::{Stream, StreamExt, stream};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::input::{Parameters, bad_request};
use crate::serve::problem;

/// The longest that an answer may take by itself.
const WAIT_MS: u64 = 60_000;
const CHUNKS: usize = 10_000;
const CHUNK_BYTES: usize = 64 * 1024;
const BYTES: usize = 16 * 1024 * 1024;
const EVENTS: usize = 1000;

/// Bytes 0 to 250 over and over: 251 is prime, so a piece that is lost or doubled shows.
const PERIOD: usize = 251;
static PATTERN: [u8; PERIOD * 261] = pattern();

pub(super) fn router() -> Router {
    Router::new()
        .route("/slow", any(slow))
        .route("/stream", any(stream_chunks))
        .route("/bytes/{n}", get(bytes))
        .route("/status/{code}", any(status))
        .route("/gzip", any(gzip))
        .route("/sse", get(events))
        .route("/health", get(|| async { Json(json!({ "status": "ok" })) }))
}

#[derive(Deserialize)]
#[serde(default)]
struct Slow {
    ms: u64,
}

impl Default for Slow {
    fn default() -> Self {
        Slow { ms: 1000 }
    }
}

async fn slow(Parameters(Slow { ms }): Parameters<Slow>) -> Response {
    if ms > WAIT_MS {
        return out_of_range("ms", WAIT_MS);
    }
    sleep(Duration::from_millis(ms)).await;
    Json(json!({ "waited_ms": ms })).into_response()
}

#[derive(Deserialize)]
#[serde(default)]
struct Chunks {
    chunks: usize,
    bytes: usize,
    ms: u64,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { chunks: 10, bytes: 1024, ms: 0 }
    }
}

/// `chunks` pieces of `bytes` each, `ms` before each. Every piece starts the pattern anew.
async fn stream_chunks(Parameters(asked): Parameters<Chunks>) -> Response {
    if asked.chunks > CHUNKS {
        return out_of_range("chunks", CHUNKS as u64);
    }
    if asked.bytes > CHUNK_BYTES {
        return out_of_range("bytes", CHUNK_BYTES as u64);
    }
    if asked.ms.saturating_mul(asked.chunks as u64) > WAIT_MS {
        return out_of_range("chunks × ms", WAIT_MS);
    }
    let piece = Bytes::from_static(PATTERN.get(..asked.bytes).unwrap_or_default());
    let pieces = paced(asked.chunks, asked.ms).map(move |_| Ok::<_, Infallible>(piece.clone()));
    ([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces)).into_response()
}

/// Byte i is i modulo 251.
async fn bytes(Path(n): Path<String>) -> Response {
    let Some(n) = n.parse::<usize>().ok().filter(|n| *n <= BYTES) else {
        return out_of_range("n", BYTES as u64);
    };
    let pieces = stream::iter((0..n).step_by(PATTERN.len())).map(move |start| {
        let length = (n - start).min(PATTERN.len());
        Ok::<_, Infallible>(Bytes::from_static(PATTERN.get(..length).unwrap_or_default()))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_LENGTH, HeaderValue::from(n)),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

async fn status(Path(code): Path<String>) -> Response {
    let code = code.parse::<u16>().ok().filter(|code| (200..600).contains(code));
    match code.and_then(|code| StatusCode::from_u16(code).ok()) {
        Some(status @ (StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)) => {
            status.into_response()
        }
        Some(status) => (status, Json(json!({ "status": status.as_u16() }))).into_response(),
        None => bad_request("invalid_status", "a status is a number from 200 to 599"),
    }
}

/// Compressed whatever the client accepts: an origin that does so is what a gateway must cope with.
async fn gzip() -> Response {
    let document = json!({ "compressed": true, "text": "sunflower ".repeat(400) });
    match compress(document.to_string().as_bytes()) {
        Ok(body) => {
            let headers = [(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")];
            (headers, body).into_response()
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "gzip_failed", &error.to_string()),
    }
}

fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[derive(Deserialize)]
#[serde(default)]
struct Events {
    events: usize,
    ms: u64,
}

impl Default for Events {
    fn default() -> Self {
        Events { events: 3, ms: 100 }
    }
}

async fn events(Parameters(asked): Parameters<Events>) -> Response {
    if asked.events > EVENTS {
        return out_of_range("events", EVENTS as u64);
    }
    if asked.ms.saturating_mul(asked.events as u64) > WAIT_MS {
        return out_of_range("events × ms", WAIT_MS);
    }
    let events = paced(asked.events, asked.ms).map(|number| {
        let id = number.to_string();
        Ok::<_, Infallible>(Event::default().event("tick").data(format!("tick {id}")).id(id))
    });
    Sse::new(events).into_response()
}

/// 0 to `count` − 1, with a pause before each.
fn paced(count: usize, ms: u64) -> impl Stream<Item = usize> + Send + 'static {
    stream::iter(0..count).then(move |number| async move {
        if ms > 0 {
            sleep(Duration::from_millis(ms)).await;
        }
        number
    })
}

fn out_of_range(what: &str, limit: u64) -> Response {
    bad_request("out_of_range", &format!("`{what}` is a number from 0 to {limit}"))
}

const fn pattern() -> [u8; PERIOD * 261] {
    let mut pattern = [0; PERIOD * 261];
    let mut rest: &mut [u8] = &mut pattern;
    let mut value = 0;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = value;
        value = if value == 250 { 0 } else { value + 1 };
        rest = others;
    }
    pattern
}
