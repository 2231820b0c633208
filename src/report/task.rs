//! One task over all its hosts: a line with the counts, then only what a reader must look at, hosts with the
//! same story told once.

use super::delta::{self, Detail};
use super::human::HumanOptions;
use super::style::{Palette, cut, host_list, one_line, pad, paint, printable, width};
use crate::engine::event::{Failed, HostResult, Mode, Section, TaskInfo, TaskStatus};
use crate::host::Layer;
use indexmap::{IndexMap, IndexSet};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Columns of a cell in the table of layers.
const CELL: usize = 60;
/// Host names told in one list; `-v` tells all.
const NAMES: usize = 50;
/// The column where names of tasks begin.
pub const NAME_COLUMN: usize = 13;

/// What has been heard of a task.
pub struct OpenTask {
    pub info: TaskInfo,
    pub results: Vec<(String, Arc<HostResult>)>,
    pub unreachable: Vec<(String, Failed)>,
    /// Hosts that tried more than once, with how often.
    pub retries: BTreeMap<String, u32>,
    /// Text, and the hosts it is about.
    pub warnings: IndexMap<String, IndexSet<String>>,
}

impl OpenTask {
    pub fn new(info: TaskInfo) -> Self {
        OpenTask {
            info,
            results: Vec::new(),
            unreachable: Vec::new(),
            retries: BTreeMap::new(),
            warnings: IndexMap::new(),
        }
    }

    /// Hosts mostly say what the host before them said: that is kept once.
    pub fn hear(&mut self, host: &str, result: &Arc<HostResult>) {
        let same = self.results.last().filter(|(_, before)| before == result);
        let kept = same.map_or(result, |(_, before)| before).clone();
        self.results.push((host.to_owned(), kept));
    }

    fn is_check(&self) -> bool {
        matches!(self.info.section, Section::PreCheck | Section::PostCheck)
    }

    /// `post-check: ports are open`.
    pub fn title(&self) -> String {
        title(&self.info)
    }

    /// Hosts by kind of outcome, in the order of [`Kind`].
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for (_, result) in &self.results {
            *counts.entry(Kind::of(result.status, self.is_check())).or_default() += 1;
        }
        let lost = self
            .unreachable
            .iter()
            .filter(|(host, _)| !self.results.iter().any(|(h, _)| h == host))
            .count();
        if lost > 0 {
            *counts.entry(Kind::Unreachable).or_default() += lost;
        }
        counts
    }
}

pub fn title(info: &TaskInfo) -> String {
    let name = one_line(&info.name);
    match info.section {
        Section::Handler => format!("handler: {name}"),
        Section::PreCheck => format!("pre-check: {name}"),
        Section::PostCheck => format!("post-check: {name}"),
        Section::Task | Section::Facts => name,
    }
}

/// What a reader tells apart; the worst is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Skipped,
    Unchanged,
    Passed,
    Changed,
    Unknown,
    Ignored,
    Rescued,
    Failed,
    Unreachable,
}

impl Kind {
    pub fn of(status: TaskStatus, check: bool) -> Kind {
        match status {
            TaskStatus::Ok | TaskStatus::Changed if check => Kind::Passed,
            TaskStatus::Ok => Kind::Unchanged,
            TaskStatus::Changed => Kind::Changed,
            TaskStatus::Skipped => Kind::Skipped,
            TaskStatus::Failed => Kind::Failed,
            TaskStatus::Ignored => Kind::Ignored,
            TaskStatus::Rescued => Kind::Rescued,
            TaskStatus::Unknown => Kind::Unknown,
            TaskStatus::Unreachable => Kind::Unreachable,
        }
    }

    /// In counts: `3 will change`.
    pub fn word(self, mode: Mode) -> &'static str {
        match (self, mode) {
            (Kind::Skipped, _) => "skipped",
            (Kind::Unchanged, _) => "unchanged",
            (Kind::Passed, _) => "passed",
            (Kind::Changed, Mode::Apply) => "changed",
            (Kind::Changed, Mode::Diff) => "will change",
            (Kind::Changed, Mode::Verify) => "drifted",
            (Kind::Unknown, _) => "cannot know yet",
            (Kind::Ignored, _) => "failed (ignored)",
            (Kind::Rescued, _) => "failed (rescued)",
            (Kind::Failed, _) => "failed",
            (Kind::Unreachable, _) => "unreachable",
        }
    }

    /// At the head of a line.
    fn head(self, mode: Mode) -> &'static str {
        match self {
            Kind::Unknown => "cannot know",
            Kind::Ignored => "ignored",
            Kind::Rescued => "rescued",
            _ => self.word(mode),
        }
    }

    pub fn style(self, palette: &Palette) -> anstyle::Style {
        match self {
            Kind::Skipped => palette.skipped,
            Kind::Unchanged | Kind::Passed => palette.ok,
            Kind::Changed | Kind::Ignored | Kind::Rescued => palette.changed,
            Kind::Unknown => palette.unknown,
            Kind::Failed | Kind::Unreachable => palette.failed,
        }
    }
}

/// `197 unchanged, 3 changed`.
pub fn counts_text(counts: &BTreeMap<Kind, usize>, mode: Mode) -> String {
    let order = |k: &Kind| match k {
        Kind::Skipped => Kind::Unknown as u8 * 2 + 1,
        k => *k as u8 * 2,
    };
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(k, _)| order(k));
    let words: Vec<_> = counts.iter().map(|(k, n)| format!("{n} {}", k.word(mode))).collect();
    words.join(", ")
}

/// Hosts that tell the same story.
struct Group<'a> {
    result: &'a HostResult,
    hosts: Vec<&'a str>,
}

/// What there is to say about a task; empty where there is nothing.
pub fn render(task: &OpenTask, mode: Mode, play_hosts: usize, options: &HumanOptions) -> String {
    let counts = task.counts();
    let Some((worst, _)) = counts.last_key_value() else {
        return String::new();
    };
    let quiet = task.info.section == Section::Facts && *worst == Kind::Unchanged && options.verbosity == 0;
    let mut body = String::new();
    for group in groups(task, mode, options) {
        describe(task, &group, mode, play_hosts, options, &mut body);
    }
    for (host, failure) in &task.unreachable {
        if !task.results.iter().any(|(h, r)| h == host && r.failure.is_some()) {
            let line = format!("{}: {}", one_line(host), one_line(&failure.msg));
            let _ = writeln!(body, "  {}", paint(options.palette.failed, &line));
        }
    }
    for (text, hosts) in &task.warnings {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        body.push_str(&warning(text, &hosts, play_hosts, options));
    }
    if quiet && body.is_empty() {
        return String::new();
    }
    heading(task, *worst, &counts, mode, play_hosts, options) + &body
}

pub fn warning(text: &str, hosts: &[&str], play_hosts: usize, options: &HumanOptions) -> String {
    let on = match hosts {
        [] => String::new(),
        [host] => format!(" (on {})", one_line(host)),
        hosts if hosts.len() == play_hosts => format!(" (on all {play_hosts} hosts)"),
        hosts => format!(
            " (on {} hosts: {})",
            hosts.len(),
            host_list(hosts, 4, options.width, NAMES)
        ),
    };
    let label = paint(options.palette.warning, "warning:").into_owned();
    format!("  {label} {}{on}\n", indented(&printable(text), 4))
}

fn heading(
    task: &OpenTask,
    worst: Kind,
    counts: &BTreeMap<Kind, usize>,
    mode: Mode,
    play_hosts: usize,
    options: &HumanOptions,
) -> String {
    let palette = &options.palette;
    let head = pad(worst.head(mode), NAME_COLUMN);
    let total: usize = counts.values().sum();
    let mut aside = match counts.len() {
        1 if play_hosts == 1 => String::new(),
        1 if total == 1 => "1 host".to_owned(),
        1 => format!("{total} hosts"),
        _ => counts_text(counts, mode),
    };
    if !task.retries.is_empty() {
        let hosts = task.retries.len();
        let times: u32 = task.retries.values().sum();
        if !aside.is_empty() {
            aside.push_str(", ");
        }
        let _ = write!(aside, "{times} retries");
        if play_hosts > 1 {
            let _ = write!(aside, " on {}", super::style::count(hosts, "host"));
        }
    }
    let title = task.title();
    let mut line = format!("{}{title}", paint(worst.style(palette), &head));
    if !aside.is_empty() {
        let _ = write!(line, "  {}", paint(palette.dim, &format!("({aside})")));
    }
    line.push('\n');
    if options.verbosity >= 2 {
        let mut place = task.info.module.clone();
        if let Some(location) = &task.info.location {
            let _ = write!(place, " at {location}");
        }
        if options.verbosity >= 3 && !task.info.tags.is_empty() {
            let _ = write!(place, ", tags {}", task.info.tags.join(", "));
        }
        let _ = writeln!(line, "  {}", paint(palette.dim, &place));
    }
    line
}

/// Groups of hosts whose story is told, the first host of each in play order.
fn groups<'a>(task: &'a OpenTask, mode: Mode, options: &HumanOptions) -> Vec<Group<'a>> {
    let mut groups: IndexMap<String, Group<'a>> = IndexMap::new();
    let mut last: Option<(&Arc<HostResult>, Option<usize>)> = None;
    for (host, result) in &task.results {
        if let Some((before, at)) = last
            && Arc::ptr_eq(before, result)
        {
            if let Some((_, group)) = at.and_then(|at| groups.get_index_mut(at)) {
                group.hosts.push(host);
            }
            continue;
        }
        last = Some((result, None));
        if !worth_telling(task, result, mode, options) {
            continue;
        }
        let findings: Vec<&Layer> = layers(result, mode, options).collect();
        let shown = if shows_value(task, options) {
            Some(&result.value)
        } else {
            None
        };
        let reason = (result.status == TaskStatus::Unknown).then(|| result.value.get("msg"));
        let said = (
            result.status,
            &result.deltas,
            findings,
            &result.failure,
            result.failure.is_none().then(|| result.value.get("msg")),
            &result.items,
            shown,
            reason,
        );
        let key = serde_json::to_string(&said).unwrap_or_default();
        let entry = groups.entry(key);
        last = Some((result, Some(entry.index())));
        entry
            .or_insert_with(|| Group {
                result,
                hosts: Vec::new(),
            })
            .hosts
            .push(host);
    }
    groups.into_values().collect()
}

fn worth_telling(task: &OpenTask, result: &HostResult, mode: Mode, options: &HumanOptions) -> bool {
    let calm = matches!(result.status, TaskStatus::Ok | TaskStatus::Skipped)
        || (task.is_check() && result.status == TaskStatus::Changed && options.verbosity == 0);
    !calm
        || options.verbosity >= 3
        || (shows_value(task, options) && !shown_value(task, result, options).is_empty())
        || layers(result, mode, options).next().is_some()
}

/// `debug` exists to be read; `-v` shows every result.
fn shows_value(task: &OpenTask, options: &HumanOptions) -> bool {
    options.verbosity >= 1 || options.show_results || task.info.module == "debug"
}

/// The layers a reader should see: in a dry run and in `verify` those that disagree, with `-v` all.
fn layers<'a>(result: &'a HostResult, mode: Mode, options: &HumanOptions) -> impl Iterator<Item = &'a Layer> {
    let all = options.verbosity >= 1;
    let findings = mode != Mode::Apply;
    result
        .layers
        .iter()
        .filter(move |layer| all || (findings && layer.finding().is_some()))
}

fn describe(
    task: &OpenTask,
    group: &Group<'_>,
    mode: Mode,
    play_hosts: usize,
    options: &HumanOptions,
    out: &mut String,
) {
    let palette = &options.palette;
    let result = group.result;
    let everyone = group.hosts.len() == play_hosts;
    let kind = Kind::of(result.status, task.is_check());
    // The heading says it where all hosts tell the same; a failure always names its hosts.
    let named = !everyone || kind >= Kind::Ignored || options.verbosity >= 3;
    if named {
        let limit = if options.verbosity >= 1 { usize::MAX } else { NAMES };
        let _ = writeln!(
            out,
            "  {}",
            paint(kind.style(palette), &host_list(&group.hosts, 2, options.width, limit))
        );
    }
    let deltas_shown = !result.hide_diff && !result.deltas.is_empty();
    for item in &result.items {
        let kind = Kind::of(item.status, task.is_check());
        let told = match kind {
            Kind::Skipped | Kind::Unchanged | Kind::Passed => options.verbosity >= 1,
            Kind::Changed => !deltas_shown || options.verbosity >= 1,
            _ => true,
        };
        if told {
            let msg = item
                .msg
                .as_deref()
                .map(|m| format!(": {}", one_line(m)))
                .unwrap_or_default();
            let word = paint(kind.style(palette), kind.word(mode)).into_owned();
            let _ = writeln!(out, "    {word} (item={}){msg}", one_line(&item.label));
        }
    }
    if deltas_shown {
        let detail = if options.show_diff {
            Detail::Full
        } else {
            Detail::Summary
        };
        for delta in &result.deltas {
            let text = delta::render(delta, detail, palette);
            for line in text.lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    let layers: Vec<&Layer> = layers(result, mode, options).collect();
    table(&layers, palette, out);
    if let Some(failure) = &result.failure {
        let style = kind.style(palette);
        let _ = writeln!(out, "    {}", paint(style, &indented(&printable(&failure.msg), 4)));
        // What ends a host's run is told again at the end, with everything there is to know.
        if kind != Kind::Failed || options.verbosity >= 1 {
            notes(failure, out);
        }
    } else if kind >= Kind::Unknown
        && let Some(msg) = result.value.get("msg").and_then(Value::as_str)
    {
        let _ = writeln!(out, "    {}", indented(&printable(msg), 4));
    }
    if shows_value(task, options) {
        let value = shown_value(task, result, options);
        if !value.is_empty()
            && let Ok(text) = serde_yaml::to_string(&value)
        {
            for line in printable(&text).lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
}

fn notes(failure: &Failed, out: &mut String) {
    for note in &failure.notes {
        let _ = writeln!(out, "    = {}", indented(&printable(note), 8));
    }
}

/// Later lines of a text after `indent` blanks.
pub fn indented(text: &str, indent: usize) -> String {
    text.trim_end().replace('\n', &format!("\n{}", " ".repeat(indent)))
}

/// What of a result a reader has not seen already.
fn shown_value(task: &OpenTask, result: &HostResult, options: &HumanOptions) -> Map<String, Value> {
    let mut value = result.value.clone();
    let lines = [("stdout_lines", "stdout"), ("stderr_lines", "stderr")];
    for (lines, text) in lines {
        if value.contains_key(text) {
            value.shift_remove(lines);
        }
    }
    value.retain(|key, v| {
        let known = matches!(
            key.as_str(),
            "changed" | "failed" | "skipped" | "diff" | "invocation" | "warnings"
        ) || (key == "ansible_facts" && options.verbosity < 3 && !options.show_results)
            || (key == "results" && options.verbosity < 2)
            // What is empty has nothing to say.
            || v.is_null()
            || v.as_str() == Some("")
            || (key == "msg" && result.failure.is_some())
            || (key == "msg" && result.status == TaskStatus::Unknown);
        !known
    });
    if task.info.module == "debug" && result.status == TaskStatus::Skipped && options.verbosity == 0 {
        value.clear();
    }
    value
}

/// `knob  desired  file  live  process  finding`, one knob a line.
fn table(layers: &[&Layer], palette: &Palette, out: &mut String) {
    if layers.is_empty() {
        return;
    }
    let cell = |v: &Option<String>| v.as_deref().map_or("-".to_owned(), one_line);
    let mut rows = vec![["knob", "desired", "file", "live", "process", "finding"].map(str::to_owned)];
    for layer in layers {
        let finding = match (layer.finding(), &layer.source) {
            (Some(finding), Some(source)) => format!("{finding} ({})", one_line(source)),
            (Some(finding), None) => finding.to_owned(),
            (None, Some(source)) => format!("({})", one_line(source)),
            (None, None) => String::new(),
        };
        rows.push([
            one_line(&layer.knob),
            one_line(&layer.desired),
            cell(&layer.file),
            cell(&layer.live),
            cell(&layer.process),
            finding,
        ]);
    }
    let widths: Vec<usize> = (0..5)
        .map(|c| rows.iter().map(|r| width(&cut(&r[c], CELL))).max().unwrap_or(0))
        .collect();
    for (number, row) in rows.iter().enumerate() {
        let mut line: String = row
            .iter()
            .zip(&widths)
            .map(|(text, w)| pad(&cut(text, CELL), w + 2))
            .collect();
        line.push_str(&row[5]);
        let line = line.trim_end();
        let style = if number == 0 {
            palette.dim
        } else {
            anstyle::Style::new()
        };
        let _ = writeln!(out, "    {}", paint(style, line));
    }
}
