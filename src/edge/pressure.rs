//! What the process as a whole runs out of: memory and file descriptors.
//!
//! Twice a second it is looked at how much there is left. Where it is little, idle connections go, the longest idle
//! first; where that does not help, new ones are refused.

use super::{Registry, registry::Cause};
use std::{fs, path::Path, sync::Arc, time::Duration};

const TICK: Duration = Duration::from_millis(500);
/// Of the memory that there is, in per cent: beyond it idle connections go.
const HIGH: u64 = 85;
/// Beyond it none is taken.
const FULL: u64 = 95;
/// Below it they are taken again.
const LOW: u64 = 90;
/// Of idle connections, one in so many goes at a time, and at least so many.
const SHARE: usize = 8;
const LEAST: usize = 64;
/// Descriptors that no connection of a client gets: listeners, logs, watches, and what files are open for a moment.
const RESERVE: usize = 200;

/// How many descriptors are for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    limit: usize,
    reserve: usize,
}

impl Descriptors {
    /// Of so many in all.
    pub fn of(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Descriptors { limit, reserve: RESERVE.min(limit / 4) }
    }

    /// How many connections of clients there may be. A quarter is for connections to origins, in use or kept; a
    /// process that has more of them in use than that has idle clients to let go of.
    pub fn connections(&self) -> usize {
        let left = self.limit - self.reserve;
        left - left / 4
    }

    /// How many of so many that are open must be closed, so that half of the reserve is left.
    fn excess(&self, open: usize) -> usize {
        open.saturating_sub(self.limit - self.reserve / 2)
    }
}

/// Lets go of connections that are idle too long, or that there is nothing left for. `ceiling` says how much memory
/// there is, where the configuration does.
pub async fn watch(registry: Arc<Registry>, descriptors: Descriptors, ceiling: impl Fn() -> Option<u64>) {
    registry.set_descriptors(descriptors.connections());
    let container = of_container(Path::new("/sys/fs/cgroup"), Path::new("/proc/self/cgroup"));
    loop {
        tokio::time::sleep(TICK).await;
        registry.reap();
        let ceiling = [ceiling(), container].into_iter().flatten().min();
        if let Some(ceiling) = ceiling {
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            relieve(&registry, resident(&status).unwrap_or(0), ceiling);
        }
        // Counting them takes time: only where each connection's request could take another one.
        if registry.live() > descriptors.connections() / 2 {
            let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            make(&registry, descriptors.excess(open), Cause::Descriptors, "file descriptors");
        }
    }
}

/// What is done where `used` bytes of `ceiling` are in use.
fn relieve(registry: &Registry, used: u64, ceiling: u64) {
    let percent = used.saturating_mul(100) / ceiling.max(1);
    if percent < LOW {
        registry.set_short(false);
    }
    if percent < HIGH {
        return;
    }
    let idle = registry.stats().idle;
    make(registry, idle.min(LEAST.max(idle / SHARE)), Cause::Memory, "memory");
    if percent >= FULL {
        crate::logging::every(Duration::from_secs(10), "memory", || {
            log::warn!(
                "{} of {} MiB of memory are in use: new connections are refused",
                used >> 20,
                ceiling >> 20
            )
        });
        registry.set_short(true);
    }
}

/// Closes up to `count` idle connections.
fn make(registry: &Registry, count: usize, cause: Cause, what: &'static str) {
    let gone = (0..count).take_while(|_| registry.evict(None, cause)).count();
    if gone > 0 {
        crate::logging::every(Duration::from_secs(10), what, || {
            log::warn!("{what} running out: {gone} idle connections closed")
        });
    }
}

/// The memory that is in use, in bytes, out of what `/proc/self/status` says: `VmRSS:     1234 kB`.
pub fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least that the control groups of this process may have, of version 2 or 1: its own and those above it, as far
/// as they can be seen from here.
fn of_container(mount: &Path, membership: &Path) -> Option<u64> {
    let text = fs::read_to_string(membership).unwrap_or_default();
    let mut least: Option<u64> = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be the host's: what is not here is passed over, up to the root.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let text = fs::read_to_string(root.join(group).join(file)).unwrap_or_default();
            // `max`, and what version 1 says where there is no limit, is none.
            if let Some(bytes) = text.trim().parse::<u64>().ok().filter(|bytes| *bytes < 1 << 60) {
                least = Some(least.map_or(bytes, |least| least.min(bytes)));
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_shared_out() {
        for (limit, connections) in [(0, 0), (200, 113), (1024, 618), (20_000, 14_850), (65_536, 49_002)] {
            assert_eq!(Descriptors::of(limit).connections(), connections, "{limit}");
        }
        let few = Descriptors::of(200);
        assert_eq!((few.excess(175), few.excess(176), few.excess(200)), (0, 1, 25));
        assert!(Descriptors::of(u64::MAX).connections() > 1 << 40);
    }

    #[test]
    fn idle_connections_go_first_and_then_none_is_taken() {
        let registry = Arc::new(Registry::default());
        let door = registry.door();
        let all: Vec<_> = (0..100)
            .map(|_| registry.admit(&door, "127.0.0.1".parse().unwrap(), 1000, false).unwrap())
            .collect();
        let _tickets: Vec<_> = all.iter().map(|live| live.parked().park(Duration::from_secs(60))).collect();
        for (used, idle, short) in
            [(84, 100, false), (85, 36, false), (95, 0, true), (92, 0, true), (89, 0, false), (96, 0, true)]
        {
            relieve(&registry, used << 20, 100 << 20);
            assert_eq!((registry.stats().idle, registry.is_short()), (idle, short), "{used}");
        }
        assert_eq!(registry.stats().evicted, [0, 0, 0, 100, 0]);
    }

    #[test]
    fn the_least_of_all_control_groups_counts() {
        let dir = tempfile::tempdir().unwrap();
        let membership = dir.path().join("cgroup");
        let write = |path: &str, text: &str| {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let read = |text: &str| {
            fs::write(&membership, text).unwrap();
            of_container(dir.path(), &membership)
        };
        assert_eq!(of_container(dir.path(), &membership), None);
        write("a/b/memory.max", "max\n");
        assert_eq!(read("0::/a/b\n"), None);
        write("a/memory.max", "3000\n");
        assert_eq!(read("0::/a/b\n"), Some(3000));
        write("a/b/memory.max", "2000\n");
        assert_eq!(read("0::/a/b\n"), Some(2000));
        assert_eq!(read("0::/a/b/gone\n"), Some(2000), "the path is that of another mount");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(read("4:cpu,memory:/x\n0::/\n"), None);
        write("memory/x/memory.limit_in_bytes", "1000\n");
        assert_eq!(read("4:cpu,memory:/x\n1:name=systemd:/a\n"), Some(1000));
    }

    #[test]
    fn memory_in_use_is_read_as_it_is_written() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2 kB\nVmData: 3 kB\n"), Some(2048));
        for text in ["", "VmRSS:", "VmRSS: many kB", "VmRSS: 12", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(resident(text), None, "{text}");
        }
        let own = resident(&fs::read_to_string("/proc/self/status").unwrap()).unwrap();
        assert!((1 << 20..1 << 40).contains(&own), "{own}");
    }
}
