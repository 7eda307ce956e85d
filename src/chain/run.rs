//! Running the hooks of a chain, and keeping the decision record.

use super::{Chain, Slot, Stop};
use crate::conf::model::OnFault;
use futures::FutureExt;
use palisade_contract::{
    Body, Decision, Denial, Effect, Exchange, Fault, Mode, ResponseHeader, Step, Verdict,
};
use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

/// What is remembered of a request on its way through a chain: which request hooks ran, and the clock.
#[derive(Debug)]
pub struct Run {
    ran: u128,
    /// Entries whose condition was looked at, and those whose condition was not met.
    asked: u128,
    skipped: u128,
    last: Instant,
}

impl Run {
    /// For a request that began then.
    pub fn new(begun: Instant) -> Self {
        Run { ran: 0, asked: 0, skipped: 0, last: begun }
    }

    /// Adds a line to the decision record; the time is what passed since the last one.
    pub(super) fn record(
        &mut self,
        ex: &mut Exchange,
        slot: &Slot,
        effect: Effect,
        reason: Option<&'static str>,
        detail: Option<Cow<'static, str>>,
    ) {
        let now = Instant::now();
        let nanos = u32::try_from(now.duration_since(self.last).as_nanos()).unwrap_or(u32::MAX);
        self.last = now;
        slot.metrics.decided(effect, reason, nanos);
        ex.host_side().decisions.push(Decision {
            entry: Some(slot.info.clone()),
            effect,
            reason,
            detail,
            nanos,
        });
    }

    /// A denial: enforced, or in monitor mode only recorded.
    pub(super) fn denied(&mut self, ex: &mut Exchange, slot: &Slot, denial: Denial) -> Option<Stop> {
        let detail = denial.private_detail().map(|detail| Cow::Owned(detail.to_owned()));
        if slot.info.mode == Mode::Monitor {
            self.record(ex, slot, Effect::WouldDeny, Some(denial.reason()), detail);
            return None;
        }
        self.record(ex, slot, Effect::Deny, Some(denial.reason()), detail);
        Some(Stop::Denied(denial))
    }

    /// A fault: refused, or let through where the entry says so.
    pub(super) fn faulted(&mut self, ex: &mut Exchange, slot: &Slot, fault: Fault) -> Option<Stop> {
        let detail = Some(Cow::Owned(fault.to_string()));
        if slot.on_fault == OnFault::Allow {
            self.record(ex, slot, Effect::FaultAllowed, Some(fault.reason()), detail);
            return None;
        }
        self.record(ex, slot, Effect::Fault, Some(fault.reason()), detail);
        Some(Stop::Faulted(fault))
    }

    pub(super) fn judged(
        &mut self,
        ex: &mut Exchange,
        slot: &Slot,
        result: Result<Verdict, Fault>,
        quiet: bool,
    ) -> Option<Stop> {
        match result {
            Ok(Verdict::Continue) => {
                // Only request hooks leave a line for going on: the record stays readable.
                if !quiet {
                    self.record(ex, slot, Effect::Continue, None, None);
                }
                None
            }
            Ok(Verdict::Deny(denial)) => self.denied(ex, slot, denial),
            Ok(Verdict::Respond(reply)) if slot.info.mode == Mode::Monitor => {
                self.record(ex, slot, Effect::WouldDeny, Some(reply.reason()), None);
                None
            }
            Ok(Verdict::Respond(reply)) => {
                self.record(ex, slot, Effect::Respond, Some(reply.reason()), None);
                Some(Stop::Replied(reply))
            }
            Err(fault) => self.faulted(ex, slot, fault),
        }
    }
}

pub(super) fn bit(index: usize) -> u128 {
    u32::try_from(index).ok().and_then(|index| 1u128.checked_shl(index)).unwrap_or(0)
}

impl Chain {
    /// Screen and Authenticate: what runs before it is known who calls.
    pub async fn screen(&self, ex: &mut Exchange, run: &mut Run) -> Option<Stop> {
        if self.screen.is_empty() && !self.auth.is_some() && self.request.is_empty() {
            run.ran |= self.silent_screen;
            return None;
        }
        // The clock is read where something will be timed by it.
        run.last = Instant::now();
        let work = async {
            let stop = self.run_list(ex, run, &self.screen).await;
            if stop.is_some() || !self.auth.is_some() { stop } else { self.authenticate(ex, run).await }
        };
        let stop = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(stop) => stop,
            Err(_) => Some(self.panicked(ex, run)),
        };
        if stop.is_none() {
            run.ran |= self.silent_screen;
        }
        stop
    }

    /// Everything after Authenticate. The chain may be another one here: a consumer's entries replace a
    /// route's only from this point on, so the indices before it are the same.
    pub async fn request(&self, ex: &mut Exchange, run: &mut Run) -> Option<Stop> {
        if self.request.is_empty() {
            run.ran |= self.silent_request;
            return None;
        }
        let stop = match AssertUnwindSafe(self.run_list(ex, run, &self.request)).catch_unwind().await {
            Ok(stop) => stop,
            Err(_) => Some(self.panicked(ex, run)),
        };
        if stop.is_none() {
            run.ran |= self.silent_request;
        }
        stop
    }

    /// The request's body, or a piece of it.
    pub async fn request_body(&self, ex: &mut Exchange, run: &mut Run, body: &mut Body) -> Option<Stop> {
        if self.request_body.is_empty() {
            return None;
        }
        run.last = Instant::now();
        let body = &mut *body;
        let ran = run.ran;
        let work = async {
            for &index in &self.request_body {
                let Some(slot) = self.slots.get(index).filter(|_| ran & bit(index) != 0) else { continue };
                ex.host_side().slot = slot.id;
                let result = slot.plugin().on_request_body(ex, body).resolve().await;
                if let Some(stop) = run.judged(ex, slot, result, true) {
                    return Some(stop);
                }
            }
            None
        };
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(stop) => stop,
            Err(_) => Some(self.panicked(ex, run)),
        }
    }

    /// The response's head, in reverse order. `own` says that the gateway made the answer: then only hooks run
    /// whose request hook ran, and those that always do; and what they would refuse is only recorded.
    pub async fn response(
        &self,
        ex: &mut Exchange,
        run: &mut Run,
        head: &mut ResponseHeader,
        own: bool,
    ) -> Option<Stop> {
        if self.response.is_empty() {
            return None;
        }
        run.last = Instant::now();
        let work = async {
            for &index in &self.response {
                let Some(slot) = self.slots.get(index) else { continue };
                let plugin = slot.plugin();
                let due = run.ran & bit(index) != 0
                    || (plugin.on_every_response() && self.admits_quietly(ex, run, index, slot));
                if !due {
                    continue;
                }
                ex.host_side().slot = slot.id;
                let result = plugin.on_response(ex, head).resolve().await;
                let stop = run.judged(ex, slot, result, true);
                if stop.is_some() && !own {
                    return stop;
                }
            }
            None
        };
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(stop) => stop,
            Err(_) => Some(self.panicked(ex, run)),
        }
    }

    /// The response's body, or a piece of it, in reverse order.
    pub fn response_body(&self, ex: &mut Exchange, run: &mut Run, body: &mut Body) -> Option<Stop> {
        if self.response_body.is_empty() {
            return None;
        }
        run.last = Instant::now();
        let work = catch_unwind(AssertUnwindSafe(|| {
            for &index in &self.response_body {
                let Some(slot) = self.slots.get(index).filter(|_| run.ran & bit(index) != 0) else {
                    continue;
                };
                ex.host_side().slot = slot.id;
                let result = slot.plugin().on_response_body(ex, body);
                if let Some(stop) = run.judged(ex, slot, result, true) {
                    return Some(stop);
                }
            }
            None
        }));
        work.unwrap_or_else(|_| Some(self.panicked(ex, run)))
    }

    /// The request is over. A panic here is logged and costs nothing else.
    pub fn log(&self, ex: &mut Exchange, run: &mut Run) {
        for &index in &self.log {
            let Some(slot) = self.slots.get(index) else { continue };
            if slot.when.is_some() && !self.admits_quietly(ex, run, index, slot) {
                continue;
            }
            ex.host_side().slot = slot.id;
            if catch_unwind(AssertUnwindSafe(|| slot.plugin().on_log(ex))).is_err() {
                log::error!("plugin {} panicked in on_log ({})", slot.info.key, slot.info.place);
            }
        }
    }

    async fn run_list(&self, ex: &mut Exchange, run: &mut Run, list: &[usize]) -> Option<Stop> {
        for &index in list {
            let Some(slot) = self.slots.get(index) else { continue };
            if !self.admits(ex, run, index, slot) {
                continue;
            }
            ex.host_side().slot = slot.id;
            let result = match slot.plugin().on_request(ex) {
                Step::Now(result) => result,
                Step::Later(future) => future.await,
            };
            if let Some(stop) = run.judged(ex, slot, result, false) {
                return Some(stop);
            }
        }
        None
    }

    /// Looks at the entry's condition; a request that does not meet it leaves a line in the record.
    pub(super) fn admits(&self, ex: &mut Exchange, run: &mut Run, index: usize, slot: &Slot) -> bool {
        let admitted = self.admits_quietly(ex, run, index, slot);
        if admitted {
            run.ran |= bit(index);
        } else {
            run.record(ex, slot, Effect::Skipped, None, None);
        }
        admitted
    }

    pub(super) fn admits_quietly(&self, ex: &Exchange, run: &mut Run, index: usize, slot: &Slot) -> bool {
        let Some(when) = &slot.when else { return true };
        if run.asked & bit(index) == 0 {
            run.asked |= bit(index);
            if !when.evaluate(ex) {
                run.skipped |= bit(index);
            }
        }
        run.skipped & bit(index) == 0
    }

    /// A plugin panicked: this request gets a 500, whatever `on_fault` says.
    fn panicked(&self, ex: &mut Exchange, run: &mut Run) -> Stop {
        let id = ex.host_side().slot;
        let fault = Fault::internal("plugin_panicked");
        if let Some(slot) = self.slots.iter().find(|slot| slot.id == id) {
            log::error!(
                "plugin {} panicked ({}); request {} gets a 500",
                slot.info.key,
                slot.info.place,
                ex.id()
            );
            let slot: &Arc<Slot> = slot;
            run.record(ex, slot, Effect::Fault, Some(fault.reason()), None);
        }
        Stop::Faulted(fault)
    }
}
