//! What Debian's tools say: installed packages, candidates, plans, versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A line of `dpkg-query -W -f '${binary:Package}\t${db:Status-Abbrev}\t${Version}\n'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// With `:arch` where several architectures can be installed together.
    pub name: String,
    pub status: Status,
    pub version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Installed,
    /// Unpacked or half configured: apt has to finish it.
    Broken,
    /// Removed, its configuration files are still there.
    ConfigFiles,
    Absent,
}

pub const QUERY_FORMAT: &str = r"${binary:Package}\t${db:Status-Abbrev}\t${Version}\n";

pub fn installed(text: &str) -> Vec<Installed> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.split('\t');
            let (name, status, version) = (parts.next()?, parts.next()?, parts.next()?);
            let status = match status.chars().nth(1)? {
                'i' | 'W' | 't' => Status::Installed,
                'c' => Status::ConfigFiles,
                'n' => Status::Absent,
                _ => Status::Broken,
            };
            Some(Installed {
                name: name.to_owned(),
                status,
                version: version.to_owned(),
            })
        })
        .collect()
}

/// What `apt-cache policy` says of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What an install would bring; `None`: nothing (a purely virtual package).
    pub candidate: Option<String>,
    /// Newest first.
    pub versions: Vec<String>,
}

/// By name; a name that is not there is not known to apt.
pub fn policies(text: &str) -> BTreeMap<String, Policy> {
    let mut found: BTreeMap<String, Policy> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if !line.starts_with(' ') {
            current = line.strip_suffix(':').map(str::to_owned);
            if let Some(name) = &current {
                found.insert(name.clone(), Policy::default());
            }
            continue;
        }
        let Some(policy) = current.as_ref().and_then(|name| found.get_mut(name)) else {
            continue;
        };
        if let Some(candidate) = line.trim().strip_prefix("Candidate: ") {
            policy.candidate = (candidate != "(none)").then(|| candidate.to_owned());
        } else if let Some(rest) = line.strip_prefix(" *** ").or_else(|| line.strip_prefix("     ")) {
            // ` *** 1.2-1 500` and `     1.2-1 500`; the sources below them are indented further.
            if !rest.starts_with(' ')
                && let Some(version) = rest.split_whitespace().next()
            {
                policy.versions.push(version.to_owned());
            }
        }
    }
    found
}

/// One package in a plan of `apt-get --simulate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// `Inst bash [5.2.15-2] (5.2.15-3 Debian:12 [amd64])`, `Remv foo [1.0]`, `Purg foo [1.0]`, `Del foo 1.0 [42 kB]`.
pub fn plan(text: &str) -> Vec<Planned> {
    text.lines()
        .filter_map(|line| {
            let (verb, rest) = line.split_once(' ')?;
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            if name.is_empty() {
                return None;
            }
            let between = |open: char, close: char| {
                let (_, tail) = rest.split_once(open)?;
                tail.split(close).next()?.split_whitespace().next().map(str::to_owned)
            };
            let (before, after) = match verb {
                "Inst" => {
                    let old = rest.starts_with('[').then(|| between('[', ']')).flatten();
                    (old, between('(', ')'))
                }
                "Remv" | "Purg" => (between('[', ']').or_else(|| Some("config files".to_owned())), None),
                "Del" => (rest.split_whitespace().next().map(str::to_owned), None),
                _ => return None,
            };
            Some(Planned {
                name: name.to_owned(),
                before,
                after,
            })
        })
        .collect()
}

/// Debian Policy 5.6.12: epoch, upstream version, revision; `~` sorts before the end, letters before the rest.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    fn split(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, version),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch, upstream, revision)
    }
    let (a, b) = (split(a), split(b));
    a.0.cmp(&b.0)
        .then_with(|| compare_parts(a.1, b.1))
        .then_with(|| compare_parts(a.2, b.2))
}

fn compare_parts(mut a: &str, mut b: &str) -> Ordering {
    fn weight(c: Option<char>) -> i64 {
        match c {
            Some('~') => -1,
            None => 0,
            Some(c) if c.is_ascii_alphabetic() => i64::from(u32::from(c)),
            Some(c) => i64::from(u32::from(c)) + 256,
        }
    }
    fn cut(text: &str, digits: bool) -> (&str, &str) {
        let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
        text.split_at(end)
    }
    while !a.is_empty() || !b.is_empty() {
        let ((left, rest_a), (right, rest_b)) = (cut(a, false), cut(b, false));
        let (mut left, mut right) = (left.chars(), right.chars());
        loop {
            let (x, y) = (left.next(), right.next());
            match weight(x).cmp(&weight(y)) {
                Ordering::Equal if x.is_none() && y.is_none() => break,
                Ordering::Equal => {}
                other => return other,
            }
        }
        let ((left, rest_a), (right, rest_b)) = (cut(rest_a, true), cut(rest_b, true));
        let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
        match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
            Ordering::Equal => {}
            other => return other,
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs in ascending order, each confirmed with `dpkg --compare-versions`.
    #[test]
    fn versions_in_debian_order() {
        let ascending = [
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+deb12u1",
            "1.0-1.1",
            "1.0a-1",
            "1.0+b-1",
            "1.0.1-1",
            "1.2-1",
            "1.10-1",
            "1:0.1-1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare_versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare_versions(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare_versions("1.0", "1.00-0"), Ordering::Equal);
    }

    #[test]
    fn a_policy_with_two_sources() {
        let text = "bash:\n  Installed: 5.2.15-2+b8\n  Candidate: 5.2.15-2+b13\n  Version table:\n     5.2.15-2+b13 500\n        500 http://mirror.example.org/debian bookworm/main amd64 Packages\n *** 5.2.15-2+b8 100\n        100 /var/lib/dpkg/status\nmail-transport-agent:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let found = policies(text);
        assert_eq!(found["bash"].candidate.as_deref(), Some("5.2.15-2+b13"));
        assert_eq!(found["bash"].versions, ["5.2.15-2+b13", "5.2.15-2+b8"]);
        assert_eq!(found["mail-transport-agent"], Policy::default());
    }

    #[test]
    fn a_plan_of_apt_get() {
        let text = "Reading package lists...\nInst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12.15/oldstable [amd64])\nInst new (1.0 Debian:12 [all])\nConf bash (5.2.15-2+b13 Debian:12.15/oldstable [amd64])\nRemv old [2.0]\nPurg gone []\n";
        let shown: Vec<_> = plan(text)
            .into_iter()
            .map(|p| {
                format!(
                    "{} {:?} {:?}",
                    p.name,
                    p.before.unwrap_or_default(),
                    p.after.unwrap_or_default()
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"bash "5.2.15-2+b8" "5.2.15-2+b13""#,
                r#"new "" "1.0""#,
                r#"old "2.0" """#,
                r#"gone "config files" """#
            ]
        );
    }
}
