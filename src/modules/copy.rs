//! `copy`: a file, a tree or a text from the controller to the host, or a file from one place of the host to another.

mod on_host;

use self::on_host::OnHost;
use super::args::plain;
use super::file_attributes::{Attributes, Mode, with_file_args};
use super::file_content::{FileContent, Step, Writing, basename, make_directories, parent_of};
use super::template::{BACKUP, FOLLOW, FORCE, RETURNS, VALIDATE, ahead};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Content, FileKind, Observation, Probe};
use serde_json::Value;
use std::collections::BTreeSet;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "copy",
    aliases: &[],
    summary: "Copy a file, a tree or a text to the host",
    description: "Brings `dest` to the content of `src` (a file or directory of the controller, searched for in `files/` of \
                  the role and beside the playbook) or of `content`, atomically, if it differs. A `src` directory with a \
                  slash at its end means what is in it. A mapping or list as `content` is written as JSON.\n\n\
                  Unlike Ansible's: the diff shows mode and owner beside content; old content above 512 KiB is compared by \
                  hash and not shown; a backup has part of the old content's hash in its name where Ansible has a process \
                  id; a file that changed after it was looked at is left alone and the task fails; with `remote_src` a file that is \
                  there keeps its owner and mode, and `owner` and `group` hold for all that is in a directory. Not \
                  supported yet: `local_follow: false` without `remote_src`.",
    args: with_file_args![
        ArgSpec::new(
            "src",
            ArgKind::Path,
            "File or directory on the controller; on the host with `remote_src`."
        ),
        ArgSpec::new("content", ArgKind::Raw, "The content itself instead of `src`."),
        ArgSpec::new(
            "dest",
            ArgKind::Path,
            "Where it goes on the host: a file, or a directory."
        )
        .required(),
        BACKUP,
        FORCE,
        FOLLOW,
        VALIDATE,
        ArgSpec::new("remote_src", ArgKind::Bool, "`src` is on the host.").default("false"),
        ArgSpec::new("checksum", ArgKind::Str, "SHA-1 that `src` must have."),
        ArgSpec::new(
            "directory_mode",
            ArgKind::Mode,
            "Permissions of directories that are made."
        ),
        ArgSpec::new(
            "local_follow",
            ArgKind::Bool,
            "Follow symlinks below `src`. Without it the controller's are followed, and with `remote_src` the host's are \
             copied as links."
        ),
        ArgSpec::new(
            "decrypt",
            ArgKind::Bool,
            "Decrypt a `src` from a vault (not supported yet)."
        )
        .default("true"),
    ],
    free_form: None,
    open: false,
    returns: RETURNS,
    examples: "- name: the cookie of the cluster
  copy:
    content: \"{{ erlang_cookie }}\"
    dest: /var/lib/rabbitmq/.erlang.cookie
    owner: rabbitmq
    group: rabbitmq
    mode: \"0400\"
  no_log: true
- name: everything in files/certs
  ansible.builtin.copy:
    src: certs/
    dest: /etc/rabbitmq/certs
    mode: u=rw,g=r,o=
    directory_mode: \"0750\"
- name: keep the packaged configuration
  copy: {src: /etc/rabbitmq/rabbitmq.conf, dest: /etc/rabbitmq/rabbitmq.conf.orig, remote_src: true, force: false}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let dest = args.need("dest")?;
    let directory_mode = args.str("directory_mode").map(Mode::parse).transpose()?;
    let local_follow = args.opt_bool("local_follow");
    if local_follow == Some(false) && !args.bool("remote_src") {
        return Err(ArgError::new(
            "local_follow",
            "not supported yet: `local_follow: false` without `remote_src`",
        ));
    }
    let preserve = args.str("mode") == Some("preserve");
    let explicit = match args.str("mode") {
        Some(text) if !preserve => Some(Mode::parse(text)?),
        _ => None,
    };
    let mut file = FileContent {
        dest: dest.to_owned(),
        writing: Writing::new(args, Attributes::with_mode(args, explicit)?, controller.now())?,
        force: args.bool("force"),
        follow: args.bool("follow"),
        directory_mode,
        ..FileContent::default()
    };
    let src = match (args.str("src"), args.raw("content")) {
        (Some(_), Some(_)) => {
            return Err(ArgError::new("content", "`src` and `content` exclude each other"));
        }
        (None, None) => return Err(ArgError::task("`copy` needs `src` or `content`")),
        (None, Some(content)) => {
            if dest.ends_with('/') {
                return Err(
                    ArgError::new("dest", "`content` goes to a file, and `dest` is a directory")
                        .help("write the name of the file"),
                );
            }
            file.content = Content::from(match content {
                Value::Object(_) | Value::Array(_) => python_json(content),
                other => plain(other),
            });
            check(args, &file.content)?;
            return Ok(Box::new(Copy {
                file,
                ..Copy::default()
            }));
        }
        (Some(src), None) => src,
    };
    if args.bool("remote_src") {
        file.basename = Some(basename(src).to_owned());
        return Ok(Box::new(OnHost {
            src: src.to_owned(),
            file,
            preserve,
            checksum: args.str("checksum").map(str::to_owned),
            local_follow: local_follow == Some(true),
            dry: controller.check_mode(),
        }));
    }
    let tree = if src.ends_with('/') {
        Some(controller.tree(src)?)
    } else {
        None
    };
    let (found, bytes) = match (tree, controller.file(src)) {
        (Some(tree), _) => return copy_tree(src, tree, file, args, preserve, controller),
        (None, Ok(found)) => found,
        (None, Err(error)) => match controller.tree(src) {
            Ok(tree) => return copy_tree(src, tree, file, args, preserve, controller),
            Err(_) => return Err(error),
        },
    };
    file.content = plaintext(&found, bytes, args)?;
    check(args, &file.content)?;
    file.basename = Some(basename(src).to_owned());
    file.source = Some(found);
    if preserve {
        file.writing.attributes.mode = Some(Mode::Octal(controller.mode(src, false)?));
    }
    Ok(Box::new(Copy {
        file,
        ..Copy::default()
    }))
}

/// `checksum:` is of what is on the controller.
fn check(args: &Args, content: &Content) -> Result<(), ArgError> {
    match args.str("checksum") {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&content.sha1()) => Err(ArgError::new(
            "checksum",
            format!("`src` has the SHA-1 `{}`, not `{wanted}`", content.sha1()),
        )),
        _ => Ok(()),
    }
}

fn plaintext(path: &str, bytes: Vec<u8>, args: &Args) -> Result<Content, ArgError> {
    if args.bool("decrypt") && bytes.starts_with(b"$ANSIBLE_VAULT;") {
        return Err(ArgError::new(
            "src",
            format!("not supported yet: `{path}` is encrypted with ansible-vault"),
        )
        .help("`decrypt: false` copies it as it is"));
    }
    Ok(Content::from(bytes))
}

fn copy_tree(
    src: &str,
    (found, names): (String, Vec<String>),
    base: FileContent,
    args: &Args,
    preserve: bool,
    controller: &dyn Prepare,
) -> Result<Box<dyn Action>, ArgError> {
    // As rsync: `dir/` is what is in it, `dir` is itself.
    let root = base.dest.trim_end_matches('/').to_owned();
    let top = if src.ends_with('/') {
        root.clone()
    } else {
        format!("{root}/{}", basename(src))
    };
    let mut directories = BTreeSet::from([root.clone(), top.clone()]);
    let mut files = Vec::new();
    for name in names {
        let path = format!("{top}/{}", name.trim_end_matches('/'));
        let mut above = parent_of(&path);
        while above.len() > top.len() {
            directories.insert(above.to_owned());
            above = parent_of(above);
        }
        if name.ends_with('/') {
            directories.insert(path);
            continue;
        }
        let local = format!("{}/{name}", src.trim_end_matches('/'));
        let (found, bytes) = controller.file(&local)?;
        let mut file = FileContent {
            dest: path,
            content: plaintext(&found, bytes, args)?,
            source: Some(found),
            parent_is_made: true,
            ..base.clone()
        };
        if preserve {
            file.writing.attributes.mode = Some(Mode::Octal(controller.mode(&local, false)?));
        }
        files.push(file);
    }
    let mut file = base;
    file.dest = root.clone();
    file.source = Some(found);
    Ok(Box::new(Copy {
        root: Some(root),
        file,
        files,
        directories: directories.into_iter().collect(),
    }))
}

/// One file, or with `root` a tree.
#[derive(Default)]
struct Copy {
    root: Option<String>,
    file: FileContent,
    files: Vec<FileContent>,
    /// Parents before what is in them.
    directories: Vec<String>,
}

impl Action for Copy {
    fn probes(&self) -> Vec<Probe> {
        if self.root.is_none() {
            return self.file.probes();
        }
        let directories = self.directories.iter().map(Probe::stat_follow);
        directories
            .chain(self.files.iter().flat_map(FileContent::probes))
            .collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let Some(root) = &self.root else {
            return Ok(self.file.decide(seen)?.into_decision());
        };
        let mut step = Step {
            report: Report::new()
                .with("dest", format!("{root}/"))
                .with("src", self.file.source.clone().unwrap_or_default()),
            ..Step::default()
        };
        let mut attributes = self.file.writing.attributes.clone();
        attributes.mode = self.file.directory_mode.clone();
        for path in &self.directories {
            match seen.raw(&Probe::stat_follow(path))? {
                Observation::Stat(Some(stat)) if stat.kind == FileKind::Directory => {
                    // The directory the user named is his; those of the tree are ours.
                    if path != root {
                        step.attributes(attributes.difference(path, &stat));
                    }
                }
                Observation::Stat(Some(_)) => {
                    return Err(Stop::Fail(Failure::new(format!("`{path}` is not a directory"))));
                }
                Observation::Failed(text) => return Err(Stop::Fail(Failure::new(text))),
                _ => step.then(make_directories(path, self.file.directory_mode.as_ref(), &attributes)),
            }
        }
        for file in &self.files {
            step.then(file.decide(seen)?);
        }
        Ok(step.into_decision())
    }
}

/// As Python's `json.dumps` writes it: `{"a": [1, 2]}`, ASCII only.
fn python_json(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", list(items.iter().map(python_json).collect())),
        Value::Object(map) => format!(
            "{{{}}}",
            list(
                map.iter()
                    .map(|(k, v)| format!("{}: {}", python_json(&Value::from(k.as_str())), python_json(v)))
                    .collect()
            )
        ),
        Value::String(text) => ascii(&Value::from(text.as_str()).to_string()),
        other => other.to_string(),
    }
}

fn ascii(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_as_python_dumps_it() {
        let value = serde_json::json!({"a": [1, 2.5, null, true], "b": {"c": "é\"\n😀"}});
        assert_eq!(
            python_json(&value),
            r#"{"a": [1, 2.5, null, true], "b": {"c": "\u00e9\"\n\ud83d\ude00"}}"#
        );
    }
}
