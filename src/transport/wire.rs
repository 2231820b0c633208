//! PURE. Reads what `peer.sh` answered, unit by unit, along the plan of the request.
//!
//! What comes before the first marker (banners, messages of the day) is skipped. After it, anything that is not what
//! the plan expects is an error of framing, and the whole answer is given up: nothing is searched for.

#![deny(clippy::disallowed_methods)]

use super::shell::{Plan, Source, Unit, detour};
use super::{CallError, CallErrorKind, Reply, Request};
use crate::host::{Content, ExecResult, FileKind, Observation, Op, Outcome, Stat, Status, facts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cap of each stream of an op's command, in bytes; `CAP` in `peer.sh`.
pub const STREAM_CAP: usize = 1024 * 1024;
/// The same of a look's, which may list all that a large broker holds; `LOOK_CAP` in `peer.sh`.
pub const LOOK_CAP: usize = 16 * 1024 * 1024;

/// Is the last record there? The connection need not be at its end.
pub fn is_complete(answer: &[u8], marker: &str) -> bool {
    answer.ends_with(format!("{marker} end\n").as_bytes())
}

/// Did the script begin to run? If not, what stands in `answer` and on standard error tells why.
pub fn has_begun(answer: &[u8], marker: &str) -> bool {
    find(answer, &begin(marker)).is_some()
}

fn begin(marker: &str) -> Vec<u8> {
    format!("{marker} begin\n").into_bytes()
}

/// One reply per step. An answer that makes no sense is [`CallErrorKind::Lost`], a host without the tools
/// [`CallErrorKind::Shell`].
pub fn decode(request: &Request, marker: &str, answer: &[u8]) -> Result<Vec<Reply>, CallError> {
    let begin = begin(marker);
    let start = find(answer, &begin).ok_or_else(|| lost("no beginning"))? + begin.len();
    let mut wire = Wire {
        rest: &answer[start..],
        marker,
        detour: &detour(marker),
        clock: None,
    };
    let plan = Plan::of(request);
    let limit = request.op_limit_s;
    let mut stopped = false;
    let mut replies: Vec<Vec<Reply>> = Vec::with_capacity(plan.units.len());
    for unit in &plan.units {
        if !stopped {
            let answers = wire.unit(unit, limit)?;
            stopped = answers
                .iter()
                .any(|reply| matches!(reply, Reply::Did(outcome) if !outcome.is_done()));
            replies.push(answers);
        } else {
            replies.push(not_run(unit));
        }
    }
    match wire.header()? {
        ("end", _) if wire.rest.is_empty() => {}
        _ => return Err(lost("no end")),
    }
    plan.places
        .iter()
        .map(|&(unit, item)| replies[unit].get(item).cloned().ok_or_else(|| lost("too few answers")))
        .collect()
}

fn not_run(unit: &Unit) -> Vec<Reply> {
    let count = match unit {
        Unit::Stat(paths) => paths.len(),
        Unit::Read { sources, .. } => sources.len(),
        Unit::Hash { paths, .. } => paths.len(),
        Unit::Execs(looks) => looks.len(),
        _ => 1,
    };
    let reply = match unit {
        Unit::Op(_) | Unit::Refused { op: true, .. } => Reply::Did(Outcome {
            status: Status::NotRun,
            exec: None,
        }),
        _ => seen_failure("not looked at: an earlier step failed"),
    };
    vec![reply; count]
}

fn seen_failure(text: impl Into<String>) -> Reply {
    Reply::Seen(Observation::Failed(text.into()))
}

/// The kernel's words for a file that cannot be looked at do not name it.
fn told_where<'p>(paths: impl Iterator<Item = &'p str>, replies: Vec<Reply>) -> Vec<Reply> {
    let told = paths.zip(replies).map(|(path, reply)| match reply {
        Reply::Seen(Observation::Failed(why)) => seen_failure(format!("cannot look at `{path}`: {why}")),
        reply => reply,
    });
    told.collect()
}

/// Half an answer is none: nothing may be decided from it.
fn told_too_much() -> Reply {
    seen_failure(format!("it told more than {} MiB", LOOK_CAP >> 20))
}

fn did(status: Status, exec: Option<ExecResult>) -> Reply {
    Reply::Did(Outcome { status, exec })
}

fn lost(what: &str) -> CallError {
    CallError {
        kind: CallErrorKind::Lost,
        message: format!("the host's answer makes no sense: {what}"),
        said: String::new(),
        help: None,
        origin: None,
    }
}

fn unfit(message: String, help: &str) -> CallError {
    CallError {
        kind: CallErrorKind::Shell,
        message,
        said: String::new(),
        help: Some(help.to_owned()),
        origin: None,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|&b| b == first) {
        let at = from + at;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// A file that was asked for, or that a glob found; `name` is the reason where it was refused.
struct FoundFile {
    name: String,
    flag: u8,
}

struct Wire<'a> {
    rest: &'a [u8],
    marker: &'a str,
    /// In the middle of each path that `head` says.
    detour: &'a str,
    /// Time of day and uptime of one moment, in seconds.
    clock: Option<(f64, f64)>,
}

impl<'a> Wire<'a> {
    fn until(&mut self, end: u8) -> Result<&'a [u8], CallError> {
        let at = self
            .rest
            .iter()
            .position(|&b| b == end)
            .ok_or_else(|| lost("it is cut"))?;
        let (head, tail) = self.rest.split_at(at);
        self.rest = &tail[1..];
        Ok(head)
    }

    fn line(&mut self) -> Result<&'a str, CallError> {
        let line = self.until(b'\n')?;
        std::str::from_utf8(line).map_err(|_| lost("a line is not text"))
    }

    /// Words may hold a path, which need not be UTF-8.
    fn word(&mut self) -> Result<String, CallError> {
        Ok(String::from_utf8_lossy(self.until(0)?).into_owned())
    }

    /// Bytes up to the line of the marker.
    fn stream(&mut self) -> Result<&'a [u8], CallError> {
        let end = format!("{}\n", self.marker);
        let at = find(self.rest, end.as_bytes()).ok_or_else(|| lost("a file or stream is cut"))?;
        let (head, tail) = self.rest.split_at(at);
        self.rest = &tail[end.len()..];
        Ok(head)
    }

    /// The next record's name and the words after it.
    fn header(&mut self) -> Result<(&'a str, &'a str), CallError> {
        let line = self
            .line()?
            .strip_prefix(self.marker)
            .and_then(|line| line.strip_prefix(' '))
            .ok_or_else(|| lost("a record begins without its marker"))?;
        let (name, words) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "missing" => Err(unfit(
                format!("the host lacks {}", words.trim()),
                "install coreutils (or busybox) on the host",
            )),
            "broken" => Err(unfit(
                format!("`{words}` on the host does not work as in coreutils or busybox"),
                "look which program of that name comes first in the host's PATH",
            )),
            "notemp" => Err(unfit(
                "the host has no room for temporary files".to_owned(),
                "one of $TMPDIR, /tmp, /dev/shm, /var/tmp, /run or the home directory must be writable and not full",
            )),
            "clock" => {
                let mut numbers = words.split(' ').map(seconds);
                self.clock = numbers.next().zip(numbers.next());
                self.header()
            }
            _ => Ok((name, words)),
        }
    }

    fn expect(&mut self, wanted: &str) -> Result<&'a str, CallError> {
        match self.header()? {
            (name, words) if name == wanted => Ok(words),
            (name, _) => Err(lost(&format!("`{name}` where `{wanted}` was due"))),
        }
    }

    fn unit(&mut self, unit: &Unit, limit: Option<u32>) -> Result<Vec<Reply>, CallError> {
        let one = match unit {
            Unit::Stat(paths) => {
                let replies = self.stats(paths.len())?;
                return Ok(told_where(paths.iter().map(|(path, _)| *path), replies));
            }
            Unit::Read { max, sources } => {
                let replies = self.reads(*max, sources)?;
                return Ok(told_where(sources.iter().map(Source::text), replies));
            }
            Unit::Hash { paths, .. } => {
                let replies = self.hashes(paths.len())?;
                return Ok(told_where(paths.iter().copied(), replies));
            }
            Unit::Execs(looks) => {
                return looks.iter().map(|look| self.probed(look.timeout_s)).collect();
            }
            Unit::Script(..) => self.script()?,
            Unit::Glob(_) => self.glob()?,
            Unit::Facts => self.facts()?,
            Unit::Tcp { .. } => match self.expect("tcp")? {
                "0" => Reply::Seen(Observation::Text(Some("open".to_owned()))),
                "?" => seen_failure("none of bash, nc and python3 is on the host to try a connection with"),
                _ => Reply::Seen(Observation::Text(None)),
            },
            Unit::Op(op) => self.op(op, limit)?,
            Unit::Refused { reason, op: false } => seen_failure(reason),
            Unit::Refused { reason, op: true } => did(Status::Failed(reason.clone()), None),
        };
        Ok(vec![one])
    }

    /// Flags of a group, checked for their number.
    fn flags(&mut self, record: &str, count: usize) -> Result<&'a [u8], CallError> {
        let flags = self.expect(record)?.as_bytes();
        match flags.len() == count {
            true => Ok(flags),
            false => Err(lost(&format!("{} answers to {count} `{record}`", flags.len()))),
        }
    }

    fn stats(&mut self, count: usize) -> Result<Vec<Reply>, CallError> {
        let flags = self.flags("stat", count)?;
        let mut replies = vec![Reply::Seen(Observation::Stat(None)); count];
        let mut found = BTreeMap::new();
        for group in [&b"+l"[..], b"f"] {
            for (at, flag) in flags.iter().enumerate().filter(|(_, f)| group.contains(f)) {
                let stat = stat(self.line()?).ok_or_else(|| lost("a `stat` line is not as asked for"))?;
                match (flag, stat.kind) {
                    (b'+', FileKind::Link) => replies[at] = seen_failure("it became a symbolic link just now"),
                    _ => _ = found.insert(at, stat),
                }
            }
        }
        for (at, _) in flags.iter().enumerate().filter(|(_, f)| **f == b'!') {
            replies[at] = seen_failure(self.line()?);
        }
        for (at, _) in flags.iter().enumerate().filter(|(_, f)| **f == b'l') {
            let target = self.word()?;
            if let Some(stat) = found.get_mut(&at) {
                stat.target = Some(target);
            }
        }
        for (at, stat) in found {
            replies[at] = Reply::Seen(Observation::Stat(Some(Arc::new(stat))));
        }
        Ok(replies)
    }

    fn reads(&mut self, max: u64, sources: &[Source<'_>]) -> Result<Vec<Reply>, CallError> {
        let mut found = self.found(sources)?;
        for reason in found.iter_mut().flatten().filter(|file| file.flag == b'!') {
            reason.name = self.line()?.to_owned();
        }
        for (source, files) in sources.iter().zip(&mut found) {
            for file in files {
                match source {
                    Source::Path(path) if file.flag == b'+' => file.name = (*path).to_owned(),
                    Source::Path(_) => {}
                    Source::Glob(_) => file.name = self.word()?,
                }
            }
        }
        let present = found.iter().flatten().filter(|file| file.flag == b'+');
        let mut at_once = self.files_at_once(present.map(|file| &*file.name)).map(Vec::into_iter);
        let mut replies = Vec::with_capacity(sources.len());
        for (source, files) in sources.iter().zip(found) {
            let mut contents = BTreeMap::new();
            let mut last = Observation::Content(None);
            for file in files {
                last = match (file.flag, &mut at_once) {
                    (b'+', Some(files)) => content(files.next().ok_or_else(|| lost("too few files"))?, max),
                    (b'+', None) => self.file(max)?,
                    (b'-', _) => Observation::Content(None),
                    _ => Observation::Failed(file.name.clone()),
                };
                match &last {
                    // Gone since its name was found.
                    Observation::Content(None) => None,
                    Observation::Content(content) => contents.insert(file.name, content.clone()),
                    _ => contents.insert(file.name, None),
                };
            }
            replies.push(Reply::Seen(match source {
                Source::Path(_) => last,
                Source::Glob(_) => Observation::Files(contents.into()),
            }));
        }
        Ok(replies)
    }

    /// The flags of a `read` record: one for a path, for a glob one for each that matched, in brackets.
    fn found(&mut self, sources: &[Source<'_>]) -> Result<Vec<Vec<FoundFile>>, CallError> {
        let file = |flag| FoundFile {
            name: String::new(),
            flag,
        };
        let mut flags = self.expect("read")?.bytes();
        let found = sources.iter().map(|source| {
            Some(match (source, flags.next()?) {
                (Source::Path(_), flag @ (b'+' | b'-' | b'!')) => vec![file(flag)],
                (Source::Glob(_), b'[') => {
                    let matched = flags.by_ref().take_while(|flag| *flag != b']');
                    matched.filter(|flag| *flag != b'.').map(file).collect()
                }
                _ => return None,
            })
        });
        let found: Option<Vec<_>> = found.collect();
        match (found, flags.next()) {
            (Some(found), None) => Ok(found),
            _ => Err(lost("a `read` record of another shape")),
        }
    }

    /// The files of a `read` record if `ok` follows; else leaves what comes after its `again`.
    fn files_at_once<'p>(&mut self, paths: impl Iterator<Item = &'p str>) -> Option<Vec<&'a [u8]>> {
        let mut ahead = Wire { ..*self };
        let files: Option<Vec<_>> = paths.map(|path| ahead.headed(path).ok()).collect();
        if let Some(files) = files
            && (files.is_empty() || ahead.said("/dev/null").is_ok())
            && ahead.expect("ok").is_ok()
        {
            self.rest = ahead.rest;
            return Some(files);
        }
        let again = format!("{} again\n", self.marker);
        let at = find(self.rest, again.as_bytes())?;
        self.rest = &self.rest[at + again.len()..];
        None
    }

    /// The bytes of a file after the line with its path, up to the next such line.
    fn headed(&mut self, path: &str) -> Result<&'a [u8], CallError> {
        self.said(path)?;
        self.until_headed()
    }

    /// The line that `head` puts before a file: `==> /` (or `./`), the detour, the path.
    fn said(&mut self, path: &str) -> Result<(), CallError> {
        self.detoured()?;
        let end = match path.strip_prefix('~') {
            // Where the home is only the host knows.
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let end = format!("{rest} <==\n");
                find(self.rest, end.as_bytes()).map(|at| at + end.len())
            }
            _ => {
                let line = format!("{path} <==\n");
                self.rest.starts_with(line.as_bytes()).then_some(line.len())
            }
        };
        self.rest = &self.rest[end.ok_or_else(|| lost("another file than was due"))?..];
        Ok(())
    }

    fn detoured(&mut self) -> Result<(), CallError> {
        let rest = self.rest.strip_prefix(b"==> ");
        let rest = rest.and_then(|rest| rest.strip_prefix(b"./").or_else(|| rest.strip_prefix(b"/")));
        let rest = rest.and_then(|rest| rest.strip_prefix(self.detour.as_bytes()));
        self.rest = rest.ok_or_else(|| lost("a file begins without its path"))?;
        Ok(())
    }

    fn until_headed(&mut self) -> Result<&'a [u8], CallError> {
        let at = find(self.rest, self.detour.as_bytes()).ok_or_else(|| lost("a file is cut"))?;
        let before = &self.rest[..at];
        let file = [&b"\n==> /"[..], b"\n==> ./"]
            .iter()
            .find_map(|line| before.strip_suffix(*line));
        let file = file.ok_or_else(|| lost("a file ends in another way"))?;
        self.rest = &self.rest[file.len() + 1..];
        Ok(file)
    }

    fn file(&mut self, max: u64) -> Result<Observation, CallError> {
        Ok(match self.expect("file")? {
            "+" => content(self.stream()?, max),
            "-" => Observation::Content(None),
            _ => Observation::Failed(self.line()?.to_owned()),
        })
    }

    fn hashes(&mut self, count: usize) -> Result<Vec<Reply>, CallError> {
        let flags = self.flags("hash", count)?;
        let mut replies = vec![Reply::Seen(Observation::Text(None)); count];
        for (at, _) in flags.iter().enumerate().filter(|(_, f)| **f == b'+') {
            // After the hash comes the name; a backslash before it says that the name is escaped.
            let line = self.until(b'\n')?;
            let hash: Vec<u8> = line
                .iter()
                .copied()
                .skip_while(|b| *b == b'\\')
                .take_while(u8::is_ascii_hexdigit)
                .collect();
            let hash = String::from_utf8(hash).unwrap_or_default();
            replies[at] = Reply::Seen(Observation::Text(Some(hash)));
        }
        for (at, _) in flags.iter().enumerate().filter(|(_, f)| **f == b'!') {
            replies[at] = seen_failure(self.line()?);
        }
        Ok(replies)
    }

    fn glob(&mut self) -> Result<Reply, CallError> {
        let count: usize = self.expect("glob")?.parse().map_err(|_| lost("a count is no number"))?;
        let mut list = (0..count).map(|_| self.word()).collect::<Result<Vec<_>, _>>()?;
        list.sort_unstable();
        Ok(Reply::Seen(Observation::List(list)))
    }

    fn facts(&mut self) -> Result<Reply, CallError> {
        self.expect("facts")?;
        let mut parts = BTreeMap::new();
        loop {
            self.detoured()?;
            let path = self.line()?.strip_suffix(" <==").ok_or_else(|| lost("a path is cut"))?;
            if path == "/dev/null" {
                break;
            }
            parts.insert(path.to_owned(), self.until_headed()?.to_vec());
        }
        loop {
            match self.header()? {
                ("part", name) => {
                    parts.insert(name.to_owned(), self.stream()?.to_vec());
                }
                ("enough", _) => break,
                (name, _) => return Err(lost(&format!("`{name}` among facts"))),
            }
        }
        Ok(Reply::Seen(Observation::Facts(Arc::new(facts::parse(&facts::Parts(
            parts,
        ))))))
    }

    fn probed(&mut self, limit: u32) -> Result<Reply, CallError> {
        let words = self.expect("exec")?;
        let result = self.executed(words, Some(limit), LOOK_CAP)?;
        Ok(match result.truncated {
            true => told_too_much(),
            false => Reply::Seen(Observation::Exec(result)),
        })
    }

    fn script(&mut self) -> Result<Reply, CallError> {
        self.expect("script")?;
        let header = format!("{} exec ", self.marker);
        let at = find(self.rest, header.as_bytes()).ok_or_else(|| lost("a look is cut"))?;
        let stdout = &self.rest[..at];
        self.rest = &self.rest[at..];
        let rc = self
            .expect("exec")?
            .parse()
            .map_err(|_| lost("an exit status is no number"))?;
        let stderr = self.stream()?;
        if stdout.len() > LOOK_CAP {
            return Ok(told_too_much());
        }
        Ok(Reply::Seen(Observation::Exec(ExecResult {
            rc,
            stdout: Content::from(stdout),
            stderr: Content::from(stderr),
            truncated: false,
            start: "0".to_owned(),
            end: "0".to_owned(),
        })))
    }

    fn op(&mut self, op: &Op, limit: Option<u32>) -> Result<Reply, CallError> {
        let mut ran = None;
        let (mut name, mut words) = self.header()?;
        if name == "exec" {
            let limit = match op {
                Op::Exec(exec) => exec.timeout_s.or(limit),
                _ => limit,
            };
            let result = self.executed(words, limit, STREAM_CAP)?;
            if let Op::Exec(exec) = op {
                let status = match exec.ok.is_empty() || exec.ok.contains(&result.rc) {
                    true => Status::Done,
                    false => Status::Failed(failure(&result, limit)),
                };
                return Ok(did(status, Some(result)));
            }
            ran = Some(result);
            (name, words) = self.header()?;
        }
        match (name, words) {
            ("done", "") => Ok(did(Status::Done, None)),
            ("failed", "") => Ok(did(Status::Failed(self.word()?), ran)),
            ("refused", "") => Ok(did(Status::Refused(self.word()?), None)),
            (name, _) => Err(lost(&format!("`{name}` where an op's outcome was due"))),
        }
    }

    fn executed(&mut self, words: &str, limit: Option<u32>, cap: usize) -> Result<ExecResult, CallError> {
        let [rc, streams, start, end] = words.split(' ').collect::<Vec<_>>()[..] else {
            return Err(lost("an `exec` record of another shape"));
        };
        let mut rc: i32 = rc.parse().map_err(|_| lost("an exit status is no number"))?;
        let (stdout, stderr) = match streams {
            "+" => (self.stream()?, self.stream()?),
            _ => (&[][..], &[][..]),
        };
        let (started, ended) = (seconds(start), seconds(end));
        // `timeout -k` says 137 when it had to kill.
        if rc == 137 && limit.is_some_and(|limit| limit > 0 && ended - started >= f64::from(limit)) {
            rc = 124;
        }
        let cut = |stream: &[u8]| Content::from(&stream[..stream.len().min(cap)]);
        let time = |moment: f64| match self.clock {
            Some((day, uptime)) if moment > 0.0 => format!("{:.6}", day + moment - uptime),
            _ => "0".to_owned(),
        };
        Ok(ExecResult {
            rc,
            stdout: cut(stdout),
            stderr: cut(stderr),
            truncated: stdout.len() > cap || stderr.len() > cap,
            start: time(started),
            end: time(ended),
        })
    }
}

/// What to say of a command that ended with a status nobody wants.
fn failure(result: &ExecResult, limit: Option<u32>) -> String {
    match (result.rc, limit) {
        (124, Some(limit)) if limit > 0 => format!("the time limit of {limit} s ended it"),
        (rc, _) => format!("exit status {rc}"),
    }
}

fn content(bytes: &[u8], max: u64) -> Observation {
    match bytes.len() as u64 > max {
        true => Observation::Failed(format!("larger than {max} bytes")),
        false => Observation::Content(Some(Content::from(bytes))),
    }
}

/// Seconds with a fraction; busybox's `date` has none and leaves a letter.
fn seconds(text: &str) -> f64 {
    let whole = || text.split('.').next().and_then(|whole| whole.parse().ok());
    text.parse().ok().or_else(whole).unwrap_or(0.0)
}

/// A device's number as Linux puts it together, makedev(3).
fn device(major: u64, minor: u64) -> u64 {
    (major & 0xfff) << 8 | (major & !0xfff) << 32 | (minor & 0xff) | (minor & !0xff) << 12
}

/// A line of `F` in `peer.sh`.
fn stat(line: &str) -> Option<Stat> {
    let [
        mode,
        uid,
        gid,
        size,
        mtime,
        atime,
        ctime,
        inode,
        dev,
        nlink,
        owner,
        group,
        blocks,
        block_size,
        major,
        minor,
    ] = line.split(':').collect::<Vec<_>>()[..]
    else {
        return None;
    };
    let mode = u32::from_str_radix(mode, 16).ok()?;
    let kind = match mode & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Link,
        0o060_000 => FileKind::Block,
        0o020_000 => FileKind::Char,
        0o010_000 => FileKind::Fifo,
        0o140_000 => FileKind::Socket,
        _ => return None,
    };
    let named = |name: &str| {
        if name == "UNKNOWN" {
            String::new()
        } else {
            name.to_owned()
        }
    };
    Some(Stat {
        kind,
        mode: mode & 0o7777,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        owner: named(owner),
        group: named(group),
        size: size.parse().ok()?,
        mtime: mtime.parse().ok()?,
        atime: atime.parse().ok()?,
        ctime: ctime.parse().ok()?,
        inode: inode.parse().ok()?,
        dev: dev.parse().ok()?,
        nlink: nlink.parse().ok()?,
        blocks: blocks.parse().ok()?,
        block_size: block_size.parse().ok()?,
        rdev: device(
            u64::from_str_radix(major, 16).ok()?,
            u64::from_str_radix(minor, 16).ok()?,
        ),
        target: None,
    })
}
