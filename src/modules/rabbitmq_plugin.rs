//! `rabbitmq_plugin`: which plugins a node has enabled.

use super::rabbitmq::{LIMIT_S, NODE};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
    no_guess,
};
use crate::diagnostic::similar_name;
use crate::host::{Content, Delta, Effect, Exec, Observation, Op, Outcome, Probe, Status, Undo};
use crate::rabbitmq::cli;
use std::collections::BTreeSet;

const FILE: &str = "/etc/rabbitmq/enabled_plugins";

/// Where packages put them: a directory `NAME-VERSION` or a file `NAME-VERSION.ez` each.
const PLACES: [&str; 2] = [
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/*",
    "/usr/lib/rabbitmq/plugins/*",
];

/// Below a prefix, as community.rabbitmq looks for them.
const BINS: [&str; 2] = ["bin", "sbin"];

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_plugin",
    aliases: &["community.rabbitmq.rabbitmq_plugin"],
    summary: "Plugins of RabbitMQ",
    description: "\
Looks at `/etc/rabbitmq/enabled_plugins`, without starting a tool, and sets all plugins with one run of `rabbitmq-plugins set`.

A trap, as with community.rabbitmq: with `new_only: false`, the default, **every plugin that is not in `names` is disabled**. The \
difference shows it.

With `prefix` the tool is that of the installation there, run as the task's user; its own `rabbitmq-defaults` tells whether its files \
are below the prefix or in `/etc`.

Unlike it: a name that no installed plugin has is an error, with a suggestion.",
    args: &[
        ArgSpec::new("names", ArgKind::List, "Names, as a list or with commas between them.").required().aliases(&["name"]),
        ArgSpec::new("new_only", ArgKind::Bool, "Leave others enabled.").default("false"),
        ArgSpec::new("state", ArgKind::Str, "`disabled` disables these and leaves others.")
            .default("enabled")
            .choices(&["enabled", "disabled"]),
        ArgSpec::new("broker_state", ArgKind::Str, "`offline`: only write it down, for the next start.")
            .default("online")
            .choices(&["online", "offline"]),
        ArgSpec::new("prefix", ArgKind::Path, "Where another RabbitMQ than the package's is, with `sbin` or `bin` below."),
        NODE,
    ],
    free_form: None,
    open: false,
    returns: &[("enabled", "Names that were enabled"), ("disabled", "Names that were disabled")],
    examples: "\
- name: metrics, and nothing else is touched
  rabbitmq_plugin:
    names: rabbitmq_prometheus, rabbitmq_management
    new_only: true
",
    local: false,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

struct Plugins {
    names: BTreeSet<String>,
    new_only: bool,
    enable: bool,
    offline: bool,
    node: Option<String>,
    prefix: Option<String>,
}

/// Where one RabbitMQ is.
struct Place {
    tool: String,
    /// Lists what is enabled.
    file: String,
    /// Where plugins are, as globs.
    plugins: Vec<String>,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let names: BTreeSet<String> = args.list("names").into_iter().filter(|n| !n.is_empty()).collect();
    let odd = |name: &&String| name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if let Some(name) = names.iter().find(odd) {
        return Err(ArgError::new("names", format!("`{name}` is no name of a plugin")));
    }
    if names.is_empty() {
        return Err(ArgError::new("names", "no plugin is named"));
    }
    Ok(Box::new(Plugins {
        names,
        new_only: args.bool("new_only"),
        enable: args.str("state") != Some("disabled"),
        offline: args.str("broker_state") == Some("offline"),
        node: args.str("node").filter(|n| *n != "rabbit").map(str::to_owned),
        prefix: args.str("prefix").map(|p| p.trim_end_matches('/').to_owned()),
    }))
}

/// `[rabbitmq_management,rabbitmq_prometheus].`, an Erlang term; comments and quotes are possible.
fn read(text: &str) -> BTreeSet<String> {
    let terms = text.lines().map(|line| line.split('%').next().unwrap_or_default());
    let terms: String = terms.collect::<Vec<_>>().join(" ");
    let inner = terms
        .trim()
        .trim_end_matches('.')
        .trim()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let names = inner.split(',').map(|name| name.trim().trim_matches('\''));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn write(names: &BTreeSet<String>) -> String {
    format!("[{}].\n", names.iter().cloned().collect::<Vec<_>>().join(","))
}

impl Plugins {
    fn place(&self, seen: &Seen<'_>) -> Result<Place, Stop> {
        let Some(prefix) = &self.prefix else {
            return Ok(Place {
                tool: "rabbitmq-plugins".to_owned(),
                file: FILE.to_owned(),
                plugins: PLACES.map(str::to_owned).to_vec(),
            });
        };
        for bin in BINS {
            let tool = format!("{prefix}/{bin}/rabbitmq-plugins");
            if seen.stat_follow(&tool)?.is_none() {
                continue;
            }
            let defaults = seen.read(&format!("{prefix}/{bin}/rabbitmq-defaults"))?;
            // `SYS_PREFIX=${RABBITMQ_HOME}` in an archive, `SYS_PREFIX=` in a package.
            let own = defaults.is_some_and(|text| text.text().contains("\nSYS_PREFIX=${RABBITMQ_HOME}"));
            return Ok(Place {
                tool,
                file: format!("{}{FILE}", if own { prefix } else { "" }),
                plugins: vec![format!("{prefix}/plugins/*")],
            });
        }
        Err(Failure::new(format!(
            "there is no `rabbitmq-plugins` in `{prefix}/bin` or `{prefix}/sbin`"
        ))
        .help("`prefix` is where an archive of RabbitMQ was unpacked; leave it out for a package's")
        .into())
    }

    /// `places`: where the plugins are, which the tool does not know of Debian's package.
    fn set(&self, tool: &str, names: &BTreeSet<String>, places: &BTreeSet<String>) -> Op {
        let places = places.iter().cloned().collect::<Vec<_>>().join(":");
        let mut arguments = vec!["-q".to_owned()];
        if let Some(node) = &self.node {
            arguments.extend(["--node".to_owned(), node.clone()]);
        }
        arguments.push("set".to_owned());
        arguments.extend(names.iter().cloned());
        if self.offline {
            arguments.push("--offline".to_owned());
        }
        Op::Exec(Exec {
            argv: cli::command(tool, arguments),
            timeout_s: Some(LIMIT_S),
            env: [("PLUGINS_DIR".to_owned(), places)].into(),
            ok: vec![0],
            // What it makes of the file is foretold; a plugin may bring feature flags.
            effect: Effect::Mentions(vec!["list_feature_flags".to_owned()]),
            ..Exec::default()
        })
    }
}

impl Action for Plugins {
    fn probes(&self) -> Vec<Probe> {
        let Some(prefix) = &self.prefix else {
            let places = PLACES.into_iter().map(Probe::glob);
            return std::iter::once(Probe::read(FILE)).chain(places).collect();
        };
        let tools = BINS.map(|bin| Probe::stat_follow(format!("{prefix}/{bin}/rabbitmq-plugins")));
        let defaults = BINS.map(|bin| Probe::read(format!("{prefix}/{bin}/rabbitmq-defaults")));
        let files = ["", prefix].map(|root| Probe::read(format!("{root}{FILE}")));
        let places = [Probe::glob(format!("{prefix}/plugins/*"))];
        tools.into_iter().chain(defaults).chain(files).chain(places).collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let place = self.place(seen)?;
        let now = seen.read(&place.file)?.map(|c| read(&c.text())).unwrap_or_default();
        let wanted: BTreeSet<String> = match (self.enable, self.new_only) {
            (true, true) => now.union(&self.names).cloned().collect(),
            (true, false) => self.names.clone(),
            (false, _) => now.difference(&self.names).cloned().collect(),
        };
        let enabled: Vec<String> = wanted.difference(&now).cloned().collect();
        let disabled: Vec<String> = now.difference(&wanted).cloned().collect();
        let report = Report::new()
            .with("enabled", enabled.clone())
            .with("disabled", disabled.clone());
        if enabled.is_empty() && disabled.is_empty() {
            return Ok(Decision::Keep(report));
        }
        let (mut installed, mut places) = (BTreeSet::new(), BTreeSet::new());
        for plugins in &place.plugins {
            for path in seen.glob(plugins)? {
                if let Some((directory, file)) = path.rsplit_once('/')
                    && let Some((name, _)) = file.rsplit_once('-')
                {
                    places.insert(directory.to_owned());
                    installed.insert(name.to_owned());
                }
            }
        }
        if installed.is_empty() {
            return Ok(Decision::Fail(
                Failure::new("there are no plugins of RabbitMQ on this host").help("install RabbitMQ first"),
            ));
        }
        if let Some(name) = enabled.iter().find(|name| !installed.contains(*name)) {
            let failure = Failure::new(format!("plugin `{name}` is not installed on this host"));
            return Ok(Decision::Fail(
                match similar_name(name, installed.iter().map(String::as_str)) {
                    Some(near) => failure.help(format!("there is one called `{near}`")),
                    None => failure,
                },
            ));
        }
        let word = |on: bool| if on { "enabled" } else { "disabled" };
        let delta = |name: &String, on: bool| Delta::value(format!("plugin {name}"), word(!on), word(on));
        let deltas = enabled
            .iter()
            .map(|n| delta(n, true))
            .chain(disabled.iter().map(|n| delta(n, false)));
        let change = Change::new(deltas.collect(), vec![self.set(&place.tool, &wanted, &places)], report)
            .undo(Undo::Ops(vec![self.set(&place.tool, &now, &places)]))
            .foretells(
                Probe::read(&place.file),
                Observation::Content(Some(Content::from(write(&wanted)))),
            );
        Ok(Decision::Change(change))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        match outcomes.iter().find(|o| matches!(o.status, Status::Failed(_))) {
            Some(Outcome { exec: Some(result), .. }) => Err(super::rabbitmq::refused(
                "the plugins were not set",
                &result.stdout,
                &result.stderr,
            )),
            _ => Ok(change.report.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_plugins_is_read_as_erlang_writes_it() {
        let names = |text: &str| read(text).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(
            names("[rabbitmq_management,rabbitmq_prometheus].\n"),
            "rabbitmq_management rabbitmq_prometheus"
        );
        assert_eq!(
            names("%% ours\n['rabbitmq_top' ,\n rabbitmq_mqtt]. % end\n"),
            "rabbitmq_mqtt rabbitmq_top"
        );
        assert_eq!(names("[]."), "");
    }
}
