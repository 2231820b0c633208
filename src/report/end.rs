//! The end of a run: the recap of every host, the failures once more with what helps, one line per host that
//! needs attention, and the recap line.

use super::human::HumanOptions;
use super::style::{Palette, count, duration, host_list, one_line, pad, paint, printable, width};
use super::task::{Kind, OpenTask, counts_text, indented};
use crate::diagnostic::Code;
use crate::engine::event::{Failed, Mode, PlayInfo, Section, Stats, TaskInfo, TaskStatus, Timing, undefined_on};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// More hosts than this are told together where their counters are equal.
const HOST_LINES: usize = 20;

/// What is remembered until then.
#[derive(Default)]
pub struct End {
    run: String,
    mode: Option<Mode>,
    hosts: BTreeSet<String>,
    /// Hosts of the play that is running.
    play_hosts: usize,
    tasks: usize,
    counts: BTreeMap<Kind, usize>,
    failures: Vec<Failure>,
    unreachable: Vec<(String, Option<String>, Failed)>,
    /// Tasks that changed each host so far.
    changed: BTreeMap<String, usize>,
    interrupted: bool,
}

/// Hosts on which a task failed in the same way.
struct Failure {
    info: TaskInfo,
    title: String,
    of: usize,
    failed: Failed,
    /// Items of a loop that failed: label, message.
    items: Vec<(String, String)>,
    hosts: Vec<String>,
}

impl End {
    pub fn started(&mut self, run: &str, mode: Mode) {
        run.clone_into(&mut self.run);
        self.mode = Some(mode);
    }

    pub fn play(&mut self, play: &PlayInfo) {
        self.hosts.extend(play.hosts.iter().cloned());
        self.play_hosts = play.hosts.len();
    }

    pub fn interrupted(&mut self) {
        self.interrupted = true;
    }

    pub fn unreachable(&mut self, host: &str, task: Option<String>, failure: &Failed) {
        // Within a task it is among the task's own.
        if task.is_none() {
            *self.counts.entry(Kind::Unreachable).or_default() += 1;
        }
        self.unreachable.push((host.to_owned(), task, failure.clone()));
    }

    pub fn task(&mut self, task: &OpenTask) {
        let counts = task.counts();
        let facts = task.info.section == Section::Facts;
        self.tasks += usize::from(!facts && !counts.is_empty());
        for (kind, n) in counts {
            if !facts || kind >= Kind::Failed {
                *self.counts.entry(kind).or_default() += n;
            }
        }
        let mut here: Vec<Failure> = Vec::new();
        for (host, result) in &task.results {
            if result.status != TaskStatus::Failed {
                continue;
            }
            let mut failed = result.failure.clone().unwrap_or_else(|| Failed {
                code: Code::TASK_FAILED.0.to_owned(),
                msg: result
                    .value
                    .get("msg")
                    .and_then(|m| m.as_str())
                    .unwrap_or("failed")
                    .to_owned(),
                ..Failed::default()
            });
            rename(&mut failed, &format!("host `{host}`"), ANYBODY);
            let items: Vec<(String, String)> = result
                .items
                .iter()
                .filter(|i| i.status == TaskStatus::Failed)
                .map(|i| (i.label.clone(), i.msg.clone().unwrap_or_default()))
                .collect();
            match here.iter_mut().find(|f| f.failed == failed && f.items == items) {
                Some(same) => same.hosts.push(host.clone()),
                None => here.push(Failure {
                    info: task.info.clone(),
                    title: task.title(),
                    of: self.play_hosts,
                    failed,
                    items,
                    hosts: vec![host.clone()],
                }),
            }
        }
        for failure in &mut here {
            let whom = match failure.hosts.as_slice() {
                [one] => format!("host `{one}`"),
                _ => "these hosts".to_owned(),
            };
            rename(&mut failure.failed, ANYBODY, &whom);
            failure
                .failed
                .notes
                .extend(self.changed_before(&failure.hosts, "before this one"));
        }
        self.failures.append(&mut here);
        for (host, result) in &task.results {
            if result.status == TaskStatus::Changed {
                *self.changed.entry(host.clone()).or_default() += 1;
            }
        }
    }

    /// What a reader of a failure wants to know next: is the host as it was?
    fn changed_before(&self, hosts: &[String], when: &str) -> Option<String> {
        if self.mode != Some(Mode::Apply) {
            return None;
        }
        let done: Vec<(&String, usize)> = hosts
            .iter()
            .map(|host| (host, self.changed.get(host).copied().unwrap_or(0)))
            .collect();
        let (first, n) = *done.first()?;
        if done.iter().any(|(_, other)| *other != n) {
            let each: Vec<String> = done.iter().map(|(host, n)| format!("{} {n}", one_line(host))).collect();
            return Some(format!(
                "note: tasks that changed these hosts {when}: {}",
                each.join(", ")
            ));
        }
        Some(match (n, hosts) {
            (0, [_]) => format!("note: no task changed {} {when}", one_line(first)),
            (0, _) => format!("note: no task changed these hosts {when}"),
            (n, [_]) => format!("note: {} changed {} {when}", count(n, "task"), one_line(first)),
            (n, _) => format!("note: {} changed each of these hosts {when}", count(n, "task")),
        })
    }

    /// Hosts that cannot be reached for the same reason are told as one, unless everything is asked for (`each`). Of words
    /// that are not the same for all, those about the first host stand for the rest.
    fn unreachable_together(&self, each: bool) -> Vec<(Vec<String>, Failed)> {
        let mut groups: Vec<Vec<(&String, &Failed)>> = Vec::new();
        for (host, _, failure) in &self.unreachable {
            let same = |group: &&mut Vec<(&String, &Failed)>| {
                let (_, first) = group[0];
                !each && (&first.code, &first.msg) == (&failure.code, &failure.msg)
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push((host, failure)),
                None => groups.push(vec![(host, failure)]),
            }
        }
        let together = |mut group: Vec<(&String, &Failed)>| {
            group.sort_by_key(|(host, _)| *host);
            let (host, first) = group[0];
            let mut failure = first.clone();
            let of_first = |text: &String| format!("{}: {text}", one_line(host));
            if group.iter().any(|(_, other)| other.notes != first.notes) {
                failure.notes = first.notes.iter().map(of_first).collect();
            }
            if group.iter().any(|(_, other)| other.helps != first.helps) {
                failure.helps = first.helps.iter().map(of_first).collect();
            }
            (group.iter().map(|(host, _)| (*host).clone()).collect(), failure)
        };
        groups.into_iter().map(together).collect()
    }

    pub fn render(
        &self,
        stats: &BTreeMap<String, Stats>,
        timing: &BTreeMap<String, Timing>,
        elapsed_ms: u64,
        options: &HumanOptions,
    ) -> String {
        let mut out = recap_hosts(stats, timing, options);
        for (hosts, failure) in self.unreachable_together(options.verbosity > 0) {
            out.push('\n');
            let said = one_line(&failure.msg);
            let (whom, named) = match hosts.as_slice() {
                [host] => (one_line(host), [].as_slice()),
                hosts => (count(hosts.len(), "host"), hosts),
            };
            let title = if said.starts_with("cannot connect to ") {
                said
            } else if failure.code == Code::CONNECT.0 {
                format!("cannot connect to {whom}: {said}")
            } else {
                format!("{whom}: {said}")
            };
            let mut failure = failure;
            // Every task is told by now, and none after it ran there.
            failure.notes.extend(self.changed_before(&hosts, "in this run"));
            block(&failure, &title, named, None, options, &mut out);
        }
        for failure in &self.failures {
            out.push('\n');
            let what = match failure.info.section {
                Section::PreCheck | Section::PostCheck => "check failed",
                Section::Handler => "handler failed",
                Section::Task | Section::Facts => "task failed",
            };
            let title = format!(
                "{what} on {} of {}: {}",
                failure.hosts.len(),
                count(failure.of, "host"),
                one_line(&failure.info.name)
            );
            block(
                &failure.failed,
                &title,
                &failure.hosts,
                Some(failure),
                options,
                &mut out,
            );
        }
        let attention = self.attention(&options.palette);
        if !attention.is_empty() {
            let _ = write!(out, "\n{attention}");
        } else if !out.is_empty() {
            out.push('\n');
        }
        if self.interrupted {
            out.push_str("the run was interrupted; what is not told above did not run\n");
        }
        out.push_str(&self.recap(timing, elapsed_ms));
        out
    }

    /// `mq-3  failed   create user app: exit status 69`.
    fn attention(&self, palette: &Palette) -> String {
        let mut lines: Vec<(&str, &str, String)> = Vec::new();
        for (host, task, failure) in &self.unreachable {
            let said = one_line(failure.msg.lines().next().unwrap_or_default());
            let text = match task {
                Some(task) => format!("{task}: {said}"),
                None => said,
            };
            lines.push((host, "unreachable", text));
        }
        for failure in &self.failures {
            let said = one_line(failure.failed.msg.lines().next().unwrap_or_default());
            for host in &failure.hosts {
                lines.push((host, "failed", format!("{}: {said}", failure.title)));
            }
        }
        let columns = lines.iter().map(|(h, ..)| width(h)).max().unwrap_or(0);
        let words = lines.iter().map(|(_, w, _)| w.len()).max().unwrap_or(0);
        lines.iter().fold(String::new(), |mut out, (host, word, text)| {
            let word = paint(palette.failed, &pad(word, words)).into_owned();
            let _ = writeln!(out, "{}  {word}  {text}", pad(&one_line(host), columns));
            out
        })
    }

    fn recap(&self, timing: &BTreeMap<String, Timing>, elapsed_ms: u64) -> String {
        let mode = self.mode.unwrap_or(Mode::Apply);
        let mut counts = self.counts.clone();
        if mode != Mode::Verify {
            counts.entry(Kind::Unchanged).or_default();
            counts.entry(Kind::Changed).or_default();
        }
        if mode == Mode::Diff {
            counts.entry(Kind::Unknown).or_default();
        }
        let trips: u64 = timing.values().map(|t| t.round_trips).sum();
        let vms: u64 = timing.values().map(|t| t.vm_starts).sum();
        let vms = match vms {
            0 => String::new(),
            n => format!(
                "{}, ",
                count(usize::try_from(n).unwrap_or(usize::MAX), "Erlang VM start")
            ),
        };
        let counted = match counts_text(&counts, mode) {
            text if text.is_empty() => text,
            text => format!(": {text}"),
        };
        format!(
            "recap: {}, {}{counted}; {}, {vms}{} (run {})\n",
            count(self.hosts.len(), "host"),
            count(self.tasks, "task"),
            count(usize::try_from(trips).unwrap_or(usize::MAX), "round trip"),
            duration(elapsed_ms),
            self.run
        )
    }
}

/// Ansible's line for each host, with the round trips behind it.
fn recap_hosts(stats: &BTreeMap<String, Stats>, timing: &BTreeMap<String, Timing>, options: &HumanOptions) -> String {
    let calm = |s: &Stats| s.failures == 0 && s.unreachable == 0;
    // Round trips, and Erlang VMs where there were any.
    let costs = |host: &str| timing.get(host).map_or((0, 0), |t| (t.round_trips, t.vm_starts));
    let told = |(trips, vms): (u64, u64)| match vms {
        0 => format!("round_trips={trips}"),
        _ => format!("round_trips={trips} vm_starts={vms}"),
    };
    let mut lines: Vec<(String, &Stats, String)> = Vec::new();
    if stats.len() <= HOST_LINES || options.verbosity > 0 {
        for (host, s) in stats {
            let mut tail = told(costs(host));
            if options.verbosity >= 3
                && let Some(t) = timing.get(host)
            {
                let _ = write!(
                    tail,
                    " connect={}ms executions={} sent={} received={}",
                    t.connect_ms, t.executions, t.bytes_out, t.bytes_in
                );
            }
            lines.push((one_line(host), s, tail));
        }
    } else {
        // Hosts with equal counters in one line, those in trouble each in its own.
        let mut equal: Vec<(&Stats, (u64, u64), usize)> = Vec::new();
        for (host, s) in stats.iter().filter(|(_, s)| calm(s)) {
            let cost = costs(host);
            match equal.iter_mut().find(|(other, c, _)| *other == s && *c == cost) {
                Some((.., n)) => *n += 1,
                None => equal.push((s, cost, 1)),
            }
        }
        equal.sort_by_key(|(.., n)| std::cmp::Reverse(*n));
        for (s, cost, n) in equal {
            lines.push((count(n, "host"), s, told(cost)));
        }
        for (host, s) in stats.iter().filter(|(_, s)| !calm(s)) {
            lines.push((one_line(host), s, told(costs(host))));
        }
    }
    let columns = lines.iter().map(|(name, ..)| width(name)).max().unwrap_or(0);
    let palette = &options.palette;
    let mut out = String::new();
    for (name, s, tail) in lines {
        let style = if !calm(s) {
            palette.failed
        } else if s.changed > 0 {
            palette.changed
        } else {
            palette.ok
        };
        let mut line = format!("{} :", paint(style, &pad(&name, columns)));
        let mut counters = vec![
            ("ok", s.ok),
            ("changed", s.changed),
            ("unreachable", s.unreachable),
            ("failed", s.failures),
            ("skipped", s.skipped),
            ("rescued", s.rescued),
            ("ignored", s.ignored),
        ];
        if s.unknown > 0 {
            counters.push(("unknown", s.unknown));
        }
        for (name, n) in counters {
            let _ = write!(line, " {}", pad(&format!("{name}={n}"), name.len() + 5));
        }
        let _ = writeln!(out, "{line} {tail}");
    }
    out
}

/// In place of the host in a failure that others may share.
const ANYBODY: &str = "\0";

fn rename(failed: &mut Failed, from: &str, to: &str) {
    if let Some(rendered) = &mut failed.rendered {
        *rendered = rendered.replace(&undefined_on(from), &undefined_on(to));
    }
}

/// A failure in the manner of a diagnostic.
fn block(
    failed: &Failed,
    title: &str,
    hosts: &[String],
    failure: Option<&Failure>,
    options: &HumanOptions,
    out: &mut String,
) {
    let palette = &options.palette;
    let code = if failed.code.is_empty() {
        String::new()
    } else {
        format!("[{}]", failed.code)
    };
    if let Some(rendered) = &failed.rendered {
        // It says everything but whom it befell.
        let _ = writeln!(out, "{}", printable(rendered).trim_end());
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let hosts = host_list(&hosts, 9, options.width, usize::MAX);
        let _ = writeln!(out, "   = {title}");
        if !hosts.is_empty() {
            let _ = writeln!(out, "   = on: {hosts}");
        }
        return;
    }
    let head = paint(palette.failed, &format!("error{code}")).into_owned();
    let _ = writeln!(out, "{head}: {}", paint(palette.title, title));
    let location = failed
        .location
        .as_ref()
        .or(failure.and_then(|f| f.info.location.as_ref()));
    if let Some(location) = location {
        let _ = writeln!(out, "  --> {location}");
    }
    if !hosts.is_empty() {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let _ = writeln!(out, "   = on: {}", host_list(&hosts, 9, options.width, usize::MAX));
        // Elsewhere the title says it.
        if failure.is_some() {
            let _ = writeln!(out, "   = {}", indented(&printable(&failed.msg), 5));
        }
    }
    for (label, msg) in failure.map(|f| f.items.as_slice()).unwrap_or_default() {
        let _ = writeln!(out, "   = item {}: {}", one_line(label), indented(&printable(msg), 9));
    }
    for note in &failed.notes {
        let _ = writeln!(out, "   = {}", indented(&printable(note), 9));
    }
    for help in &failed.helps {
        let _ = writeln!(
            out,
            "{}: {}",
            paint(palette.help, "help"),
            indented(&printable(help), 6)
        );
    }
}
