//! `recurse`: owner, group and mode of what is below a directory.

use super::*;
use crate::modules::file_attributes::Mode;

/// What `find ... -exec stat` says of each path: mode, ids, names, kind, path.
const FORMAT: &str = "%a %u %g %U %G %f %n";

impl File {
    /// What below the directory is not as wanted. `find` looks, so that only what differs travels; a symbolic mode
    /// depends on the mode that is, so all of it travels then.
    pub(super) fn below(&self) -> Vec<Probe> {
        let mut owner = Vec::new();
        for (flag, value) in [("-user", &self.attributes.owner), ("-group", &self.attributes.group)] {
            if let Some(value) = value {
                owner.push(format!("! {flag} {}", quoted(value)));
            }
        }
        let mut conditions = owner.clone();
        match &self.attributes.mode {
            Some(Mode::Octal(mode)) => conditions.push(format!("! -perm {mode:04o}")),
            Some(Mode::Symbolic(_)) => conditions.push("-name '*'".to_owned()),
            None => {}
        }
        let find = |flag: &str, kind: &str, conditions: &[String], stat: &str| {
            let script = format!(
                "find {flag} \"$1\" {kind} \\( {} \\) -exec stat {stat} -c '{FORMAT}' {{}} +",
                conditions.join(" -o ")
            );
            Probe::Exec {
                argv: ["sh", "-c", &script, "sh", &self.path].map(str::to_owned).to_vec(),
                stdin: None,
                timeout_s: 120,
            }
        };
        let mut probes = Vec::new();
        if !conditions.is_empty() {
            let (flag, stat) = if self.follow { ("-L", "-L") } else { ("", "") };
            probes.push(find(flag, "! -type l", &conditions, stat));
        }
        if !owner.is_empty() {
            probes.push(find("", "-type l", &owner, ""));
        }
        probes
    }

    pub(super) fn recurse(&self, step: &mut Step, seen: &Seen<'_>) -> Result<(), Stop> {
        for (n, probe) in self.below().iter().enumerate() {
            let Observation::Exec(result) = seen.get(probe)? else {
                return self.fail(format!("`{}` cannot be listed", self.path));
            };
            let errors = result.stderr.text();
            if !result.ok() {
                return self.fail(format!("`{}` cannot be listed: {}", self.path, errors.trim()));
            }
            for line in result.stdout.text().lines() {
                let Some((path, stat)) = entry(line, n == 1) else {
                    return self.fail(format!("below `{}` is a name with a newline in it", self.path));
                };
                if path != self.path {
                    step.attributes(self.attributes.difference(path, &stat));
                }
            }
        }
        Ok(())
    }
}

fn entry(line: &str, link: bool) -> Option<(&str, Stat)> {
    let mut words = line.splitn(7, ' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let uid = words.next()?.parse().ok()?;
    let gid = words.next()?.parse().ok()?;
    let (owner, group) = (words.next()?.to_owned(), words.next()?.to_owned());
    // The type is in the upper bits of the raw mode (`inode(7)`).
    let kind = match u32::from_str_radix(words.next()?, 16).ok()? & 0o170000 {
        _ if link => FileKind::Link,
        0o040000 => FileKind::Directory,
        _ => FileKind::File,
    };
    let stat = Stat {
        kind,
        mode,
        uid,
        gid,
        owner,
        group,
        size: 0,
        mtime: 0,
        atime: 0,
        ctime: 0,
        inode: 0,
        dev: 0,
        nlink: 1,
        blocks: 0,
        block_size: 0,
        rdev: 0,
        target: None,
    };
    Some((words.next()?, stat))
}

fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| "''".to_owned(), std::borrow::Cow::into_owned)
}
