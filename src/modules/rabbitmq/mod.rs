//! What the modules for RabbitMQ's objects have in common. All of them look once, at the definitions: through the management
//! API where a login is given and it is there, else through `export_definitions`. Each says what the definitions shall become;
//! what differs is imported or deleted in one go, also for all items of a loop; and of the nodes of a cluster one does it.

pub mod login;
mod look;
pub mod membership;

use self::login::Access;
pub use self::look::{Look, rows};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Prepare, Report, Seen, Shared, Stop};
use crate::host::{Content, Effect, Exec, ExecResult, Observation, Op, Outcome, Probe, Status, Undo};
use crate::rabbitmq::api::{self, Answer, answer, response};
use crate::rabbitmq::cli;
use crate::rabbitmq::definitions::{self, Definitions, Differences, Kind};
use serde_json::Value;

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

/// Arguments of a module, with those of the management API.
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        &[
            $($arg,)*
            $crate::modules::rabbitmq::NODE,
            $crate::modules::rabbitmq::login::LOGIN_USER,
            $crate::modules::rabbitmq::login::LOGIN_PASSWORD,
            $crate::modules::rabbitmq::login::LOGIN_HOST,
            $crate::modules::rabbitmq::login::LOGIN_PORT,
            $crate::modules::rabbitmq::login::LOGIN_PROTOCOL,
            $crate::modules::rabbitmq::login::CA_CERT,
            $crate::modules::rabbitmq::login::CLIENT_CERT,
            $crate::modules::rabbitmq::login::CLIENT_KEY,
        ]
    };
}
pub(super) use args;

/// What a task makes of the definitions; it may look at more.
pub type Wish = Box<dyn Fn(&mut Definitions, &Look<'_, '_>) -> Result<Report, Stop> + Send + Sync>;

/// What exports do not list and a task must know of: adds it to the definitions, and says which look told.
pub type Complete = Box<dyn Fn(&mut Definitions, &Look<'_, '_>) -> Result<Option<Probe>, Stop> + Send + Sync>;

/// A task about objects, ready to look and decide.
pub struct Objects {
    node: Option<String>,
    access: Option<Access>,
    complete: Option<Complete>,
    /// A user who is deleted and made anew.
    anew: Option<String>,
    /// It is about the node itself, not about the cluster.
    own: bool,
    wish: Wish,
}

/// The definitions, and where they come from.
struct Told {
    all: Definitions,
    /// By the API.
    by_api: bool,
    /// Why they are not, where they could have been.
    note: Option<String>,
}

impl Objects {
    /// The action of a module with [`args!`].
    pub fn action(args: &Args, context: &dyn Prepare, wish: Wish) -> Result<Box<dyn Action>, ArgError> {
        Ok(Box::new(Objects::new(args, context, wish)?))
    }

    pub fn new(args: &Args, context: &dyn Prepare, wish: Wish) -> Result<Objects, ArgError> {
        Ok(Objects {
            // `rabbit` is what Ansible's modules have by default: the host's own node.
            node: args.str("node").filter(|n| *n != "rabbit").map(str::to_owned),
            access: Access::of(args, context)?,
            complete: None,
            anew: None,
            own: false,
            wish,
        })
    }

    /// Of objects that an export may leave out.
    pub fn completed(mut self, complete: Complete) -> Objects {
        self.complete = Some(complete);
        self
    }

    /// Of a user who is deleted first.
    pub fn anew(mut self, user: &str) -> Objects {
        self.anew = Some(user.to_owned());
        self
    }

    /// Of what each node of a cluster has for itself.
    pub fn of_each_node(mut self) -> Objects {
        self.own = true;
        self
    }

    fn export(&self) -> Probe {
        export(self.node.as_deref())
    }

    /// The looks that are made first.
    fn looks(&self) -> Vec<Probe> {
        match &self.access {
            Some(access) => vec![access.definitions(), access.vhosts()],
            None => vec![self.export()],
        }
    }

    fn exported(&self, seen: &Seen<'_>) -> Result<Definitions, Stop> {
        parse(&run(seen, &self.export())?)
    }

    fn now(&self, seen: &Seen<'_>) -> Result<Told, Stop> {
        let by_tool = |note: Option<String>| {
            Ok(Told {
                all: self.exported(seen)?,
                by_api: false,
                note,
            })
        };
        let Some(access) = &self.access else {
            return by_tool(None);
        };
        seen.want(&self.looks())?;
        let result = match seen.raw(&access.definitions())? {
            Observation::Exec(result) => result,
            // A dry run: a task before this one changes objects, and foretold what exports will tell.
            Observation::Unknown(_) => return by_tool(None),
            Observation::Failed(text) => return Err(Failure::new(text).into()),
            other => return Err(strange(&other).into()),
        };
        match answer(&result) {
            Answer::Said(200, body) => Ok(Told {
                // An export that is there anyway may be what was foretold by an item of a loop with another login.
                all: match seen.peek(&self.export()) {
                    Some(Observation::Exec(result)) if result.ok() => parse(&result.stdout)?,
                    _ => asked(&result, &body, seen, access)?,
                },
                by_api: true,
                note: None,
            }),
            Answer::Said(401 | 403, _) => match self.exported(seen) {
                Ok(all) if access.own => Ok(Told {
                    all,
                    by_api: false,
                    note: Some("`rabbitmqctl`: the management API refuses the login".to_owned()),
                }),
                Ok(all) => Err(access.refused(Some(&all)).into()),
                Err(Stop::NeedMore(more)) => Err(Stop::NeedMore(more)),
                Err(_) => Err(access.refused(None).into()),
            },
            Answer::Said(404, _) => by_tool(Some(nobody(access, "it has no management API"))),
            Answer::Nobody(why) => by_tool(Some(nobody(access, &why))),
            other => Err(unexpected(&other)
                .help("without `login_user` the node's own tools look")
                .into()),
        }
    }

    fn ops(&self, differences: &Differences, wanted: &Definitions) -> Vec<Op> {
        let node = self.node.as_deref();
        let exec = |argv: Vec<String>, stdin: Option<Content>| {
            Op::Exec(Exec {
                argv,
                stdin,
                timeout_s: Some(LIMIT_S),
                ok: vec![0],
                // `foretold` tells what it changes, but not what another login sees of it.
                effect: Effect::Mentions(vec!["rabbitmq-api".to_owned()]),
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
        [membership::probe()].into_iter().chain(self.looks()).collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let Told {
            all: mut now,
            by_api,
            note,
        } = self.now(seen)?;
        let look = Look {
            seen,
            node: self.node.as_deref(),
            api: self.access.as_ref().filter(|_| by_api),
        };
        let told = match &self.complete {
            Some(complete) => complete(&mut now, &look)?,
            None => None,
        };
        let mut between = now.clone();
        if let Some(user) = &self.anew {
            between.remove(Kind::User, &[user]);
        }
        let mut wanted = between.clone();
        let mut report = (self.wish)(&mut wanted, &look)?;
        if let Some(note) = note {
            report = report.with("looked", note);
        }
        let differences = Differences::between(&now, &between).and(Differences::between(&between, &wanted));
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
        let after = exported(&wanted);
        let mut change = Change::new(differences.deltas, ops, report).undo(undo);
        if let Some(access) = &self.access {
            // The definitions that are foretold hold all there is to tell of virtual hosts.
            change = change
                .foretells(access.definitions(), Observation::Exec(response(&after.stdout.text())))
                .foretells(access.vhosts(), Observation::Exec(response("[]")));
        }
        change = change.foretells(self.export(), Observation::Exec(after));
        if let Some(probe) = told {
            change = change.foretells(probe, Observation::Unknown("an earlier task changes it".to_owned()));
        }
        Ok(Decision::Change(match self.anew {
            // It would be made anew again.
            Some(_) => change.judged_by_outcome(),
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
        // Each was decided on the export that the one before foretold, if it is of the same node; what exports do not list is
        // not foretold.
        let export = self.export();
        let mut exports = Vec::new();
        for change in changes {
            if change
                .foretold
                .iter()
                .any(|(_, seen)| matches!(seen, Observation::Unknown(_)))
            {
                return None;
            }
            exports.push(change.foretold.iter().find(|(probe, _)| *probe == export)?);
        }
        let (_, Observation::Exec(result)) = exports.last()? else {
            return None;
        };
        let wanted = parse(&result.stdout).ok()?;
        let now = self.now(seen).ok()?.all;
        Some(self.ops(&Differences::between(&now, &wanted), &wanted))
    }

    fn shared(&self, seen: &Seen<'_>) -> Result<Option<Shared>, Stop> {
        // A host with several nodes is not one of a cluster.
        if self.node.is_some() {
            return Ok(None);
        }
        let mut shared = membership::shared(seen)?;
        // Shared with nobody, and decided on looks that are taken after what others did to the cluster.
        if let Some(shared) = shared.as_mut().filter(|_| self.own) {
            shared.what.clone_from(&shared.part);
        }
        Ok(shared)
    }
}

/// The look all these modules share.
fn export(node: Option<&str>) -> Probe {
    ctl(node, &["-q", "export_definitions", "-"])
}

pub fn ctl(node: Option<&str>, arguments: &[&str]) -> Probe {
    Probe::Exec {
        argv: command(node, arguments),
        stdin: None,
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

fn run(seen: &Seen<'_>, probe: &Probe) -> Result<Content, Stop> {
    match seen.get(probe)? {
        Observation::Exec(result) if result.ok() => Ok(result.stdout),
        Observation::Exec(result) if result.rc == 127 => Err(Failure::new("there is no `rabbitmqctl` on this host")
            .help("install RabbitMQ first")
            .into()),
        Observation::Exec(result) => Err(refused("the broker does not answer", &result.stdout, &result.stderr).into()),
        other => Err(strange(&other).into()),
    }
}

fn strange(observation: &Observation) -> Failure {
    Failure::new(format!(
        "the host answered something else than was asked: {observation:?}"
    ))
}

/// Read once for all items of a loop.
fn parse(export: &Content) -> Result<Definitions, Stop> {
    let read = export.reading(|export| Definitions::parse(&export.text()));
    (*read).clone().map_err(|e| unreadable(e).into())
}

fn unreadable(why: String) -> Failure {
    Failure::new(format!("the broker's definitions cannot be read: {why}"))
}

/// What the API tells; both answers are read once for all items of a loop.
fn asked(result: &ExecResult, body: &Content, seen: &Seen<'_>, access: &Access) -> Result<Definitions, Stop> {
    let read = result.stdout.reading(|_| api::definitions(body));
    let mut all = (*read).clone().map_err(unreadable)?;
    if let Observation::Exec(result) = seen.get(&access.vhosts())? {
        let body = match answer(&result) {
            Answer::Said(200, body) => body,
            other => return Err(unexpected(&other).into()),
        };
        let read = result.stdout.reading(|_| api::vhosts(&body));
        api::describe(&mut all, read.as_ref().as_ref().map_err(|e| unreadable(e.clone()))?);
    }
    Ok(all)
}

/// What an export says that tells these definitions.
fn exported(all: &Definitions) -> ExecResult {
    let stdout = Content::from(all.text());
    stdout.reading(|_| Ok::<_, String>(all.clone()));
    ExecResult {
        stdout,
        ..ExecResult::default()
    }
}

fn nobody(access: &Access, why: &str) -> String {
    format!(
        "`rabbitmqctl`, which takes longer: no answer from {}: {why}",
        access.api.url()
    )
}

/// The API is there, and says what nobody expects.
fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Said(status, body) => {
            let body: Value = serde_json::from_slice(body.as_bytes()).unwrap_or_default();
            let reason = body.get("reason").map(super::plain).unwrap_or_default();
            Failure::new(
                format!("the management API answers {status} {reason}")
                    .trim_end()
                    .to_owned(),
            )
        }
        Answer::Nobody(why) | Answer::Failed(why) => {
            Failure::new(format!("the management API could not be asked: {why}"))
        }
    }
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
