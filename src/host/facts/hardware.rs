//! Memory, processors, file systems, block devices.

use super::{Facts, Parts};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// MiB throughout.
pub fn memory(parts: &Parts, facts: &mut Facts) {
    let info: BTreeMap<&str, u64> = parts
        .text("/proc/meminfo")
        .lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            let kib: u64 = value.split_whitespace().next()?.parse().ok()?;
            Some((key, kib / 1024))
        })
        .collect();
    let get = |key: &str| info.get(key).copied().unwrap_or(0);
    let (total, free) = (get("MemTotal"), get("MemFree"));
    let (swap, swap_free) = (get("SwapTotal"), get("SwapFree"));
    let unused = free + get("Cached") + get("Buffers");
    facts.insert("memtotal_mb".into(), json!(total));
    facts.insert("memfree_mb".into(), json!(free));
    facts.insert("swaptotal_mb".into(), json!(swap));
    facts.insert("swapfree_mb".into(), json!(swap_free));
    let value = json!({
        "real": {"total": total, "used": total.saturating_sub(free), "free": free},
        "nocache": {"free": unused, "used": total.saturating_sub(unused)},
        "swap": {"total": swap, "free": swap_free, "used": swap.saturating_sub(swap_free), "cached": get("SwapCached")},
    });
    facts.insert("memory_mb".into(), value);
}

pub fn processors(parts: &Parts, facts: &mut Facts) {
    let mut list = Vec::new();
    let mut logical = 0u64;
    let mut sockets = BTreeSet::new();
    let (mut cores, mut siblings) = (None, None);
    let mut flags = "";
    for line in parts.text("/proc/cpuinfo").lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "processor" | "Processor" => {
                logical += 1;
                list.push(value);
            }
            "model name" | "vendor_id" | "cpu" | "Vendor" => list.push(value),
            "physical id" => {
                sockets.insert(value);
            }
            "cpu cores" => cores = cores.or(value.parse::<u64>().ok()),
            "flags" => flags = value,
            "siblings" => siblings = siblings.or(value.parse::<u64>().ok()),
            _ => {}
        }
    }
    let count = if sockets.is_empty() {
        logical
    } else {
        sockets.len() as u64
    };
    let cores = cores.filter(|cores| *cores > 0).unwrap_or(1);
    let threads = siblings.map_or(1, |siblings| (siblings / cores).max(1));
    let status = String::from_utf8_lossy(parts.own("status"));
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .map(count_of);
    facts.insert("processor".into(), json!(list));
    if !flags.is_empty() {
        facts.insert("flags".into(), json!(flags.split_whitespace().collect::<Vec<_>>()));
    }
    facts.insert("processor_count".into(), json!(count));
    facts.insert("processor_cores".into(), json!(cores));
    facts.insert("processor_threads_per_core".into(), json!(threads));
    facts.insert("processor_vcpus".into(), json!(count * cores * threads));
    facts.insert("processor_nproc".into(), json!(allowed.unwrap_or(logical)));
}

/// How many numbers a list like `0-3,8` has.
fn count_of(list: &str) -> u64 {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(
            last.trim()
                .parse::<u64>()
                .ok()?
                .checked_sub(first.trim().parse().ok()?)?
                + 1,
        )
    };
    list.trim().split(',').filter_map(range).sum()
}

pub fn mounts(parts: &Parts, facts: &mut Facts) {
    // Numbers as `mounted` in facts.sh asks for them, the mount point last.
    let sizes: BTreeMap<&str, Vec<u64>> = parts
        .text("statfs")
        .lines()
        .filter_map(|line| {
            let mut words = line.splitn(8, ' ');
            let numbers = words
                .by_ref()
                .take(7)
                .map(|word| word.parse().ok())
                .collect::<Option<Vec<u64>>>()?;
            Some((words.next()?, numbers))
        })
        .collect();
    // Of a bind mount the root is not that of its file system.
    let info = String::from_utf8_lossy(parts.own("mountinfo")).into_owned();
    let bound: BTreeSet<String> = info
        .lines()
        .filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [_, _, _, root, mount, ..] if root != "/" => Some(unescaped(mount)),
            _ => None,
        })
        .collect();
    let mut list: Vec<Value> = Vec::new();
    for line in parts.text("/proc/mounts").lines() {
        let fields: Vec<String> = line.split(' ').map(unescaped).collect();
        let [device, mount, fstype, options, ..] = &fields[..] else {
            continue;
        };
        if fstype == "none" || !(device.starts_with('/') || device.contains(":/")) {
            continue;
        }
        let bind = if bound.contains(mount) { ",bind" } else { "" };
        let mut entry = json!({
            "device": device, "mount": mount, "fstype": fstype, "options": format!("{options}{bind}"), "dump": 0, "passno": 0,
        });
        if let Some([block, fragment, total, _, available, inodes, inodes_free]) = sizes.get(&**mount).map(|s| &s[..])
            && let Some(entry) = entry.as_object_mut()
        {
            for (key, value) in [
                ("size_total", fragment * total),
                ("size_available", fragment * available),
                ("block_size", *block),
                ("block_total", *total),
                ("block_available", *available),
                ("block_used", total.saturating_sub(*available)),
                ("inode_total", *inodes),
                ("inode_available", *inodes_free),
                ("inode_used", inodes.saturating_sub(*inodes_free)),
            ] {
                entry.insert(key.to_owned(), json!(value));
            }
        }
        // What is mounted over something hides it.
        match list.iter_mut().find(|known| known.get("mount") == entry.get("mount")) {
            Some(hidden) => *hidden = entry,
            None => list.push(entry),
        }
    }
    facts.insert("mounts".into(), Value::Array(list));
}

/// A field of /proc/mounts: white space and backslashes stand as three octal digits.
fn unescaped(field: &str) -> String {
    let mut text = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                text.push(byte);
                rest = &tail[3..];
            }
            _ => {
                text.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

pub fn devices(parts: &Parts, facts: &mut Facts) {
    const BLOCK: &str = "/sys/block/";
    let mut devices = Map::new();
    for name in parts.names_below(BLOCK) {
        let at = |file: &str| format!("{BLOCK}{name}/{file}");
        let Some(sectors) = parts.text(&at("size")).parse::<u64>().ok() else {
            continue;
        };
        let scheduler = parts.text(&at("queue/scheduler"));
        let chosen = scheduler
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map_or("", |(name, _)| name);
        let sector = parts
            .some(&at("queue/logical_block_size"))
            .or(parts.some(&at("queue/hw_sector_size")))
            .unwrap_or("512");
        let mut partitions = Map::new();
        for part in parts.names_below(&at("")) {
            let of = |file: &str| parts.some(&at(&format!("{part}/{file}")));
            if let (Some(_), Some(start), Some(sectors)) = (of("partition"), of("start"), of("size")) {
                let count = sectors.parse::<u64>().unwrap_or(0);
                let value = json!({"start": start, "sectors": count, "sectorsize": sector, "size": human(count * 512)});
                partitions.insert(part.to_owned(), value);
            }
        }
        let value = json!({
            "size": human(sectors * 512),
            "sectors": sectors,
            "sectorsize": sector,
            "removable": parts.some(&at("removable")),
            "rotational": parts.some(&at("queue/rotational")),
            "scheduler_mode": chosen,
            "read_ahead_kb": parts.text(&at("queue/read_ahead_kb")).parse::<u64>().ok(),
            "vendor": parts.some(&at("device/vendor")),
            "model": parts.some(&at("device/model")),
            "holders": parts.names_below(&at("holders/")),
            "partitions": partitions,
        });
        devices.insert(name.to_owned(), value);
    }
    facts.insert("devices".into(), Value::Object(devices));
}

/// As Ansible writes sizes: `252.00 GB`, with 1024 as base.
fn human(bytes: u64) -> String {
    let units = ["TB", "GB", "MB", "KB"];
    for (n, unit) in units.iter().enumerate() {
        let limit = 1u64 << (10 * (units.len() - n));
        if bytes >= limit {
            return format!("{:.2} {unit}", bytes as f64 / limit as f64);
        }
    }
    format!("{:.2} Bytes", bytes as f64)
}
