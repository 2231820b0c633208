//! Free space and free memory.

use super::Verdict;
use crate::host::{Observation, Probe};
use crate::modules::knob::squeeze;
use crate::modules::{Failure, Seen, Stop};

pub const MEMINFO: &str = "/proc/meminfo";

#[derive(Clone, Copy)]
pub enum Size {
    Bytes(u64),
    Percent(u64),
}

pub fn free_disk(seen: &Seen<'_>, path: &str, min: Size) -> Result<Verdict, Stop> {
    let what = format!("free space of {path}");
    let result = match seen.get(&Probe::exec(["df", "-Pk", "--", path]))? {
        Observation::Exec(result) => result,
        other => return Err(Failure::new(format!("{what} cannot be told: {other:?}")).into()),
    };
    // Filesystem 1024-blocks Used Available Capacity Mounted
    let text = result.stdout.text().into_owned();
    let row = text
        .lines()
        .nth(1)
        .and_then(|l| l.rsplit_once('%'))
        .map(|(head, _)| head.split_whitespace().collect::<Vec<_>>());
    let number = |at: usize| {
        let row = row.as_ref()?;
        row.get(row.len().checked_sub(at)?)?.parse::<u64>().ok()
    };
    match (number(4), number(2)) {
        (Some(all), Some(free)) => Ok(room(what, min, free * 1024, all * 1024)),
        _ => Ok(Verdict::new(
            what,
            room_text(min),
            squeeze(&result.stderr.text()),
            false,
        )),
    }
}

pub fn free_memory(seen: &Seen<'_>, min: Size) -> Result<Verdict, Stop> {
    let text = seen.read(MEMINFO)?.map(|c| c.text().into_owned()).unwrap_or_default();
    let field = |name: &str| {
        text.lines().find_map(|l| {
            l.strip_prefix(name)?
                .strip_prefix(':')?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
    };
    match (field("MemAvailable"), field("MemTotal")) {
        (Some(free), Some(all)) => Ok(room("available memory".to_owned(), min, free * 1024, all * 1024)),
        _ => Err(Failure::new(format!("{MEMINFO} does not tell how much memory is available")).into()),
    }
}

fn room(what: String, min: Size, free: u64, all: u64) -> Verdict {
    let percent = (free * 100).checked_div(all).unwrap_or(0);
    let holds = match min {
        Size::Bytes(min) => free >= min,
        Size::Percent(min) => percent >= min,
    };
    Verdict::new(what, room_text(min), format!("{} ({percent}%)", human(free)), holds)
}

fn room_text(min: Size) -> String {
    match min {
        Size::Bytes(n) => format!("at least {}", human(n)),
        Size::Percent(n) => format!("at least {n}%"),
    }
}

/// Bytes in the largest unit that leaves a whole number before the point.
fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = units
        .iter()
        .enumerate()
        .rev()
        .find(|(n, _)| bytes >> (10 * n) > 0)
        .map_or(0, |(n, _)| n);
    let value = bytes as f64 / (1_u64 << (10 * power)) as f64;
    let unit = units.get(power).copied().unwrap_or("B");
    if value.fract() == 0.0 {
        format!("{value} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}
