//! What an issuer answers (RFC 7662 §2.2): exactly what the standard says, or it is no answer.

use crate::{
    json,
    tokens::{claims::Claims, refusal::Refusal},
};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

/// What an answer says of a token.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// It is good, and this is true of it.
    Active(Claims),
    /// It is not good.
    Refused(Refusal),
}

/// Reads an answer. The error is for the operator, and holds nothing of it.
pub(super) fn read(answer: &Response<Bytes>) -> Result<Said, String> {
    if answer.status() == StatusCode::BAD_REQUEST && is_about_the_token(answer.body()) {
        return Ok(Said::Refused(Refusal::Type));
    }
    if answer.status() != StatusCode::OK {
        let code = error_code(answer.body()).map(|code| format!(" `{code}`")).unwrap_or_default();
        return Err(format!("it answers {}{code}", answer.status().as_u16()));
    }
    let mut object =
        json::object(answer.body()).ok_or("its answer is no JSON object, or a name stands in it twice")?;
    match object.remove("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Said::Refused(Refusal::Inactive)),
        _ => return Err("`active` is neither true nor false in its answer".to_owned()),
    }
    let claims: Claims = object.into_iter().collect();
    for name in ["exp", "nbf", "iat"] {
        crate::tokens::claims::time(&claims, name)
            .map_err(|_| format!("`{name}` is not a whole number of seconds in its answer"))?;
    }
    for name in ["scope", "client_id", "username", "token_type", "sub", "iss", "jti"] {
        if !matches!(claims.get(name), None | Some(Value::String(_))) {
            return Err(format!("`{name}` is not a string in its answer"));
        }
    }
    Ok(if is_another_type(&claims) { Said::Refused(Refusal::Type) } else { Said::Active(claims) })
}

/// What is wrong, where it is one of the codes of RFC 6749 §5.2: nothing else of an answer goes into a log.
fn error_code(body: &[u8]) -> Option<&'static str> {
    const CODES: [&str; 4] =
        ["invalid_client", "invalid_client_metadata", "invalid_request", "unauthorized_client"];
    let object = json::object(body)?;
    let found = object.get("error")?.as_str()?;
    CODES.into_iter().find(|code| *code == found)
}

/// True where the issuer has understood the question, and is asked about no token of this kind (RFC 7009 §2.2.1). Other
/// errors are about us.
fn is_about_the_token(body: &[u8]) -> bool {
    json::object(body).is_some_and(|object| {
        object.get("error").and_then(Value::as_str) == Some("unsupported_token_type")
            && !object.contains_key("active")
    })
}

/// True for what is no access token, where the issuer says so: a refresh token is active too, and lives for months. A
/// token that a client must prove to hold (RFC 9449) is no bearer token either.
fn is_another_type(claims: &Claims) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let is = |found: &str, word: &str| found.eq_ignore_ascii_case(word);
    text("token_type").is_some_and(|found| !is(found, "bearer") && !is(found, "access_token"))
        || text("token_use").is_some_and(|found| is(found, "refresh_token") || is(found, "id_token"))
        || text("typ").is_some_and(|found| is(found, "refresh") || is(found, "offline") || is(found, "id"))
}
