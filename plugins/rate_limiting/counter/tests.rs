use super::*;

const SECOND: u64 = 1_000_000_000;

fn window(quota: u32) -> Limit {
    Limit { period: Period::Minute, quota, every: 0 }
}

/// The words of one limit.
struct Own {
    all: Vec<u32>,
    width: Width,
}

impl Own {
    fn words(&self) -> Words<'_> {
        Words { all: &self.all, width: self.width }
    }
}

impl Limit {
    fn standing_at(&self, own: &Own, now: u64) -> Standing {
        self.standing(own.words(), self.moment(own.words(), now))
    }

    fn left_at(&self, own: &Own, now: u64) -> u32 {
        self.left(own.words(), self.moment(own.words(), now))
    }

    fn count_at(&self, own: &mut Own, now: u64) {
        let moment = self.moment(own.words(), now);
        self.count(&mut own.all, own.width, moment);
    }
}

/// Counts where it may, as the table does.
fn take(limit: &Limit, words: &mut Own, now: u64) -> bool {
    let passes = limit.standing_at(words, now).wait == 0;
    assert_eq!(limit.left_at(words, now), limit.standing_at(words, now).left);
    assert_eq!(limit.left_at(words, now) > 0, passes);
    if passes {
        limit.count_at(words, now);
    }
    passes
}

/// The slices that windows are kept in, and how they stand: of small quotas, then of large ones.
const FORMS: [(usize, Width); 8] = [
    (26, Width::Half),
    (22, Width::Half),
    (18, Width::Half),
    (12, Width::Half),
    (26, Width::Whole),
    (14, Width::Whole),
    (9, Width::Whole),
    (6, Width::Whole),
];

fn empty((slots, width): (usize, Width)) -> Own {
    Own { all: vec![0; Period::Minute.words(slots / width.in_word())], width }
}

fn bucket() -> Own {
    Own { all: vec![0; RATE], width: Width::Half }
}

#[test]
fn fewer_windows_are_sliced_finer() {
    for (windows, rate, width, slots) in [
        (1, false, Width::Half, 26),
        (1, true, Width::Half, 22),
        (2, false, Width::Half, 26),
        (2, true, Width::Half, 26),
        (3, false, Width::Half, 18),
        (3, true, Width::Half, 16),
        (4, false, Width::Half, 12),
        (4, true, Width::Half, 12),
        (1, true, Width::Whole, 26),
        (2, false, Width::Whole, 14),
        (2, true, Width::Whole, 13),
        (3, false, Width::Whole, 9),
        (3, true, Width::Whole, 8),
        (4, true, Width::Whole, 6),
    ] {
        let (words, counts) = sizes(windows, rate, width);
        assert_eq!(counts * width.in_word(), slots, "{windows} {rate} {width:?}");
        assert!(KEY + if rate { RATE } else { 0 } + windows * (1 + counts) <= words && words <= WORDS);
        let lone = windows == 1 && width == Width::Half;
        assert_eq!(words, if lone { LINE } else { 2 * LINE }, "records begin with a line");
    }
    assert_eq!(sizes(0, true, Width::Whole), (KEY + RATE, 0));
    assert_eq!(Period::Minute.slice(26), 2_400_000_000);
    for (slots, period) in FORMS.iter().flat_map(|(slots, _)| Period::ALL.map(|period| (*slots, period))) {
        assert!(period.slice(slots) * (slots as u64 - 1) >= nanos(period.length()), "{slots} {period:?}");
    }
}

#[test]
fn as_many_as_a_word_can_count_may_come_in_one_slice() {
    for quota in [65_535, 65_536, 70_000] {
        let (limit, mut words) = (window(quota), empty((26, Width::of(quota))));
        for _ in 0..quota {
            assert!(take(&limit, &mut words, 0));
        }
        assert!(!take(&limit, &mut words, 0), "{quota}");
        // What is refused and counted does not begin again at nothing.
        limit.count_at(&mut words, 0);
        assert_eq!(limit.left_at(&words, 0), 0, "{quota}");
    }
}

#[test]
fn no_span_of_a_minute_sees_more_than_the_quota_and_none_much_less() {
    let limit = window(50);
    for (slots, width) in FORMS {
        let (mut words, mut passed) = (empty((slots, width)), Vec::new());
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
        // Who is nearly always there gets nearly the whole quota in a window and a slice.
        let span = 60 * SECOND + Period::Minute.slice(slots);
        let spans = (now - 7 * SECOND) / span;
        assert!(passed.len() as u64 * 100 >= spans * 50 * 99, "{} in {spans} spans", passed.len());
    }
}

#[test]
fn who_keeps_to_the_limit_steadily_is_let_through_nearly_always() {
    // One a second where sixty a minute may: of a thousand.
    for (slots, width) in FORMS {
        let (limit, mut words) = (window(60), empty((slots, width)));
        let most_refused = 1000 / (slots - 1) + 10;
        let refused =
            (0..3600).filter(|second| !take(&limit, &mut words, second * SECOND + 1)).count() * 1000 / 3600;
        assert!(refused <= most_refused, "{slots}: {refused} of a thousand");
    }
}

#[test]
fn a_refused_one_is_told_exactly_when_it_may_come() {
    let limit = window(3);
    for ((slots, width), start) in FORMS.iter().flat_map(|form| {
        [0, 1, 11 * SECOND, 12 * SECOND - 1, 12 * SECOND, 1_000_000 * SECOND + 17].map(|at| (*form, at))
    }) {
        let mut words = empty((slots, width));
        assert_eq!(limit.standing_at(&words, start), Standing { left: 3, wait: 0, more: 0 });
        for _ in 0..3 {
            assert!(take(&limit, &mut words, start));
        }
        let standing = limit.standing_at(&words, start);
        assert!(standing.left == 0 && standing.wait > 59 * SECOND, "{standing:?}");
        let longest = slots as u64 * Period::Minute.slice(slots);
        assert!(standing.wait <= longest && standing.more == standing.wait, "{standing:?}");
        assert!(!take(&limit, &mut words, start + standing.wait - 1), "{start}");
        assert!(take(&limit, &mut words, start + standing.wait), "{start}");
    }
}

#[test]
fn other_slices_open_nothing_and_lose_little() {
    let limit = window(10);
    for (before, after) in FORMS.iter().flat_map(|before| FORMS.map(|after| (*before, after))) {
        for start in [0, 59 * SECOND, 12_345 * SECOND + 678] {
            let mut words = empty(before);
            (0..10).for_each(|step| assert!(take(&limit, &mut words, start + step * 3 * SECOND)));
            let mut anew = empty(after);
            slice_anew(Period::Minute, words.words(), &mut anew.all, anew.width);
            // Each comes back after its minute, and not before; two slices later at most.
            for step in 0..10 {
                let due = start + step * 3 * SECOND + 60 * SECOND;
                let late = Period::Minute.slice(before.0) + Period::Minute.slice(after.0);
                assert!(u64::from(limit.left_at(&anew, due - 1)) <= step, "{before:?} {after:?} {step}");
                assert!(u64::from(limit.left_at(&anew, due + late)) > step, "{before:?} {after:?} {step}");
            }
        }
    }
}

#[test]
fn a_clock_that_was_read_earlier_opens_nothing() {
    let limit = window(2);
    let mut words = empty((26, Width::Half));
    assert!(take(&limit, &mut words, 100 * SECOND));
    assert!(take(&limit, &mut words, 10 * SECOND));
    assert!(!take(&limit, &mut words, 10 * SECOND));
    assert!(!take(&limit, &mut words, 100 * SECOND));
}

#[test]
fn a_bucket_holds_its_burst_and_fills_evenly() {
    let limit = Limit { period: Period::Rate, quota: 5, every: SECOND / 10 };
    let (mut words, start) = (bucket(), 1_000 * SECOND);
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
    let mut words = bucket();
    for _ in 0..1_000 {
        limit.count_at(&mut words, 0);
    }
    assert_eq!(limit.standing_at(&words, 0).wait, SECOND);
    assert_eq!(limit.standing_at(&words, 5 * SECOND), Standing { left: 5, wait: 0, more: 0 });
}

#[test]
fn idle_is_what_says_nothing_any_more() {
    let minute = window(3);
    let mut words = empty((26, Width::Half));
    assert!(is_idle(Period::Minute, words.words(), 0));
    minute.count_at(&mut words, 0);
    assert!(!is_idle(Period::Minute, words.words(), 62 * SECOND));
    assert!(is_idle(Period::Minute, words.words(), 62 * SECOND + 4 * SECOND / 10));
    let rate = Limit { period: Period::Rate, quota: 5, every: SECOND };
    let mut words = bucket();
    rate.count_at(&mut words, 0);
    assert!(
        !is_idle(Period::Rate, words.words(), SECOND - 1) && is_idle(Period::Rate, words.words(), SECOND)
    );
}
