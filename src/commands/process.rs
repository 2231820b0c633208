//! This process among others: how it is asked to end, and how many files it may have open.

use crate::diagnostic::{Code, Diagnostic};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// Open files a host needs while it is worked on: the ssh that connects, its words, a session's streams.
const FILES_OF_A_HOST: u64 = 10;
/// Open files of everything else.
const OTHER_FILES: u64 = 40;

/// Stops the run when a person (Ctrl-C), a service manager (SIGTERM) or a terminal that goes away (SIGHUP) ends it: what
/// is in flight is finished and told.
pub fn mind_signals(runtime: &Runtime, stop: Arc<Notify>) {
    // From here on none is lost, whenever the run gets to it.
    let _inside = runtime.enter();
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    // Under `nohup` it stays ignored.
    if !ignores(SIGHUP) {
        kinds.push(SignalKind::hangup());
    }
    for mut signal in kinds.into_iter().filter_map(|kind| signal(kind).ok()) {
        let stop = stop.clone();
        runtime.spawn(async move {
            while signal.recv().await.is_some() {
                stop.notify_one();
            }
        });
    }
}

const SIGHUP: u32 = 1;

fn ignores(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// How many of `forks` hosts can be worked on at a time with as many open files as this process may have; the limit is
/// raised as far as it must and can be. A warning where that is not far enough.
pub fn forks(forks: usize) -> (usize, Option<Diagnostic>) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = forks as u64 * FILES_OF_A_HOST + OTHER_FILES;
    let mut allowed = limit.current.unwrap_or(u64::MAX);
    if allowed < wanted {
        // No further than needed: what runs on this machine inherits it.
        let raised = limit.maximum.unwrap_or(u64::MAX).min(wanted);
        let new = Rlimit {
            current: Some(raised),
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, new).is_ok() {
            allowed = raised;
        }
    }
    if allowed >= wanted {
        return (forks, None);
    }
    let fit = usize::try_from(allowed.saturating_sub(OTHER_FILES) / FILES_OF_A_HOST)
        .unwrap_or(forks)
        .max(1);
    let message = format!("{fit} instead of {forks} hosts at a time: no more than {allowed} files may be open");
    let warning = Diagnostic::warning(Code::FEW_FILES, message).help(format!(
        "raise the limit: `ulimit -n {wanted}`, or the service's `LimitNOFILE`"
    ));
    (fit, Some(warning))
}
