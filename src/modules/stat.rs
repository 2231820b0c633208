//! `stat`: what is known of a path.

use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Kind, ModuleSpec, Prepare, Report, Seen, Stop};
use crate::host::{ExecResult, FileKind, Observation, Probe, Stat};
use serde_json::{Map, Value, json};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "stat",
    aliases: &[],
    summary: "Look at a path",
    description: "Returns what the host knows of a path; changes nothing.\n\n\
                  Unlike Ansible's: `mimetype`, `charset`, `attributes`, `attr_flags` and `version` are only returned when \
                  `get_mime` or `get_attributes` is written in the task, because each starts a further program on the host; \
                  times are whole seconds.",
    args: &[
        ArgSpec::new("path", ArgKind::Path, "The path on the host.")
            .required()
            .aliases(&["dest", "name"]),
        ArgSpec::new("follow", ArgKind::Bool, "Look at the target of a symlink.").default("false"),
        ArgSpec::new("get_checksum", ArgKind::Bool, "Hash a regular file.").default("true"),
        ArgSpec::new("checksum_algorithm", ArgKind::Str, "The hash.")
            .aliases(&["checksum", "checksum_algo"])
            .choices(&["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
            .default("sha1"),
        ArgSpec::new("get_mime", ArgKind::Bool, "Ask `file` for type and encoding.").aliases(&[
            "mime",
            "mime_type",
            "mime-type",
        ]),
        ArgSpec::new("get_attributes", ArgKind::Bool, "Ask `lsattr` for attributes.").aliases(&["attr", "attributes"]),
    ],
    free_form: None,
    open: false,
    returns: &[(
        "stat",
        "`exists`, and where it does: `path mode isdir ischr isblk isreg isfifo islnk issock uid gid size inode dev nlink \
         atime mtime ctime blocks block_size device_type rusr wusr xusr rgrp wgrp xgrp roth woth xoth isuid isgid readable \
         writeable executable pw_name gr_name lnk_source lnk_target checksum mimetype charset attributes attr_flags version`",
    )],
    examples: "- name: is there a cookie
  stat:
    path: /var/lib/rabbitmq/.erlang.cookie
  register: cookie
- name: without reading the file
  ansible.builtin.stat: {path: /var/log/rabbitmq/rabbit.log, get_checksum: false}
  register: log
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

/// What `stat(2)` does not tell: whether we may, where a link leads in the end, and what else was asked for.
const ACCESS: &str = r#"p=$1
case $p in "~") p=$HOME;; "~/"*) p=$HOME/${p#"~/"};; esac
for t in r w x; do if [ "-$t" "$p" ]; then printf 1; else printf 0; fi; done
echo
[ -L "$p" ] && readlink -f -- "$p" || echo
case $2 in *m*) file --brief --mime-type --mime-encoding -- "$p" 2>/dev/null || echo unknown;; *) echo;; esac
case $2 in *a*) lsattr -vd -- "$p" 2>/dev/null || echo;; *) echo;; esac"#;

struct Look {
    path: String,
    follow: bool,
    algorithm: Option<String>,
    mime: bool,
    attributes: bool,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    Ok(Box::new(Look {
        path: args.need("path")?.to_owned(),
        follow: args.bool("follow"),
        algorithm: args
            .bool("get_checksum")
            .then(|| args.str("checksum_algorithm").unwrap_or("sha1").to_owned()),
        mime: args.bool("get_mime"),
        attributes: args.bool("get_attributes"),
    }))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let path = ["path", "dest", "name"].iter().find_map(|n| args.get(*n)?.as_str());
    path.map(|p| vec![Probe::stat(p)]).unwrap_or_default()
}

impl Look {
    fn stat(&self) -> Probe {
        Probe::Stat {
            path: self.path.as_str().into(),
            follow: self.follow,
        }
    }

    fn access(&self) -> Probe {
        let extra = match (self.mime, self.attributes) {
            (true, true) => "ma",
            (true, false) => "m",
            (false, true) => "a",
            (false, false) => "",
        };
        Probe::script(ACCESS, &[&self.path, extra])
    }

    fn hash(&self) -> Option<Probe> {
        self.algorithm.as_ref().map(|algorithm| Probe::Hash {
            path: self.path.as_str().into(),
            algorithm: algorithm.clone(),
        })
    }
}

impl Action for Look {
    fn probes(&self) -> Vec<Probe> {
        [self.stat(), self.access()].into_iter().chain(self.hash()).collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let Observation::Stat(Some(stat)) = seen.get(&self.stat())? else {
            return Ok(Decision::Keep(Report::new().with("stat", json!({ "exists": false }))));
        };
        let mut values = basics(&self.path, &stat);
        if let Observation::Exec(result) = seen.get(&self.access())? {
            self.add_access(&mut values, &stat, &result);
        }
        if stat.kind == FileKind::File
            && let Some(probe) = self.hash()
            && let Observation::Text(Some(hash)) = seen.raw(&probe)?
        {
            values.insert("checksum".to_owned(), Value::from(hash));
        }
        Ok(Decision::Keep(Report::new().with("stat", Value::Object(values))))
    }
}

impl Look {
    fn add_access(&self, values: &mut Map<String, Value>, stat: &Stat, result: &ExecResult) {
        let text = result.stdout.text();
        let mut lines = text.lines();
        let mut flags = lines.next().unwrap_or_default().chars().map(|c| c == '1');
        for name in ["readable", "writeable", "executable"] {
            values.insert(name.to_owned(), Value::from(flags.next().unwrap_or(false)));
        }
        let source = lines.next().unwrap_or_default();
        if stat.kind == FileKind::Link {
            values.insert("lnk_source".to_owned(), Value::from(source));
            values.insert(
                "lnk_target".to_owned(),
                Value::from(stat.target.clone().unwrap_or_default()),
            );
        }
        let mime = lines.next().unwrap_or_default();
        if self.mime {
            let (kind, charset) = mime.split_once("; charset=").unwrap_or(("unknown", "unknown"));
            values.insert("mimetype".to_owned(), Value::from(kind));
            values.insert("charset".to_owned(), Value::from(charset));
        }
        if self.attributes {
            let mut words = lines.next().unwrap_or_default().split_whitespace();
            let version = words.next();
            let flags: String = words.next().unwrap_or_default().chars().filter(|c| *c != '-').collect();
            values.insert("version".to_owned(), version.map_or(Value::Null, Value::from));
            let names: Vec<_> = flags.chars().filter_map(attribute).collect();
            values.insert("attributes".to_owned(), Value::from(names));
            values.insert("attr_flags".to_owned(), Value::from(flags));
        }
    }
}

fn basics(path: &str, stat: &Stat) -> Map<String, Value> {
    let is = |kind: FileKind| stat.kind == kind;
    let may = |bit: u32| stat.mode & bit != 0;
    let Value::Object(mut values) = json!({
        "exists": true,
        "path": path,
        "mode": format!("{:04o}", stat.mode),
        "isdir": is(FileKind::Directory),
        "ischr": is(FileKind::Char),
        "isblk": is(FileKind::Block),
        "isreg": is(FileKind::File),
        "isfifo": is(FileKind::Fifo),
        "islnk": is(FileKind::Link),
        "issock": is(FileKind::Socket),
        "uid": stat.uid,
        "gid": stat.gid,
        "size": stat.size,
        "inode": stat.inode,
        "dev": stat.dev,
        "nlink": stat.nlink,
        "atime": stat.atime,
        "mtime": stat.mtime,
        "ctime": stat.ctime,
        "blocks": stat.blocks,
        "block_size": stat.block_size,
        "device_type": stat.rdev,
        "rusr": may(0o400), "wusr": may(0o200), "xusr": may(0o100),
        "rgrp": may(0o040), "wgrp": may(0o020), "xgrp": may(0o010),
        "roth": may(0o004), "woth": may(0o002), "xoth": may(0o001),
        "isuid": may(0o4000), "isgid": may(0o2000),
    }) else {
        return Map::new();
    };
    // An id without a name has no key, as in Ansible.
    for (key, name) in [("pw_name", &stat.owner), ("gr_name", &stat.group)] {
        if !name.is_empty() {
            values.insert(key.to_owned(), Value::from(name.as_str()));
        }
    }
    values
}

/// Names of the letters of `lsattr`, chattr(1), as Ansible spells them.
fn attribute(letter: char) -> Option<&'static str> {
    Some(match letter {
        'A' => "noatime",
        'a' => "append",
        'c' => "compressed",
        'C' => "nocow",
        'd' => "nodump",
        'D' => "dirsync",
        'e' => "extents",
        'E' => "encrypted",
        'h' => "blocksize",
        'i' => "immutable",
        'I' => "indexed",
        'j' => "journalled",
        'N' => "inline",
        's' => "zero",
        'S' => "synchronous",
        't' => "notail",
        'T' => "blockroot",
        'u' => "undelete",
        'X' => "compressedraw",
        'Z' => "compressederror",
        _ => return None,
    })
}
