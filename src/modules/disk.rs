//! Block devices: which disks a path lies on, through partitions, LVM, dm and md, and how they are scheduled.

use super::knob::Choices;
use super::{Failure, Seen, Stop};
use crate::host::{Observation, Probe};
use std::collections::BTreeMap;

/// Everything that is to be known, in one go and without a process per device: the devices with number, layers below,
/// scheduler and read-ahead; the partitions; the real path of `$1` and the mounts; udev rules that speak of queues.
const LOOK: &str = r#"cd /sys/block 2>/dev/null || exit 0
for d in *; do
[ -r "$d/dev" ] || continue
read -r dev <"$d/dev"; s=-; r=-; m=-
[ -r "$d/queue/scheduler" ] && read -r s <"$d/queue/scheduler"
[ -r "$d/queue/read_ahead_kb" ] && read -r r <"$d/queue/read_ahead_kb"
[ -r "$d/dm/name" ] && read -r m <"$d/dm/name"
below=
for l in "$d"/slaves/*; do [ -e "$l" ] && below="$below,${l##*/}"; done
echo "disk|$d|$dev|$r|$s|$m|${below#,}"
for p in "$d"/*/partition; do
[ -r "$p" ] || continue
p=${p%/partition}
read -r dev <"$p/dev"; echo "part|${p##*/}|$dev|$d"
done
done
if [ -n "$1" ]; then
p=$(readlink -f -- "$1" 2>/dev/null)
echo "path|${p:-$1}"
while read -r line; do echo "mount|$line"; done </proc/self/mountinfo
fi
exec grep -HsnE 'ATTR\{(queue/scheduler|queue/read_ahead_kb|bdi/read_ahead_kb)\}' /etc/udev/rules.d/*.rules /run/udev/rules.d/*.rules /usr/lib/udev/rules.d/*.rules /dev/null"#;

/// The look at block devices, and at the mounts for `path`.
pub fn probe(path: Option<&str>) -> Probe {
    Probe::script(LOOK, &[path.unwrap_or_default()])
}

/// Where the kernel shows an attribute of a disk's queue.
pub fn queue_path(name: &str, attribute: &str) -> String {
    format!("/sys/block/{name}/queue/{attribute}")
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disks {
    /// By kernel name.
    pub disks: BTreeMap<String, Disk>,
    /// Partition → number, disk.
    partitions: BTreeMap<String, (String, String)>,
    /// The real path asked for, and its mount.
    mount: Option<Mount>,
    /// Lines of udev rules that set scheduler or read-ahead: file, line number, text.
    pub rules: Vec<(String, usize, String)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disk {
    /// `8:0`
    number: String,
    /// KiB.
    pub read_ahead: Option<String>,
    /// Where there is a choice.
    pub scheduler: Option<Choices>,
    dm_name: Option<String>,
    /// Devices or partitions this one is made of.
    below: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Mount {
    number: String,
    point: String,
    kind: String,
    source: String,
}

/// Why a path or name leads to no disk.
#[derive(Clone, Debug, PartialEq)]
pub enum NoDisk {
    /// A file system without a block device (overlay, tmpfs, a network).
    Virtual(String),
    Other(String),
}

impl Disks {
    /// From the answer to [`probe`].
    pub fn seen(seen: &Seen<'_>, path: Option<&str>) -> Result<Disks, Stop> {
        match seen.get(&probe(path))? {
            Observation::Exec(result) => Ok(Disks::parse(&result.stdout.text())),
            other => Err(Failure::new(format!("the block devices cannot be listed: {other:?}")).into()),
        }
    }

    pub fn parse(text: &str) -> Disks {
        let mut found = Disks::default();
        let mut path = None;
        for line in text.lines() {
            let given = |s: &str| (s != "-" && !s.is_empty()).then(|| s.to_owned());
            let fields: Vec<&str> = line.split('|').collect();
            match fields[..] {
                ["disk", name, number, read_ahead, scheduler, dm, below] => {
                    let disk = Disk {
                        number: number.to_owned(),
                        read_ahead: given(read_ahead),
                        scheduler: Choices::parse(scheduler),
                        dm_name: given(dm),
                        below: below.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
                    };
                    found.disks.insert(name.to_owned(), disk);
                }
                ["part", name, number, disk] => {
                    found
                        .partitions
                        .insert(name.to_owned(), (number.to_owned(), disk.to_owned()));
                }
                ["path", ..] => path = line.strip_prefix("path|"),
                ["mount", ..] => {
                    if let Some(mount) = line.strip_prefix("mount|").and_then(mount)
                        && path.is_some_and(|p| lies_in(p, &mount.point))
                        // A later mount covers an earlier one at the same place.
                        && found.mount.as_ref().is_none_or(|m| m.point.len() <= mount.point.len())
                    {
                        found.mount = Some(mount);
                    }
                }
                _ => {
                    if let Some((file, rest)) = line.split_once(':')
                        && let Some((number, rule)) = rest.split_once(':')
                        && let Ok(number) = number.parse()
                    {
                        found.rules.push((file.to_owned(), number, rule.to_owned()));
                    }
                }
            }
        }
        found
    }

    /// An attribute of a disk's queue, `scheduler` or `read_ahead_kb`; in a dry run as an earlier task would have set it.
    pub fn queue(&self, seen: &Seen<'_>, name: &str, attribute: &str) -> Option<String> {
        let disk = self.disks.get(name)?;
        let found = match attribute {
            "scheduler" => disk.scheduler.as_ref()?.on.clone(),
            _ => disk.read_ahead.clone()?,
        };
        match seen.peek(&Probe::read(queue_path(name, attribute))) {
            Some(Observation::Content(Some(content))) => Some(Choices::value(&content.text())),
            _ => Some(found),
        }
    }

    /// The device that holds the file system of the path asked for: a disk, or the top of dm or md layers.
    pub fn top_of_path(&self, path: &str) -> Result<String, NoDisk> {
        let Some(mount) = &self.mount else {
            return Err(NoDisk::Other(format!("the mount that holds {path} cannot be found")));
        };
        let by_number = self
            .disks
            .iter()
            .find(|(_, d)| d.number == mount.number)
            .map(|(n, _)| n.clone());
        let partition = || {
            self.partitions
                .iter()
                .find(|(_, (number, _))| *number == mount.number)
                .map(|(_, (_, d))| d.clone())
        };
        let found = by_number.or_else(partition).or_else(|| {
            // btrfs and zfs have numbers of their own; their source may still be a device.
            mount.source.strip_prefix("/dev/").and_then(|name| self.resolve(name))
        });
        found.ok_or_else(|| {
            NoDisk::Virtual(format!(
                "{path} is on {} ({}), which has no disk of its own",
                mount.kind, mount.source
            ))
        })
    }

    /// A name below `/dev` → the device (of a partition: its disk).
    fn resolve(&self, name: &str) -> Option<String> {
        if self.disks.contains_key(name) {
            return Some(name.to_owned());
        }
        if let Some((_, disk)) = self.partitions.get(name) {
            return Some(disk.clone());
        }
        let mapped = name.strip_prefix("mapper/")?;
        self.disks
            .iter()
            .find(|(_, d)| d.dm_name.as_deref() == Some(mapped))
            .map(|(n, _)| n.clone())
    }

    /// The disks at the bottom of a device, itself if it is one.
    pub fn bottom(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![(name.to_owned(), 0)];
        while let Some((name, depth)) = open.pop() {
            let name = self.resolve(&name).unwrap_or(name);
            let below = self.disks.get(&name).map(|d| d.below.clone()).unwrap_or_default();
            if below.is_empty() || depth > 16 {
                if !found.contains(&name) {
                    found.push(name);
                }
            } else {
                open.extend(below.into_iter().rev().map(|n| (n, depth + 1)));
            }
        }
        found
    }

    /// Whether it is made of other devices (dm, md, LVM).
    pub fn is_layer(&self, name: &str) -> bool {
        self.disks
            .get(name)
            .is_some_and(|d| !d.below.is_empty() || d.dm_name.is_some())
    }

    /// The disk a partition is part of.
    pub fn partition_of(&self, name: &str) -> Option<&str> {
        self.partitions.get(name).map(|(_, disk)| disk.as_str())
    }

    /// Disks that a pattern names: no layers, no partitions, and only what has a scheduler to choose.
    pub fn matching(&self, pattern: &globset::GlobMatcher) -> Vec<String> {
        self.disks
            .iter()
            .filter(|(name, disk)| pattern.is_match(name) && disk.scheduler.is_some() && !self.is_layer(name))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// A line of `/proc/self/mountinfo` (proc(5)): number, mount point, type and source.
fn mount(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let head: Vec<&str> = head.split(' ').collect();
    let mut tail = tail.split(' ');
    Some(Mount {
        number: (*head.get(2)?).to_owned(),
        point: unescape(head.get(4)?),
        kind: tail.next()?.to_owned(),
        source: unescape(tail.next()?),
    })
}

/// `\040` is a blank.
fn unescape(text: &str) -> String {
    ["040", "011", "012", "134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (code, plain)| {
            text.replace(&format!("\\{code}"), plain)
        })
}

fn lies_in(path: &str, point: &str) -> bool {
    point == "/"
        || path
            .strip_prefix(point)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LVM over two disks, one of them through a partition; what is left of `LOOK` on such a host.
    const LVM: &str = "disk|dm-0|254:0|128|-|vg-data|sda3,sdb\ndisk|sda|8:0|128|[mq-deadline] none|-|\npart|sda1|8:1|sda\npart|sda3|8:3|sda\n\
        disk|sdb|8:16|128|none [mq-deadline] kyber|-|\ndisk|loop0|7:0|128|[none] mq-deadline|-|\npath|/var/lib/rabbitmq/mnesia\n\
        mount|22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\nmount|40 22 254:0 / /var/lib/rabbitmq rw - xfs /dev/mapper/vg-data rw\n\
        mount|41 22 0:40 / /var/lib/rabbitmq-old rw - tmpfs tmpfs rw\n/usr/lib/udev/rules.d/60-x.rules:3:ATTR{queue/scheduler}=\"bfq\"\n";

    #[test]
    fn through_lvm_to_the_disks() {
        let disks = Disks::parse(LVM);
        let top = disks.top_of_path("/var/lib/rabbitmq/mnesia").unwrap();
        assert_eq!(top, "dm-0");
        assert_eq!(disks.bottom(&top), ["sda", "sdb"]);
        assert!(disks.is_layer("dm-0"));
        assert_eq!(disks.rules.len(), 1);
        let all = globset::Glob::new("*").unwrap().compile_matcher();
        assert_eq!(disks.matching(&all), ["loop0", "sda", "sdb"]);
    }

    #[test]
    fn other_file_systems() {
        let at = |path: &str, mount: &str| {
            Disks::parse(
                &LVM.replace("/var/lib/rabbitmq/mnesia", path)
                    .replace("mount|41", &format!("mount|{mount}\nmount|41")),
            )
            .top_of_path(path)
        };
        assert_eq!(
            at("/home", "50 22 0:50 / /home rw - btrfs /dev/sda3 rw").unwrap(),
            "sda"
        );
        assert_eq!(at("/", "50 22 0:50 / /home rw - tmpfs tmpfs rw").unwrap(), "sda");
        assert_eq!(
            at("/my data/x", r"50 22 0:50 / /my\040data rw - overlay overlay rw"),
            Err(NoDisk::Virtual(
                "/my data/x is on overlay (overlay), which has no disk of its own".to_owned()
            ))
        );
    }
}
