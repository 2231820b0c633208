//! `template`: a Jinja2 template rendered on the controller and written to the host.

use super::file_attributes::{Attributes, Mode, with_file_args};
use super::file_content::{FileContent, Writing, basename};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Kind, ModuleSpec, Prepare, Seen, Stop};
use crate::host::{Content, Probe};
use crate::template::FileOptions;
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "template",
    aliases: &[],
    summary: "Render a template and write it to the host",
    description: "Renders `src` (searched for in `templates/` of the role and beside the playbook) with the variables of \
                  the host and writes the result to `dest`, atomically, if it differs. A `dest` that is a directory gets \
                  the name of `src`.\n\n\
                  Unlike Ansible's: the diff shows mode and owner beside content and has stable headings; a backup has \
                  part of the old content's hash in its name where Ansible has a process id; nothing is copied to a \
                  temporary directory of the host first; a file that changed after it was looked at is left alone and \
                  the task fails.",
    args: with_file_args![
        ArgSpec::new("src", ArgKind::Str, "The template on the controller.").required(),
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
        ArgSpec::new("newline_sequence", ArgKind::Str, "Line ends: `\\n`, `\\r` or `\\r\\n`.").default("\n"),
        ArgSpec::new("block_start_string", ArgKind::Str, "Begins a block.").default("{%"),
        ArgSpec::new("block_end_string", ArgKind::Str, "Ends a block.").default("%}"),
        ArgSpec::new("variable_start_string", ArgKind::Str, "Begins an expression.").default("{{"),
        ArgSpec::new("variable_end_string", ArgKind::Str, "Ends an expression.").default("}}"),
        ArgSpec::new("comment_start_string", ArgKind::Str, "Begins a comment.").default("{#"),
        ArgSpec::new("comment_end_string", ArgKind::Str, "Ends a comment.").default("#}"),
        ArgSpec::new("trim_blocks", ArgKind::Bool, "Drop the newline after a block.").default("true"),
        ArgSpec::new("lstrip_blocks", ArgKind::Bool, "Drop white space before a block.").default("false"),
        ArgSpec::new("output_encoding", ArgKind::Str, "Only `utf-8` is supported yet.").default("utf-8"),
    ],
    free_form: None,
    open: false,
    returns: RETURNS,
    examples: "- name: the broker's configuration
  template:
    src: rabbitmq.conf.j2
    dest: /etc/rabbitmq/rabbitmq.conf
    owner: root
    group: rabbitmq
    mode: \"0640\"
    backup: true
- name: a sudoers file, checked before it takes its place
  ansible.builtin.template:
    src: deploy.sudoers.j2
    dest: /etc/sudoers.d/deploy
    mode: \"0440\"
    validate: /usr/sbin/visudo -cf %s
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

pub const BACKUP: ArgSpec = ArgSpec::new(
    "backup",
    ArgKind::Bool,
    "Copy the old file to `PATH.HASH.DATE@TIME~` before it is replaced.",
)
.default("false");
pub const FORCE: ArgSpec = ArgSpec::new(
    "force",
    ArgKind::Bool,
    "Replace a file that differs; `false`: only write where nothing is.",
)
.default("true");
pub const FOLLOW: ArgSpec = ArgSpec::new(
    "follow",
    ArgKind::Bool,
    "Write to the target of a symlink; otherwise the link gives way to a file.",
)
.default("false");
pub const VALIDATE: ArgSpec = ArgSpec::new(
    "validate",
    ArgKind::Str,
    "A command that checks the new file before it takes its place; `%s` is its path. No shell.",
);
pub const RETURNS: &[(&str, &str)] = &[
    ("dest", "path of the file"),
    ("src", "where it came from on the controller"),
    ("checksum", "SHA-1 of the content"),
    ("md5sum", "MD5 of the content"),
    ("size", "size in bytes"),
    ("mode", "permissions, `0644`"),
    ("owner", "user's name"),
    ("group", "group's name"),
    ("uid", "user's number"),
    ("gid", "group's number"),
    ("state", "`file`"),
    ("backup_file", "where the old content went, if `backup`"),
];

struct Template(FileContent);

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let src = args.need("src")?;
    let dest = args.need("dest")?;
    let encoding = args.str("output_encoding").unwrap_or("utf-8");
    if !matches!(encoding.to_ascii_lowercase().as_str(), "utf-8" | "utf8" | "ascii") {
        return Err(ArgError::new(
            "output_encoding",
            format!("not supported yet: encoding `{encoding}`"),
        ));
    }
    let mode = match args.str("mode") {
        Some("preserve") => Some(Mode::Octal(controller.mode(src, true)?)),
        Some(text) => Some(Mode::parse(text)?),
        None => None,
    };
    let rendered = controller.template(src, &options(args)?, dest)?;
    Ok(Box::new(Template(FileContent {
        dest: dest.to_owned(),
        basename: Some(basename(src).to_owned()),
        content: Content::from(rendered),
        writing: Writing::new(args, Attributes::with_mode(args, mode)?, controller.now())?,
        force: args.bool("force"),
        follow: args.bool("follow"),
        source: Some(src.to_owned()),
        ..FileContent::default()
    })))
}

/// How its arguments say a template is to be read.
pub fn options(args: &Args) -> Result<FileOptions, ArgError> {
    let newline = match args.str("newline_sequence").unwrap_or("\n") {
        "\n" | "\\n" => "\n",
        "\r" | "\\r" => "\r",
        "\r\n" | "\\r\\n" => "\r\n",
        _ => {
            return Err(
                ArgError::new("newline_sequence", "these are no line ends").help("write `\\n`, `\\r` or `\\r\\n`")
            );
        }
    };
    let pair = |start: &str, end: &str| Ok((args.need(start)?.to_owned(), args.need(end)?.to_owned()));
    Ok(FileOptions {
        trim_blocks: args.bool("trim_blocks"),
        lstrip_blocks: args.bool("lstrip_blocks"),
        keep_trailing_newline: false,
        newline: newline.to_owned(),
        block: pair("block_start_string", "block_end_string")?,
        variable: pair("variable_start_string", "variable_end_string")?,
        comment: pair("comment_start_string", "comment_end_string")?,
    })
}

/// For any module that writes one small file to `dest`.
pub fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let Some(dest) = args.get("dest").and_then(Value::as_str) else {
        return Vec::new();
    };
    let content = FileContent {
        dest: dest.to_owned(),
        basename: args.get("src").and_then(Value::as_str).map(|s| basename(s).to_owned()),
        follow: args.get("follow").and_then(super::args::boolean).unwrap_or(false),
        ..FileContent::default()
    };
    content.probes()
}

impl Action for Template {
    fn probes(&self) -> Vec<Probe> {
        self.0.probes()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        Ok(self.0.decide(seen)?.into_decision())
    }
}
