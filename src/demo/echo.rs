//! Shows exactly what the origin received.

use std::{future::poll_fn, pin::Pin};

use axum::{
    Json,
    body::{Body, HttpBody},
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Version, request::Parts};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::input::bad_request;

/// A body up to this many bytes is shown as text.
const TEXT_BYTES: usize = 4096;

/// The request as JSON: `method`, `target` as it stood in the request line or in `:path`, `authority` where
/// the target or `:authority` named one, `version`, `headers` and `trailers` as lists of name and value, and
/// of the body `length`, `sha256` and, up to 4 KiB of UTF-8, `text`.
///
/// Names are in lower case, and the values of one name stand together, in their order. A value that is not
/// UTF-8 is shown as ISO 8859-1.
pub(super) async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match Received::read(body).await {
        Ok(received) => Json(document(&parts, received)).into_response(),
        Err(error) => bad_request("unreadable_body", &format!("the body could not be read: {error}")),
    }
}

fn document(parts: &Parts, received: Received) -> Value {
    let target = match parts.version {
        // `:path` alone; scheme and authority are fields of their own.
        Version::HTTP_2 => parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        _ => parts.uri.to_string(),
    };
    json!({
        "method": parts.method.as_str(),
        "target": target,
        "authority": parts.uri.authority().map(|authority| authority.as_str()),
        "version": format!("{:?}", parts.version),
        "headers": fields(&parts.headers),
        "trailers": fields(&received.trailers),
        "body": {
            "length": received.length,
            "sha256": hex::encode(received.digest),
            "text": received.text,
        },
    })
}

fn fields(headers: &HeaderMap) -> Vec<[String; 2]> {
    headers.iter().map(|(name, value)| [name.as_str().to_owned(), text(value)]).collect()
}

fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// What is told of a body; of the body itself only the start is ever held.
struct Received {
    length: u64,
    digest: [u8; 32],
    text: Option<String>,
    trailers: HeaderMap,
}

impl Received {
    async fn read(mut body: Body) -> Result<Self, axum::Error> {
        let (mut length, mut hasher, mut start) = (0, Sha256::new(), Vec::new());
        let mut trailers = HeaderMap::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame?.into_data() {
                Ok(data) => {
                    length += data.len() as u64;
                    hasher.update(&data);
                    let room = TEXT_BYTES.saturating_sub(start.len());
                    start.extend(data.iter().take(room));
                }
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        let whole = start.len() as u64 == length;
        let text = whole.then(|| String::from_utf8(start).ok()).flatten();
        Ok(Received { length, digest: hasher.finalize().into(), text, trailers })
    }
}
