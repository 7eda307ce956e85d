//! What the demo API reads of a request, with problem documents for what it cannot read.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    response::Response,
};
use http::{HeaderMap, StatusCode, request::Parts};
use serde::de::DeserializeOwned;

use crate::serve::problem;

/// The longest name of a consumer.
const NAME_BYTES: usize = 256;

/// A JSON body, whatever its content type says.
pub(super) struct Input<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| problem(rejection.status(), "unreadable_body", &rejection.body_text()))?;
        serde_json::from_slice(&bytes)
            .map(Input)
            .map_err(|error| bad_request("invalid_body", &format!("the body is not as expected: {error}")))
    }
}

/// The parameters of the query.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Parameters<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Parameters(value)),
            Err(rejection) => Err(bad_request("invalid_query", &rejection.body_text())),
        }
    }
}

/// Who is calling, as the gateway says; none where it says nothing.
pub(super) struct Caller(pub(super) Option<String>);

impl Caller {
    /// The name under which a cart is kept.
    pub(super) fn name(&self) -> &str {
        self.0.as_deref().unwrap_or("guest")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        consumer(&parts.headers).map(Caller)
    }
}

fn consumer(headers: &HeaderMap) -> Result<Option<String>, Response> {
    let mut values = headers.get_all("x-consumer-id").iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(name) if !name.is_empty() && name.len() <= NAME_BYTES && values.next().is_none() => {
            Ok(Some(name.to_owned()))
        }
        _ => Err(bad_request("invalid_consumer", "`x-consumer-id` is not one name of 1 to 256 characters")),
    }
}

/// 400.
pub(super) fn bad_request(reason: &'static str, detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, reason, detail)
}
