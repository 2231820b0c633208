//! `hostname`: the host's name, live and for the next boot.

use super::knob::Edits;
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
    no_guess,
};
use crate::host::Probe;

const FILE: &str = "/etc/hostname";
const LIVE: &str = "/proc/sys/kernel/hostname";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "hostname",
    aliases: &[],
    summary: "The host's name, live and for the next boot",
    description: "\
Writes `/etc/hostname` and sets the kernel's name; the facts `hostname` and `nodename` follow.

Unlike Ansible's: systemd's pretty name is left alone, `hostnamectl` is not needed, and of `use` only the strategies of Linux with \
`/etc/hostname` are supported.

A RabbitMQ node is called after its host and finds its data by that name: give a host its name before RabbitMQ starts there.",
    args: &[
        ArgSpec::new("name", ArgKind::Str, "The name.").required(),
        ArgSpec::new("use", ArgKind::Str, "Ansible's strategy: `systemd`, `debian` or `generic`; all do the same here."),
    ],
    free_form: None,
    open: false,
    returns: &[("name", "The name")],
    examples: "\
- name: the node has the name the cluster knows it by
  hostname:
    name: \"{{ inventory_hostname_short }}\"
",
    // Nobody outside the host can see it act.
    local: true,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

struct Hostname(String);

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    if let Some(other) = args
        .str("use")
        .filter(|u| !["systemd", "debian", "generic"].contains(u))
    {
        return Err(ArgError::new(
            "use",
            format!("not supported yet: host names by `{other}`"),
        ));
    }
    let name = args.need("name")?;
    // hostname(7): at most 64 bytes on Linux, of these characters.
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(ArgError::new("name", format!("`{name}` cannot be the name of a host"))
            .help("1 to 64 letters, digits, `-` and `.`"));
    }
    Ok(Box::new(Hostname(name.to_owned())))
}

impl Action for Hostname {
    fn probes(&self) -> Vec<Probe> {
        vec![Probe::read(FILE), Probe::read(LIVE)]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        // Both in one look; each accessor alone would ask for its own.
        seen.want(&self.probes())?;
        let file = seen.read(FILE)?;
        let Some(live) = seen.read_line(LIVE)? else {
            return Ok(Decision::Fail(Failure::new(format!("this host has no `{LIVE}`"))));
        };
        let mut edits = Edits::default();
        if live != self.0 {
            edits.put("hostname (live)", LIVE, &live, &self.0);
        }
        // Nothing is added where the text is the same already.
        edits.file(FILE, file.as_ref(), Some(format!("{}\n", self.0)));
        let mut report = Report::new().with("name", self.0.as_str());
        let short = self.0.split('.').next().unwrap_or(&self.0);
        for (fact, value) in [("hostname", short), ("nodename", self.0.as_str())] {
            report.facts.insert(fact.to_owned(), value.into());
        }
        Ok(edits.decision(report))
    }
}
