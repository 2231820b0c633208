//! `lineinfile`: one line of a file.

use super::file_attributes::{Attributes, with_file_args};
use super::file_content::{Before, Step, Writing, make_directories, parent_of};
use super::python_regex::{Groups, PythonRegex};
use super::template::{BACKUP, VALIDATE};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Content, FileKind, Observation, Probe};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "lineinfile",
    aliases: &[],
    summary: "Make sure a line is in a file, or is not",
    description: "With `regexp` (Python's syntax) or `search_string` the last line that matches becomes `line`; if none \
                  matches, and `line` is not in the file, it is added after the last match of `insertafter`, before that \
                  of `insertbefore`, or at the end. `state: absent` removes every line that matches.\n\n\
                  Unlike Ansible's: a task that would change the file again at its next run (its `regexp` matches the new \
                  line and makes another one of it) says so in a warning; attributes are those of a symlink's target; with \
                  `create`, missing directories are made with mode 0755; a line added after a last line without a newline \
                  begins a line of its own; a newline at the end of `line` is dropped.",
    args: with_file_args![
        ArgSpec::new("path", ArgKind::Path, "The file on the host.")
            .required()
            .aliases(&["dest", "destfile", "name"]),
        ArgSpec::new("state", ArgKind::Str, "Whether the line is to be there.")
            .choices(&["absent", "present"])
            .default("present"),
        ArgSpec::new("line", ArgKind::Str, "The line.").aliases(&["value"]),
        ArgSpec::new(
            "regexp",
            ArgKind::Str,
            "Python regular expression for the line to replace or remove."
        )
        .aliases(&["regex"]),
        ArgSpec::new(
            "search_string",
            ArgKind::Str,
            "Text in the line to replace or remove; no regular expression."
        ),
        ArgSpec::new(
            "insertafter",
            ArgKind::Str,
            "Regular expression, or `EOF`: a new line goes after its last match."
        ),
        ArgSpec::new(
            "insertbefore",
            ArgKind::Str,
            "Regular expression, or `BOF`: a new line goes before its last match."
        ),
        ArgSpec::new(
            "backrefs",
            ArgKind::Bool,
            "`line` holds `\\1`, `\\g<name>` of `regexp`; nothing is added without a match."
        )
        .default("false"),
        ArgSpec::new("firstmatch", ArgKind::Bool, "The first match counts, not the last.").default("false"),
        ArgSpec::new("create", ArgKind::Bool, "Make the file if there is none.").default("false"),
        BACKUP,
        VALIDATE,
    ],
    free_form: None,
    open: false,
    returns: &[
        ("msg", "`line added`, `line replaced`, `2 line(s) removed`"),
        ("backup", "path of the backup, empty without one"),
        ("found", "how many lines were removed (`state: absent`)"),
    ],
    examples: "- name: the scheduler's default
  lineinfile:
    path: /etc/default/grub
    regexp: ^GRUB_CMDLINE_LINUX=
    line: GRUB_CMDLINE_LINUX=\"transparent_hugepage=never\"
- name: swap off at boot
  ansible.builtin.lineinfile:
    path: /etc/fstab
    regexp: ^([^#]\\S*\\s+\\S+\\s+swap\\s.*)$
    line: '# \\1'
    backrefs: true
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

/// The change to a text, and everything it depends on.
#[derive(Debug)]
pub struct Edit {
    matcher: Matcher,
    line: Vec<u8>,
    place: Place,
    backrefs: bool,
    firstmatch: bool,
}

#[derive(Debug)]
enum Matcher {
    /// The line itself.
    Line,
    Regexp(PythonRegex),
    SearchString(Vec<u8>),
}

#[derive(Debug)]
enum Place {
    End,
    Begin,
    After(PythonRegex),
    Before(PythonRegex),
}

struct LineInFile {
    path: String,
    edit: Edit,
    absent: bool,
    create: bool,
    writing: Writing,
    warnings: Vec<String>,
}

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let absent = args.str("state") == Some("absent");
    for (one, other) in [
        ("insertbefore", "insertafter"),
        ("regexp", "search_string"),
        ("backrefs", "search_string"),
    ] {
        if args.given(one) && args.given(other) && (one != "backrefs" || args.bool("backrefs")) {
            return Err(ArgError::new(one, format!("`{one}` and `{other}` exclude each other")));
        }
    }
    let line = args.str("line");
    if absent {
        if line.is_none() && !args.given("regexp") && !args.given("search_string") {
            return Err(ArgError::task(
                "`state: absent` needs `line`, `search_string` or `regexp`",
            ));
        }
    } else {
        if line.is_none() {
            return Err(ArgError::new("line", "`state: present` needs `line`"));
        }
        if args.bool("backrefs") && !args.given("regexp") {
            return Err(ArgError::new("backrefs", "`backrefs` needs `regexp`"));
        }
    }
    let regex = |name: &str, text: &str| {
        PythonRegex::new(text).map_err(|e| ArgError::new(name, format!("`{text}` is no regular expression: {e}")))
    };
    let matcher = match (args.str("regexp"), args.str("search_string")) {
        (Some(text), _) => Matcher::Regexp(regex("regexp", text)?),
        (_, Some(text)) => Matcher::SearchString(text.into()),
        _ => Matcher::Line,
    };
    let place = match (args.str("insertafter"), args.str("insertbefore")) {
        (Some("BOF"), _) | (_, Some("BOF")) => Place::Begin,
        (Some("EOF") | None, None) => Place::End,
        (Some(text), _) => Place::After(regex("insertafter", text)?),
        (None, Some(text)) => Place::Before(regex("insertbefore", text)?),
    };
    let empty = ["regexp", "search_string"]
        .into_iter()
        .find(|n| args.str(n) == Some(""));
    Ok(Box::new(LineInFile {
        path: args.need("path")?.to_owned(),
        edit: Edit {
            matcher,
            // A block scalar (`line: |`) brings a newline along; with it no line of the file would ever be the same.
            line: line
                .map(|l| l.strip_suffix('\n').unwrap_or(l))
                .unwrap_or_default()
                .into(),
            place,
            backrefs: args.bool("backrefs"),
            firstmatch: args.bool("firstmatch"),
        },
        absent,
        create: args.bool("create"),
        writing: Writing::new(args, Attributes::new(args)?, controller.now())?,
        warnings: empty
            .map(|name| format!("`{name}` is empty and matches every line; `^` says so without this warning"))
            .into_iter()
            .collect(),
    }))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let path = ["path", "dest", "destfile", "name"]
        .iter()
        .find_map(|n| args.get(*n)?.as_str());
    path.map(|p| vec![Probe::stat_follow(p), Probe::read(p)])
        .unwrap_or_default()
}

impl Action for LineInFile {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::stat_follow(&self.path), Probe::read(&self.path)];
        if self.create {
            probes.push(Probe::stat_follow(parent_of(&self.path)));
        }
        probes.extend(self.writing.attributes.probes(&self.path));
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let decision = self.answer(seen)?;
        Ok(match decision {
            Decision::Keep(mut report) => {
                report.warnings.extend(self.warnings.clone());
                Decision::Keep(report)
            }
            Decision::Change(mut change) => {
                change.report.warnings.extend(self.warnings.clone());
                Decision::Change(change)
            }
            fail => fail,
        })
    }
}

impl LineInFile {
    fn answer(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let Some(stat) = seen.stat_follow(&self.path)? else {
            return self.missing(seen);
        };
        if stat.kind == FileKind::Directory {
            return Err(Stop::Fail(Failure::new(format!("`{}` is a directory", self.path))));
        }
        let before = match seen.get(&Probe::read(&self.path))? {
            Observation::Content(Some(content)) => content,
            _ => return self.missing(seen),
        };
        let edited = self.edit(before.as_bytes())?;
        let mut report = Report::new().msg(edited.msg.as_str()).with("backup", "");
        if self.absent {
            report = report.with("found", edited.found);
        }
        if edited.text == before.as_bytes() {
            let mut step = self.writing.keep(&self.path, &stat, seen)?;
            if !step.ops.is_empty() {
                report = report.msg(ATTRIBUTES_CHANGED);
            }
            step.report = report;
            return Ok(step.into_decision());
        }
        // A task that is never done must not be called unfinished.
        let again = self.edit(&edited.text)?.text != edited.text;
        let attributes = !self.writing.attributes.difference(&self.path, &stat).ops.is_empty();
        if attributes {
            report = report.msg(format!("{} and {ATTRIBUTES_CHANGED}", edited.msg));
        }
        let after = Content::from(&edited.text);
        let mut step = self
            .writing
            .write(&self.path, Before::Content(stat, before), &after, seen)?;
        if let Some(backup) = step.report.values.remove("backup_file") {
            report = report.with("backup", backup);
        }
        step.report = report;
        if !again {
            return Ok(step.into_decision());
        }
        step.report = step
            .report
            .warn("the next run changes the file again: the new line matches and becomes another one");
        Ok(match step.into_decision() {
            Decision::Change(change) => Decision::Change(change.judged_by_outcome()),
            decision => decision,
        })
    }

    fn missing(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        if self.absent {
            return Ok(Decision::Keep(Report::new().msg("file not present").with("found", 0)));
        }
        if !self.create {
            return Err(Stop::Fail(
                Failure::new(format!("`{}` does not exist", self.path)).help("`create: true` makes it"),
            ));
        }
        let edited = self.edit(b"")?;
        let report = Report::new().msg(edited.msg.as_str()).with("backup", "");
        if edited.text.is_empty() {
            return Ok(Decision::Keep(report));
        }
        let mut step = Step::default();
        let parent = parent_of(&self.path);
        if let Observation::Stat(None) = seen.raw(&Probe::stat_follow(parent))? {
            step = make_directories(parent, None, &Attributes::default());
        }
        step.then(
            self.writing
                .write(&self.path, Before::Absent, &Content::from(edited.text), seen)?,
        );
        step.report = report;
        Ok(step.into_decision())
    }

    fn edit(&self, text: &[u8]) -> Result<Edited, Stop> {
        let edited = if self.absent {
            self.edit.absent(text)
        } else {
            self.edit.present(text)
        };
        edited.map_err(|e| Stop::Fail(Failure::new(format!("`{}`: {e}", self.path))))
    }
}

const ATTRIBUTES_CHANGED: &str = "ownership, perms or SE linux context changed";

/// A text after an edit.
#[derive(Debug, PartialEq, Eq)]
pub struct Edited {
    pub text: Vec<u8>,
    /// `line added`, `line replaced`, `1 line(s) removed`; empty: nothing.
    pub msg: String,
    /// Lines removed.
    pub found: usize,
}

impl Edit {
    /// The regular expression or search string in a line.
    fn finds(&self, line: &[u8]) -> Result<Option<Groups>, String> {
        match &self.matcher {
            Matcher::Line => Ok(None),
            Matcher::Regexp(regex) => regex.search(line),
            Matcher::SearchString(text) => Ok(contains(line, text).then(Groups::default)),
        }
    }

    fn absent(&self, text: &[u8]) -> Result<Edited, String> {
        let mut kept = Vec::with_capacity(text.len());
        let mut found = 0;
        for line in lines(text) {
            let gone = match &self.matcher {
                Matcher::Line => bare(line) == self.line,
                _ => self.finds(line)?.is_some(),
            };
            if gone {
                found += 1;
            } else {
                kept.extend_from_slice(line);
            }
        }
        let msg = if found > 0 {
            format!("{found} line(s) removed")
        } else {
            String::new()
        };
        Ok(Edited { text: kept, msg, found })
    }

    /// The order of the questions is that of Ansible's module: a match of `regexp` or `search_string`; else the line
    /// itself anywhere; else the place to insert at.
    fn present(&self, text: &[u8]) -> Result<Edited, String> {
        let mut lines: Vec<Vec<u8>> = lines(text).map(<[u8]>::to_vec).collect();
        let mut matched = None;
        for (n, line) in lines.iter().enumerate() {
            if let Some(groups) = self.finds(line)? {
                matched = Some((n, groups));
                if self.firstmatch {
                    break;
                }
            }
        }
        let new = with_newline(&self.line);
        if let Some((n, groups)) = matched {
            let new = if self.backrefs {
                let template = String::from_utf8_lossy(&self.line);
                with_newline(&groups.expand(&template)?)
            } else {
                new
            };
            let replaced = lines[n] != new;
            if replaced {
                lines[n] = new;
            }
            return Ok(done(&lines, if replaced { "line replaced" } else { "" }));
        }
        let (exact, place) = self.places(&lines)?;
        if let Some(n) = exact {
            // Only the end of the line may differ (`\r\n`, no newline at the end of the file).
            let replaced = lines[n] != new;
            if replaced {
                lines[n] = new;
            }
            return Ok(done(&lines, if replaced { "line replaced" } else { "" }));
        }
        if self.backrefs {
            return Ok(done(&lines, ""));
        }
        match (&self.place, place) {
            (Place::Begin, _) => lines.insert(0, new),
            (Place::After(_), Some(n)) => {
                if lines.get(n + 1).is_some_and(|next| bare(next) == self.line) {
                    return Ok(done(&lines, ""));
                }
                if !ends_line(&lines[n]) {
                    lines[n].push(b'\n');
                }
                lines.insert(n + 1, new);
            }
            (Place::Before(_), Some(n)) => lines.insert(n, new),
            _ => {
                if lines.last().is_some_and(|last| !ends_line(last)) {
                    lines.push(b"\n".to_vec());
                }
                lines.push(new);
            }
        }
        Ok(done(&lines, "line added"))
    }

    /// Where the line itself stands, and where `insertafter` or `insertbefore` matches.
    fn places(&self, lines: &[Vec<u8>]) -> Result<(Option<usize>, Option<usize>), String> {
        let (mut exact, mut place) = (None, None);
        for (n, line) in lines.iter().enumerate() {
            if bare(line) == self.line {
                exact = Some(n);
                continue;
            }
            if let Place::After(regex) | Place::Before(regex) = &self.place
                && regex.search(line)?.is_some()
            {
                place = Some(n);
                if self.firstmatch {
                    break;
                }
            }
        }
        Ok((exact, place))
    }
}

fn done(lines: &[Vec<u8>], msg: &str) -> Edited {
    Edited {
        text: lines.concat(),
        msg: msg.to_owned(),
        found: 0,
    }
}

/// Lines with their newlines.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|b| *b == b'\n')
}

/// Without the carriage returns and newlines at the end.
fn bare(line: &[u8]) -> &[u8] {
    let end = line
        .iter()
        .rposition(|b| !matches!(b, b'\r' | b'\n'))
        .map_or(0, |n| n + 1);
    &line[..end]
}

fn ends_line(line: &[u8]) -> bool {
    matches!(line.last(), Some(b'\n' | b'\r'))
}

fn with_newline(line: &[u8]) -> Vec<u8> {
    let mut line = line.to_vec();
    if !line.ends_with(b"\n") {
        line.push(b'\n');
    }
    line
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|w| w == text)
}
