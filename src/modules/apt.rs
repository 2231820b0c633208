//! `apt`: packages of Debian and Ubuntu.

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

/// Package, version, status and installed version of each file.
const DEB: &str = r#"for f; do
p=$(dpkg-deb -f "$f" Package) && v=$(dpkg-deb -f "$f" Version) || exit 1
printf '%s\t%s\t%s\n' "$p" "$v" "$(dpkg-query -W -f '${db:Status-Abbrev}\t${Version}' -- "$p" 2>/dev/null)"
done"#;

/// apt-get with a `policy-rc.d` that is taken away (or put back) afterwards, whatever happens.
const WITH_POLICY: &str = r#"p=/usr/sbin/policy-rc.d
if [ -e "$p" ]; then cp -p "$p" "$p.rmqplay" || exit 1; back='mv "$p.rmqplay" "$p"'; else back='rm -f "$p"'; fi
trap "$back" EXIT; trap 'exit 130' HUP INT TERM
printf '#!/bin/sh\nexit %s\n' "$1" >"$p" && chmod 755 "$p" || exit 1
shift
"$@""#;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    version: Option<(Relation, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// A version, or a pattern of one.
    Is,
    AtLeast,
}

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

fn wanted(text: &str, state: State) -> Result<Wanted, ArgError> {
    let (name, version) = if let Some((name, version)) = text.split_once(">=") {
        (name, Some((Relation::AtLeast, version)))
    } else if let Some((name, version)) = text.split_once('=') {
        (name, Some((Relation::Is, version)))
    } else {
        (text, None)
    };
    if name.contains(['*', '?', '[']) && state != State::Absent {
        return Err(ArgError::new(
            "name",
            format!("not supported yet: the pattern `{name}` with this state"),
        )
        .help("patterns are for `state: absent`"));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "+-.:*?[]".contains(c);
    if name.is_empty()
        || name.starts_with('-')
        || !name.chars().all(good)
        || version.is_some_and(|(_, v)| v.is_empty() || v.contains('='))
    {
        return Err(ArgError::new("name", format!("`{text}` is no package name")));
    }
    Ok(Wanted {
        name: name.to_owned(),
        version: version.map(|(relation, version)| (relation, version.to_owned())),
    })
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

fn query(names: &[Wanted]) -> Probe {
    let argv = ["dpkg-query", "-W", "-f", debian::QUERY_FORMAT, "--"].into_iter();
    Probe::exec(argv.chain(names.iter().map(|w| w.name.as_str())))
}

impl Apt {
    fn policy(&self, names: &[&str]) -> Probe {
        let release = self
            .release
            .iter()
            .flat_map(|r| ["-o".to_owned(), format!("APT::Default-Release={r}")]);
        let argv = ["apt-cache".to_owned(), "policy".to_owned()].into_iter().chain(release);
        Probe::exec(
            argv.chain(["--".to_owned()])
                .chain(names.iter().map(|n| (*n).to_owned())),
        )
    }

    fn simulate(&self, verb: &[&str]) -> Probe {
        let argv = ["apt-get", "-s"].into_iter().chain(self.options_for(verb));
        Probe::Exec {
            argv: argv.chain(verb.iter().copied()).map(str::to_owned).collect(),
            stdin: None,
            timeout_s: 120,
        }
    }

    /// apt-get refuses options that a command has no use for.
    fn options_for<S: AsRef<str>>(&self, verb: &[S]) -> impl Iterator<Item = &str> {
        let cleans = verb.first().is_some_and(|v| v.as_ref().ends_with("clean"));
        self.options
            .iter()
            .map(String::as_str)
            .take(if cleans { 0 } else { usize::MAX })
    }

    fn autoremove_verb(&self) -> Vec<&'static str> {
        if self.purge {
            vec!["--purge", "autoremove"]
        } else {
            vec!["autoremove"]
        }
    }

    fn upgrade_verb(&self, full: bool) -> Vec<&'static str> {
        let mut verb = if full {
            vec!["dist-upgrade"]
        } else {
            vec!["upgrade", "--with-new-pkgs"]
        };
        if self.autoremove {
            verb.push("--auto-remove");
        }
        verb
    }

    fn apt_get<S: Into<String>>(&self, rest: impl IntoIterator<Item = S>, effect: Effect) -> Op {
        let mut argv = Vec::new();
        if let Some(status) = self.policy_rc_d {
            argv.extend(["sh", "-c", WITH_POLICY, "sh"].map(str::to_owned));
            argv.push(status.to_string());
        }
        let rest: Vec<String> = rest.into_iter().map(Into::into).collect();
        argv.extend(["apt-get".to_owned(), "-y".to_owned()]);
        argv.extend(self.options_for(&rest).map(str::to_owned));
        argv.extend(rest);
        command(argv, effect)
    }

    fn run_update(&self) -> Op {
        let argv = ["apt-get", "update"].into_iter().map(str::to_owned);
        let effect = ["apt-cache", "apt-get", LISTS, STAMP].map(str::to_owned).to_vec();
        command(
            argv.chain(self.update_options.iter().cloned()).collect(),
            Effect::Mentions(effect),
        )
    }
}

fn command(argv: Vec<String>, effect: Effect) -> Op {
    Op::Exec(Exec {
        argv,
        env: BTreeMap::from([
            ("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned()),
            ("DEBIAN_PRIORITY".to_owned(), "critical".to_owned()),
        ]),
        ok: vec![0],
        effect,
        ..Exec::default()
    })
}

/// What is to be done.
#[derive(Default)]
struct Plan {
    deltas: Vec<Delta>,
    ops: Vec<Op>,
    undo: Vec<Op>,
    no_undo: Option<String>,
    /// Only apt-get's own words tell what came of it.
    by_outcome: bool,
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

impl Apt {
    /// No package is named: cleaning up is a job of its own.
    fn alone(&self) -> bool {
        !matches!(self.job, Job::Names(..) | Job::Deb(_) | Job::Upgrade { .. })
    }

    /// Whether the lists must be updated first, and when they were last.
    fn lists(&self, seen: &Seen<'_>) -> Result<(bool, Option<i64>), Stop> {
        if !self.update {
            return Ok((false, None));
        }
        let stamp = match seen.raw(&Probe::stat(STAMP))? {
            Observation::Stat(Some(stat)) => Some(stat.mtime),
            Observation::Unknown(_) => return Ok((false, None)),
            _ => match seen.raw(&Probe::stat(LISTS))? {
                Observation::Stat(stat) => stat.map(|s| s.mtime),
                Observation::Unknown(_) => return Ok((false, None)),
                _ => None,
            },
        };
        let stale = stamp.is_none_or(|mtime| mtime.saturating_add(self.valid_s) < self.now) || self.valid_s == 0;
        Ok((stale, stamp))
    }

    fn dpkg(&self, names: &[Wanted], seen: &Seen<'_>) -> Result<Vec<Installed>, Stop> {
        match seen.get(&query(names))? {
            // Names that nobody ever heard of are told on stderr, with status 1.
            Observation::Exec(result) if matches!(result.rc, 0 | 1) => Ok(debian::installed(&result.stdout.text())),
            Observation::Exec(result) if result.rc == 127 => Err(Stop::Fail(
                Failure::new("there is no `dpkg-query` on the host").help("`apt` is for Debian and Ubuntu"),
            )),
            Observation::Exec(result) => Err(Stop::Fail(Failure::new(format!(
                "`dpkg-query` failed: {}",
                result.stderr.text().trim()
            )))),
            other => Err(Stop::Fail(Failure::new(format!("unexpected answer: {other:?}")))),
        }
    }

    fn install(
        &self,
        names: &[Wanted],
        latest: bool,
        stale: bool,
        plan: &mut Plan,
        seen: &Seen<'_>,
    ) -> Result<(), Stop> {
        let installed = self.dpkg(names, seen)?;
        let current = |w: &Wanted| installed.iter().find(|i| is_named(w, i) && i.status != Status::Absent);
        let open: Vec<&Wanted> = names
            .iter()
            .filter(|w| match current(w) {
                Some(i) if i.status == Status::Installed => latest || !satisfies(w, &i.version),
                _ => !self.only_upgrade,
            })
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let all: Vec<&str> = if latest {
            names.iter().map(|w| w.name.as_str()).collect()
        } else {
            open.iter().map(|w| w.name.as_str()).collect()
        };
        let (policies, unknown) = match seen.raw(&self.policy(&all))? {
            Observation::Exec(result) => (debian::policies(&result.stdout.text()), None),
            Observation::Unknown(why) => (BTreeMap::new(), Some(why)),
            Observation::Failed(text) => return Err(Stop::Fail(Failure::new(text))),
            other => return Err(Stop::Fail(Failure::new(format!("unexpected answer: {other:?}")))),
        };
        let mut arguments = Vec::new();
        let mut missing = Vec::new();
        let mut upgrades = false;
        for w in open {
            let before = current(w).filter(|i| i.status == Status::Installed);
            let policy = policies.get(&w.name).or_else(|| policies.get(bare(&w.name)));
            let after = match (policy, &unknown) {
                (Some(policy), _) => match choose(w, policy) {
                    Some(version) => Facet::Value(version),
                    None if w.version.is_none() && self.provided(&w.name, seen)? => continue,
                    None if w.version.is_none() => Facet::Value("installed".to_owned()),
                    None if stale => Facet::Unknown("the package lists are updated first".to_owned()),
                    None => {
                        missing.push(self.unavailable(w, policy));
                        continue;
                    }
                },
                (None, Some(why)) => Facet::Unknown(why.clone()),
                (None, None) if stale => Facet::Unknown("the package lists are updated first".to_owned()),
                (None, None) => {
                    missing.push(format!("there is no package `{}`", w.name));
                    continue;
                }
            };
            if let (Some(before), Facet::Value(after)) = (before, &after)
                && before.version == *after
            {
                continue;
            }
            arguments.push(match (&w.version, &after) {
                // apt understands patterns of versions; what they come to in new lists is not known yet.
                (Some((Relation::Is, version)), Facet::Unknown(_)) => format!("{}={version}", w.name),
                (Some((Relation::Is, version)), _) if stale => format!("{}={version}", w.name),
                (Some(_), Facet::Value(version)) if !stale => format!("{}={version}", w.name),
                _ => w.name.clone(),
            });
            upgrades |= before.is_some();
            plan.undo.extend(self.back(&w.name, before));
            let broken = current(w).filter(|i| i.status == Status::Broken);
            plan.deltas.push(Delta {
                subject: format!("package {}", w.name),
                before: match (before, broken) {
                    (Some(i), _) => Facet::Value(i.version.clone()),
                    (None, Some(i)) => Facet::Value(format!("{}, not configured", i.version)),
                    (None, None) => Facet::Absent,
                },
                after,
            });
        }
        if !missing.is_empty() {
            return Err(Stop::Fail(Failure::new(missing.join("; ")).help(
                "`update_cache: true` updates the lists of packages; a repository may be missing",
            )));
        }
        if arguments.is_empty() {
            return Ok(());
        }
        let effect = if upgrades {
            Effect::Mentions(names.iter().map(|w| w.name.clone()).collect())
        } else {
            Effect::Creates
        };
        let mut argv = vec!["install".to_owned()];
        argv.extend(self.autoremove.then(|| "--auto-remove".to_owned()));
        argv.push("--".to_owned());
        argv.extend(arguments);
        plan.ops.push(self.apt_get(argv, effect));
        Ok(())
    }

    /// Everything as new as the lists say, when they will only be read afterwards.
    fn newest(&self) -> Op {
        match &self.job {
            Job::Names(names, _) => {
                let argv = ["install", "--"].map(str::to_owned).into_iter();
                let names: Vec<String> = names.iter().map(|w| w.name.clone()).collect();
                self.apt_get(argv.chain(names.clone()), Effect::Mentions(names))
            }
            Job::Upgrade { full } => self.apt_get(self.upgrade_verb(*full), Effect::Anything),
            _ => self.run_update(),
        }
    }

    fn back(&self, name: &str, before: Option<&Installed>) -> Option<Op> {
        let names = Effect::Mentions(vec![name.to_owned()]);
        Some(match before {
            None => self.apt_get(["remove", "--", name], names),
            Some(old) => self.apt_get(
                [
                    "install",
                    "--allow-downgrades",
                    "--",
                    &format!("{name}={}", old.version),
                ],
                names,
            ),
        })
    }

    /// A purely virtual package is there if something that is installed provides it.
    fn provided(&self, name: &str, seen: &Seen<'_>) -> Result<bool, Stop> {
        let result = seen.exec(&["dpkg-query", "-W", "-f", r"${db:Status-Abbrev}\t${Provides}\n"])?;
        Ok(result.stdout.text().lines().any(|line| {
            let (status, provides) = line.split_once('\t').unwrap_or((line, ""));
            status.chars().nth(1) == Some('i') && provides.split(',').any(|p| p.split_whitespace().next() == Some(name))
        }))
    }

    fn unavailable(&self, wanted: &Wanted, policy: &Policy) -> String {
        let version = wanted.version.as_ref().map(|(_, v)| v.as_str()).unwrap_or_default();
        format!(
            "there is no version `{version}` of `{}`, only {}",
            wanted.name,
            policy
                .versions
                .iter()
                .map(|v| format!("`{v}`"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    }

    fn absent(&self, names: &[Wanted], plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
        let installed = self.dpkg(names, seen)?;
        let mut gone: Vec<&Installed> = Vec::new();
        for i in &installed {
            let named = names.iter().any(|w| is_named(w, i) && satisfies(w, &i.version));
            let there = match i.status {
                Status::Absent => false,
                Status::ConfigFiles => self.purge,
                Status::Installed | Status::Broken => true,
            };
            if named && there {
                gone.push(i);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        for i in &gone {
            plan.deltas.push(Delta {
                subject: format!("package {}", i.name),
                before: Facet::Value(match i.status {
                    Status::ConfigFiles => "configuration files".to_owned(),
                    _ => i.version.clone(),
                }),
                after: Facet::Absent,
            });
            if i.status != Status::ConfigFiles {
                plan.undo.extend(self.back(&i.name, Some(i)));
            }
        }
        if self.purge {
            plan.no_undo = Some("configuration files that were purged are not kept".to_owned());
        }
        let names: Vec<String> = gone.iter().map(|i| i.name.clone()).collect();
        let mut argv = vec!["remove".to_owned()];
        argv.extend(self.purge.then(|| "--purge".to_owned()));
        argv.extend(self.autoremove.then(|| "--auto-remove".to_owned()));
        argv.push("--".to_owned());
        argv.extend(names.clone());
        plan.ops.push(self.apt_get(argv, Effect::Mentions(names)));
        Ok(())
    }

    fn fix_simulation(&self, names: &[Wanted]) -> Probe {
        let verb = ["--fix-broken", "install", "--"].into_iter();
        self.simulate(&verb.chain(names.iter().map(|w| w.name.as_str())).collect::<Vec<_>>())
    }

    fn fixed(&self, names: &[Wanted], plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
        let planned = self.simulated(&self.fix_simulation(names), seen)?;
        if planned.is_empty() {
            return Ok(());
        }
        plan.deltas.extend(planned.iter().map(planned_delta));
        plan.no_undo = Some("a repair is not taken back".to_owned());
        let argv = ["--fix-broken", "install", "--"].map(str::to_owned).into_iter();
        plan.ops
            .push(self.apt_get(argv.chain(names.iter().map(|w| w.name.clone())), Effect::Anything));
        Ok(())
    }

    fn simulated(&self, probe: &Probe, seen: &Seen<'_>) -> Result<Vec<Planned>, Stop> {
        let Observation::Exec(result) = seen.get(probe)? else {
            return Ok(Vec::new());
        };
        if !result.ok() {
            return Err(Stop::Fail(Failure::new(format!(
                "apt-get cannot plan: {}",
                last_words(&result.stdout.text(), &result.stderr.text())
            ))));
        }
        Ok(debian::plan(&result.stdout.text()))
    }

    fn upgrade(&self, full: bool, plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
        let verb = self.upgrade_verb(full);
        let planned = self.simulated(&self.simulate(&verb), seen)?;
        if planned.is_empty() {
            return Ok(());
        }
        plan.deltas.extend(planned.iter().map(planned_delta));
        plan.no_undo = Some("an upgrade of all packages is not taken back".to_owned());
        plan.ops.push(self.apt_get(verb, Effect::Anything));
        Ok(())
    }

    fn deb(&self, paths: &[String], plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
        let Observation::Exec(result) = seen.get(&deb_probe(paths))? else {
            return Ok(());
        };
        if !result.ok() {
            return Err(Stop::Fail(Failure::new(format!(
                "the package file cannot be read: {}",
                result.stderr.text().trim()
            ))));
        }
        let mut files = Vec::new();
        for (line, path) in result.stdout.text().lines().zip(paths) {
            let mut parts = line.split('\t');
            let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
                continue;
            };
            let is_installed = parts.next().is_some_and(|s| s.chars().nth(1) == Some('i'));
            let old = parts.next().filter(|v| is_installed && !v.is_empty());
            if old == Some(version) {
                continue;
            }
            plan.deltas.push(Delta {
                subject: format!("package {name}"),
                before: old.map_or(Facet::Absent, |v| Facet::Value(v.to_owned())),
                after: Facet::Value(version.to_owned()),
            });
            plan.undo.extend(match old {
                None => self.back(name, None),
                Some(_) => None,
            });
            if old.is_some() {
                plan.no_undo = Some(format!("the package file of the old `{name}` is not kept"));
            }
            files.push(path.clone());
        }
        if !files.is_empty() {
            let argv = ["install", "--"].map(str::to_owned).into_iter();
            plan.ops.push(self.apt_get(argv.chain(files), Effect::Creates));
        }
        Ok(())
    }

    fn clean_up(&self, plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
        if self.clean {
            let files = seen.glob(ARCHIVES)?;
            if !files.is_empty() {
                let shown = format!("{} packages", files.len());
                plan.deltas.push(Delta {
                    subject: "downloaded packages".to_owned(),
                    before: Facet::Value(shown),
                    after: Facet::Absent,
                });
                plan.ops
                    .push(self.apt_get(["clean"], Effect::Mentions(vec!["/var/cache/apt".to_owned()])));
            }
        }
        for (wanted, verb) in [
            (self.autoclean, vec!["autoclean"]),
            (self.autoremove, self.autoremove_verb()),
        ] {
            if !wanted {
                continue;
            }
            let planned = self.simulated(&self.simulate(&verb), seen)?;
            if planned.is_empty() {
                continue;
            }
            plan.deltas.extend(planned.iter().map(planned_delta));
            let effect = planned
                .into_iter()
                .map(|p| p.name)
                .chain(["/var/cache/apt".to_owned()])
                .collect();
            plan.ops.push(self.apt_get(verb, Effect::Mentions(effect)));
        }
        if !plan.ops.is_empty() {
            plan.no_undo = Some("what was cleaned up is not kept".to_owned());
        }
        Ok(())
    }
}

fn deb_probe(paths: &[String]) -> Probe {
    let argv = ["sh", "-c", DEB, "sh"].into_iter();
    Probe::exec(argv.chain(paths.iter().map(String::as_str)))
}

fn planned_delta(planned: &Planned) -> Delta {
    let facet = |v: &Option<String>| v.clone().map_or(Facet::Absent, Facet::Value);
    Delta {
        subject: format!("package {}", planned.name),
        before: facet(&planned.before),
        after: facet(&planned.after),
    }
}

/// Without `:amd64`.
fn bare(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

fn is_named(wanted: &Wanted, installed: &Installed) -> bool {
    let name = if wanted.name.contains(':') {
        installed.name.as_str()
    } else {
        bare(&installed.name)
    };
    if wanted.name.contains(['*', '?', '[']) {
        matches_glob(&wanted.name, name)
    } else {
        wanted.name == name
    }
}

fn satisfies(wanted: &Wanted, version: &str) -> bool {
    match &wanted.version {
        None => true,
        Some((Relation::Is, pattern)) => pattern == version || matches_glob(pattern, version),
        Some((Relation::AtLeast, least)) => debian::compare_versions(version, least) != Ordering::Less,
    }
}

/// The version an install would bring; `None`: none that fits.
fn choose(wanted: &Wanted, policy: &Policy) -> Option<String> {
    match &wanted.version {
        None => policy.candidate.clone(),
        Some((Relation::Is, _)) => policy.versions.iter().find(|v| satisfies(wanted, v)).cloned(),
        Some((Relation::AtLeast, _)) => policy
            .candidate
            .iter()
            .chain(&policy.versions)
            .find(|v| satisfies(wanted, v))
            .cloned(),
    }
}

fn matches_glob(pattern: &str, text: &str) -> bool {
    globset::Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

/// Whether apt-get's words tell of a change: lists that were fetched, packages that came or went.
fn said_change(stdout: &str) -> bool {
    stdout.lines().any(|line| {
        line.starts_with("Get:")
            || (line.contains(" upgraded, ")
                && line.contains(" newly installed, ")
                && !line.starts_with("0 upgraded, 0 newly installed, 0 to remove"))
    })
}

/// The errors of apt-get, or the last that it said.
fn last_words(stdout: &str, stderr: &str) -> String {
    let errors: Vec<&str> = stderr.lines().filter_map(|l| l.strip_prefix("E: ")).collect();
    if !errors.is_empty() {
        return errors.join("; ");
    }
    let said = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_get_says_of_changes() {
        assert!(said_change(
            "Hit:1 http://x bookworm InRelease\nGet:2 http://y bookworm InRelease [55 kB]\n"
        ));
        assert!(!said_change(
            "Hit:1 http://x bookworm InRelease\nReading package lists...\n"
        ));
        assert!(said_change(
            "1 upgraded, 0 newly installed, 0 to remove and 5 not upgraded.\n"
        ));
        assert!(!said_change(
            "0 upgraded, 0 newly installed, 0 to remove and 5 not upgraded.\n"
        ));
    }

    #[test]
    fn the_errors_are_told_first() {
        let stderr = "W: some warning\nE: Unable to locate package x\nE: Broken packages\n";
        assert_eq!(last_words("a\n", stderr), "Unable to locate package x; Broken packages");
        assert_eq!(last_words("a\n\nb\n", ""), "a; b");
    }
}
