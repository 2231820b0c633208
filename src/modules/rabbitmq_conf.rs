//! `rabbitmq_conf`: rabbitmq.conf or a file of conf.d, checked, written, and brought into force.

use super::broker_file::{self, Judged};
use super::file_attributes::{Attributes, Mode, with_file_args};
use super::file_content::{FileContent, Step, Writing};
use super::template::BACKUP;
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Seen, Stop,
};
use crate::host::{Content, Delta, Effect, Observation, Op, Probe, Undo};
use crate::rabbitmq::conf::pending::pending;
use crate::rabbitmq::conf::{node, profile, write};
use crate::rabbitmq::{Version, cli, conf};
use crate::template::FileOptions;
use serde_json::{Map, Value};

const MAIN: &str = "/etc/rabbitmq/rabbitmq.conf";
const CONF_D: &str = "/etc/rabbitmq/conf.d/";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_conf",
    aliases: &[],
    summary: "RabbitMQ's configuration: checked, written, brought into force; restarted only when needed",
    description: "Writes `/etc/rabbitmq/rabbitmq.conf`, or with `conf_d` a file beside it, from `values`, a `profile`, both (values \
                  win), a template (`src`) or `content`.\n\n\
                  Before anything is written, in `diff` too, the new file is checked with the files it stands beside, against what \
                  the installed release knows: names, types, values, what is set twice, what is silently taken for something else. \
                  An error fails the task, advice is a warning. `validate: node` asks the running node as well, with its own \
                  schema. `rmqplay lint` does the same for files and templates without a host.\n\n\
                  Then the running node is compared with its files, by one `rabbitmqctl eval`. What can be set while it runs (the \
                  memory watermark, the limit of free disk, the level of the log) is set. What only a restart changes is in \
                  `restart_keys`, and `restart_needed` is true; that counts as a change, also where the file was right and only \
                  the process has older values, so that a handler is notified. A comment, another order, or users of a first start \
                  need none:\n\n\
                  ```yaml\n\
                  handlers:\n\
                  \x20 - name: restart RabbitMQ\n\
                  \x20   service: {name: rabbitmq-server, state: restarted}\n\
                  \x20   when: rabbitmq_conf.restart_needed | default(true)\n\
                  ```\n\n\
                  with `register: rabbitmq_conf` and `notify: restart RabbitMQ` on the task. (`default(true)`: a restart that an earlier run \
                  did not get to is made up for before the task runs.) A node that does not run needs no \
                  restart; before the task that installs it, a dry run does not know whether it will. Values of keys such as `default_pass` are not shown.",
    args: with_file_args![
        ArgSpec::new(
            "values",
            ArgKind::Dict,
            "Keys with their values, as a tree or with dots. A list counts from 1; null takes a key of the profile out."
        ),
        ArgSpec::new("profile", ArgKind::Str, "Settings to begin with, by what the node is for.").choices(&profile::NAMES),
        ArgSpec::new("src", ArgKind::Str, "A template on the controller, in place of `values` and `profile`."),
        ArgSpec::new("content", ArgKind::Str, "The text of the file, in place of `values` and `profile`."),
        ArgSpec::new(
            "conf_d",
            ArgKind::Str,
            "A name such as `20-limits.conf`: this file of `/etc/rabbitmq/conf.d` instead of `rabbitmq.conf`."
        ),
        ArgSpec::new(
            "version",
            ArgKind::Str,
            "The release that will read it, such as `4.0`, where none is installed yet; otherwise the installed one counts."
        ),
        ArgSpec::new(
            "extra_keys",
            ArgKind::List,
            "Keys that plugins from elsewhere add; `name.*` for all below `name`."
        ),
        ArgSpec::new(
            "validate",
            ArgKind::Str,
            "Ask the node's own schema too, before the file takes its place; the node must run, and the file be readable for it."
        )
        .choices(&["table", "node"])
        .default("table"),
        ArgSpec::new(
            "running",
            ArgKind::Str,
            "`compare` the running node and set what can be set, `look` at it and only tell, or `ignore` it."
        )
        .choices(&["compare", "look", "ignore"])
        .default("compare"),
        BACKUP,
    ],
    free_form: None,
    open: false,
    returns: RETURNS,
    examples: "- name: rabbitmq.conf
  rabbitmq_conf:
    profile: production
    values:
      disk_free_limit.absolute: 10000000000
      ssl_options:
        versions: [tlsv1.3, tlsv1.2]
  register: rabbitmq_conf
  notify: restart RabbitMQ
- name: limits of this site
  rabbitmq_conf:
    conf_d: 20-limits.conf
    values: {max_message_size: 1048576}
    validate: node
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

const RETURNS: &[(&str, &str)] = &[
    (
        "restart_needed",
        "the running node has values that only a restart changes",
    ),
    ("restart_keys", "which keys those are"),
    ("live_keys", "keys that are set in the running node"),
    ("rabbitmq_version", "the release it was checked for"),
    ("dest", "path of the file"),
    ("checksum", "SHA-1 of the content"),
    ("size", "size in bytes"),
    ("mode", "permissions, `0640`"),
    ("owner", "user's name"),
    ("group", "group's name"),
    ("backup_file", "where the old content went, if `backup`"),
];

/// Where the text comes from.
enum Text {
    Given(Content),
    Values {
        profile: Option<String>,
        values: Vec<(String, Option<String>)>,
    },
}

struct Conf {
    text: Text,
    file: FileContent,
    path: String,
    version: Option<Version>,
    extra_keys: Vec<String>,
    ask_node: bool,
    node: Node,
    check_mode: bool,
}

/// What is done about the running node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Compare,
    Look,
    Ignore,
}

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let (dest, basename, path) = match args.str("conf_d") {
        None => (MAIN.to_owned(), None, MAIN.to_owned()),
        Some(name) if name.contains('/') || !name.ends_with(".conf") || name.starts_with('.') => {
            return Err(ArgError::new(
                "conf_d",
                format!("`{name}` is no name of a file that RabbitMQ reads there"),
            )
            .help("a name such as `20-limits.conf`, without a directory"));
        }
        Some(name) => (CONF_D.to_owned(), Some(name.to_owned()), format!("{CONF_D}{name}")),
    };
    let text = text(args, controller, &path)?;
    let mode = Mode::parse(args.str("mode").unwrap_or("0640"))?;
    let mut attributes = Attributes::with_mode(args, Some(mode))?;
    // It may hold passwords; the node reads it through its group.
    attributes.owner = attributes.owner.or(Some("root".to_owned()));
    attributes.group = attributes.group.or(Some("rabbitmq".to_owned()));
    let version = match args.str("version") {
        None => None,
        Some(text) => Some(conf::release(text).map_err(|e| ArgError::new("version", e.to_string()))?),
    };
    Ok(Box::new(Conf {
        text,
        file: FileContent {
            dest,
            basename,
            writing: Writing {
                attributes,
                backup: args.bool("backup"),
                validate: None,
                now: controller.now().to_owned(),
            },
            force: true,
            ..FileContent::default()
        },
        path,
        version,
        extra_keys: args.list("extra_keys"),
        ask_node: args.str("validate") == Some("node"),
        node: match args.str("running") {
            Some("ignore") => Node::Ignore,
            Some("look") => Node::Look,
            _ => Node::Compare,
        },
        check_mode: controller.check_mode(),
    }))
}

fn text(args: &Args, controller: &dyn Prepare, path: &str) -> Result<Text, ArgError> {
    let of_values = args.given("values") || args.given("profile");
    match (args.str("src"), args.str("content"), of_values) {
        (Some(src), None, false) => Ok(Text::Given(Content::from(controller.template(
            src,
            &FileOptions::default(),
            path,
        )?))),
        (None, Some(content), false) => Ok(Text::Given(Content::from(content))),
        (None, None, true) => {
            let values = args.dict("values").cloned().unwrap_or_default();
            let values = write::flatten(&values).map_err(cannot_write)?;
            Ok(Text::Values {
                profile: args.str("profile").map(str::to_owned),
                values,
            })
        }
        (None, None, false) => Err(ArgError::task(
            "`rabbitmq_conf` needs `values`, `profile`, `src` or `content`",
        )),
        _ => Err(ArgError::task(
            "`src`, `content`, and `values` with `profile` exclude each other",
        )),
    }
}

fn cannot_write(error: write::CannotWrite) -> ArgError {
    ArgError::new("values", format!("`{}` cannot be written: {}", error.key, error.why))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let path = match args.get("conf_d") {
        None => MAIN.to_owned(),
        Some(name) => format!("{CONF_D}{}", name.as_str().unwrap_or_default()),
    };
    let mut probes = broker_file::probes(&path);
    probes.extend([Probe::stat(&path), Probe::read(&path), Probe::exec(node::compare())]);
    probes
}

impl Action for Conf {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = broker_file::probes(&self.path);
        probes.extend(self.file.probes());
        if self.node != Node::Ignore {
            probes.push(Probe::exec(node::compare()));
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let installed = broker_file::installed(seen)?;
        let version = installed.or(self.version);
        let target = broker_file::target(version, self.extra_keys.clone(), seen)?;
        let mut file = self.file.clone();
        file.content = match &self.text {
            Text::Given(content) => content.clone(),
            Text::Values { profile, values } => {
                let settings = write::settings(profile.as_deref(), values.clone(), version);
                let heading = match profile {
                    Some(name) => format!("Profile {name}. Written by rmqplay; changes made here are lost."),
                    None => "Written by rmqplay; changes made here are lost.".to_owned(),
                };
                let text = write::render(&settings, &heading, &target);
                Content::from(text.map_err(|e| Failure::new(format!("`{}` cannot be written: {}", e.key, e.why)))?)
            }
        };
        let judged = broker_file::judge(&self.path, &file.content, &target, seen)?;
        let running = self.node(seen)?;
        if self.ask_node && !matches!(running, Some(node::Running::No)) {
            file.writing.validate = Some(node::validate(&self.path));
        }
        let (_, mut step) = file.decide_unchecked(seen)?;
        step.report.warnings.extend(judged.warnings.iter().cloned());
        if self.ask_node && matches!(running, Some(node::Running::No)) {
            step.report = step
                .report
                .warn("the node does not run, and was not asked: only the table was");
        }
        if let Some(version) = version {
            step.report = step.report.with("rabbitmq_version", conf::shown(version));
        }
        Ok(self.decision(step, &judged, running, version))
    }
}

impl Conf {
    /// What the node says; `None`: it is not asked, or cannot be known yet.
    fn node(&self, seen: &Seen<'_>) -> Result<Option<node::Running>, Stop> {
        if self.node == Node::Ignore {
            return Ok(None);
        }
        let Observation::Exec(result) = seen.raw(&Probe::exec(node::compare()))? else {
            return Ok(None);
        };
        node::running(&result).map(Some).map_err(|said| {
            let failure = Failure::new(format!("the running node could not be compared with its files: {said}"));
            Stop::Fail(failure.help("`running: ignore` leaves it out"))
        })
    }

    fn decision(
        &self,
        step: Step,
        judged: &Judged,
        running: Option<node::Running>,
        version: Option<Version>,
    ) -> Decision {
        let mut pending = pending(&judged.before, &judged.lines, running.as_ref(), version);
        let asked = self.node == Node::Compare && running.is_some();
        if !asked {
            let live = std::mem::take(&mut pending.live);
            pending.restart.extend(live.into_iter().map(|l| l.changed));
        }
        let writes = !step.ops.is_empty();
        // In a dry run an earlier task may bring the node, or start it: only then it can be asked.
        let open = writes && self.check_mode && running.is_none() && self.node != Node::Ignore;
        // A node that is asked has the last word once the file is there; a dry run can only foresee it.
        let known = !open && (!(writes && asked) || self.check_mode);
        let Step {
            mut deltas,
            mut ops,
            undo,
            no_undo,
            mut report,
        } = step;
        for live in &pending.live {
            let changed = &live.changed;
            deltas.push(Delta::value(
                format!("{} (running node)", changed.key),
                &changed.from,
                &changed.to,
            ));
            ops.push(set(&live.arguments));
        }
        let live: Vec<Value> = pending.live.iter().map(|l| l.changed.key.as_str().into()).collect();
        report = report.with("live_keys", live);
        if known {
            let keys: Vec<Value> = pending.restart.iter().map(|c| c.key.as_str().into()).collect();
            report = report
                .with("restart_needed", !keys.is_empty())
                .with("restart_keys", keys);
        }
        if let (Some(node::Running::Unreadable(said)), false) = (&running, writes) {
            report = report.warn(format!(
                "the node could not start again with its files: {}",
                said.join("; ")
            ));
        }
        let due = known && asked && !pending.restart.is_empty();
        if due {
            let restart = pending.restart.iter();
            deltas.extend(
                restart.map(|c| Delta::value(format!("{} (running node, by a restart)", c.key), &c.from, &c.to)),
            );
        }
        if ops.is_empty() && !due {
            if known && !pending.restart.is_empty() {
                let keys: Vec<&str> = pending.restart.iter().map(|c| c.key.as_str()).collect();
                report = report.pending(format!("the running node has other values for {}", keys.join(", ")));
            }
            return Decision::Keep(report);
        }
        let undo = match no_undo {
            Some(why) => Undo::Impossible(why),
            None => Undo::Ops(undo),
        };
        let change = Change::new(deltas, ops, report).undo(undo);
        Decision::Change(if open { change.judged_by_outcome() } else { change })
    }
}

/// Sets a value in the running node.
fn set(arguments: &[String]) -> Op {
    let arguments = std::iter::once("-q").chain(arguments.iter().map(String::as_str));
    // What the node says of its settings changes, and no file, no object, no member.
    let effect = ["rabbit_prelaunch:get_context", "environment"].map(str::to_owned);
    let effect = Effect::Mentions(effect.to_vec());
    Op::exec(cli::command("rabbitmqctl", arguments), effect)
}
