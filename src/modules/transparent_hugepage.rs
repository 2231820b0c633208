//! `transparent_hugepage`: whether and how the kernel makes huge pages by itself.

use super::sysfs::{self, Wanted};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::Probe;
use serde_json::{Map, Value};

const DIR: &str = "/sys/kernel/mm/transparent_hugepage";
const FILE: &str = "/etc/tmpfiles.d/60-rmqplay-thp.conf";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "transparent_hugepage",
    aliases: &["thp"],
    summary: "Transparent huge pages, live and for the next boot",
    description: "\
Sets `enabled` and `defrag` of `/sys/kernel/mm/transparent_hugepage`, and keeps them for the next boot in \
`/etc/tmpfiles.d/60-rmqplay-thp.conf`. `madvise` (Debian's default) and `never` are both fine for RabbitMQ; `always` can cost \
latency and memory. Pages that a running process has already got stay until it is restarted.

A kernel without transparent huge pages needs nothing for `madvise` and `never`: that is a warning, not a failure.",
    args: &[
        ArgSpec::new("enabled", ArgKind::Str, "Who gets huge pages.").choices(&["always", "madvise", "never"]),
        ArgSpec::new("defrag", ArgKind::Str, "Who waits while the kernel makes room for one.")
            .choices(&["always", "defer", "defer+madvise", "madvise", "never"]),
        ArgSpec::new("persist", ArgKind::Bool, "Keep it for the next boot.").default("true"),
    ],
    free_form: None,
    open: false,
    returns: &[("file", "The file for the next boot")],
    examples: "\
- name: huge pages for those who ask
  transparent_hugepage:
    enabled: madvise
    defrag: madvise
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

struct Thp {
    wanted: Vec<Wanted>,
    file: Option<&'static str>,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let wanted: Vec<Wanted> = ["enabled", "defrag"]
        .into_iter()
        .filter_map(|name| {
            Some(Wanted {
                knob: format!("transparent_hugepage {name}"),
                path: format!("{DIR}/{name}"),
                value: Some(args.str(name)?.to_owned()),
                at_boot: true,
            })
        })
        .collect();
    if wanted.is_empty() {
        return Err(ArgError::task(
            "module `transparent_hugepage` needs `enabled` or `defrag`",
        ));
    }
    Ok(Box::new(Thp {
        wanted,
        file: args.bool("persist").then_some(FILE),
    }))
}

impl Action for Thp {
    fn probes(&self) -> Vec<Probe> {
        sysfs::probes(&self.wanted, self.file)
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let mut missing = false;
        for want in &self.wanted {
            missing |= seen.read(&want.path)?.is_none();
        }
        if missing {
            if self
                .wanted
                .iter()
                .any(|w| !matches!(w.value.as_deref(), Some("madvise" | "never")))
            {
                return Ok(Decision::Fail(Failure::new(
                    "this kernel has no transparent huge pages",
                )));
            }
            return Ok(Decision::Keep(
                Report::new().warn("this kernel has no transparent huge pages: nothing to set"),
            ));
        }
        let (edits, report) = sysfs::settle(seen, &self.wanted, self.file)?;
        Ok(edits.decision(report))
    }
}

fn ahead(_: &Map<String, Value>) -> Vec<Probe> {
    let wanted = ["enabled", "defrag"].map(|name| Wanted {
        knob: String::new(),
        path: format!("{DIR}/{name}"),
        value: None,
        at_boot: true,
    });
    sysfs::probes(&wanted, Some(FILE))
}
