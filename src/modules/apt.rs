//! `apt`: packages of Debian and Ubuntu.

mod plan;
mod tools;
mod wanted;

use self::plan::Plan;
use self::tools::{deb_probe, last_words, query, said_change};
use self::wanted::{Wanted, wanted};
use super::debian::{self, Installed, Planned, Policy, Status};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop};
use crate::host::{Delta, Effect, Exec, ExecResult, Facet, Observation, Op, Outcome, Probe, Status as Did, Undo};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "apt",
    aliases: &[],
    summary: "Install, upgrade and remove packages with apt",
    description: "Brings packages to `present`, `latest` or `absent`; all packages of a task are looked at and installed in one \
                  call. A name may hold a version: `rabbitmq-server=3.10.*`, `erlang-base>=1:25`.\n\n\
                  Unlike Ansible's: needs no Python and no python3-apt on the host; always uses apt-get, never aptitude; the \
                  diff names each package with the version it had and gets; `update_cache` is left out when every package \
                  of a `present` task is there already; `upgrade`, `autoremove` and `autoclean` are decided by a simulation, \
                  so that a dry run knows what they would do; a package that was installed as a dependency is not marked as \
                  manually installed. Not supported yet: `state: build-dep`, patterns in names other than with \
                  `state: absent`, `deb` from a URL.",
    args: &[
        ArgSpec::new(
            "name",
            ArgKind::List,
            "Packages, each with a version if need be; `*` with `latest` is all.",
        )
        .aliases(&["package", "pkg"]),
        ArgSpec::new(
            "state",
            ArgKind::Str,
            "What is to be; `fixed` repairs broken dependencies.",
        )
        .choices(&["absent", "build-dep", "fixed", "latest", "present"])
        .default("present"),
        ArgSpec::new("update_cache", ArgKind::Bool, "Run `apt-get update` first.").aliases(&["update-cache"]),
        ArgSpec::new(
            "cache_valid_time",
            ArgKind::Int,
            "Seconds for which package lists are new enough.",
        )
        .default("0"),
        ArgSpec::new(
            "update_cache_retries",
            ArgKind::Int,
            "How often a download of lists is tried again.",
        )
        .default("5"),
        ArgSpec::new(
            "update_cache_retry_max_delay",
            ArgKind::Int,
            "Longest wait between tries, in seconds.",
        )
        .default("12"),
        ArgSpec::new(
            "install_recommends",
            ArgKind::Bool,
            "Whether recommended packages come too; unset: as apt is set up.",
        )
        .aliases(&["install-recommends"]),
        ArgSpec::new("purge", ArgKind::Bool, "Remove configuration files too.").default("false"),
        ArgSpec::new(
            "autoremove",
            ArgKind::Bool,
            "Remove dependencies nobody needs any more.",
        )
        .default("false"),
        ArgSpec::new(
            "fail_on_autoremove",
            ArgKind::Bool,
            "Fail rather than remove a package.",
        )
        .default("false"),
        ArgSpec::new(
            "autoclean",
            ArgKind::Bool,
            "Delete downloaded packages that can no longer be downloaded.",
        )
        .default("false"),
        ArgSpec::new("clean", ArgKind::Bool, "Delete all downloaded packages.").default("false"),
        ArgSpec::new("deb", ArgKind::Path, "A package file on the host.").aliases(&[]),
        ArgSpec::new("default_release", ArgKind::Str, "`apt-get -t`: the release to prefer.")
            .aliases(&["default-release"]),
        ArgSpec::new("dpkg_options", ArgKind::Str, "Options for dpkg, split at commas.")
            .default("force-confdef,force-confold"),
        ArgSpec::new(
            "upgrade",
            ArgKind::Raw,
            "`yes` or `safe`: upgrade; `full` or `dist`: dist-upgrade; `no`.",
        )
        .default("no"),
        ArgSpec::new(
            "only_upgrade",
            ArgKind::Bool,
            "Leave packages alone that are not installed.",
        )
        .default("false"),
        ArgSpec::new("allow_downgrade", ArgKind::Bool, "Let a version go down.")
            .aliases(&["allow-downgrade", "allow_downgrades", "allow-downgrades"])
            .default("false"),
        ArgSpec::new("allow_unauthenticated", ArgKind::Bool, "Install what is not signed.")
            .aliases(&["allow-unauthenticated"])
            .default("false"),
        ArgSpec::new(
            "allow_change_held_packages",
            ArgKind::Bool,
            "Change packages that are on hold.",
        )
        .default("false"),
        ArgSpec::new(
            "force",
            ArgKind::Bool,
            "All three `allow_...`, and removal of essential packages.",
        )
        .default("false"),
        ArgSpec::new(
            "policy_rc_d",
            ArgKind::Int,
            "Exit status of `policy-rc.d` meanwhile; 101 keeps services from starting.",
        ),
        ArgSpec::new("lock_timeout", ArgKind::Int, "Seconds to wait for another apt or dpkg.").default("60"),
        ArgSpec::new(
            "force_apt_get",
            ArgKind::Bool,
            "Accepted for Ansible's sake: apt-get is always used.",
        )
        .default("false"),
        ArgSpec::new(
            "auto_install_module_deps",
            ArgKind::Bool,
            "Accepted for Ansible's sake: nothing is needed.",
        )
        .default("true"),
    ],
    free_form: None,
    open: false,
    returns: RETURNS,
    examples: "- name: the broker
  apt:
    name: rabbitmq-server
    update_cache: true
    cache_valid_time: 3600
- name: a version that is known to work
  ansible.builtin.apt:
    name: [rabbitmq-server=3.10.*, erlang-base>=1:25]
    allow_downgrade: true
- name: no longer wanted
  apt: {name: irqbalance, state: absent, purge: true, autoremove: true}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

pub const RETURNS: &[(&str, &str)] = &[
    ("cache_updated", "whether `apt-get update` ran"),
    (
        "cache_update_time",
        "when the lists were updated last, seconds since the epoch",
    ),
    ("stdout", "what apt-get said"),
    ("stderr", "its errors and warnings"),
];

/// Written by apt's periodic jobs; where there is none, the lists' directory tells.
const STAMP: &str = "/var/lib/apt/periodic/update-success-stamp";
const LISTS: &str = "/var/lib/apt/lists";
const ARCHIVES: &str = "/var/cache/apt/archives/*.deb";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    Names(Vec<Wanted>, State),
    Upgrade { full: bool },
    Deb(Vec<String>),
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Present,
    Latest,
    Absent,
    Fixed,
}

struct Apt {
    job: Job,
    update: bool,
    valid_s: i64,
    /// Options of `apt-get update`.
    update_options: Vec<String>,
    /// Options for everything that changes packages.
    options: Vec<String>,
    release: Option<String>,
    policy_rc_d: Option<i64>,
    purge: bool,
    autoremove: bool,
    autoclean: bool,
    clean: bool,
    only_upgrade: bool,
    /// Start of the run, seconds since the epoch.
    now: i64,
    check_mode: bool,
}

pub fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let option = |text: &str| ["-o".to_owned(), text.to_owned()];
    let lock = option(&format!(
        "DPkg::Lock::Timeout={}",
        args.int("lock_timeout").unwrap_or(60)
    ));
    let mut options = Vec::new();
    for dpkg in args
        .str("dpkg_options")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|o| !o.is_empty())
    {
        options.extend(option(&format!("Dpkg::Options::=--{dpkg}")));
    }
    options.extend(lock.clone());
    if let Some(recommends) = args.opt_bool("install_recommends") {
        options.extend(option(&format!(
            "APT::Install-Recommends={}",
            if recommends { "yes" } else { "no" }
        )));
    }
    let force = args.bool("force");
    for (name, flag) in [
        ("allow_downgrade", "--allow-downgrades"),
        ("allow_unauthenticated", "--allow-unauthenticated"),
        ("allow_change_held_packages", "--allow-change-held-packages"),
    ] {
        if force || args.bool(name) {
            options.push(flag.to_owned());
        }
    }
    for (set, flag) in [
        (force, "--allow-remove-essential"),
        (args.bool("fail_on_autoremove"), "--no-remove"),
        (args.bool("only_upgrade"), "--only-upgrade"),
    ] {
        if set {
            options.push(flag.to_owned());
        }
    }
    let release = args.str("default_release").map(str::to_owned);
    if let Some(release) = &release {
        options.extend(["-t".to_owned(), release.clone()]);
    }
    let valid_s = args.int("cache_valid_time").unwrap_or(0);
    let update_options = [
        // Without this a repository that cannot be reached is only a warning.
        option("APT::Update::Error-Mode=any"),
        option(&format!(
            "Acquire::Retries={}",
            args.int("update_cache_retries").unwrap_or(5)
        )),
        option(&format!(
            "Acquire::Retries::Delay::Maximum={}",
            args.int("update_cache_retry_max_delay").unwrap_or(12)
        )),
        lock,
    ];
    Ok(Box::new(Apt {
        job: job(args)?,
        update: args.opt_bool("update_cache").unwrap_or(valid_s > 0),
        valid_s,
        update_options: update_options.concat(),
        options,
        release,
        policy_rc_d: args.int("policy_rc_d"),
        purge: args.bool("purge"),
        autoremove: args.bool("autoremove"),
        autoclean: args.bool("autoclean"),
        clean: args.bool("clean"),
        only_upgrade: args.bool("only_upgrade"),
        now: controller
            .now()
            .parse::<jiff::Timestamp>()
            .map_or(0, jiff::Timestamp::as_second),
        check_mode: controller.check_mode(),
    }))
}

fn job(args: &Args) -> Result<Job, ArgError> {
    let state = match args.str("state") {
        Some("absent") => State::Absent,
        Some("latest") => State::Latest,
        Some("fixed") => State::Fixed,
        Some("build-dep") => return Err(ArgError::new("state", "not supported yet: `state: build-dep`")),
        _ => State::Present,
    };
    let upgrade = match args.raw("upgrade") {
        None | Some(Value::Bool(false)) => None,
        Some(Value::Bool(true)) => Some(false),
        Some(Value::String(text)) => match text.as_str() {
            "no" | "False" | "false" => None,
            "yes" | "safe" | "True" | "true" => Some(false),
            "full" | "dist" => Some(true),
            other => {
                return Err(ArgError::new("upgrade", format!("`upgrade` cannot be `{other}`"))
                    .help("choose one of `dist`, `full`, `no`, `safe`, `yes`"));
            }
        },
        Some(other) => return Err(ArgError::new("upgrade", format!("`upgrade` cannot be `{other}`"))),
    };
    let mut names = args.list("name");
    names.retain(|n| !n.trim().is_empty());
    let deb = args.str("deb");
    let given = [upgrade.is_some(), !names.is_empty(), deb.is_some()];
    if given.iter().filter(|g| **g).count() > 1 {
        return Err(ArgError::task("`name`, `deb` and `upgrade` exclude each other"));
    }
    if let Some(full) = upgrade {
        return Ok(Job::Upgrade { full });
    }
    if let Some(deb) = deb {
        if deb.contains("://") {
            return Err(ArgError::new("deb", "not supported yet: a URL").help("fetch the file first"));
        }
        if state != State::Present {
            return Err(ArgError::new("state", "`deb` only knows `state: present`"));
        }
        let path = |p: &str| {
            if p.contains('/') {
                p.to_owned()
            } else {
                format!("./{p}")
            }
        };
        return Ok(Job::Deb(deb.split(',').map(|p| path(p.trim())).collect()));
    }
    if names.iter().any(|n| n == "*") {
        if state != State::Latest || names.len() > 1 {
            return Err(ArgError::new("name", "`*` stands alone, with `state: latest`"));
        }
        return Ok(Job::Upgrade { full: false });
    }
    if names.is_empty() && state != State::Fixed {
        return Ok(Job::Nothing);
    }
    let wanted = names
        .iter()
        .map(|n| wanted(n.trim(), state))
        .collect::<Result<_, _>>()?;
    Ok(Job::Names(wanted, state))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let names = ["name", "package", "pkg"].iter().find_map(|n| args.get(*n));
    let names: Vec<String> = match names {
        Some(Value::String(text)) => text.split(',').map(|n| n.trim().to_owned()).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let state = if args.get("state").is_some_and(|s| s == "absent") {
        State::Absent
    } else {
        State::Present
    };
    let wanted: Result<Vec<_>, _> = names.iter().map(|n| wanted(n, state)).collect();
    match wanted {
        Ok(wanted) if !wanted.is_empty() => vec![query(&wanted)],
        _ => Vec::new(),
    }
}

impl Action for Apt {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = Vec::new();
        if self.update {
            probes.extend([Probe::stat(STAMP), Probe::stat(LISTS)]);
        }
        if self.clean {
            probes.push(Probe::glob(ARCHIVES));
        }
        match &self.job {
            Job::Names(names, state) => {
                if !names.is_empty() {
                    probes.push(query(names));
                }
                let all: Vec<&str> = names.iter().map(|w| w.name.as_str()).collect();
                match state {
                    State::Latest => probes.push(self.policy(&all)),
                    State::Fixed => probes.push(self.fix_simulation(names)),
                    State::Present | State::Absent => {}
                }
            }
            Job::Upgrade { full } => probes.push(self.simulate(&self.upgrade_verb(*full))),
            Job::Deb(paths) => probes.push(deb_probe(paths)),
            Job::Nothing => {}
        }
        if self.alone() {
            if self.autoclean {
                probes.push(self.simulate(&["autoclean"]));
            }
            if self.autoremove {
                probes.push(self.simulate(&self.autoremove_verb()));
            }
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let mut plan = Plan::default();
        let (stale, updated_at) = self.lists(seen)?;
        let mut report = Report::new().with("cache_updated", false);
        if let Some(time) = updated_at {
            report = report.with("cache_update_time", time);
        }
        match &self.job {
            Job::Names(names, State::Absent) => self.absent(names, &mut plan, seen)?,
            Job::Names(names, State::Fixed) => self.fixed(names, &mut plan, seen)?,
            Job::Names(names, state) => self.install(names, *state == State::Latest, stale, &mut plan, seen)?,
            Job::Upgrade { full } => self.upgrade(*full, &mut plan, seen)?,
            Job::Deb(paths) => self.deb(paths, &mut plan, seen)?,
            Job::Nothing => {}
        }
        if self.alone() {
            self.clean_up(&mut plan, seen)?;
        }
        // New lists may hold newer versions; only then is an update worth it when all is as it should be.
        let newer = matches!(self.job, Job::Names(_, State::Latest) | Job::Upgrade { .. });
        let only = matches!(self.job, Job::Nothing) && !self.clean && !self.autoclean && !self.autoremove;
        if stale && (!plan.ops.is_empty() || newer || only) {
            if newer {
                if self.check_mode && plan.ops.is_empty() {
                    return Err(Stop::CannotKnow("the package lists are updated first".to_owned()));
                }
                plan.ops = vec![self.newest()];
            }
            plan.by_outcome |= newer || only;
            plan.ops.insert(0, self.run_update());
            report = report.with("cache_updated", true);
        }
        if plan.ops.is_empty() {
            return Ok(Decision::Keep(report));
        }
        let undo = match plan.no_undo {
            Some(why) => Undo::Impossible(why),
            None => Undo::Ops(plan.undo),
        };
        let change = Change::new(plan.deltas, plan.ops, report).undo(undo);
        Ok(Decision::Change(if plan.by_outcome {
            change.judged_by_outcome()
        } else {
            change
        }))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let mut report = change.report.clone();
        let text = |pick: fn(&ExecResult) -> &crate::host::Content| {
            let parts = outcomes
                .iter()
                .filter_map(|o| o.exec.as_ref())
                .map(|e| pick(e).text().into_owned());
            parts.collect::<String>()
        };
        let (stdout, stderr) = (text(|e| &e.stdout), text(|e| &e.stderr));
        // An update before something else is no change.
        let last = outcomes.last().and_then(|o| o.exec.as_ref());
        let changed = last.is_some_and(|e| said_change(&e.stdout.text()));
        report = report.with("stdout", stdout.as_str()).with("stderr", stderr.as_str());
        let Some(bad) = outcomes.iter().find(|o| !o.is_done()) else {
            if change.settle == super::Settle::Outcome {
                report.changed = Some(changed);
            }
            return Ok(report);
        };
        let said = match &bad.status {
            Did::Unknown => "the connection was lost while apt-get ran".to_owned(),
            _ => last_words(&stdout, &stderr),
        };
        let mut failure = Failure::new(format!("apt-get failed: {said}"));
        if let Some(exec) = &bad.exec {
            report = report.with("rc", exec.rc);
        }
        failure.values = report.values;
        Err(failure)
    }
}
