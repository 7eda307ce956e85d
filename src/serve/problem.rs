//! Problem documents (RFC 9457) of the gateway's own small servers.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

/// The media type of a problem document.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An answer that says what is wrong: `reason` is a stable `snake_case` code, `detail` is for a person.
pub fn problem(status: StatusCode, reason: &'static str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Refused");
    let document = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "reason": reason,
        "detail": detail,
    });
    (status, [(CONTENT_TYPE, PROBLEM_JSON)], Json(document)).into_response()
}
