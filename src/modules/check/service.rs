//! Services, their main processes, and the limits of these.

use super::Verdict;
use crate::modules::unit::{self, Process, Unit};
use crate::modules::{Failure, Seen, Stop, limits};

/// The main process; here a dry run that cannot know must say so.
pub fn process_of(seen: &Seen<'_>, unit: &str) -> Result<Option<Process>, Stop> {
    seen.get(&unit::process(unit))?;
    Process::seen(seen, unit)
}

pub fn limit_of(seen: &Seen<'_>, unit: &str, item: &str, min: &str) -> Result<Verdict, Stop> {
    let name = unit::full_name(unit);
    let what = format!("{item} of the running {name}");
    let Some((kernel, min)) = limits::kernel(item, min) else {
        return Err(Failure::new(format!("there is no limit `{item}`")).into());
    };
    let shown = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let expected = if min.is_none() {
        "unlimited".to_owned()
    } else {
        format!("at least {}", shown(min))
    };
    let Some(process) = process_of(seen, unit)? else {
        return Ok(Verdict::new(what, expected, "not running", false));
    };
    let Some((soft, hard)) = process.limits.get(kernel) else {
        return Ok(Verdict::new(what, expected, "unknown", false));
    };
    let enough = |text: &str| match (text, min) {
        ("unlimited", _) => true,
        (_, None) => false,
        (number, Some(min)) => number.parse::<u64>().is_ok_and(|n| n >= min),
    };
    // What binds is the soft limit.
    let found = if soft == hard {
        soft.clone()
    } else {
        format!("{soft} (soft; hard {hard})")
    };
    Ok(Verdict::new(what, expected, found, enough(soft)).process())
}

pub fn service_is(
    seen: &Seen<'_>,
    name: &str,
    state: Option<&str>,
    enabled: Option<bool>,
    out: &mut Vec<Verdict>,
) -> Result<(), Stop> {
    let unit = Unit::seen(seen, name)?;
    if let Some(why) = unit.unknown {
        return Err(Stop::CannotKnow(why));
    }
    let missing = match (unit.managed, unit.exists()) {
        (false, _) => Some("systemd does not answer"),
        (_, false) => Some("no such unit"),
        _ => None,
    };
    if let Some(state) = state {
        let now = unit.get("ActiveState").unwrap_or("unknown");
        let sub = unit.get("SubState").unwrap_or("unknown");
        let found = missing.map_or_else(|| format!("{now} ({sub})"), str::to_owned);
        let holds = missing.is_none() && (now == state || sub == state);
        out.push(Verdict::new(unit.name.clone(), state, found, holds));
    }
    if let Some(enabled) = enabled {
        let now = unit.get("UnitFileState").unwrap_or("unknown");
        let found = missing.map_or_else(|| now.to_owned(), str::to_owned);
        let is_on = now == "enabled" || now == "enabled-runtime" || now == "alias";
        let expected = if enabled { "enabled" } else { "not enabled" };
        out.push(Verdict::new(
            format!("{} at boot", unit.name),
            expected,
            found,
            missing.is_none() && is_on == enabled,
        ));
    }
    Ok(())
}
