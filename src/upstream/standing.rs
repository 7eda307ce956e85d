//! Whether a target may be chosen, and how much of its weight counts.

use crate::conf::model::{Health, Outlier};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// The share of a target that is as good as any.
pub(super) const WHOLE: u32 = 1000;
/// The share that a target begins with when it comes back.
const FIRST: u32 = 100;
/// The longest ejection, in times of the first one.
const LONGEST: u32 = 10;

/// How long others wait for what a probe finds out, until there is another one.
const PROBE: Duration = Duration::from_secs(1);

/// Failed requests have put it aside for a while.
const EJECTED: u8 = 1;
/// It has come back and does not get its whole share yet.
const RAMPING: u8 = 2;
/// Checks have found that it is not well.
const DOWN: u8 = 4;

/// It could not be connected to: when its ejection is over, one request at a time tries.
const UNREACHED: u8 = 8;

/// What an upstream says about the standing of its targets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// How long a target that comes back takes to get its whole share.
    pub(super) slow_start: Option<Duration>,
    /// Targets are checked. What checks once found does not count where there are none.
    pub(super) checked: bool,
}

/// What is known of a target. As long as all is well, asking costs one atomic load.
#[derive(Debug, Default)]
pub(super) struct Standing {
    flags: AtomicU8,
    /// Requests that failed in succession.
    failures: AtomicU32,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    /// When the last ejection ends or ended, and how long it was.
    ejected: Option<(Instant, Duration)>,
    back: Option<Instant>,
    /// Until when one request tries whether it can be connected to again.
    probe: Option<Instant>,
    /// Checks in succession with the same result: true where they went well.
    checks: Option<(bool, u32)>,
}

/// What is known of a target, as another process can read it: times from now, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// Until its ejection ends; negative: since it ended.
    ejected_for: Option<i64>,
    /// How long the last ejection was.
    ejection: u64,
    /// Since it came back.
    back_since: Option<u64>,
    /// What the last checks found, and how many in succession.
    checks: Option<(bool, u32)>,
    /// Checks have found that it is not well.
    down: bool,
    /// Requests that failed in succession.
    failures: u32,
}

/// A target's state as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It gets its whole share.
    Up,
    /// It has come back, and its share grows.
    Ramping,
    /// Requests have failed; it gets none for a while.
    Ejected,
    /// Checks fail; it gets none until they succeed.
    Down,
}

impl State {
    /// True where requests go to it.
    pub fn takes_requests(self) -> bool {
        matches!(self, State::Up | State::Ramping)
    }
}

impl Standing {
    /// How much of its weight counts, of [`WHOLE`]; 0 where it may not be chosen.
    pub(super) fn share(&self, rules: Rules) -> u32 {
        if self.flags.load(Ordering::Acquire) == 0 { WHOLE } else { self.share_at(Instant::now(), rules) }
    }

    fn share_at(&self, now: Instant, rules: Rules) -> u32 {
        let mut times = self.times.lock();
        let mut flags = self.flags.load(Ordering::Acquire);
        if flags & EJECTED != 0 {
            match times.ejected {
                Some((end, _)) if now < end => return 0,
                _ if flags & UNREACHED != 0 => {
                    let taken = times.probe.is_some_and(|until| now < until);
                    return if taken || (flags & DOWN != 0 && rules.checked) { 0 } else { WHOLE };
                }
                _ => {
                    times.back = Some(now);
                    flags = flags & DOWN | RAMPING;
                }
            }
        }
        let share = ramp(times.back, now, rules.slow_start);
        if share == WHOLE {
            flags &= !RAMPING;
        }
        self.flags.store(flags, Ordering::Release);
        if flags & DOWN != 0 && rules.checked { 0 } else { share }
    }

    /// It is new beside others that have long been there: it begins slowly.
    pub(super) fn begin_slowly(&self, now: Instant) {
        self.times.lock().back = Some(now);
        self.flags.fetch_or(RAMPING, Ordering::AcqRel);
    }

    /// A request goes to it. After an ejection because it could not be connected to, others wait for what comes of it.
    pub(super) fn begin_probe(&self) {
        if self.flags.load(Ordering::Relaxed) & UNREACHED != 0 {
            self.times.lock().probe = Instant::now().checked_add(PROBE);
        }
    }

    /// A request went well.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.flags.load(Ordering::Relaxed) & UNREACHED != 0 {
            self.reached(Instant::now());
        }
    }

    /// It can be connected to again, if its ejection is over.
    fn reached(&self, now: Instant) {
        let mut times = self.times.lock();
        if times.ejected.is_some_and(|(end, _)| now < end) {
            return;
        }
        (times.back, times.probe) = (Some(now), None);
        self.flags.fetch_and(!(EJECTED | UNREACHED), Ordering::AcqRel);
        self.flags.fetch_or(RAMPING, Ordering::AcqRel);
    }

    /// A request failed, perhaps because no connection could be made. The time of the ejection that this leads to, if it may be ejected.
    pub(super) fn failed(
        &self,
        outlier: &Outlier,
        now: Instant,
        connect: bool,
        may: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        let probed = self.flags.load(Ordering::Relaxed) & UNREACHED != 0;
        if probed && !connect {
            self.reached(now);
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if (failures < outlier.consecutive_failures && !(probed && connect)) || !may() {
            return None;
        }
        let mut times = self.times.lock();
        if times.ejected.is_some_and(|(end, _)| now < end) {
            // Requests that were under way when it was ejected.
            return None;
        }
        let longest = outlier.eject.saturating_mul(LONGEST);
        let time = match times.ejected {
            // Well for as long as the longest ejection: it begins anew.
            Some((end, last)) if now.saturating_duration_since(end) < longest => {
                last.saturating_mul(2).min(longest)
            }
            _ => outlier.eject,
        };
        times.ejected = Some((now.checked_add(time)?, time));
        times.probe = None;
        self.failures.store(0, Ordering::Relaxed);
        self.flags.fetch_or(if connect { EJECTED | UNREACHED } else { EJECTED }, Ordering::AcqRel);
        Some(time)
    }

    /// A check went well, or did not. Where that changes anything: whether it is well now. The first check of all
    /// decides at once.
    pub(super) fn checked(&self, well: bool, health: &Health) -> Option<bool> {
        let mut times = self.times.lock();
        let (count, first) = match times.checks {
            Some((same, count)) if same == well => (count.saturating_add(1), false),
            last => (1, last.is_none()),
        };
        times.checks = Some((well, count));
        let down = self.flags.load(Ordering::Acquire) & DOWN != 0;
        let enough = if well { health.healthy } else { health.unhealthy };
        if down != well || (count < enough && !first) {
            return None;
        }
        if well {
            times.back = Some(Instant::now());
            self.flags.fetch_and(!DOWN, Ordering::AcqRel);
            self.flags.fetch_or(RAMPING, Ordering::AcqRel);
        } else {
            self.flags.fetch_or(DOWN, Ordering::AcqRel);
        }
        Some(well)
    }

    /// What is known of it.
    pub(super) fn record(&self, now: Instant) -> Record {
        let times = self.times.lock();
        let ejected_for = times.ejected.map(|(end, _)| match end.checked_duration_since(now) {
            Some(left) => i64::try_from(left.as_millis()).unwrap_or(i64::MAX),
            None => -i64::try_from(now.saturating_duration_since(end).as_millis()).unwrap_or(i64::MAX),
        });
        Record {
            ejected_for,
            ejection: times.ejected.map_or(0, |(_, time)| millis(time)),
            back_since: times.back.map(|back| millis(now.saturating_duration_since(back))),
            checks: times.checks,
            down: self.flags.load(Ordering::Acquire) & DOWN != 0,
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Goes on from what another process knew. What this one has found out by itself is newer.
    pub(super) fn recall(&self, record: &Record, now: Instant) {
        let mut times = self.times.lock();
        let mut flags = 0;
        if let (Some(left), None) = (record.ejected_for, times.ejected) {
            let (time, ejection) =
                (Duration::from_millis(left.unsigned_abs()), Duration::from_millis(record.ejection));
            let end = if left > 0 { now.checked_add(time) } else { now.checked_sub(time) };
            times.ejected = end.map(|end| (end, ejection));
            flags |= if left > 0 && times.ejected.is_some() { EJECTED } else { 0 };
        }
        if let (Some(since), None) = (record.back_since, times.back) {
            times.back = now.checked_sub(Duration::from_millis(since));
            flags |= RAMPING;
        }
        if times.checks.is_none() {
            times.checks = record.checks;
            flags |= if record.down { DOWN } else { 0 };
        }
        self.failures.fetch_add(record.failures, Ordering::Relaxed);
        self.flags.fetch_or(flags, Ordering::AcqRel);
    }

    /// As people see it.
    pub(super) fn state(&self, rules: Rules) -> State {
        match self.share(rules) {
            _ if self.flags.load(Ordering::Acquire) & UNREACHED != 0 => State::Ejected,
            0 if self.flags.load(Ordering::Acquire) & EJECTED == 0 => State::Down,
            0 => State::Ejected,
            WHOLE => State::Up,
            _ => State::Ramping,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn ramp(back: Option<Instant>, now: Instant, slow_start: Option<Duration>) -> u32 {
    let (Some(back), Some(slow_start)) = (back, slow_start) else { return WHOLE };
    let elapsed = now.saturating_duration_since(back);
    if elapsed >= slow_start {
        return WHOLE;
    }
    let share = elapsed.as_millis().saturating_mul(u128::from(WHOLE)) / slow_start.as_millis().max(1);
    u32::try_from(share).unwrap_or(WHOLE).clamp(FIRST, WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLIER: Outlier = Outlier { consecutive_failures: 2, eject: Duration::from_secs(30) };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn failures_in_succession_eject_for_a_while() {
        let (standing, begin) = (Standing::default(), Instant::now());
        assert_eq!(standing.failed(&OUTLIER, begin, false, || true), None);
        standing.succeeded();
        assert_eq!(standing.failed(&OUTLIER, begin, false, || true), None);
        assert_eq!(standing.failed(&OUTLIER, begin, false, || false), None, "it may not be");
        assert_eq!(standing.state(Rules::default()), State::Up);
        assert_eq!(standing.failed(&OUTLIER, begin, false, || true), Some(seconds(30)));
        assert_eq!(standing.state(Rules::default()), State::Ejected);
        for _ in 0..4 {
            assert_eq!(standing.failed(&OUTLIER, begin, false, || true), None, "it is ejected already");
        }
        assert_eq!(standing.share_at(begin + seconds(29), Rules::default()), 0);
        assert_eq!(standing.share_at(begin + seconds(30), Rules::default()), WHOLE);
        assert_eq!(standing.state(Rules::default()), State::Up);
    }

    #[test]
    fn what_could_not_be_connected_to_comes_back_by_a_probe() {
        let (standing, begin, rules) = (Standing::default(), Instant::now() - seconds(100), Rules::default());
        let fail = |at, connect| standing.failed(&OUTLIER, at, connect, || true);
        assert_eq!((fail(begin, true), fail(begin, true)), (None, Some(seconds(30))));
        assert_eq!(standing.share_at(begin + seconds(29), rules), 0);
        // It is over: one request finds out, and the others do not wait for it.
        assert_eq!(standing.share_at(begin + seconds(30), rules), WHOLE);
        assert_eq!(standing.state(rules), State::Ejected, "nobody knows yet");
        standing.begin_probe();
        assert_eq!(standing.share_at(Instant::now(), rules), 0);
        assert_eq!(standing.share_at(Instant::now() + PROBE, rules), WHOLE, "it never came back");
        // One failure is enough now.
        assert_eq!(fail(begin + seconds(31), true), Some(seconds(60)));
        assert_eq!(standing.share_at(begin + seconds(90), rules), 0);
        assert_eq!(standing.share_at(begin + seconds(91), rules), WHOLE);
        standing.succeeded();
        assert_eq!(standing.state(rules), State::Up);
        assert_eq!(fail(Instant::now(), true), None, "it counts anew");
    }

    #[test]
    fn an_error_of_a_probed_target_says_that_it_can_be_connected_to() {
        let (standing, begin) = (Standing::default(), Instant::now() - seconds(100));
        let fail = |at, connect| standing.failed(&OUTLIER, at, connect, || connect);
        assert_eq!((fail(begin, true), fail(begin, true)), (None, Some(seconds(30))));
        assert_eq!(fail(begin + seconds(10), false), None, "under way since before");
        assert_eq!(standing.state(Rules::default()), State::Ejected);
        assert_eq!(fail(Instant::now(), false), None);
        assert_eq!(standing.state(Rules::default()), State::Up);
    }

    #[test]
    fn ejections_grow_to_a_bound_and_are_forgotten() {
        let (standing, mut now) = (Standing::default(), Instant::now());
        let eject = |now| {
            let times = [
                standing.failed(&OUTLIER, now, false, || true),
                standing.failed(&OUTLIER, now, false, || true),
            ];
            let time = times.into_iter().flatten().next().unwrap();
            assert_eq!(standing.share_at(now + time, Rules::default()), WHOLE);
            time
        };
        for expected in [30, 60, 120, 240, 300, 300] {
            let time = eject(now);
            assert_eq!(time, seconds(expected));
            now += time + seconds(1);
        }
        assert_eq!(eject(now + seconds(300)), seconds(30));
    }

    #[test]
    fn what_comes_back_begins_slowly() {
        let (standing, begin) = (Standing::default(), Instant::now());
        standing.failed(&OUTLIER, begin, false, || true);
        standing.failed(&OUTLIER, begin, false, || true);
        let slow = Rules { slow_start: Some(seconds(10)), ..Rules::default() };
        let back = begin + seconds(40);
        for (after, share) in [(0, 100), (2, 200), (5, 500), (9, 900), (10, WHOLE), (11, WHOLE)] {
            assert_eq!(standing.share_at(back + seconds(after), slow), share, "{after}");
        }
        assert_eq!(standing.state(slow), State::Up);
        standing.begin_slowly(Instant::now());
        assert_eq!(standing.state(slow), State::Ramping);
    }

    #[test]
    fn whatever_a_target_comes_back_from_it_begins_slowly() {
        let health = Health { healthy: 1, unhealthy: 1, ..Health::default() };
        let slow = Rules { slow_start: Some(seconds(3600)), checked: true };
        let checked = Standing::default();
        assert_eq!((checked.checked(false, &health), checked.state(slow)), (Some(false), State::Down));
        assert_eq!((checked.checked(true, &health), checked.state(slow)), (Some(true), State::Ramping));
        let long_ago = Instant::now() - seconds(100);
        let probed = Standing::default();
        assert!((0..2).any(|_| probed.failed(&OUTLIER, long_ago, true, || true).is_some()));
        probed.succeeded();
        assert_eq!(probed.state(slow), State::Ramping);
    }

    #[test]
    fn what_checks_have_found_ill_is_not_probed_by_requests() {
        let health = Health { healthy: 1, unhealthy: 1, ..Health::default() };
        let rules = Rules { checked: true, ..Rules::default() };
        let (standing, begin) = (Standing::default(), Instant::now() - seconds(100));
        assert!((0..2).any(|_| standing.failed(&OUTLIER, begin, true, || true).is_some()));
        standing.checked(false, &health);
        assert_eq!(standing.share_at(begin + seconds(31), rules), 0);
        standing.checked(true, &health);
        assert_eq!(standing.share_at(begin + seconds(31), rules), WHOLE);
    }

    #[test]
    fn checks_take_a_target_out_and_bring_it_back() {
        let health = Health { healthy: 2, unhealthy: 3, ..Health::default() };
        let rules = Rules { checked: true, ..Rules::default() };
        let standing = Standing::default();
        for (well, changed, state) in [
            (true, None, State::Up),
            (false, None, State::Up),
            (false, None, State::Up),
            (true, None, State::Up),
            (false, None, State::Up),
            (false, None, State::Up),
            (false, Some(false), State::Down),
            (false, None, State::Down),
            (true, None, State::Down),
            (false, None, State::Down),
            (true, None, State::Down),
            (true, Some(true), State::Up),
        ] {
            assert_eq!((standing.checked(well, &health), standing.state(rules)), (changed, state));
        }
        let new = Standing::default();
        assert_eq!(new.checked(false, &health), Some(false), "the first check decides");
        assert_eq!(new.state(rules), State::Down);
        assert_eq!(new.state(Rules::default()), State::Up, "where nothing is checked it does not count");
    }

    #[test]
    fn what_is_known_goes_on_in_another_process() {
        let health = Health { healthy: 2, unhealthy: 3, ..Health::default() };
        let rules = Rules { checked: true, slow_start: Some(seconds(10)) };
        let now = Instant::now();
        let recalled = |standing: &Standing| {
            let text = serde_json::to_string(&standing.record(now)).unwrap();
            let new = Standing::default();
            new.recall(&serde_json::from_str(&text).unwrap(), now);
            new
        };
        assert_eq!(Standing::default().record(now), Record::default());
        let ejected = Standing::default();
        ejected.failed(&OUTLIER, now, false, || true);
        ejected.failed(&OUTLIER, now, false, || true);
        let new = recalled(&ejected);
        assert_eq!(new.state(rules), State::Ejected);
        assert!(new.share_at(now + seconds(29), rules) == 0 && new.share_at(now + seconds(31), rules) > 0);
        // The next ejection is longer, as it would have been.
        assert_eq!(new.failed(&OUTLIER, now + seconds(31), false, || true), None);
        assert_eq!(new.failed(&OUTLIER, now + seconds(31), false, || true), Some(seconds(60)));
        let down = Standing::default();
        down.checked(false, &health);
        let new = recalled(&down);
        assert_eq!(new.state(rules), State::Down);
        assert_eq!((new.checked(true, &health), new.checked(true, &health)), (None, Some(true)));
        let back = Standing::default();
        back.begin_slowly(now);
        assert_eq!(recalled(&back).share_at(now + seconds(5), rules), 500);
        // What was found out here counts.
        let known = Standing::default();
        known.checked(true, &health);
        known.recall(&down.record(now), now);
        assert_eq!(known.state(rules), State::Up);
    }
}
