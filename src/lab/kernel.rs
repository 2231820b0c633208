//! The kernel's settings: nodes are namespaces, not machines, so what a play writes to `vm.*`, `fs.*`, `kernel.*`,
//! transparent huge pages, I/O schedulers or CPUs in a node holds for this machine. They are noted before the first
//! node boots and put back when the lab goes. (`net.*` is each node's own.)

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Files below the root (normally `/`) and what stood in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot(BTreeMap<String, String>);

/// One setting that differed from what it had been before the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// `/proc/sys/vm/swappiness`
    pub path: String,
    /// As the lab left it.
    pub was: String,
    /// As it was before.
    pub now: String,
}

/// `(glob below the root, all depths)`.
const PATTERNS: &[&str] = &[
    "proc/sys/vm/**/*",
    "proc/sys/fs/**/*",
    "proc/sys/kernel/**/*",
    // Forwarding is what `up` itself switches on, for the nodes' way out; the kernel then adjusts the others.
    "proc/sys/net/ipv4/ip_forward",
    "proc/sys/net/ipv4/conf/*/forwarding",
    "proc/sys/net/ipv4/conf/*/accept_redirects",
    "sys/kernel/mm/transparent_hugepage/*",
    "sys/kernel/mm/transparent_hugepage/khugepaged/*",
    "sys/block/*/queue/scheduler",
    "sys/block/*/queue/read_ahead_kb",
    "sys/block/*/queue/nr_requests",
    "sys/block/*/queue/rq_affinity",
    "sys/block/*/queue/nomerges",
    "sys/block/*/queue/wbt_lat_usec",
    "sys/devices/system/cpu/cpu*/online",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
];

/// Not settings: counters, what the kernel adjusts by itself, what belongs to a namespace, what cannot be read back.
const NOT_SETTINGS: &[&str] = &[
    "proc/sys/fs/binfmt_misc/",
    "proc/sys/kernel/random/",
    "proc/sys/kernel/usermodehelper/",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/kernel/cad_pid",
    "proc/sys/kernel/hostname",
    "proc/sys/kernel/domainname",
    "proc/sys/kernel/perf_event_max_sample_rate",
    "proc/sys/kernel/sem_next_id",
    "proc/sys/kernel/msg_next_id",
    "proc/sys/kernel/shm_next_id",
    "proc/sys/vm/stat_refresh",
];

impl Snapshot {
    pub(super) fn take() -> Snapshot {
        Snapshot::take_below(Utf8Path::new("/"))
    }

    fn take_below(root: &Utf8Path) -> Snapshot {
        let mut settings = BTreeMap::new();
        for pattern in PATTERNS {
            // The patterns are constants: an error would be a mistake in one, and a test reads them all.
            for path in glob::glob(root.join(pattern).as_str()).into_iter().flatten().flatten() {
                let Some(below) = path.strip_prefix(root).ok().and_then(|p| p.to_str()) else {
                    continue;
                };
                if NOT_SETTINGS.iter().any(|no| below.starts_with(no)) || !is_setting(&path) {
                    continue;
                }
                if let Some(value) = read(&path) {
                    settings.insert(below.to_owned(), value);
                }
            }
        }
        Snapshot(settings)
    }

    /// Writes back what differs; what was put back, and what the kernel would not take.
    pub(super) fn restore(&self) -> (Vec<Restored>, Vec<Restored>) {
        self.restore_below(Utf8Path::new("/"))
    }

    fn restore_below(&self, root: &Utf8Path) -> (Vec<Restored>, Vec<Restored>) {
        let differing = || -> Vec<Restored> {
            let differs = |(below, before): (&String, &String)| {
                let path = root.join(below);
                let now = read(path.as_std_path()).filter(|now| now != before)?;
                Some(Restored {
                    path: path.into_string(),
                    was: now,
                    now: before.clone(),
                })
            };
            self.0.iter().filter_map(differs).collect()
        };
        let found = differing();
        // Twice, as settings pull others along: `dirty_bytes` zeroes `dirty_ratio`, `ip_forward` resets each
        // interface's `forwarding`.
        for _ in 0..2 {
            for setting in differing() {
                // What did not take is seen below.
                let _ = fs_err::write(&setting.path, &setting.now);
            }
        }
        let left = differing();
        let restored = found
            .into_iter()
            .filter(|setting| left.iter().all(|l| l.path != setting.path))
            .collect();
        (restored, left)
    }
}

/// A plain file that root may read and write.
fn is_setting(path: &std::path::Path) -> bool {
    fs_err::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o600 == 0o600)
}

/// The value; of `always [madvise] never` the one in brackets.
fn read(path: &std::path::Path) -> Option<String> {
    let text = String::from_utf8(fs_err::read(path).ok()?).ok()?;
    let text = text.trim_end_matches('\n');
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    Some(chosen.map_or(text, |(chosen, _)| chosen).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_valid() {
        for pattern in PATTERNS {
            assert!(glob::Pattern::new(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn what_was_changed_is_put_back_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let write = |path: &str, value: &str| {
            let path = root.join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, value).unwrap();
        };
        let swappiness = "proc/sys/vm/swappiness";
        let thp = "sys/kernel/mm/transparent_hugepage/enabled";
        write(swappiness, "60\n");
        write("proc/sys/vm/lowmem_reserve_ratio", "256\t32\t0\n");
        write("proc/sys/kernel/random/uuid", "a\n");
        write("proc/sys/kernel/ns_last_pid", "17\n");
        write("proc/sys/net/core/somaxconn", "4096\n");
        write("sys/block/loop0/queue/read_ahead_kb", "128\n");
        write(thp, "always [madvise] never\n");
        let before = Snapshot::take_below(root);
        assert_eq!(before.0.get(thp).unwrap(), "madvise");
        assert_eq!(before.0.len(), 4, "{before:?}");

        write(swappiness, "1\n");
        write(thp, "always madvise [never]\n");
        write("proc/sys/kernel/ns_last_pid", "18\n");
        fs_err::remove_file(root.join("sys/block/loop0/queue/read_ahead_kb")).unwrap();
        let (restored, left) = before.restore_below(root);
        assert_eq!(left, []);
        assert_eq!(
            restored
                .iter()
                .map(|r| (r.was.as_str(), r.now.as_str()))
                .collect::<Vec<_>>(),
            [("1", "60"), ("never", "madvise")]
        );
        assert_eq!(fs_err::read_to_string(root.join(swappiness)).unwrap(), "60");
        assert_eq!(before.restore_below(root), (vec![], vec![]));
    }
}
