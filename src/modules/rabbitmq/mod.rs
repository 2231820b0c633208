//! What the modules for RabbitMQ's objects have in common. All of them look once, at `export_definitions`; each says
//! what the definitions shall become; what differs is imported or deleted in one go, also for all items of a loop; and of
//! the nodes of a cluster one does it.

pub mod membership;

use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Report, Seen, Shared, Stop};
use crate::host::{Content, Effect, Exec, Observation, Op, Outcome, Probe, Status, Undo};
use crate::rabbitmq::cli;
use crate::rabbitmq::definitions::{self, Definitions, Differences, Kind};
use serde_json::{Map, Value};

/// Longest wait for one of the broker's tools, seconds.
pub const LIMIT_S: u32 = 120;

pub const NODE: ArgSpec = ArgSpec::new(
    "node",
    ArgKind::Str,
    "Erlang name of the node to ask, where it is not the host's only one.",
);
pub const VHOST: ArgSpec = ArgSpec::new("vhost", ArgKind::Str, "Virtual host.").default("/");
pub const STATE: ArgSpec = ArgSpec::new("state", ArgKind::Str, "Whether it shall exist.")
    .default("present")
    .choices(&["present", "absent"]);

/// Arguments of a module, with those of the management API, which are known and refused.
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        &[
            $($arg,)*
            $crate::modules::rabbitmq::NODE,
            $crate::modules::rabbitmq::api("login_user"),
            $crate::modules::rabbitmq::api("login_password").secret(),
            $crate::modules::rabbitmq::api("login_host"),
            $crate::modules::rabbitmq::api("login_port"),
            $crate::modules::rabbitmq::api("login_protocol"),
            $crate::modules::rabbitmq::api("ca_cert").aliases(&["cacert"]),
            $crate::modules::rabbitmq::api("client_cert").aliases(&["cert"]),
            $crate::modules::rabbitmq::api("client_key").aliases(&["key"]),
        ]
    };
}
pub(super) use args;

pub const fn api(name: &'static str) -> ArgSpec {
    ArgSpec::new(
        name,
        ArgKind::Str,
        "Not supported: the node's own tools are used, which need no login.",
    )
}

/// What a task makes of the definitions; it may look at more.
pub type Wish = Box<dyn Fn(&mut Definitions, &Look<'_, '_>) -> Result<Report, Stop> + Send + Sync>;

/// Further looks at the broker.
pub struct Look<'a, 'b> {
    pub seen: &'a Seen<'b>,
    node: Option<&'a str>,
}

impl Look<'_, '_> {
    fn listing(&self, arguments: &[&str]) -> Probe {
        ctl(self.node, &[&["-q", "--formatter", "json"], arguments].concat())
    }

    /// One queue or exchange as it is listed; its arguments as an export writes them.
    pub fn listed(&self, kind: Kind, vhost: &str, name: &str) -> Result<(Option<Map<String, Value>>, Probe), Stop> {
        let columns: &[&str] = match kind {
            Kind::Exchange => &[
                "list_exchanges",
                "name",
                "type",
                "durable",
                "auto_delete",
                "internal",
                "arguments",
            ],
            _ => &[
                "list_queues",
                "name",
                "durable",
                "auto_delete",
                "arguments",
                "messages",
                "consumers",
            ],
        };
        let arguments = [&["-p", vhost], columns].concat();
        let rows = self.rows(&arguments)?;
        let mut row = rows
            .into_iter()
            .find(|row| row.get("name").and_then(Value::as_str) == Some(name));
        if let Some(row) = &mut row {
            // Each argument is `[name, type, value]`.
            let list = row
                .get("arguments")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let pairs = list
                .iter()
                .filter_map(|a| Some((a.get(0)?.as_str()?.to_owned(), a.get(2)?.clone())));
            let arguments: Map<String, Value> = pairs.collect();
            row.insert("arguments".to_owned(), Value::Object(arguments));
            row.shift_remove("name");
        }
        Ok((row, self.listing(&arguments)))
    }

    /// The rows that a command of `rabbitmqctl` lists; starts a VM of its own.
    pub fn rows(&self, arguments: &[&str]) -> Result<Vec<Map<String, Value>>, Stop> {
        rows(self.seen, &self.listing(arguments))
    }
}

/// The rows that a command with `--formatter json` lists.
pub fn rows(seen: &Seen<'_>, probe: &Probe) -> Result<Vec<Map<String, Value>>, Stop> {
    let rows = serde_json::from_str(&run(seen, probe)?);
    rows.map_err(|e| Failure::new(format!("`rabbitmqctl` answered no list: {e}")).into())
}

/// What exports do not list and a task must know of: adds it to the definitions, and says which look told.
pub type Complete = Box<dyn Fn(&mut Definitions, &Look<'_, '_>) -> Result<Option<Probe>, Stop> + Send + Sync>;

/// A task about objects, ready to look and decide.
pub struct Objects {
    node: Option<String>,
    complete: Option<Complete>,
    wish: Wish,
}

impl Objects {
    /// The action of a module with [`args!`].
    pub fn action(args: &Args, wish: Wish) -> Result<Box<dyn Action>, ArgError> {
        Ok(Box::new(Objects::new(args, None, wish)?))
    }

    /// The same for objects that an export may leave out.
    pub fn completed(args: &Args, complete: Complete, wish: Wish) -> Result<Box<dyn Action>, ArgError> {
        Ok(Box::new(Objects::new(args, Some(complete), wish)?))
    }

    fn new(args: &Args, complete: Option<Complete>, wish: Wish) -> Result<Objects, ArgError> {
        let refused = [
            "login_user",
            "login_password",
            "login_host",
            "login_port",
            "login_protocol",
        ];
        let certificates = ["ca_cert", "client_cert", "client_key"];
        if let Some(name) = refused.into_iter().chain(certificates).find(|name| args.given(name)) {
            return Err(ArgError::new(
                name,
                format!("not supported yet: `{name}`, the management API is not used"),
            )
            .help("leave it out: the node's own tools do it over SSH and need no login"));
        }
        // `rabbit` is what Ansible's modules have by default: the host's own node.
        let node = args.str("node").filter(|n| *n != "rabbit").map(str::to_owned);
        Ok(Objects { node, complete, wish })
    }

    fn export(&self) -> Probe {
        export(self.node.as_deref())
    }

    fn now(&self, seen: &Seen<'_>) -> Result<Definitions, Stop> {
        parse(&run(seen, &self.export())?)
    }

    fn ops(&self, differences: &Differences, wanted: &Definitions) -> Vec<Op> {
        let node = self.node.as_deref();
        let exec = |argv: Vec<String>, stdin: Option<Content>| {
            Op::Exec(Exec {
                argv,
                stdin,
                timeout_s: Some(LIMIT_S),
                ok: vec![0],
                // `foretold` tells what it changes.
                effect: Effect::Nothing,
                ..Exec::default()
            })
        };
        let deletions = definitions::deletions(differences);
        let delete = deletions
            .iter()
            .map(|program| exec(command(node, &["-q", "eval", program]), None));
        let import = definitions::import(differences, wanted).map(|document| {
            let arguments = with_node(node, &["-q", "import_definitions"]);
            exec(cli::fed("rabbitmqctl", arguments), Some(Content::from(document)))
        });
        delete.chain(import).collect()
    }
}

impl Action for Objects {
    fn probes(&self) -> Vec<Probe> {
        vec![membership::probe(), self.export()]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let mut now = self.now(seen)?;
        let look = Look {
            seen,
            node: self.node.as_deref(),
        };
        let told = match &self.complete {
            Some(complete) => complete(&mut now, &look)?,
            None => None,
        };
        let mut wanted = now.clone();
        let report = (self.wish)(&mut wanted, &look)?;
        let differences = Differences::between(&now, &wanted);
        if differences.is_empty() {
            return Ok(Decision::Keep(report));
        }
        let ops = self.ops(&differences, &wanted);
        let undo = if now
            .of(Kind::Queue)
            .any(|(key, _)| !wanted.has(Kind::Queue, &[&key[0], &key[1]]))
        {
            Undo::Impossible("what was in a deleted queue is gone".to_owned())
        } else {
            Undo::Ops(self.ops(&Differences::between(&wanted, &now), &now))
        };
        let change = Change::new(differences.deltas, ops, report)
            .undo(undo)
            .foretells(self.export(), answer(&wanted));
        Ok(Decision::Change(match told {
            Some(probe) => change.foretells(probe, Observation::Unknown("an earlier task changes it".to_owned())),
            None => change,
        }))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        match outcomes.iter().find(|o| matches!(o.status, Status::Failed(_))) {
            Some(Outcome { exec: Some(result), .. }) => {
                Err(refused("the broker refused the change", &result.stdout, &result.stderr))
            }
            _ => Ok(change.report.clone()),
        }
    }

    fn together(&self, seen: &Seen<'_>, changes: &[&Change]) -> Option<Vec<Op>> {
        // What exports do not list is not foretold.
        if changes.iter().any(|change| change.foretold.len() != 1) {
            return None;
        }
        let last = changes.last()?;
        let now = self.now(seen).ok()?;
        let (_, after) = last.foretold.iter().find(|(probe, _)| *probe == self.export())?;
        let Observation::Exec(result) = after else { return None };
        let wanted = Definitions::parse(&result.stdout.text()).ok()?;
        Some(self.ops(&Differences::between(&now, &wanted), &wanted))
    }

    fn shared(&self, seen: &Seen<'_>) -> Result<Option<Shared>, Stop> {
        // A host with several nodes is not one of a cluster.
        if self.node.is_some() {
            return Ok(None);
        }
        membership::shared(seen)
    }
}

/// The look all these modules share.
fn export(node: Option<&str>) -> Probe {
    ctl(node, &["-q", "export_definitions", "-"])
}

pub fn ctl(node: Option<&str>, arguments: &[&str]) -> Probe {
    Probe::Exec {
        argv: command(node, arguments),
        timeout_s: LIMIT_S,
    }
}

fn command(node: Option<&str>, arguments: &[&str]) -> Vec<String> {
    cli::command("rabbitmqctl", with_node(node, arguments))
}

fn with_node(node: Option<&str>, arguments: &[&str]) -> Vec<String> {
    let node = node.into_iter().flat_map(|node| ["--node", node]);
    node.chain(arguments.iter().copied()).map(str::to_owned).collect()
}

fn run(seen: &Seen<'_>, probe: &Probe) -> Result<String, Stop> {
    match seen.get(probe)? {
        Observation::Exec(result) if result.ok() => Ok(result.stdout.text().into_owned()),
        Observation::Exec(result) if result.rc == 127 => Err(Failure::new("there is no `rabbitmqctl` on this host")
            .help("install RabbitMQ first")
            .into()),
        Observation::Exec(result) => Err(refused("the broker does not answer", &result.stdout, &result.stderr).into()),
        other => Err(Failure::new(format!("the host answered something else than was asked: {other:?}")).into()),
    }
}

fn parse(text: &str) -> Result<Definitions, Stop> {
    Definitions::parse(text).map_err(|e| Failure::new(format!("the broker's definitions cannot be read: {e}")).into())
}

fn answer(definitions: &Definitions) -> Observation {
    Observation::Exec(crate::host::ExecResult {
        stdout: Content::from(definitions.text()),
        ..crate::host::ExecResult::default()
    })
}

/// What a tool said, without its help and its headings.
pub fn refused(what: &str, stdout: &Content, stderr: &Content) -> Failure {
    let said = [stderr.text(), stdout.text()];
    let lines: Vec<&str> = said
        .iter()
        .flat_map(|text| text.lines())
        .map(str::trim)
        .filter(|line| !line.is_empty() && *line != "Error:")
        // Behind what is wrong comes how the tool is used.
        .take_while(|line| !line.starts_with("Arguments given:") && !line.contains("Usage"))
        .take(6)
        .collect();
    // Erlang's ways of writing a text.
    let mut text = lines.join(" ");
    let ways = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("\\n", " "),
        ("\\\"", "\""),
        ("<<\"", ""),
        ("\">>", ""),
    ];
    for (written, meant) in ways {
        text = text.replace(written, meant);
    }
    let text: Vec<&str> = text.split_whitespace().collect();
    Failure::new(format!("{what}: {}", text.join(" ")))
}

/// A virtual host that must be there for what a task is about.
pub fn need_vhost(now: &Definitions, vhost: &str) -> Result<(), Stop> {
    if now.has(Kind::Vhost, &[vhost]) {
        return Ok(());
    }
    Err(Failure::new(format!("vhost `{vhost}` does not exist"))
        .help("make it first, with `rabbitmq_vhost`")
        .into())
}

/// A user who must be there for what a task is about.
pub fn need_user(now: &Definitions, user: &str) -> Result<(), Stop> {
    if now.has(Kind::User, &[user]) {
        return Ok(());
    }
    Err(Failure::new(format!("user `{user}` does not exist"))
        .help("make it first, with `rabbitmq_user`")
        .into())
}
