use super::*;

const SECOND: u64 = 1_000_000_000;

fn window(quota: u32) -> Limit {
    Limit { period: Period::Minute, quota, every: 0 }
}

impl Limit {
    fn standing_at(&self, words: &[u32], now: u64) -> Standing {
        self.standing(words, self.moment(words, now))
    }

    fn left_at(&self, words: &[u32], now: u64) -> u32 {
        self.left(words, self.moment(words, now))
    }

    fn count_at(&self, words: &mut [u32], now: u64) {
        self.count(words, self.moment(words, now));
    }
}

/// Counts where it may, as the table does.
fn take(limit: &Limit, words: &mut [u32], now: u64) -> bool {
    let passes = limit.standing_at(words, now).wait == 0;
    assert_eq!(limit.left_at(words, now), limit.standing_at(words, now).left);
    assert_eq!(limit.left_at(words, now) > 0, passes);
    if passes {
        limit.count_at(words, now);
    }
    passes
}

/// The slices that entries of one, two, three and four windows keep, and of four and a rate.
const SLOTS: [usize; 5] = [25, 13, 9, 7, 6];

fn empty(slots: usize) -> Vec<u32> {
    vec![0; Period::Minute.words(slots)]
}

#[test]
fn fewer_windows_are_sliced_finer() {
    for (windows, rate, slots_each) in [
        (1, false, 25),
        (1, true, 25),
        (2, false, 13),
        (2, true, 13),
        (3, false, 9),
        (3, true, 9),
        (4, false, 7),
        (4, true, 6),
    ] {
        assert_eq!(slots(windows, rate), slots_each, "{windows} {rate}");
        let rate = if rate { RATE } else { 0 };
        assert!(KEY + rate + windows * (1 + slots_each) <= WORDS);
    }
    assert_eq!(Period::Minute.slice(25), 2_500_000_000);
    for (slots, period) in SLOTS.iter().flat_map(|slots| Period::ALL.map(|period| (*slots, period))) {
        assert!(period.slice(slots) * (slots as u64 - 1) >= nanos(period.length()), "{slots} {period:?}");
    }
}

#[test]
fn no_span_of_a_minute_sees_more_than_the_quota_and_none_much_less() {
    let limit = window(50);
    for slots in SLOTS {
        let (mut words, mut passed) = (empty(slots), Vec::new());
        // Uneven steps, pauses and crowds, from a seed.
        let (mut now, mut seed) = (7 * SECOND, 0x9e37_79b9_u64);
        for _ in 0..40_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now += match seed >> 61 {
                0 => 0,
                1..7 => (seed >> 40) % (SECOND / 2),
                _ => (seed >> 33) % (5 * SECOND),
            };
            if take(&limit, &mut words, now) {
                passed.push(now);
            }
        }
        for (index, first) in passed.iter().enumerate() {
            let in_window = passed[index..].iter().take_while(|at| *at - first < 60 * SECOND).count();
            assert!(in_window <= 50, "{in_window} from {first}");
        }
        // Who is always there gets the whole quota in a window and a slice.
        let span = 60 * SECOND + Period::Minute.slice(slots);
        let spans = (now - 7 * SECOND) / span;
        assert!(passed.len() as u64 >= spans * 50, "{} in {spans} spans", passed.len());
    }
}

#[test]
fn who_keeps_to_the_limit_steadily_is_let_through_nearly_always() {
    // One a second where sixty a minute may: of a thousand.
    for (slots, most_refused) in SLOTS.into_iter().zip([50, 86, 121, 152, 176]) {
        let (limit, mut words) = (window(60), empty(slots));
        let refused =
            (0..3600).filter(|second| !take(&limit, &mut words, second * SECOND + 1)).count() * 1000 / 3600;
        assert!(refused <= most_refused, "{slots}: {refused} of a thousand");
    }
}

#[test]
fn a_refused_one_is_told_exactly_when_it_may_come() {
    let limit = window(3);
    for (slots, start) in SLOTS.iter().flat_map(|slots| {
        [0, 1, 11 * SECOND, 12 * SECOND - 1, 12 * SECOND, 1_000_000 * SECOND + 17].map(|at| (*slots, at))
    }) {
        let mut words = empty(slots);
        assert_eq!(limit.standing_at(&words, start), Standing { left: 3, wait: 0, more: 0 });
        for _ in 0..3 {
            assert!(take(&limit, &mut words, start));
        }
        let standing = limit.standing_at(&words, start);
        assert!(standing.left == 0 && standing.wait > 59 * SECOND, "{standing:?}");
        let longest = 60 * SECOND + Period::Minute.slice(slots);
        assert!(standing.wait <= longest && standing.more == standing.wait, "{standing:?}");
        assert!(!take(&limit, &mut words, start + standing.wait - 1), "{start}");
        assert!(take(&limit, &mut words, start + standing.wait), "{start}");
    }
}

#[test]
fn other_slices_open_nothing_and_lose_little() {
    let limit = window(10);
    for (before, after) in SLOTS.iter().flat_map(|before| SLOTS.map(|after| (*before, after))) {
        for start in [0, 59 * SECOND, 12_345 * SECOND + 678] {
            let mut words = empty(before);
            (0..10).for_each(|step| assert!(take(&limit, &mut words, start + step * 3 * SECOND)));
            let mut anew = empty(after);
            slice_anew(Period::Minute, &words, &mut anew);
            // Each comes back after its minute, and not before; two slices later at most.
            for step in 0..10 {
                let due = start + step * 3 * SECOND + 60 * SECOND;
                let late = Period::Minute.slice(before) + Period::Minute.slice(after);
                assert!(u64::from(limit.left_at(&anew, due - 1)) <= step, "{before} {after} {step}");
                assert!(u64::from(limit.left_at(&anew, due + late)) > step, "{before} {after} {step}");
            }
        }
    }
}

#[test]
fn a_clock_that_was_read_earlier_opens_nothing() {
    let limit = window(2);
    let mut words = empty(25);
    assert!(take(&limit, &mut words, 100 * SECOND));
    assert!(take(&limit, &mut words, 10 * SECOND));
    assert!(!take(&limit, &mut words, 10 * SECOND));
    assert!(!take(&limit, &mut words, 100 * SECOND));
}

#[test]
fn a_bucket_holds_its_burst_and_fills_evenly() {
    let limit = Limit { period: Period::Rate, quota: 5, every: SECOND / 10 };
    let (mut words, start) = (vec![0; 2], 1_000 * SECOND);
    for left in (0..5).rev() {
        assert!(take(&limit, &mut words, start));
        assert_eq!(limit.standing_at(&words, start).left, left);
    }
    assert_eq!(limit.standing_at(&words, start), Standing { left: 0, wait: SECOND / 10, more: SECOND / 10 });
    assert!(!take(&limit, &mut words, start + SECOND / 10 - 1));
    assert!(take(&limit, &mut words, start + SECOND / 10));
    assert!(!take(&limit, &mut words, start + SECOND / 10));
    // Ten a second, and the burst once.
    let passed = (0..10_000).filter(|ms| take(&limit, &mut words, start + SECOND + ms * 1_000_000)).count();
    assert_eq!(passed, 5 + 99);
}

#[test]
fn what_is_refused_and_counted_holds_back_for_a_full_bucket_at_most() {
    let limit = Limit { period: Period::Rate, quota: 5, every: SECOND };
    let mut words = vec![0; 2];
    for _ in 0..1_000 {
        limit.count_at(&mut words, 0);
    }
    assert_eq!(limit.standing_at(&words, 0).wait, SECOND);
    assert_eq!(limit.standing_at(&words, 5 * SECOND), Standing { left: 5, wait: 0, more: 0 });
}

#[test]
fn idle_is_what_says_nothing_any_more() {
    let minute = window(3);
    let mut words = empty(25);
    assert!(is_idle(Period::Minute, &words, 0));
    minute.count_at(&mut words, 0);
    assert!(!is_idle(Period::Minute, &words, 62 * SECOND));
    assert!(is_idle(Period::Minute, &words, 62 * SECOND + SECOND / 2));
    let rate = Limit { period: Period::Rate, quota: 5, every: SECOND };
    let mut words = vec![0; 2];
    rate.count_at(&mut words, 0);
    assert!(!is_idle(Period::Rate, &words, SECOND - 1) && is_idle(Period::Rate, &words, SECOND));
}
