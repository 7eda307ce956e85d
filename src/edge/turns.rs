//! Work that comes in crowds and takes long by turns, so that what else a thread serves is not kept waiting for all of it.
//!
//! A TLS handshake is some hundred microseconds of arithmetic, and a thousand may be ready at once. An event loop goes
//! through what is ready in order: a request behind them would wait for every one. With turns a few of them go on each
//! time around, and the request is behind those few.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};
use tokio::sync::Semaphore;

/// How many go on each time around.
const AT_ONCE: usize = 4;

/// Those of one thread.
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Turns(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Does the work, each step of it in its turn. Nobody's turn goes on while the work waits for its client.
    pub(super) async fn take<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            let turn = self.0.clone().acquire_owned().await;
            let step = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            // It is given back behind everything that is ready now.
            tokio::spawn(async move { drop(turn) });
            if let Poll::Ready(done) = step {
                return done;
            }
            woken().await;
        }
    }
}

/// Waits until the task is woken, by whatever its work has told to do so.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use tokio::task::yield_now;

    /// What ran, in order, where so many pieces of work are ready and something else behind them.
    async fn order(turns: Option<Turns>) -> Vec<&'static str> {
        let (log, turns) = (Arc::new(Mutex::new(Vec::new())), Arc::new(turns));
        let mut all = Vec::new();
        for _ in 0..20 {
            let (log, turns) = (log.clone(), turns.clone());
            all.push(tokio::spawn(async move {
                let work = async {
                    log.lock().push("step");
                    yield_now().await;
                    log.lock().push("step");
                };
                match &*turns {
                    Some(turns) => turns.take(work).await,
                    None => work.await,
                }
            }));
        }
        let other = log.clone();
        all.push(tokio::spawn(async move { other.lock().push("request") }));
        for task in all {
            task.await.unwrap();
        }
        log.lock().clone()
    }

    #[tokio::test]
    async fn who_comes_behind_a_crowd_waits_for_a_few_of_it() {
        let before = |ran: &[&str]| ran.iter().position(|what| *what == "request").unwrap();
        assert_eq!(before(&order(None).await), 20);
        let ran = order(Some(Turns::default())).await;
        assert!(before(&ran) <= AT_ONCE, "{ran:?}");
        assert_eq!(ran.iter().filter(|what| **what == "step").count(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_or_is_given_up_takes_no_turn() {
        let turns = Turns::default();
        let second = std::time::Duration::from_secs(1);
        let never = || turns.take(std::future::pending::<()>());
        let held = futures::future::join_all((0..50).map(|_| never()));
        let others = async {
            tokio::time::timeout(second, never()).await.unwrap_err();
            turns.take(async { 7 }).await
        };
        let done = tokio::select! { _ = held => 0, done = others => done };
        assert_eq!(done, 7);
        yield_now().await;
        assert_eq!(turns.0.available_permits(), AT_ONCE);
    }
}
