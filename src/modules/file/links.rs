//! `state: link` and `hard`.

use super::*;

impl File {
    pub(super) fn link(&self, stat: Option<Stat>, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let report = Report::new().with("dest", self.path.as_str());
        let current = stat.as_ref().and_then(|s| s.target.clone());
        let Some(src) = self.src.clone().or(current.clone().filter(|_| self.src.is_none())) else {
            return self.fail("a new link needs `src`");
        };
        let report = report.with("src", src.as_str());
        let target = match seen.raw(&Probe::stat_follow(self.resolved(&src)))? {
            Observation::Stat(target) => target,
            // Dry run: it may be there by then.
            Observation::Unknown(_) if !self.attributes_wanted() => None,
            Observation::Unknown(why) => return Err(Stop::CannotKnow(why)),
            Observation::Failed(text) => return self.fail(text),
            _ => None,
        };
        let planned = matches!(
            seen.raw(&Probe::stat_follow(self.resolved(&src)))?,
            Observation::Unknown(_)
        );
        if !self.force && self.src.is_some() && target.is_none() && !planned {
            return Err(Stop::Fail(
                Failure::new(format!(
                    "`{}`, the target of the link, does not exist",
                    self.resolved(&src)
                ))
                .help("`force: true` makes the link all the same"),
            ));
        }
        let mut step = Step {
            report,
            ..Step::default()
        };
        if current.as_deref() != Some(src.as_str()) {
            self.replaceable(stat.as_ref(), "a link", seen)?;
            self.new_link(&mut step, stat.as_ref(), &src, format!("link to {src}"));
        } else if let Some(stat) = &stat {
            step.report = describe(step.report, stat);
        }
        if self.attributes_wanted() {
            match (self.follow, &target, &stat) {
                (true, Some(target), _) => {
                    let path = if step.ops.is_empty() {
                        self.path.clone()
                    } else {
                        self.resolved(&src)
                    };
                    step.attributes(self.attributes.difference(&path, target));
                    step.attributes(self.attributes.extra(&path, true, seen)?);
                }
                (true, None, _) => {
                    step.report = step.report.warn(format!(
                        "`{src}` does not exist, so it got no owner, group or mode; `follow: false` is about the link itself"
                    ));
                }
                (false, _, Some(stat)) if step.ops.is_empty() => {
                    step.attributes(self.attributes.difference(&self.path, stat));
                }
                (false, ..) if self.attributes.owner.is_some() || self.attributes.group.is_some() => {
                    step.ops.push(Op::Chown {
                        path: self.path.clone(),
                        owner: self.attributes.owner.clone(),
                        group: self.attributes.group.clone(),
                        follow: false,
                    });
                }
                _ => {}
            }
        }
        Ok(step.into_decision())
    }

    /// Whether what is there may give way to a link.
    fn replaceable(&self, stat: Option<&Stat>, what: &str, seen: &Seen<'_>) -> Result<(), Stop> {
        let Some(stat) = stat.filter(|s| s.kind != FileKind::Link) else {
            return Ok(());
        };
        if !self.force {
            return Err(Stop::Fail(
                Failure::new(format!(
                    "`{}` is a {}, which does not give way to {what}",
                    self.path,
                    state(stat)
                ))
                .help("`force: true` replaces it"),
            ));
        }
        if stat.kind == FileKind::Directory {
            let listing = seen.exec(&["ls", "-A", "--", &self.path])?;
            if !listing.stdout.as_bytes().is_empty() || !listing.ok() {
                return self.fail(format!(
                    "the directory `{}` is not empty, it does not give way to {what}",
                    self.path
                ));
            }
        }
        Ok(())
    }

    fn new_link(&self, step: &mut Step, stat: Option<&Stat>, src: &str, after: String) {
        let before = match stat {
            None => Facet::Absent,
            Some(stat) => Facet::Value(match &stat.target {
                Some(target) => format!("link to {target}"),
                None => state(stat).to_owned(),
            }),
        };
        step.deltas.push(Delta {
            subject: self.path.clone(),
            before,
            after: Facet::Value(after),
        });
        if stat.is_some_and(|s| s.kind == FileKind::Directory) {
            step.ops.push(rmdir(&self.path));
        }
        step.ops
            .push(self.make_link(src, stat.is_some_and(|s| s.kind != FileKind::Directory)));
        match stat {
            None => step.undo.push(self.remove(false)),
            Some(Stat {
                target: Some(target), ..
            }) => step.undo.push(Op::Link {
                path: self.path.clone(),
                target: target.clone(),
                hard: false,
                force: true,
            }),
            Some(stat) => step.no_undo = Some(format!("what was in the {} `{}` is not kept", state(stat), self.path)),
        }
    }

    pub(super) fn hard(&self, stat: Option<Stat>, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let mut report = Report::new().with("dest", self.path.as_str());
        let Some(src) = &self.src else {
            return match stat {
                Some(stat) if stat.nlink > 1 && stat.kind == FileKind::File => {
                    Ok(self.finished(self.attributes_of(&self.path, &stat, "dest", seen)?))
                }
                _ => self.fail("a new hard link needs `src`"),
            };
        };
        report = report.with("src", src.as_str());
        let Some(source) = seen.stat_follow(src)? else {
            return self.fail(format!("`{src}`, the source of the link, does not exist"));
        };
        if let Some(stat) = &stat
            && (stat.inode, stat.dev) == (source.inode, source.dev)
        {
            let mut step = self.attributes_of(&self.path, stat, "dest", seen)?;
            step.report = step.report.with("src", src.as_str());
            return Ok(self.finished(step));
        }
        self.replaceable(stat.as_ref(), "a hard link", seen)?;
        let mut step = Step {
            report,
            ..Step::default()
        };
        self.new_link(&mut step, stat.as_ref(), src, format!("hard link to {src}"));
        step.attributes(self.attributes.difference(&self.path, &source));
        Ok(self.finished(step))
    }

    pub(super) fn make_link(&self, src: &str, force: bool) -> Op {
        Op::Link {
            path: self.path.clone(),
            target: src.to_owned(),
            hard: self.wanted == Wanted::Hard,
            force,
        }
    }
}
