//! What is in a file, and whose it is.

use super::Verdict;
use crate::host::{Observation, Probe};
use crate::modules::{Failure, Seen, Stop};

pub struct FileCheck {
    pub path: String,
    pub exists: bool,
    pub contains: Vec<String>,
    pub matches: Vec<(String, fancy_regex::Regex)>,
    pub sha256: Option<String>,
    pub mode: Option<u32>,
    pub owner: Option<String>,
    pub group: Option<String>,
}

impl FileCheck {
    pub fn hash(&self) -> Probe {
        Probe::Hash {
            path: self.path.as_str().into(),
            algorithm: "sha256".to_owned(),
        }
    }

    pub fn judge(&self, seen: &Seen<'_>, out: &mut Vec<Verdict>) -> Result<(), Stop> {
        let stat = seen.stat_follow(&self.path)?;
        let word = |there: bool| if there { "there" } else { "absent" };
        if stat.is_some() != self.exists || stat.is_none() {
            out.push(Verdict::new(
                &self.path,
                word(self.exists),
                word(stat.is_some()),
                stat.is_some() == self.exists,
            ));
            return Ok(());
        }
        let before = out.len();
        if let Some(stat) = &stat {
            let pairs = [
                (
                    "mode",
                    self.mode.map(|m| format!("{m:04o}")),
                    format!("{:04o}", stat.mode),
                ),
                ("owner", self.owner.clone(), either(&self.owner, &stat.owner, stat.uid)),
                ("group", self.group.clone(), either(&self.group, &stat.group, stat.gid)),
            ];
            for (name, wanted, found) in pairs {
                if let Some(wanted) = wanted {
                    let holds = wanted == found;
                    out.push(Verdict::new(format!("{name} of {}", self.path), wanted, found, holds));
                }
            }
        }
        if !self.contains.is_empty() || !self.matches.is_empty() {
            let text = seen
                .read(&self.path)?
                .map(|c| c.text().into_owned())
                .unwrap_or_default();
            for part in &self.contains {
                let holds = text.contains(part.as_str());
                let found = if holds { "it" } else { "no such text" };
                out.push(Verdict::new(&self.path, format!("text `{part}`"), found, holds));
            }
            for (pattern, regex) in &self.matches {
                let hit = regex
                    .find(&text)
                    .map_err(|e| Failure::new(format!("`{pattern}`: {e}")))?;
                let found = hit.map_or_else(|| "no match".to_owned(), |m| format!("`{}`", m.as_str()));
                out.push(Verdict::new(
                    &self.path,
                    format!("a match of `{pattern}`"),
                    found,
                    hit.is_some(),
                ));
            }
        }
        if let Some(wanted) = &self.sha256 {
            let found = match seen.get(&self.hash())? {
                Observation::Text(Some(hash)) => hash,
                _ => "no regular file".to_owned(),
            };
            let holds = found == *wanted;
            out.push(Verdict::new(format!("sha256 of {}", self.path), wanted, found, holds));
        }
        if out.len() == before {
            out.push(Verdict::new(&self.path, "there", "there", true));
        }
        Ok(())
    }
}

/// The name of an owner, or his number where a number was asked for.
fn either(wanted: &Option<String>, name: &str, id: u32) -> String {
    let number = id.to_string();
    if name.is_empty() || wanted.as_ref() == Some(&number) {
        number
    } else {
        name.to_owned()
    }
}
