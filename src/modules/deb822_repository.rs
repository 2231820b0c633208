//! `deb822_repository`: a repository of packages, as a file of `sources.list.d`.

use super::args::plain;
use super::knob::Edits;
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Kind, ModuleSpec, Prepare, Report, Seen, Stop};
use crate::host::{Delta, Op, Probe};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "deb822_repository",
    aliases: &[],
    summary: "A repository of Debian packages",
    description: "\
Writes `/etc/apt/sources.list.d/NAME.sources`, whole, with the fields in the order of Ansible's. Package lists are not updated: \
`apt` with `update_cache` does that.

Unlike Ansible's: python3-debian is not needed. Not supported yet: a `signed_by` that is a URL; give the key itself, with \
`lookup('file', 'team.asc')`.",
    args: &[
        ArgSpec::new("name", ArgKind::Str, "What the repository is called; the file has this name in lower case.").required(),
        ArgSpec::new("state", ArgKind::Str, "`absent` removes the file, and the key that Ansible may have put beside it.")
            .default("present")
            .choices(&["present", "absent"]),
        ArgSpec::new("mode", ArgKind::Mode, "Mode of the file.").default("0644"),
        ArgSpec::new("types", ArgKind::List, "`deb`, `deb-src` or both.").default("deb"),
        ArgSpec::new("uris", ArgKind::List, "Where it is."),
        ArgSpec::new("suites", ArgKind::List, "Releases, `trixie`; or a path that ends in `/`."),
        ArgSpec::new("components", ArgKind::List, "`main`..."),
        ArgSpec::new("signed_by", ArgKind::Str, "Path of a key on the host, fingerprint, or the key as text."),
        ArgSpec::new("architectures", ArgKind::List, "Only these."),
        ArgSpec::new("languages", ArgKind::List, "Translations to download."),
        ArgSpec::new("targets", ArgKind::List, "Download targets."),
        ArgSpec::new("enabled", ArgKind::Bool, "Whether apt takes notice of it."),
        ArgSpec::new("pdiffs", ArgKind::Bool, "Whether lists are updated by differences."),
        ArgSpec::new("by_hash", ArgKind::Bool, "Whether lists are asked for by hash."),
        ArgSpec::new("allow_insecure", ArgKind::Bool, "Allow a repository that is not signed."),
        ArgSpec::new("allow_weak", ArgKind::Bool, "Allow weak signatures."),
        ArgSpec::new("allow_downgrade_to_insecure", ArgKind::Bool, "Allow that it is no longer signed."),
        ArgSpec::new("trusted", ArgKind::Bool, "Trust it whatever its signature."),
        ArgSpec::new("check_valid_until", ArgKind::Bool, "Look at the end of its validity."),
        ArgSpec::new("check_date", ArgKind::Bool, "Look whether its date is in the future."),
        ArgSpec::new("date_max_future", ArgKind::Int, "Seconds its date may be in the future."),
        ArgSpec::new("inrelease_path", ArgKind::Str, "Path of its `InRelease` file."),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("dest", "The file"),
        ("repo", "Its text"),
        ("key_filename", "Always null: a key given as text stands in the file"),
    ],
    examples: "\
- name: RabbitMQ's own packages
  deb822_repository:
    name: rabbitmq
    uris: https://deb1.rabbitmq.com/rabbitmq-server/debian/trixie
    suites: trixie
    components: main
    signed_by: \"{{ lookup('file', 'com.rabbitmq.team.asc') }}\"
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

struct Repository {
    slug: String,
    /// `None`: absent.
    text: Option<String>,
    mode: u32,
}

/// The name of the file, as Ansible makes it: a run of blanks and underscores is one dash, what else does not fit goes.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    let mut in_run = false;
    for c in name.to_lowercase().chars() {
        let blank = c.is_whitespace() || c == '_';
        match c {
            _ if blank && in_run => {}
            _ if blank => slug.push('-'),
            'a'..='z' | '0'..='9' | '-' => slug.push(c),
            _ => {}
        }
        in_run = blank;
    }
    slug
}

/// `check_valid_until` → `Check-Valid-Until`.
fn field(argument: &str) -> String {
    match argument {
        "name" => "X-Repolib-Name".to_owned(),
        "uris" => "URIs".to_owned(),
        _ => {
            let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
            argument.split('_').map(capital).collect::<Vec<_>>().join("-")
        }
    }
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let name = args.need("name")?;
    let slug = slug(name);
    if slug.is_empty() {
        return Err(ArgError::new("name", format!("`{name}` leaves no name for a file")));
    }
    if let Some(other) = args.list("types").into_iter().find(|t| t != "deb" && t != "deb-src") {
        return Err(ArgError::new("types", format!("`types` cannot be `{other}`")).help("choose `deb` or `deb-src`"));
    }
    if args.str("signed_by").is_some_and(|key| key.contains("://")) {
        return Err(ArgError::new("signed_by", "not supported yet: a key from a URL")
            .help("put the key beside the playbook, and give it with `lookup('file', ...)`"));
    }
    let mode = u32::from_str_radix(args.need("mode")?, 8)
        .map_err(|_| ArgError::new("mode", "not supported here: a mode that is not an octal number"))?;
    let text = (args.str("state") != Some("absent")).then(|| text(args));
    Ok(Box::new(Repository { slug, text, mode }))
}

/// The file: fields sorted by argument.
fn text(args: &Args) -> String {
    let mut text = String::new();
    let fields = args
        .iter()
        .filter(|(key, value)| !matches!(*key, "state" | "mode") && !value.is_null());
    for (key, value) in fields {
        let value = match value {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
            value => plain(value),
        };
        text += &field(key);
        text.push(':');
        if value.contains('\n') {
            for line in value.trim().lines().map(str::trim) {
                text += &format!("\n    {}", if line.is_empty() { "." } else { line });
            }
        } else {
            text += &format!(" {value}");
        }
        text.push('\n');
    }
    text
}

fn path(slug: &str) -> String {
    format!("/etc/apt/sources.list.d/{slug}.sources")
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let name = args.get("name").and_then(Value::as_str);
    name.map(|name| path(&slug(name)))
        .map(|path| vec![Probe::read(&path), Probe::stat(path)])
        .unwrap_or_default()
}

impl Repository {
    /// Where Ansible puts a key that it downloaded.
    fn keys(&self) -> [String; 2] {
        ["asc", "gpg"].map(|ext| format!("/etc/apt/keyrings/{}.{ext}", self.slug))
    }
}

impl Action for Repository {
    fn probes(&self) -> Vec<Probe> {
        let path = path(&self.slug);
        let mut probes = vec![Probe::read(&path), Probe::stat(path)];
        if self.text.is_none() {
            probes.extend(self.keys().map(Probe::read));
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let path = path(&self.slug);
        let before = seen.read(&path)?;
        let mut edits = Edits::default();
        edits.file(&path, before.as_ref(), self.text.clone());
        if self.text.is_none() {
            for key in self.keys() {
                edits.file(&key, seen.read(&key)?.as_ref(), None);
            }
        } else {
            let now = seen.stat(&path)?.map_or(0o644, |stat| stat.mode);
            if now != self.mode {
                let chmod = |mode| Op::Chmod {
                    path: path.clone(),
                    mode,
                };
                let delta = Delta::value(
                    format!("mode of {path}"),
                    format!("{now:04o}"),
                    format!("{:04o}", self.mode),
                );
                edits.exec(Some(delta), chmod(self.mode), Some(chmod(now)));
            }
        }
        let report = Report::new()
            .with("dest", path.as_str())
            .with("repo", self.text.as_deref().map_or(Value::Null, Value::from))
            .with("key_filename", Value::Null);
        Ok(edits.decision(report))
    }
}
