//! What goes on in the background: connecting, asking whether the store is there, and opening what was shut.

use crate::{
    link::{CONNECTING, Link, words},
    store::{Shared, patience},
};
use futures::future::join_all;
use palisade_contract::Host;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time;

/// From one attempt to connect to the next: this at first, twice as long each time, and no longer than that.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that has held for so long was a good one.
const GOOD: Duration = Duration::from_secs(5);
/// From one question whether the store is there to the next.
const ASKED: Duration = Duration::from_secs(1);
/// The same for a part of a cluster that was not.
const ASKED_AGAIN: Duration = Duration::from_millis(250);
/// A cluster whose nodes do not answer so often in a row is looked for anew.
const UNANSWERED: u32 = 3;
const UNTIMELY: &str = "no answer in time";

/// Keeps a store connected. Never ends.
pub(crate) async fn supervise(shared: Arc<Shared>, host: Arc<dyn Host>) {
    let mut pause = FIRST_PAUSE;
    loop {
        // All connections of the pool, and sentinels before them.
        let connecting = Link::connect(&shared.settings, shared.ca.clone());
        let begun = Instant::now();
        match time::timeout(CONNECTING * 2, connecting).await {
            Ok(Ok(link)) => match pinged(&shared, &link).await {
                Ok(()) => {
                    shared.up(Arc::new(link));
                    let why = watch(&shared, &host).await;
                    shared.link.store(None);
                    shared.down(&why);
                }
                Err(why) => shared.down(&why),
            },
            Ok(Err(error)) => shared.down(&words(&error)),
            Err(_) => shared.down(UNTIMELY),
        }
        pause = if begun.elapsed() >= GOOD { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        host.sleep(pause).await;
    }
}

/// Looks after a link, until it is to be given up; says why.
async fn watch(shared: &Shared, host: &Arc<dyn Host>) -> String {
    let mut unanswered = 0;
    let mut asked = Instant::now();
    loop {
        let wait = if shared.lanes.shut() > 0 { ASKED_AGAIN } else { ASKED };
        // A command that failed wakes this earlier.
        let woken = time::timeout(wait, shared.look.notified()).await.is_ok();
        let Some(link) = shared.link.load_full() else { return "the connection was lost".to_owned() };
        if !link.is_cluster() {
            if shared.lanes.all_shut() {
                return UNTIMELY.to_owned();
            }
            if let Err(why) = pinged(shared, &link).await {
                return why;
            }
            continue;
        }
        if woken {
            // What is shut was asked just now, by the commands that shut it.
            host.sleep(ASKED_AGAIN).await;
        }
        let shut = shared.lanes.each().filter(|lane| lane.is_shut());
        join_all(shut.map(async |lane| {
            let asked = link.has_node_of(lane.probe());
            if time::timeout(patience(&shared.settings), asked).await.unwrap_or(false) {
                lane.open();
            }
        }))
        .await;
        if asked.elapsed() >= ASKED {
            asked = Instant::now();
            match pinged(shared, &link).await {
                Ok(()) => unanswered = 0,
                Err(why) if unanswered + 1 >= UNANSWERED => return why,
                Err(_) => unanswered += 1,
            }
        }
    }
}

async fn pinged(shared: &Shared, link: &Link) -> Result<(), String> {
    let asked = time::timeout(patience(&shared.settings), link.ping()).await;
    asked.unwrap_or_else(|_| Err(UNTIMELY.to_owned()))
}

impl Shared {
    fn up(&self, link: Arc<Link>) {
        self.link.store(Some(link));
        self.lanes.open_all();
        let mut state = self.state.lock();
        if state.becomes("") {
            log::info!("the store `{}` at {} is there again", self.name, self.settings.address());
        }
    }

    fn down(&self, error: &str) {
        if self.state.lock().becomes(error) {
            log::warn!("the store `{}` at {} is down: {error}", self.name, self.settings.address());
        }
    }
}
