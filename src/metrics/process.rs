//! What the system knows of the process, from `/proc/self`. What cannot be read is left as it was.

use std::fs;

use super::family::Families;
use crate::edge::pressure::resident;

/// Clock ticks in a second, as `/proc` counts them: `USER_HZ`, 100 on x86 and Arm.
const TICKS: f64 = 100.0;

/// Brings the metrics of the process up to date.
pub(super) fn observe(families: &Families) {
    let set = |gauge: Option<prometheus::IntGauge>, value: Option<u64>| {
        if let (Some(gauge), Some(value)) = (gauge, value.and_then(|value| i64::try_from(value).ok())) {
            gauge.set(value);
        }
    };
    set(families.process_memory.get(&[]), read("status").and_then(|text| resident(&text)));
    set(families.process_fds.get(&[]), open_files());
    set(families.process_max_fds.get(&[]), rlimit::Resource::NOFILE.get().ok().map(|(soft, _)| soft));
    if let (Some(counter), Some(seconds)) =
        (families.process_cpu.get(&[]), read("stat").and_then(|text| cpu(&text)))
    {
        counter.inc_by((seconds - counter.get()).max(0.0));
    }
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// One descriptor is that of the folder while it is read.
fn open_files() -> Option<u64> {
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

/// Fields 14 and 15. The second is the program's name in brackets and may itself hold spaces and brackets.
fn cpu(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user.checked_add(system)? as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_it_is_written() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(cpu(stat), Some(3.0));
    }

    #[test]
    fn what_makes_no_sense_is_no_number() {
        for text in ["", "7 (x", "7 (x) S 1 2", "7 (x) S 1 7 7 0 -1 4194304 100 0 0 0 a b"] {
            assert_eq!(cpu(text), None, "{text}");
        }
    }
}
