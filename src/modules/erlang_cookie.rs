//! `erlang_cookie`: the secret that nodes of a cluster, and the tools, know each other by.

use super::unit::Unit;
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Content, Delta, Effect, Exec, Facet, Guard, Observation, Op, Outcome, Probe, Undo};
use crate::rabbitmq::cluster;
use serde_json::{Map, Value};

const PATH: &str = "/var/lib/rabbitmq/.erlang.cookie";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "erlang_cookie",
    aliases: &[],
    summary: "The Erlang cookie: the same on all nodes, and never shown",
    description: "\
Writes the cookie, readable by its owner alone. Hosts compare by hash: a cookie that is right is not sent anywhere. Without \
`cookie`, what a host has stays, and a host that has none makes one. Debian's package makes a random one for each host, so nodes that \
were installed alone never have the same.

A running node keeps the cookie it started with while the tools read the file, so a changed cookie restarts a running node in the \
same step. A node that is in a cluster with others is left alone with an error: their cookie changes only when all are stopped.

`fetch: true` returns the cookie, to be given to other hosts; the result is then told as with `no_log: true`, and so is what is made \
of it.",
    args: &[
        ArgSpec::new("cookie", ArgKind::Str, "What it shall be; unset: what is there stays.").secret(),
        ArgSpec::new("fetch", ArgKind::Bool, "Return the cookie; the result is hidden.").default("false"),
        ArgSpec::new("path", ArgKind::Path, "The file.").default(PATH),
        ArgSpec::new("owner", ArgKind::Str, "Whose it is.").default("rabbitmq"),
        ArgSpec::new("group", ArgKind::Str, "Its group.").default("rabbitmq"),
        ArgSpec::new("service", ArgKind::Str, "The node's systemd unit.").default(super::rabbitmq_cli::SERVICE),
    ],
    free_form: None,
    open: false,
    returns: &[("path", "The file"), ("cookie", "The cookie, with `fetch: true`")],
    examples: "\
- name: the first node's cookie, whatever it is
  erlang_cookie: {fetch: true}
  register: first_node
  run_once: true

- name: the same on all
  erlang_cookie:
    cookie: \"{{ first_node.cookie }}\"
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

/// A new cookie in `$1`, of 40 letters and digits, there or not there as a whole.
const MAKE: &str = r#"umask 077
new=$(mktemp "$1.XXXXXX") || exit
trap 'rm -f "$new"' EXIT
head -c 300 /dev/urandom | base64 | tr -dc A-Za-z0-9 | head -c 40 >"$new"
[ "$(wc -c <"$new")" -eq 40 ] && chown "$2:$3" "$new" && chmod 0400 "$new" && mv "$new" "$1""#;

struct Cookie {
    cookie: Option<String>,
    fetch: bool,
    path: String,
    owner: String,
    group: String,
    service: String,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    // A file that ends in a newline is how it is often given; the VM takes no notice of it.
    let cookie = args.str("cookie").map(|c| c.trim_end_matches('\n').to_owned());
    if let Some(cookie) = &cookie {
        // Base64, as Debian makes it, is among what Erlang takes.
        let fits = |c: char| c.is_ascii_graphic();
        if !(20..=255).contains(&cookie.len()) || !cookie.chars().all(fits) {
            return Err(ArgError::new("cookie", "this cannot be an Erlang cookie")
                .help("20 to 255 characters without blanks, letters and digits best"));
        }
    }
    Ok(Box::new(Cookie {
        cookie,
        fetch: args.bool("fetch"),
        path: args.need("path")?.to_owned(),
        owner: args.need("owner")?.to_owned(),
        group: args.need("group")?.to_owned(),
        service: args.need("service")?.to_owned(),
    }))
}

fn hash(path: &str) -> Probe {
    Probe::Hash {
        path: path.into(),
        algorithm: "sha256".to_owned(),
    }
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let path = args.get("path").and_then(Value::as_str).unwrap_or(PATH);
    vec![Probe::stat(path), hash(path)]
}

impl Action for Cookie {
    fn probes(&self) -> Vec<Probe> {
        let look = if self.fetch {
            Probe::read(&self.path)
        } else {
            hash(&self.path)
        };
        vec![Probe::stat(&self.path), look]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let stat = seen.stat(&self.path)?;
        let there = if self.fetch {
            seen.read(&self.path)?.map(|content| content.sha256())
        } else {
            match seen.get(&hash(&self.path))? {
                Observation::Text(hash) => hash,
                _ => None,
            }
        };
        let mut report = Report::new().with("path", self.path.as_str());
        if self.fetch {
            report.secret = true;
            if let Some(content) = seen.read(&self.path)? {
                report = report.with("cookie", content.text().trim_end());
            }
        }
        let wanted = self.cookie.as_ref().map(|cookie| Content::from(cookie.as_str()));
        let right = match (&wanted, &there) {
            (None, there) => there.is_some(),
            (Some(wanted), Some(there)) => {
                let with_newline = Content::from(format!("{}\n", wanted.text()));
                *there == wanted.sha256() || *there == with_newline.sha256()
            }
            (Some(_), None) => false,
        };
        match (right, wanted) {
            (false, Some(wanted)) => self.write(wanted, there, report, seen),
            (false, None) => self.make(report),
            (true, _) => {
                let Some(stat) = stat else {
                    return Ok(Decision::Keep(report));
                };
                let mut deltas = Vec::new();
                let mut ops = Vec::new();
                if (&stat.owner, &stat.group) != (&self.owner, &self.group) {
                    let (was, is) = (
                        format!("{}:{}", stat.owner, stat.group),
                        format!("{}:{}", self.owner, self.group),
                    );
                    deltas.push(Delta::value(format!("owner of {}", self.path), was, is));
                    ops.push(Op::Chown {
                        path: self.path.clone(),
                        owner: Some(self.owner.clone()),
                        group: Some(self.group.clone()),
                        follow: false,
                    });
                }
                if stat.mode != 0o400 {
                    deltas.push(Delta::value(
                        format!("mode of {}", self.path),
                        format!("{:04o}", stat.mode),
                        "0400",
                    ));
                    ops.push(Op::Chmod {
                        path: self.path.clone(),
                        mode: 0o400,
                    });
                }
                Ok(if ops.is_empty() {
                    Decision::Keep(report)
                } else {
                    Decision::Change(Change::new(deltas, ops, report))
                })
            }
        }
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        super::rabbitmq_cli::judge("the cookie cannot be changed", change, outcomes)
    }
}

impl Cookie {
    fn write(&self, wanted: Content, there: Option<String>, report: Report, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let unit = Unit::seen(seen, &self.service)?;
        if let Some(why) = &unit.unknown {
            return Err(Stop::CannotKnow(why.clone()));
        }
        let running = matches!(unit.get("ActiveState"), Some("active" | "activating" | "reloading"));
        if running && let Some(members) = in_a_cluster(seen)? {
            return Ok(Decision::Fail(
                Failure::new(format!(
                    "the cookie is not the wanted one, and the node runs in a cluster ({})",
                    members.join(", ")
                ))
                .help(
                    "stop all nodes of the cluster, then run this on all of them; or give the cookie the cluster has",
                ),
            ));
        }
        let mut deltas = vec![Delta {
            subject: self.path.clone(),
            before: there.clone().map_or(Facet::Absent, Facet::Secret),
            after: Facet::Secret(wanted.sha256()),
        }];
        let mut ops = vec![Op::Write {
            path: self.path.clone(),
            content: wanted,
            mode: Some(0o400),
            owner: Some(self.owner.clone()),
            group: Some(self.group.clone()),
            guard: Some(there.map_or(Guard::Absent, Guard::Sha256)),
            backup: None,
            validate: None,
        }];
        if running {
            deltas.push(Delta::value(format!("service {}", unit.short()), "active", "restarted"));
            // `rabbitmqctl stop` knows the new cookie only, so it is systemd's signal that stops the node: it shuts down
            // in order all the same.
            ops.push(Op::Exec(Exec {
                argv: ["systemctl", "restart", "--", &unit.name].map(str::to_owned).to_vec(),
                ok: vec![0],
                effect: Effect::Mentions(vec![unit.name.clone(), "rabbitmq-cli".to_owned()]),
                ..Exec::default()
            }));
        }
        let undo = Undo::Impossible("the old cookie is not kept anywhere".to_owned());
        Ok(Decision::Change(Change::new(deltas, ops, report).undo(undo)))
    }

    fn make(&self, report: Report) -> Result<Decision, Stop> {
        let delta = Delta {
            subject: self.path.clone(),
            before: Facet::Absent,
            after: Facet::Value("a new cookie".to_owned()),
        };
        let argv = ["sh", "-c", MAKE, "sh", &self.path, &self.owner, &self.group].map(str::to_owned);
        let op = Op::exec(argv, Effect::Mentions(vec![self.path.clone()]));
        let undo = Undo::Ops(vec![Op::Remove {
            path: self.path.clone(),
            recursive: false,
        }]);
        Ok(Decision::Change(Change::new(vec![delta], vec![op], report).undo(undo)))
    }
}

/// The members, where a node of this host has others beside it.
fn in_a_cluster(seen: &Seen<'_>) -> Result<Option<Vec<String>>, Stop> {
    for file in seen.glob(&cluster::members_file("*"))? {
        let members = seen.read(&file)?.and_then(|text| cluster::members(&text.text()));
        if let Some(members) = members.filter(|m| m.len() > 1) {
            return Ok(Some(members));
        }
    }
    Ok(None)
}
