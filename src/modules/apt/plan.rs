//! What is to be done about the packages that were looked at.

use super::tools::{deb_probe, query};
use super::wanted::{Relation, Wanted, bare, choose, is_named, satisfies};
use super::*;

/// What is to be done.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) deltas: Vec<Delta>,
    pub(super) ops: Vec<Op>,
    pub(super) undo: Vec<Op>,
    pub(super) no_undo: Option<String>,
    /// Only apt-get's own words tell what came of it.
    pub(super) by_outcome: bool,
}

impl Apt {
    /// No package is named: cleaning up is a job of its own.
    pub(super) fn alone(&self) -> bool {
        !matches!(self.job, Job::Names(..) | Job::Deb(_) | Job::Upgrade { .. })
    }

    /// Whether the lists must be updated first, and when they were last.
    pub(super) fn lists(&self, seen: &Seen<'_>) -> Result<(bool, Option<i64>), Stop> {
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

    pub(super) fn dpkg(&self, names: &[Wanted], seen: &Seen<'_>) -> Result<Vec<Installed>, Stop> {
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

    pub(super) fn install(
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
    pub(super) fn newest(&self) -> Op {
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

    pub(super) fn back(&self, name: &str, before: Option<&Installed>) -> Option<Op> {
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

    pub(super) fn absent(&self, names: &[Wanted], plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
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

    pub(super) fn fix_simulation(&self, names: &[Wanted]) -> Probe {
        let verb = ["--fix-broken", "install", "--"].into_iter();
        self.simulate(&verb.chain(names.iter().map(|w| w.name.as_str())).collect::<Vec<_>>())
    }

    pub(super) fn fixed(&self, names: &[Wanted], plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
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

    pub(super) fn upgrade(&self, full: bool, plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
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

    pub(super) fn deb(&self, paths: &[String], plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
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

    pub(super) fn clean_up(&self, plan: &mut Plan, seen: &Seen<'_>) -> Result<(), Stop> {
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

fn planned_delta(planned: &Planned) -> Delta {
    let facet = |v: &Option<String>| v.clone().map_or(Facet::Absent, Facet::Value);
    Delta {
        subject: format!("package {}", planned.name),
        before: facet(&planned.before),
        after: facet(&planned.after),
    }
}
