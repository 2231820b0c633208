//! `deb822_repository`: a repository of packages, as a file of `sources.list.d`.

use super::args::plain;
use super::knob::Edits;
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Content, Delta, Observation, Op, Probe};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "deb822_repository",
    aliases: &[],
    summary: "A repository of Debian packages",
    description: "\
Writes `/etc/apt/sources.list.d/NAME.sources`, whole, with the fields in the order of Ansible's. Package lists are not updated: \
`apt` with `update_cache` does that.

A `signed_by` that is a URL is fetched by the host, with apt's own tools and proxy, at every look, a dry run's too; what comes is \
kept as `/etc/apt/keyrings/NAME.asc` (armored) or `NAME.gpg`. A key given as text, `lookup('file', 'team.asc')`, asks nobody, and \
is the one you have looked at.

Unlike Ansible's: python3-debian is not needed; `mode` is octal.",
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
        ArgSpec::new("signed_by", ArgKind::Str, "Path of a key on the host, its URL, fingerprints, or the key as text."),
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
        ("key_filename", "The file of the key; null for a key given as text, which stands in the repository's"),
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

/// Fetches `$1` to standard output. Every Debian has this tool, and few have another.
const FETCH: &str = r#"t=$(mktemp -d) || exit
trap 'rm -rf "$t"' EXIT
/usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root -o Acquire::http::Timeout=20 -o Acquire::Retries=1 download-file "$1" "$t/key" >&2 &&
  cat "$t/key""#;

const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

struct Repository {
    slug: String,
    absent: bool,
    /// Arguments and their values as they stand in the file, sorted.
    fields: Vec<(String, String)>,
    /// Of `signed_by`.
    url: Option<String>,
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
    let mode = u32::from_str_radix(args.need("mode")?, 8)
        .map_err(|_| ArgError::new("mode", "not supported here: a mode that is not an octal number"))?;
    let fields = args
        .iter()
        .filter(|(key, value)| !matches!(*key, "state" | "mode") && !value.is_null());
    let absent = args.str("state") == Some("absent");
    Ok(Box::new(Repository {
        slug,
        absent,
        fields: fields.map(|(key, value)| (key.to_owned(), written(value))).collect(),
        url: args
            .str("signed_by")
            .filter(|key| !absent && is_url(key))
            .map(str::to_owned),
        mode,
    }))
}

/// `https://...`, `file:///...`: a scheme, and nothing that a key or a path has in it.
fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !text.contains(char::is_whitespace)
}

fn written(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        value => plain(value),
    }
}

/// One field of the file.
fn line(argument: &str, value: &str) -> String {
    let mut text = field(argument) + ":";
    if value.contains('\n') {
        for line in value.trim().lines().map(str::trim) {
            text += &format!("\n    {}", if line.is_empty() { "." } else { line });
        }
    } else if !value.is_empty() {
        text += &format!(" {value}");
    }
    text + "\n"
}

fn fetch(url: &str) -> Probe {
    Probe::Exec {
        argv: ["sh", "-c", FETCH, "sh", url].map(str::to_owned).to_vec(),
        stdin: None,
        timeout_s: 90,
    }
}

fn path(slug: &str) -> String {
    format!("/etc/apt/sources.list.d/{slug}.sources")
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let text = |name: &str| args.get(name).and_then(Value::as_str);
    let path = text("name").map(|name| path(&slug(name)));
    let key = text("signed_by").filter(|key| is_url(key) && text("state") != Some("absent"));
    path.into_iter()
        .flat_map(|path| [Probe::read(&path), Probe::stat(path)])
        .chain(key.map(fetch))
        .collect()
}

impl Repository {
    /// Where a key that was fetched is: armored, and not.
    fn keys(&self) -> [String; 2] {
        ["asc", "gpg"].map(|ext| format!("/etc/apt/keyrings/{}.{ext}", self.slug))
    }

    /// The key's file, and what it shall be if it was fetched.
    fn key(&self, seen: &Seen<'_>) -> Result<Option<(String, Option<Content>)>, Stop> {
        let Some(url) = &self.url else {
            let own = self.fields.iter().find(|(argument, _)| argument == "signed_by");
            let path = own.filter(|(_, key)| key.starts_with('/') && !key.contains('\n'));
            return Ok(path.map(|(_, path)| (path.clone(), None)));
        };
        let failed = |why: &str| {
            Stop::Fail(
                Failure::new(format!("the key `{url}` cannot be fetched: {why}"))
                    .help("`lookup('file', ...)` gives a key that you keep beside the playbook"),
            )
        };
        match seen.get(&fetch(url))? {
            Observation::Exec(result) if result.ok() && !result.stdout.as_bytes().is_empty() => {
                let [armored, binary] = self.keys();
                let path = if result.stdout.text().contains(ARMOR) {
                    armored
                } else {
                    binary
                };
                Ok(Some((path, Some(result.stdout))))
            }
            Observation::Exec(result) => {
                let said = result.stderr.text();
                let first = said.lines().find_map(|l| l.strip_prefix("E: ")).unwrap_or("no answer");
                // `Failed to fetch URL  WHY`
                Err(failed(first.split_once("  ").map_or(first, |(_, why)| why)))
            }
            _ => Err(failed("no answer")),
        }
    }
}

impl Action for Repository {
    fn probes(&self) -> Vec<Probe> {
        let path = path(&self.slug);
        let mut probes = vec![Probe::read(&path), Probe::stat(path)];
        if self.absent || self.url.is_some() {
            probes.extend(self.keys().map(Probe::read));
        }
        if let Some(url) = &self.url {
            probes.extend(self.keys().map(Probe::stat));
            probes.push(fetch(url));
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let path = path(&self.slug);
        let before = seen.read(&path)?;
        let mut edits = Edits::default();
        let report = Report::new().with("dest", path.as_str());
        if self.absent {
            edits.file(&path, before.as_ref(), None);
            for key in self.keys() {
                edits.file(&key, seen.read(&key)?.as_ref(), None);
            }
            let report = report.with("repo", Value::Null).with("key_filename", Value::Null);
            return Ok(edits.decision(report));
        }
        let key = self.key(seen)?;
        if let Some((key, Some(content))) = &key {
            edits.content(key, seen.read(key)?.as_ref(), Some(content.clone()));
            mode(&mut edits, key, 0o644, seen)?;
        }
        let key = key.map(|(path, _)| path);
        let text = |(argument, value): &(String, String)| match &key {
            Some(key) if argument == "signed_by" => line(argument, key),
            _ => line(argument, value),
        };
        let text: String = self.fields.iter().map(text).collect();
        edits.file(&path, before.as_ref(), Some(text.clone()));
        mode(&mut edits, &path, self.mode, seen)?;
        let report = report.with("repo", text).with("key_filename", key);
        Ok(edits.decision(report))
    }
}

/// Permissions of a file; a new one is made with 0644.
fn mode(edits: &mut Edits, path: &str, wanted: u32, seen: &Seen<'_>) -> Result<(), Stop> {
    let now = seen.stat(path)?.map_or(0o644, |stat| stat.mode);
    if now != wanted {
        let chmod = |mode| Op::Chmod {
            path: path.to_owned(),
            mode,
        };
        let delta = Delta::value(format!("mode of {path}"), format!("{now:04o}"), format!("{wanted:04o}"));
        edits.exec(Some(delta), chmod(wanted), Some(chmod(now)));
    }
    Ok(())
}
