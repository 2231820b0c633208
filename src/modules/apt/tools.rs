//! How apt-get, apt-cache, dpkg-query and dpkg-deb are asked, and what they say.

use super::*;

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

pub(super) fn query(names: &[Wanted]) -> Probe {
    let argv = ["dpkg-query", "-W", "-f", debian::QUERY_FORMAT, "--"].into_iter();
    Probe::exec(argv.chain(names.iter().map(|w| w.name.as_str())))
}

pub(super) fn deb_probe(paths: &[String]) -> Probe {
    let argv = ["sh", "-c", DEB, "sh"].into_iter();
    Probe::exec(argv.chain(paths.iter().map(String::as_str)))
}

impl Apt {
    pub(super) fn policy(&self, names: &[&str]) -> Probe {
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

    pub(super) fn simulate(&self, verb: &[&str]) -> Probe {
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

    pub(super) fn autoremove_verb(&self) -> Vec<&'static str> {
        if self.purge {
            vec!["--purge", "autoremove"]
        } else {
            vec!["autoremove"]
        }
    }

    pub(super) fn upgrade_verb(&self, full: bool) -> Vec<&'static str> {
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

    pub(super) fn apt_get<S: Into<String>>(&self, rest: impl IntoIterator<Item = S>, effect: Effect) -> Op {
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

    pub(super) fn run_update(&self) -> Op {
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

/// Whether apt-get's words tell of a change: lists that were fetched, packages that came or went.
pub(super) fn said_change(stdout: &str) -> bool {
    stdout.lines().any(|line| {
        line.starts_with("Get:")
            || (line.contains(" upgraded, ")
                && line.contains(" newly installed, ")
                && !line.starts_with("0 upgraded, 0 newly installed, 0 to remove"))
    })
}

/// The errors of apt-get, or the last that it said.
pub(super) fn last_words(stdout: &str, stderr: &str) -> String {
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
