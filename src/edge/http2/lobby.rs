//! Where requests wait whose body has not begun.
//!
//! A request that is served takes some twenty times what its head takes, and an HTTP/2 client can begin a hundred with
//! a few bytes each. One that is to have a body of which nothing comes gets no further than its head: not to a plugin,
//! nor to an origin.

use super::active::Active;
use http::header;
use palisade_contract::RequestHeader;
use pingora::protocols::http::v2::server::HttpSession;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Clients may wait for a word before they send the first of a body: for a 100, or in gRPC for the server's first
/// message. So many requests of a connection are served at once where they may be of that kind.
const AT_ONCE: usize = 8;
/// After this time the others of that kind are.
const SHORT: Duration = Duration::from_secs(1);

/// A place among those that are served before their body has begun, until this is dropped.
pub(super) struct Place(Arc<Active>);

/// Waits for the first of a request's body, which is kept for whoever reads it: no longer than `time`. Says how long it
/// took, and keeps the place that the request may have got instead.
pub(super) async fn wait(
    session: &mut HttpSession,
    active: &Arc<Active>,
    time: Duration,
) -> (Duration, Option<Place>) {
    if session.is_body_done() {
        return (Duration::ZERO, None);
    }
    let talks = awaits_a_word(session.req_header());
    if talks && let Some(place) = place(active) {
        return (Duration::ZERO, Some(place));
    }
    let begun = Instant::now();
    session.enable_retry_buffering();
    let first = async {
        // An empty frame is nothing; an error is found by whoever reads on.
        while matches!(session.read_body_bytes().await, Ok(Some(piece)) if piece.is_empty()) {}
    };
    let _ = timeout(if talks { time.min(SHORT) } else { time }, first).await;
    (begun.elapsed(), None)
}

/// True for a request whose client may wait for an answer before it sends its body.
fn awaits_a_word(head: &RequestHeader) -> bool {
    let grpc = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    head.headers.contains_key(header::EXPECT) || head.headers.get(header::CONTENT_TYPE).is_some_and(grpc)
}

fn place(active: &Arc<Active>) -> Option<Place> {
    let one_more = |count: usize| (count < AT_ONCE).then_some(count + 1);
    let taken: &AtomicUsize = active.early();
    taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
    Some(Place(active.clone()))
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.early().fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_served_before_their_body_has_begun() {
        let active = Arc::<Active>::default();
        let mut places: Vec<_> = (0..AT_ONCE).map(|_| place(&active).unwrap()).collect();
        assert!(place(&active).is_none());
        places.pop();
        assert!(place(&active).is_some());
    }
}
