//! `access_time` and `modification_time`.

use super::*;

/// A time to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Preserve,
    Now,
    /// `2026-11-22 14:02:11`, by the host's clock.
    At(String),
}

impl Time {
    /// A time of the host's zone in seconds: `date` of the host knows.
    pub(super) fn probe(&self) -> Option<Probe> {
        match self {
            Time::At(text) => Some(Probe::exec(["date", "-d", text, "+%s"])),
            _ => None,
        }
    }

    /// Seconds since the epoch; `None`: now.
    pub(super) fn seconds(&self, current: i64, seen: &Seen<'_>) -> Result<Option<i64>, Stop> {
        match self {
            Time::Preserve => Ok(Some(current)),
            Time::Now => Ok(None),
            Time::At(text) => {
                let result = seen.exec(&["date", "-d", text, "+%s"])?;
                match result.stdout.text().trim().parse() {
                    Ok(seconds) if result.ok() => Ok(Some(seconds)),
                    _ => Err(Stop::Fail(Failure::new(format!(
                        "the host's `date` does not understand `{text}`: {}",
                        result.stderr.text().trim()
                    )))),
                }
            }
        }
    }
}

impl File {
    pub(super) fn touch(&self, stat: Option<Stat>, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let Some(stat) = stat else {
            let parent = parent_of(&self.path);
            if let Observation::Stat(None) = seen.raw(&Probe::stat_follow(parent))? {
                return self.fail(format!("the directory `{parent}` does not exist"));
            }
            let mut step = Step {
                report: self.attributes.describe_after(
                    Report::new().with("dest", self.path.as_str()).with("state", "file"),
                    None,
                ),
                ..Step::default()
            };
            step.deltas.push(Delta {
                subject: self.path.clone(),
                before: Facet::Absent,
                after: Facet::Value("file".to_owned()),
            });
            step.deltas.extend(self.attributes.deltas_new(&self.path, false));
            let time = |t: &Time| match t {
                Time::At(_) => t.seconds(0, seen),
                _ => Ok(None),
            };
            step.ops.push(self.set_times(time(&self.atime)?, time(&self.mtime)?));
            if self.attributes.owner.is_some() || self.attributes.group.is_some() {
                step.ops.push(Op::Chown {
                    path: self.path.clone(),
                    owner: self.attributes.owner.clone(),
                    group: self.attributes.group.clone(),
                    follow: true,
                });
            }
            if let Some(mode) = self.attributes.mode_new(false) {
                step.ops.push(Op::Chmod {
                    path: self.path.clone(),
                    mode,
                });
            }
            step.attributes(self.attributes.extra(&self.path, false, seen)?);
            step.undo.push(self.remove(false));
            return Ok(self.finished(step));
        };
        match self.followed(stat, seen)? {
            Some(stat) => Ok(self.finished(self.attributes_of(&self.path, &stat, "dest", seen)?)),
            None => self.fail(format!("`{}` is a link to something that does not exist", self.path)),
        }
    }

    pub(super) fn set_times(&self, atime: Option<i64>, mtime: Option<i64>) -> Op {
        Op::Touch {
            path: self.path.clone(),
            atime,
            mtime,
        }
    }
}

pub(super) fn times_delta(what: &str, path: &str, before: i64, after: Option<i64>) -> Option<Delta> {
    let shown = |t: i64| jiff::Timestamp::from_second(t).map_or_else(|_| t.to_string(), |t| t.to_string());
    (after != Some(before)).then(|| {
        Delta::value(
            format!("{what} time of {path}"),
            shown(before),
            after.map_or_else(|| "now".to_owned(), shown),
        )
    })
}
