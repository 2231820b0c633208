//! PURE. **A restart is never lost:** handlers that were notified and have not run yet are written down on the
//! host, in the same message that makes the change, and struck off in the message that runs them. What a failure,
//! an interrupt or a lost connection left there, the next run of a play with such a handler does.
//!
//! One name a line in `/var/lib/rmqplay/pending-handlers`, for users who cannot write there in
//! `~/.local/state/rmqplay/pending-handlers`. Beside it stands `in-maintenance` while a rolling play has a node drained:
//! **a revive is not lost** either.

#![deny(clippy::disallowed_methods)]

use crate::host::{Content, Effect, Exec, Observation, Op, Probe};
use std::collections::BTreeSet;

const FIND: &str =
    r#"if [ -w /var/lib ]; then d=/var/lib/rmqplay; else d="${XDG_STATE_HOME:-$HOME/.local/state}/rmqplay"; fi"#;

/// What is written down.
pub fn probe() -> Probe {
    let script = format!("{FIND}\n[ ! -f \"$d/pending-handlers\" ] || cat \"$d/pending-handlers\"");
    Probe::exec(["sh", "-c", script.as_str()])
}

/// Writes down these names and no others. Its own failure (a full disk...) does not stop the change it goes with.
pub fn write(names: &BTreeSet<String>) -> Op {
    let script = if names.is_empty() {
        format!("{FIND}\nrm -f \"$d/pending-handlers\"")
    } else {
        format!(
            "{FIND}\numask 077\nmkdir -p \"$d\" && cat >\"$d/pending-handlers.new\" && mv \"$d/pending-handlers.new\" \"$d/pending-handlers\""
        )
    };
    let text: String = names
        .iter()
        .map(|name| format!("{}\n", name.replace('\n', " ")))
        .collect();
    Op::Exec(Exec {
        argv: vec!["sh".to_owned(), "-c".to_owned(), script],
        stdin: Some(Content::from(text)),
        effect: Effect::Nothing,
        ..Exec::default()
    })
}

/// Whether a rolling play has left the node in maintenance: it says so.
pub fn drained() -> Probe {
    let script = format!("{FIND}\n[ ! -f \"$d/in-maintenance\" ] || echo yes");
    Probe::script(&script, &[])
}

/// Writes down that the node is being drained, or (`false`) that it is back. Its own failure is none of the turn's.
pub fn note_drained(drained: bool) -> Op {
    let script = if drained {
        format!("{FIND}\n{{ mkdir -p \"$d\" && : >\"$d/in-maintenance\"; }} || true")
    } else {
        format!("{FIND}\nrm -f \"$d/in-maintenance\" || true")
    };
    Op::exec(["sh", "-c", script.as_str()], Effect::Nothing)
}

/// The names in an answer to [`probe`].
pub fn parse(observation: &Observation) -> BTreeSet<String> {
    match observation {
        Observation::Exec(result) if result.ok() => result
            .stdout
            .text()
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => BTreeSet::new(),
    }
}
