//! What the tuning modules have in common: a change that is put together step by step and can be taken back, and the
//! kernel's way of writing lists and choices.

use super::args::plain;
use super::{ArgError, Args, Change, Decision, Report, Seen, Stop};
use crate::host::{Content, Delta, Effect, Files, Guard, Observation, Op, Probe, Undo};
use serde_json::Value;
use std::sync::Arc;

/// The header of files that are rmqplay's own.
pub const HEADER: &str = "# Written by rmqplay, which changes only lines it has set itself.\n";

/// A change in the making: deltas, ops, and the ops that take them back.
#[derive(Default)]
pub struct Edits {
    deltas: Vec<Delta>,
    ops: Vec<Op>,
    undo: Vec<Op>,
}

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Number of ops so far.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Brings a file from what was read to what it shall be (`None`: absent); nothing where they are equal. The write
    /// is refused if the file is no longer what was read.
    pub fn file(&mut self, path: &str, before: Option<&Content>, after: Option<String>) {
        self.content(path, before, after.map(Content::from));
    }

    /// The same with what need not be text.
    pub fn content(&mut self, path: &str, before: Option<&Content>, after: Option<Content>) {
        if before == after.as_ref() {
            return;
        }
        self.deltas.push(Delta::text(path, before.cloned(), after.clone()));
        match &after {
            Some(content) => {
                if before.is_none()
                    && let Some((dir, _)) = path.rsplit_once('/')
                {
                    self.ops.push(Op::MakeDir {
                        path: dir.to_owned(),
                        mode: None,
                        owner: None,
                        group: None,
                        parents: true,
                    });
                }
                let guard = before.map_or(Guard::Absent, |old| Guard::Sha256(old.sha256()));
                self.ops.push(write(path, content.clone(), Some(guard)));
            }
            None => self.ops.push(remove(path)),
        }
        self.undo.push(match (before, after) {
            (Some(old), after) => write(
                path,
                old.clone(),
                Some(after.map_or(Guard::Absent, |new| Guard::Sha256(new.sha256()))),
            ),
            (None, _) => remove(path),
        });
    }

    /// Writes one value to a kernel file.
    pub fn put(&mut self, subject: impl Into<String>, path: &str, before: &str, after: &str) {
        self.deltas.push(Delta::value(subject, before, after));
        self.ops.push(put(path, after));
        self.undo.push(put(path, before));
    }

    /// Runs a command whose effect `delta` tells; `back` takes it back.
    pub fn exec(&mut self, delta: Option<Delta>, op: Op, back: Option<Op>) {
        self.deltas.extend(delta);
        self.ops.push(op);
        self.undo.extend(back);
    }

    /// systemd reads unit files again.
    pub fn daemon_reload(&mut self, delta: Option<Delta>) {
        self.exec(delta, super::unit::daemon_reload(), Some(super::unit::daemon_reload()));
    }

    /// The decision: Keep if nothing was added.
    pub fn decision(mut self, report: Report) -> Decision {
        if self.is_empty() {
            return Decision::Keep(report);
        }
        // Taken back in reverse, but systemd reads its files after they are back.
        self.undo.reverse();
        if self.undo.iter().any(|op| matches!(op, Op::Exec(_))) {
            let reload = super::unit::daemon_reload();
            let all = self.undo.len();
            self.undo.retain(|op| *op != reload);
            if self.undo.len() < all {
                self.undo.push(reload);
            }
        }
        Decision::Change(Change::new(self.deltas, self.ops, report).undo(Undo::Ops(self.undo)))
    }
}

fn write(path: &str, content: Content, guard: Option<Guard>) -> Op {
    Op::Write {
        path: path.to_owned(),
        content,
        mode: None,
        owner: None,
        group: None,
        guard,
        backup: None,
        validate: None,
    }
}

fn remove(path: &str) -> Op {
    Op::Remove {
        path: path.to_owned(),
        recursive: false,
    }
}

fn put(path: &str, value: &str) -> Op {
    Op::Put {
        path: path.to_owned(),
        content: Content::from(format!("{value}\n")),
    }
}

/// A command that acts on a process or on udev and is not seen in any file another task reads.
pub fn act<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Op {
    Op::exec(argv, Effect::Nothing)
}

/// What a command printed, for a view that is not needed to decide: nothing where the look failed, or where a dry run
/// cannot know (a package that is yet to be installed may change any answer).
pub fn aside(seen: &Seen<'_>, probe: &Probe) -> Result<String, Stop> {
    Ok(match seen.raw(probe)? {
        Observation::Exec(result) => result.stdout.text().into_owned(),
        _ => String::new(),
    })
}

/// As [`aside`]: the files that each of several globs found.
pub fn files(seen: &Seen<'_>, probes: &[Probe]) -> Result<Vec<Arc<Files>>, Stop> {
    let mut all = Vec::new();
    for probe in probes {
        if let Observation::Files(files) = seen.raw(probe)? {
            all.push(files);
        }
    }
    Ok(all)
}

/// One blank between words, none around: `4096\t131072` is `4096 131072` to the kernel.
pub fn squeeze(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}

/// A kernel file that offers choices, `none [mq-deadline] kyber`: all of them, and the one that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    pub all: Vec<String>,
    pub on: String,
}

impl Choices {
    /// `None` where nothing stands in brackets.
    pub fn parse(text: &str) -> Option<Choices> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let on = words.iter().find_map(|w| w.strip_prefix('[')?.strip_suffix(']'))?;
        Some(Choices {
            all: words.iter().map(|w| w.trim_matches(['[', ']']).to_owned()).collect(),
            on: on.to_owned(),
        })
    }

    /// The value of a kernel file, whether it offers choices or not.
    pub fn value(text: &str) -> String {
        Choices::parse(text).map_or_else(|| squeeze(text), |c| c.on)
    }

    pub fn list(&self) -> String {
        quoted(&self.all)
    }
}

/// `a`, `b`
pub fn quoted<S: AsRef<str>>(words: &[S]) -> String {
    words
        .iter()
        .map(|w| format!("`{}`", w.as_ref()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// CPU numbers of a kernel list (`0-3,8`), sorted, once each; `None` if it is not one.
pub fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = std::collections::BTreeSet::new();
    for part in text.split([',', ' ', '\t', '\n']).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        // No machine has more CPUs than this (CONFIG_NR_CPUS is at most 8192).
        if first > last || last >= 8192 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus.into_iter().collect())
}

/// An argument that names CPUs: a number, a list of numbers or ranges, or one string of them. Never empty.
pub fn cpus(args: &Args, name: &str) -> Result<Vec<u32>, ArgError> {
    let text = match args.raw(name) {
        Some(Value::Array(items)) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Some(value) => plain(value),
        None => String::new(),
    };
    match cpu_list(&text) {
        Some(cpus) if !cpus.is_empty() => Ok(cpus),
        Some(_) => Err(ArgError::new(name, format!("`{name}` names no CPU"))),
        None => {
            Err(ArgError::new(name, format!("`{text}` is not a list of CPUs"))
                .help("write `2-7,9`, or a list of numbers"))
        }
    }
}

/// `0,1,2,3,8` → `0-3,8`, as the kernel writes it.
pub fn cpu_text(cpus: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let text: Vec<String> = ranges
        .iter()
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") })
        .collect();
    text.join(",")
}

/// Plural of a counted noun.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// Where threads run: `wanted` if they keep to it and between them use all of it (the Erlang VM binds schedulers to single
/// processors of those it may use), else `2-7`, or if they differ `2-7 (19 threads), 0-3 (1 thread)`.
pub fn threads(cpus: &[(u32, String)], wanted: &[u32]) -> String {
    let lists: Vec<Vec<u32>> = cpus.iter().filter_map(|(_, list)| cpu_list(list)).collect();
    let mut used: Vec<u32> = lists.concat();
    used.sort_unstable();
    used.dedup();
    if used == wanted {
        return cpu_text(wanted);
    }
    let normal = |list: &str| cpu_list(list).map_or_else(|| list.to_owned(), |c| cpu_text(&c));
    match cpus {
        [(_, all)] => normal(all),
        some => some
            .iter()
            .map(|(n, list)| format!("{} ({})", normal(list), count(*n as usize, "thread")))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(cpu_list("2-4,9 0"), Some(vec![0, 2, 3, 4, 9]));
        assert_eq!(cpu_list("4-2"), None);
        assert_eq!(cpu_list("0-99999999"), None);
        assert_eq!(cpu_list("a"), None);
        assert_eq!(cpu_text(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
    }

    #[test]
    fn bound_schedulers_are_where_they_should_be() {
        let threads = |lists: &[&str], wanted: &[u32]| {
            super::threads(&lists.iter().map(|l| (1, (*l).to_owned())).collect::<Vec<_>>(), wanted)
        };
        // As RabbitMQ on two processors was seen to run.
        assert_eq!(threads(&["0", "0-1", "1"], &[0, 1]), "0-1");
        assert_eq!(threads(&["0", "1"], &[0, 1, 2, 3]), "0 (1 thread), 1 (1 thread)");
        assert_eq!(threads(&["0-3", "0-1"], &[0, 1]), "0-3 (1 thread), 0-1 (1 thread)");
    }

    #[test]
    fn choices() {
        let choices = Choices::parse("none [mq-deadline] kyber\n").unwrap();
        assert_eq!((choices.on.as_str(), choices.all.len()), ("mq-deadline", 3));
        assert_eq!(Choices::parse("128\n"), None);
    }
}
