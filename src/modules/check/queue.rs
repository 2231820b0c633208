//! A disk's queue: its scheduler and its read-ahead.

use super::Verdict;
use crate::modules::disk::{Disks, NoDisk};
use crate::modules::{Failure, Seen, Stop};

/// What is checked of a disk's queue.
#[derive(Clone, Copy, PartialEq)]
pub enum Queue {
    Scheduler,
    ReadAhead,
}

pub fn queues(
    seen: &Seen<'_>,
    knob: Queue,
    device: &Result<String, String>,
    good: &[String],
    out: &mut Vec<Verdict>,
) -> Result<(), Stop> {
    let disks = Disks::seen(seen, device.as_ref().err().map(String::as_str))?;
    let names = match device {
        Ok(name) => vec![name.clone()],
        Err(path) => match disks.top_of_path(path) {
            Ok(top) => disks.bottom(&top),
            Err(NoDisk::Virtual(why)) => {
                let mut verdict = Verdict::new(
                    format!("{} of the disks of {path}", knob.name()),
                    good.join(" or "),
                    "no disk",
                    true,
                );
                verdict.warning = Some(why);
                out.push(verdict);
                return Ok(());
            }
            Err(NoDisk::Other(why)) => return Err(Failure::new(why).into()),
        },
    };
    for name in names {
        let found = match disks.disks.get(&name) {
            None => "no such disk".to_owned(),
            Some(_) => disks
                .queue(seen, &name, knob.attribute())
                .unwrap_or_else(|| "none to choose".to_owned()),
        };
        let holds = good.contains(&found);
        out.push(Verdict::new(format!("{} of {name}", knob.name()), good.join(" or "), found, holds).live());
    }
    Ok(())
}

impl Queue {
    fn attribute(self) -> &'static str {
        match self {
            Queue::Scheduler => "scheduler",
            Queue::ReadAhead => "read_ahead_kb",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Queue::Scheduler => "scheduler",
            Queue::ReadAhead => "read-ahead (KiB)",
        }
    }
}
