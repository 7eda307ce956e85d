//! Streams of a connection that are being served, and what their heads take.

use super::MAX_STREAMS;
use palisade_contract::RequestHeader;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// Fields of all requests of a connection that are in flight: an index of a byte becomes more than a hundred in memory.
/// Beyond that a stream is refused, which clients know to try again.
const MAX_FIELDS: usize = 25 * MAX_STREAMS as usize;
/// What a field takes besides its text: the client's, what the origin is told, and what is kept for the record.
const FIELD: usize = 3 * 104;
/// What a head may take that nobody has to pay for: some twenty fields.
const FREE: usize = 8 * 1024;
/// What unfinished requests of a connection may take together beyond that, besides what the client has sent for it. One
/// may take as much as it likes.
const UNPAID: usize = 8 * 1024;
/// What may be taken for each byte that the client has sent.
const PAID: usize = 2;

/// Streams of a connection that are being served.
#[derive(Default)]
pub(super) struct Active {
    streams: AtomicUsize,
    /// Of their requests.
    fields: AtomicUsize,
    /// What unfinished requests take beyond what is free.
    surplus: AtomicUsize,
    /// Those that are served before their body has begun.
    early: AtomicUsize,
    idle: Notify,
}

/// One of them, until it is dropped.
pub(super) struct Busy {
    active: Arc<Active>,
    fields: usize,
    surplus: usize,
}

impl Active {
    /// None where the heads take too much already. Of a request that is not finished `sent` is what the client has sent
    /// on the connection: it alone decides how long its head is held.
    pub(super) fn enter(self: &Arc<Self>, head: &RequestHeader, sent: Option<u64>) -> Option<Busy> {
        let fields = head.headers.len();
        // Only this connection's task adds to them.
        if self.fields.load(Ordering::Acquire) + fields > MAX_FIELDS {
            return None;
        }
        let surplus = if sent.is_some() { cost(head).saturating_sub(FREE) } else { 0 };
        let held = self.surplus.load(Ordering::Acquire);
        let paid = usize::try_from(sent.unwrap_or(0)).unwrap_or(usize::MAX).saturating_mul(PAID);
        if surplus > 0 && held > 0 && held.saturating_add(surplus) > paid.saturating_add(UNPAID) {
            return None;
        }
        self.fields.fetch_add(fields, Ordering::AcqRel);
        self.surplus.fetch_add(surplus, Ordering::AcqRel);
        self.streams.fetch_add(1, Ordering::AcqRel);
        Some(Busy { active: self.clone(), fields, surplus })
    }

    /// How many are served before their body has begun.
    pub(super) fn early(&self) -> &AtomicUsize {
        &self.early
    }

    /// Has the connection looked at: there is something to be sent.
    pub(super) fn nudge(&self) {
        self.idle.notify_waiters();
    }

    pub(super) async fn wait_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.streams.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.active.fields.fetch_sub(self.fields, Ordering::AcqRel);
        self.active.surplus.fetch_sub(self.surplus, Ordering::AcqRel);
        if self.active.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.active.idle.notify_waiters();
        }
    }
}

/// What a head takes in memory, as it is decoded.
fn cost(head: &RequestHeader) -> usize {
    let fields = head.headers.iter().map(|(name, value)| FIELD + name.as_str().len() + value.len());
    fields.sum::<usize>() + head.raw_path().len()
}
