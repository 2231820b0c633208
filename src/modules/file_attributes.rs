//! Owner, group, mode and the like: what every module that makes files takes and does in the same way.

use super::{ArgError, ArgKind, ArgSpec, Args, Failure, Report, Seen, Stop};
use crate::host::{Delta, Effect, Facet, FileKind, Observation, Op, Probe, Stat};

pub const OWNER: ArgSpec = ArgSpec::new("owner", ArgKind::Str, "User that owns it: a name or a number.");
pub const GROUP: ArgSpec = ArgSpec::new("group", ArgKind::Str, "Group that owns it: a name or a number.");
pub const MODE: ArgSpec = ArgSpec::new(
    "mode",
    ArgKind::Mode,
    "Permissions: octal in quotes (`\"0644\"`) or symbolic (`u=rw,g=r,o=`). Unset: as they are; a new file gets `0644`.",
);
pub const ATTRIBUTES: ArgSpec = ArgSpec::new(
    "attributes",
    ArgKind::Str,
    "File attributes as `chattr` takes them: `+i`, `-i`, `=ai`.",
)
.aliases(&["attr"]);
pub const SEUSER: ArgSpec = ArgSpec::new("seuser", ArgKind::Str, SELINUX);
pub const SEROLE: ArgSpec = ArgSpec::new("serole", ArgKind::Str, SELINUX);
pub const SETYPE: ArgSpec = ArgSpec::new("setype", ArgKind::Str, SELINUX);
pub const SELEVEL: ArgSpec = ArgSpec::new("selevel", ArgKind::Str, SELINUX);
pub const UNSAFE_WRITES: ArgSpec = ArgSpec::new(
    "unsafe_writes",
    ArgKind::Bool,
    "Accepted for Ansible's sake: a file that cannot be replaced (a bind mount) is written in place anyway.",
)
.default("false");

const SELINUX: &str = "Part of the SELinux context. Accepted where SELinux is off or the context is this already; \
                       changing a context is not supported yet.";

/// The module's own arguments, then those of this file.
macro_rules! with_file_args {
    ($($arg:expr),* $(,)?) => {
        &[
            $($arg,)*
            $crate::modules::file_attributes::OWNER,
            $crate::modules::file_attributes::GROUP,
            $crate::modules::file_attributes::MODE,
            $crate::modules::file_attributes::ATTRIBUTES,
            $crate::modules::file_attributes::SEUSER,
            $crate::modules::file_attributes::SEROLE,
            $crate::modules::file_attributes::SETYPE,
            $crate::modules::file_attributes::SELEVEL,
            $crate::modules::file_attributes::UNSAFE_WRITES,
        ]
    };
}
pub(crate) use with_file_args;

/// A mode as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The lowest twelve bits.
    Octal(u32),
    Symbolic(Vec<Clause>),
}

/// One `u=rw` of a symbolic mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Any of `ugo`.
    who: String,
    /// No one was named: bits of the umask are left out.
    masked: bool,
    operator: char,
    permissions: String,
}

const UMASK: u32 = 0o022;

impl Mode {
    /// `0644`, `644`, `u=rwX,go-w`.
    pub fn parse(text: &str) -> Result<Mode, ArgError> {
        let wrong = || {
            ArgError::new("mode", format!("`{text}` is no file mode"))
                .help("write it octal and in quotes, `\"0644\"`, or symbolic, `u=rw,g=r,o=r`")
        };
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return u32::from_str_radix(digits, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .map(Mode::Octal)
                .ok_or_else(wrong);
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let start = part.find(['+', '-', '=']).ok_or_else(wrong)?;
            let (who, mut rest) = part.split_at(start);
            let masked = who.is_empty();
            let who = if who.is_empty() || who == "a" { "ugo" } else { who };
            if !who.chars().all(|c| "ugo".contains(c)) {
                return Err(wrong());
            }
            while let Some(operator) = rest.chars().next() {
                let body = &rest[1..];
                let end = body.find(['+', '-', '=']).unwrap_or(body.len());
                let (permissions, next) = body.split_at(end);
                if !permissions.chars().all(|c| "rwxXstugo".contains(c)) {
                    return Err(wrong());
                }
                clauses.push(Clause {
                    who: who.to_owned(),
                    masked,
                    operator,
                    permissions: permissions.to_owned(),
                });
                rest = next;
            }
        }
        Ok(Mode::Symbolic(clauses))
    }

    /// The mode that comes of `current`.
    pub fn apply(&self, current: u32, is_directory: bool) -> u32 {
        match self {
            Mode::Octal(mode) => *mode,
            Mode::Symbolic(clauses) => clauses.iter().fold(current & 0o7777, |mode, clause| {
                clause
                    .who
                    .chars()
                    .fold(mode, |mode, who| clause.apply(who, mode, is_directory))
            }),
        }
    }
}

impl Clause {
    fn apply(&self, who: char, mode: u32, is_directory: bool) -> u32 {
        let (shift, special) = match who {
            'u' => (6, 0o4000),
            'g' => (3, 0o2000),
            _ => (0, 0o1000),
        };
        let bits = self.permissions.chars().fold(0, |bits, permission| {
            let plain = |bit: u32| {
                let bit = bit << shift;
                if self.masked { bit & !UMASK } else { bit }
            };
            bits | match permission {
                'r' => plain(4),
                'w' => plain(2),
                'x' => plain(1),
                'X' if is_directory || mode & 0o111 != 0 => 1 << shift,
                's' if who != 'o' => special,
                't' if who == 'o' => special,
                'u' => ((mode >> 6) & 7) << shift,
                'g' => ((mode >> 3) & 7) << shift,
                'o' => (mode & 7) << shift,
                _ => 0,
            }
        });
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !((7 << shift) | special)) | bits,
        }
    }
}

/// What is wanted of a path besides its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    pub owner: Option<String>,
    pub group: Option<String>,
    pub mode: Option<Mode>,
    flags: Option<String>,
    selinux: Vec<(&'static str, usize, String)>,
}

/// What it takes to bring an existing path to its attributes; all empty: nothing.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    pub deltas: Vec<Delta>,
    pub ops: Vec<Op>,
    pub undo: Vec<Op>,
}

impl Attributes {
    pub fn new(args: &Args) -> Result<Self, ArgError> {
        let mode = match args.str("mode") {
            Some("preserve") => {
                return Err(ArgError::new("mode", "`preserve` needs a file to take the mode of")
                    .help("only `copy` and `template` know `preserve`"));
            }
            Some(text) => Some(Mode::parse(text)?),
            None => None,
        };
        Self::with_mode(args, mode)
    }

    /// The mode comes from elsewhere (`preserve`, `directory_mode`).
    pub fn with_mode(args: &Args, mode: Option<Mode>) -> Result<Self, ArgError> {
        let mut selinux = Vec::new();
        for (n, name) in ["seuser", "serole", "setype", "selevel"].into_iter().enumerate() {
            let Some(value) = args.str(name) else { continue };
            if value == "_default" {
                return Err(ArgError::new(
                    name,
                    format!("not supported yet: `_default` for `{name}`"),
                ));
            }
            selinux.push((name, n, value.to_owned()));
        }
        let flags = args.str("attributes").filter(|f| !f.is_empty());
        if let Some(flags) = flags
            && !flags
                .trim_start_matches(['+', '-', '='])
                .chars()
                .all(|c| c.is_ascii_alphabetic())
        {
            return Err(ArgError::new("attributes", format!("`{flags}` are no file attributes"))
                .help("write them as `chattr` takes them, `+i`"));
        }
        Ok(Attributes {
            owner: args.str("owner").filter(|o| !o.is_empty()).map(str::to_owned),
            group: args.str("group").filter(|g| !g.is_empty()).map(str::to_owned),
            mode,
            flags: flags.map(str::to_owned),
            selinux,
        })
    }

    /// What [`Attributes::extra`] will ask for.
    pub fn probes(&self, path: &str) -> Vec<Probe> {
        let mut probes = Vec::new();
        if !self.selinux.is_empty() {
            probes.push(Probe::stat(SELINUX_ON));
        }
        if self.flags.is_some() {
            probes.push(lsattr(path));
        }
        probes
    }

    /// Owner, group and mode of an existing path. A link has no mode of its own.
    pub fn difference(&self, path: &str, stat: &Stat) -> Difference {
        let mut found = Difference::default();
        let owner = self.owner.as_deref().filter(|o| !is_user(o, &stat.owner, stat.uid));
        let group = self.group.as_deref().filter(|g| !is_user(g, &stat.group, stat.gid));
        if let Some(owner) = owner {
            let delta = Delta::value(format!("owner of {path}"), shown(&stat.owner, stat.uid), owner);
            found.deltas.push(delta);
        }
        if let Some(group) = group {
            let delta = Delta::value(format!("group of {path}"), shown(&stat.group, stat.gid), group);
            found.deltas.push(delta);
        }
        if owner.is_some() || group.is_some() {
            let chown = |owner: Option<String>, group: Option<String>| Op::Chown {
                path: path.to_owned(),
                owner,
                group,
                follow: stat.kind != FileKind::Link,
            };
            found
                .ops
                .push(chown(owner.map(str::to_owned), group.map(str::to_owned)));
            found.undo.push(chown(
                owner.map(|_| stat.uid.to_string()),
                group.map(|_| stat.gid.to_string()),
            ));
        }
        if let Some(mode) = self.mode_from(stat)
            && mode != stat.mode
        {
            let chmod = |mode| Op::Chmod {
                path: path.to_owned(),
                mode,
            };
            found.deltas.push(Delta::value(
                format!("mode of {path}"),
                format!("{:04o}", stat.mode),
                format!("{mode:04o}"),
            ));
            found.ops.push(chmod(mode));
            found.undo.push(chmod(stat.mode));
        }
        found
    }

    /// The mode wanted of something that exists; `None`: any.
    pub fn mode_from(&self, stat: &Stat) -> Option<u32> {
        let mode = self.mode.as_ref().filter(|_| stat.kind != FileKind::Link)?;
        Some(mode.apply(stat.mode, stat.kind == FileKind::Directory))
    }

    /// The mode of something that does not exist yet; `None`: as new things get it.
    pub fn mode_new(&self, is_directory: bool) -> Option<u32> {
        let usual = if is_directory { 0o755 } else { 0o644 };
        self.mode.as_ref().map(|m| m.apply(usual, is_directory))
    }

    /// What a reader should know of something new.
    pub fn deltas_new(&self, path: &str, is_directory: bool) -> Vec<Delta> {
        let new = |what: &str, value: String| Delta {
            subject: format!("{what} of {path}"),
            before: Facet::Absent,
            after: Facet::Value(value),
        };
        let mode = self.mode_new(is_directory).map(|m| new("mode", format!("{m:04o}")));
        let owner = self.owner.clone().map(|o| new("owner", o));
        let group = self.group.clone().map(|g| new("group", g));
        owner.into_iter().chain(group).chain(mode).collect()
    }

    /// What is known beforehand of a path once its attributes are right: `owner group mode uid gid`, ids only where
    /// they stay or are given as numbers. `before`: what is there now.
    #[must_use]
    pub fn describe_after(&self, mut report: Report, before: Option<&Stat>) -> Report {
        let mut set = |key: &str, value: Option<serde_json::Value>| {
            match value {
                Some(value) => report.values.insert(key.to_owned(), value),
                None => report.values.remove(key),
            };
        };
        for (wanted, name, id, key, id_key) in [
            (
                &self.owner,
                before.map(|s| &s.owner),
                before.map(|s| s.uid),
                "owner",
                "uid",
            ),
            (
                &self.group,
                before.map(|s| &s.group),
                before.map(|s| s.gid),
                "group",
                "gid",
            ),
        ] {
            let (name, id) = match (wanted, name, id) {
                (None, Some(name), Some(id)) => (Some(shown(name, id)), Some(id)),
                (Some(wanted), Some(name), Some(id)) if is_user(wanted, name, id) => (Some(shown(name, id)), Some(id)),
                (Some(wanted), ..) => match wanted.parse::<u32>() {
                    Ok(id) => (None, Some(id)),
                    Err(_) => (Some(wanted.clone()), None),
                },
                _ => (None, None),
            };
            set(key, name.map(Into::into));
            set(id_key, id.map(Into::into));
        }
        let mode = match before {
            Some(stat) => Some(self.mode_from(stat).unwrap_or(stat.mode)),
            None => self.mode_new(report.values.get("state").is_some_and(|s| s == "directory")),
        };
        if let Some(mode) = mode {
            report = report.with("mode", returned(mode));
        }
        report
    }

    /// SELinux context and `chattr` flags, which take looks of their own. `exists`: there is something at `path` now.
    pub fn extra(&self, path: &str, exists: bool, seen: &Seen<'_>) -> Result<Difference, Stop> {
        self.selinux_as_it_is(path, exists, seen)?;
        let mut found = Difference::default();
        let Some(wanted) = &self.flags else { return Ok(found) };
        let (operator, flags) = match wanted.split_at_checked(1) {
            Some((operator @ ("+" | "-" | "="), flags)) => (operator, flags),
            _ => ("=", wanted.as_str()),
        };
        let current = if exists {
            current_flags(path, seen)?
        } else {
            String::new()
        };
        let right = match operator {
            "+" => flags.chars().all(|f| current.contains(f)),
            "-" => !flags.chars().any(|f| current.contains(f)),
            _ => current.len() == flags.len() && flags.chars().all(|f| current.contains(f)),
        };
        if !right {
            found.deltas.push(Delta::value(
                format!("attributes of {path}"),
                current.as_str(),
                format!("{operator}{flags}"),
            ));
            found.ops.push(Op::exec(
                ["chattr".to_owned(), format!("{operator}{flags}"), path.to_owned()],
                Effect::Mentions(vec![path.to_owned()]),
            ));
        }
        Ok(found)
    }

    fn selinux_as_it_is(&self, path: &str, exists: bool, seen: &Seen<'_>) -> Result<(), Stop> {
        if self.selinux.is_empty() || seen.stat(SELINUX_ON)?.is_none() {
            return Ok(());
        }
        let context = if exists {
            seen.exec(&["stat", "-c", "%C", "--", path])?
                .stdout
                .text()
                .trim()
                .to_owned()
        } else {
            String::new()
        };
        // user:role:type:level, and a level may hold colons of its own.
        let parts: Vec<&str> = context.splitn(4, ':').collect();
        for (name, part, wanted) in &self.selinux {
            if parts.get(*part) != Some(&wanted.as_str()) {
                return Err(Stop::Fail(
                    Failure::new(format!(
                        "not supported yet: changing the SELinux context of `{path}` (`{name}`)"
                    ))
                    .help(format!(
                        "it is `{context}`; set it with `semanage fcontext` and `restorecon`"
                    )),
                ));
            }
        }
        Ok(())
    }
}

/// Exists where SELinux is on.
const SELINUX_ON: &str = "/sys/fs/selinux/enforce";

fn lsattr(path: &str) -> Probe {
    Probe::exec(["lsattr", "-d", "--", path])
}

fn current_flags(path: &str, seen: &Seen<'_>) -> Result<String, Stop> {
    let Observation::Exec(result) = seen.get(&lsattr(path))? else {
        return Ok(String::new());
    };
    if !result.ok() {
        return Err(Stop::Fail(Failure::new(format!(
            "the attributes of `{path}` cannot be read: {}",
            result.stderr.text().trim()
        ))));
    }
    let text = result.stdout.text();
    let flags = text.split_whitespace().next().unwrap_or_default();
    // `e` (extents) tells how the file system stores the file, nobody sets it.
    Ok(flags.chars().filter(|c| *c != '-' && *c != 'e').collect())
}

/// Whether a wanted user or group, by name or number, is the one that is.
pub fn is_user(wanted: &str, name: &str, id: u32) -> bool {
    match wanted.parse::<u32>() {
        Ok(number) => number == id,
        Err(_) => wanted == name,
    }
}

fn shown(name: &str, id: u32) -> String {
    if name.is_empty() {
        id.to_string()
    } else {
        name.to_owned()
    }
}

/// `file`, `directory`, `link`, `hard`: Ansible's word for what is at a path.
pub fn state(stat: &Stat) -> &'static str {
    match stat.kind {
        FileKind::Link => "link",
        FileKind::Directory => "directory",
        _ if stat.nlink > 1 => "hard",
        _ => "file",
    }
}

/// A mode as these modules of Ansible return it: `0644`, `02775` (`stat` says `2775`).
fn returned(mode: u32) -> String {
    format!("0{mode:03o}")
}

/// Adds `uid gid owner group mode size state`.
#[must_use]
pub fn describe(report: Report, stat: &Stat) -> Report {
    report
        .with("uid", stat.uid)
        .with("gid", stat.gid)
        .with("owner", shown(&stat.owner, stat.uid))
        .with("group", shown(&stat.group, stat.gid))
        .with("mode", returned(stat.mode))
        .with("size", stat.size)
        .with("state", state(stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results of ansible-core 2.19.14 under umask 022, for a file of mode 0644 and a directory of mode 0755.
    #[test]
    fn symbolic_modes_as_ansible_reads_them() {
        for (text, file, directory) in [
            ("0640", 0o640, 0o640),
            ("u=rwX,g=rX,o=", 0o640, 0o750),
            ("a+x", 0o755, 0o755),
            ("+x", 0o755, 0o755),
            ("+w", 0o644, 0o755),
            ("=rw", 0o644, 0o644),
            ("a=rw", 0o666, 0o666),
            ("u=rw-x+X,g=r-x+X,o=r-x+X", 0o644, 0o755),
            ("g=u", 0o664, 0o775),
            ("o-r,u+s", 0o4640, 0o4751),
            ("g+s,o+t", 0o3644, 0o3755),
            ("go-rwx", 0o600, 0o700),
            ("u=,g=u", 0o004, 0o005),
            ("a+X", 0o644, 0o755),
        ] {
            let mode = Mode::parse(text).unwrap();
            assert_eq!(
                (mode.apply(0o644, false), mode.apply(0o755, true)),
                (file, directory),
                "{text}"
            );
        }
        for text in ["", "rw", "u~x", "u=rq", "99", "01777777", "z=r"] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
    }
}
