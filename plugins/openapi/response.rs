//! An answer against what its operation declares.

use super::{
    OpenApi, Problem, body,
    request::hold,
    spec::{Media, Response, Unknown},
    style::{Letters, Written},
};
use crate::{media_type::MediaType, schema::Violation};
use bytes::Bytes;
use http::Method;
use palisade_contract::{Exchange, ResponseHeader};

/// What the head of an answer says, until its body is there.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The operation that was asked for.
    pub(super) operation: Option<usize>,
    /// Without a head nothing was seen.
    status: Option<u16>,
    content_type: Option<String>,
    violation: Option<Violation>,
}

/// Notes what is needed of a head. It is judged with the body, which the gateway's own answers do not have.
pub(super) fn head(plugin: &OpenApi, ex: &mut Exchange, head: &ResponseHeader) {
    let Some(number) = ex.state::<Seen>().operation else { return };
    let status = head.status.as_u16();
    let violation = match declared(plugin, number, status) {
        None => None,
        Some(response) => headers(plugin, response, head).err(),
    };
    let content_type = match MediaType::of(&head.headers) {
        Ok(None) => None,
        // What can be read in two ways is none of those that are declared.
        Ok(Some(_)) => head.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()),
        Err(_) => Some(""),
    };
    let content_type = content_type.map(str::to_owned);
    let seen = ex.state::<Seen>();
    (seen.status, seen.content_type, seen.violation) = (Some(status), content_type, violation);
}

fn declared(plugin: &OpenApi, number: usize, status: u16) -> Option<&Response> {
    let rules = plugin.spec.rules(number)?;
    rules.responses.iter().find(|(known, _)| known.fits(status)).map(|(_, response)| response)
}

fn headers(plugin: &OpenApi, response: &Response, head: &ResponseHeader) -> Result<(), Violation> {
    for parameter in &response.headers {
        let at = || format!("/header/{}", parameter.name);
        let values: Result<Vec<&str>, _> =
            head.headers.get_all(&*parameter.name).iter().map(|value| value.to_str()).collect();
        let values = values.map_err(|_| Violation::new(at(), "it is not printable ASCII"))?;
        if values.is_empty() {
            if parameter.required {
                return Err(Violation::new(at(), "it is missing"));
            }
            continue;
        }
        let text = values.join(",");
        let written = Written { name: &parameter.name, shape: &parameter.shape, letters: Letters::Plain };
        let texts = [text.as_str()];
        let value = written.value(parameter.format, &texts).map_err(|what| Violation::new(at(), what))?;
        let meant = parameter.shape.may_be_text().then_some((&written, &texts[..]));
        hold(&plugin.spec, parameter.schema, value, meant)
            .map_err(|violation| Violation::new(format!("{}{}", at(), violation.at), violation.what))?;
    }
    Ok(())
}

/// Judges an answer. What goes out in place of its body, where something was taken out of it.
///
/// # Errors
/// It is not as declared.
pub(super) fn judge(plugin: &OpenApi, ex: &mut Exchange, bytes: &Bytes) -> Result<Option<Bytes>, Violation> {
    let is_head = *ex.method() == Method::HEAD;
    let seen = std::mem::take(ex.state::<Seen>());
    let (Some(number), Some(status)) = (seen.operation, seen.status) else { return Ok(None) };
    if let Some(violation) = seen.violation {
        return Err(violation);
    }
    // Of what a client asked not to see again nothing is said (RFC 9110 §15.4.5).
    if status == 304 {
        return Ok(None);
    }
    let response = declared(plugin, number, status)
        .ok_or_else(|| Violation::new("/status", format!("{status} is not declared")))?;
    if is_head || bytes.is_empty() && (response.media.is_empty() || matches!(status, 204 | 205)) {
        return Ok(None);
    }
    if response.media.is_empty() {
        return Err(Violation::new("", "a body is not declared"));
    }
    let found = seen.content_type.as_deref().map(MediaType::parse);
    let found = match found {
        Some(Ok(found)) => found,
        Some(Err(_)) => return Err(Violation::new("/header/content-type", "it is not one media type")),
        None => return Err(Violation::new("/header/content-type", "it is missing")),
    };
    let media = super::spec::choose(&response.media, found)
        .ok_or_else(|| Violation::new("/header/content-type", "this media type is not declared"))?;
    content(plugin, media, found, bytes)
}

fn content(
    plugin: &OpenApi,
    media: &Media,
    found: MediaType<'_>,
    bytes: &Bytes,
) -> Result<Option<Bytes>, Violation> {
    let (Some(schema), false) = (media.schema, media.opaque) else { return Ok(None) };
    let judged = match plugin.answers {
        Some(Unknown::Strip) => body::strip(&plugin.spec, schema, media, found, bytes),
        _ => body::check(&plugin.spec, schema, media, found, bytes).map(|()| None),
    };
    judged.map_err(|problem| problem.violation)
}

/// A problem of an answer.
pub(super) fn problem(violation: Violation) -> Problem {
    Problem {
        status: http::StatusCode::BAD_GATEWAY,
        reason: "openapi_response",
        message: "The answer is not what was declared",
        violation,
    }
}
