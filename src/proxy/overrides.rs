//! Headers with which a client names another method or path than the request's, where a route asks for them.
//!
//! Such a header would have an origin do what nobody has judged. So a method that is named becomes the request's own
//! before anything looks at it: router, plugins, record and origin see the same.

use super::admit::{Routed, not_allowed};
use crate::{gateway::Snapshot, owned::Override, router::Lookup};
use http::{HeaderName, HeaderValue, Method};
use palisade_contract::{Denial, RequestHeader};

/// Removes what routes ask for, but for what this one does.
pub(super) fn remove(request: &mut RequestHeader, snapshot: &Snapshot, kept: &[HeaderName]) {
    for name in snapshot.headers.asked.iter().filter(|name| !kept.contains(name)) {
        request.remove_header(name);
    }
}

/// Leaves those to the request that its route asks for, and gives it the method that it names. The one that it came
/// with is beside what comes back, where it is another.
#[cold]
pub(super) fn settle<'s>(
    found: Result<Routed<'s>, Denial>,
    request: &mut RequestHeader,
    host: &str,
    snapshot: &'s Snapshot,
) -> (Result<Routed<'s>, Denial>, Option<Method>) {
    let kept = found.as_ref().map_or(&[][..], |(route, _)| &*route.pass_headers);
    remove(request, snapshot, kept);
    let Ok(routed) = found else { return (found, None) };
    match named(request, kept) {
        Ok(Some(method)) if method != request.method => match take(&routed, request, &method, host, snapshot)
        {
            Ok(()) => {
                let written = request.method.clone();
                request.set_method(method);
                (Ok(routed), Some(written))
            }
            Err(denial) => (Err(denial), None),
        },
        Ok(_) => (Ok(routed), None),
        Err(denial) => (Err(denial), None),
    }
}

/// The method that the request names, where it names one.
fn named(request: &RequestHeader, kept: &[HeaderName]) -> Result<Option<Method>, Denial> {
    let names = kept.iter().filter(|name| Override::of(name.as_str()) == Some(Override::Method));
    let mut values = names.flat_map(|name| request.headers.get_all(name));
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None, _) => Ok(None),
        (Some(text), None) if text == request.method.as_str().as_bytes() => Ok(None),
        // Whoever means to read, and is made to write by a header, is not protected by what protects writing.
        (Some(_), None) if request.method != Method::POST => {
            Err(refused("Only a POST may name another method"))
        }
        (Some(b"PUT"), None) => Ok(Some(Method::PUT)),
        (Some(b"PATCH"), None) => Ok(Some(Method::PATCH)),
        (Some(b"DELETE"), None) => Ok(Some(Method::DELETE)),
        (Some(_), None) => Err(refused("The method that is named must be PUT, PATCH or DELETE")),
        (Some(_), Some(_)) => Err(refused("Another method is named more than once")),
    }
}

/// Whether the same route takes the request with this method.
fn take(
    (route, _): &Routed<'_>,
    request: &RequestHeader,
    method: &Method,
    host: &str,
    snapshot: &Snapshot,
) -> Result<(), Denial> {
    match snapshot.router.find(host, request.uri.path(), method, &request.headers) {
        Lookup::Found(found) if std::sync::Arc::ptr_eq(found.route, route) => Ok(()),
        Lookup::MethodNotAllowed { allow, route } => Err(not_allowed(allow, route)),
        _ => Err(refused("The method that is named belongs to another route")),
    }
}

fn refused(message: &'static str) -> Denial {
    Denial::bad_request("method_override").message(message)
}
