//! Every keyword of Ansible's language (ansible-core 2.19) and where it may stand; what is not supported yet is
//! known by name, so that it is refused as such and never ignored.

use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::language::Entry;

/// Where keywords stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Play,
    /// An entry of `roles:` or of a role's dependencies.
    Role,
    Block,
    Task,
    Handler,
    /// `include_tasks`, which takes few of a task's keywords.
    Include,
    /// `import_playbook`.
    Playbook,
    LoopControl,
    /// `meta/main.yml` of a role.
    Meta,
    /// The mapping of a play's `rolling`.
    Rolling,
}

impl Place {
    fn called(self) -> &'static str {
        match self {
            Place::Play => "a play",
            Place::Role => "a role",
            Place::Block => "a block",
            Place::Task => "a task",
            Place::Handler => "a handler",
            Place::Include => "an include",
            Place::Playbook => "`import_playbook`",
            Place::LoopControl => "`loop_control`",
            Place::Meta => "a role's `meta/main.yml`",
            Place::Rolling => "`rolling`",
        }
    }
}

const PLAY: u16 = 1 << Place::Play as u16;
const ROLE: u16 = 1 << Place::Role as u16;
const BLOCK: u16 = 1 << Place::Block as u16;
const TASK: u16 = 1 << Place::Task as u16 | 1 << Place::Handler as u16;
const HANDLER: u16 = 1 << Place::Handler as u16;
const INCLUDE: u16 = 1 << Place::Include as u16;
const PLAYBOOK: u16 = 1 << Place::Playbook as u16;
const LOOP: u16 = 1 << Place::LoopControl as u16;
const META: u16 = 1 << Place::Meta as u16;
const ROLLING: u16 = 1 << Place::Rolling as u16;
/// What plays, roles, blocks and tasks share.
const BASE: u16 = PLAY | ROLE | BLOCK | TASK;

struct Keyword {
    name: &'static str,
    places: u16,
    supported: bool,
}

const fn yes(name: &'static str, places: u16) -> Keyword {
    Keyword {
        name,
        places,
        supported: true,
    }
}

const fn not_yet(name: &'static str, places: u16) -> Keyword {
    Keyword {
        name,
        places,
        supported: false,
    }
}

static KEYWORDS: &[Keyword] = &[
    // Shared. Ansible lets `import_playbook` take all of these and uses four.
    yes("name", BASE | INCLUDE | PLAYBOOK),
    yes("tags", BASE | INCLUDE | PLAYBOOK),
    yes("vars", BASE | INCLUDE | PLAYBOOK),
    yes("when", ROLE | BLOCK | TASK | INCLUDE | PLAYBOOK),
    yes("any_errors_fatal", BASE),
    yes("become", BASE),
    yes("become_flags", BASE),
    yes("become_method", BASE),
    yes("become_user", BASE),
    yes("check_mode", BASE),
    // Tasks of a play share one connection to each host.
    yes("connection", PLAY),
    not_yet("connection", ROLE | BLOCK | TASK),
    yes("diff", BASE),
    yes("environment", BASE),
    yes("ignore_errors", BASE | INCLUDE),
    yes("ignore_unreachable", BASE),
    yes("no_log", BASE | INCLUDE),
    yes("port", PLAY),
    not_yet("port", ROLE | BLOCK | TASK),
    yes("remote_user", PLAY),
    not_yet("remote_user", ROLE | BLOCK | TASK),
    yes("run_once", BASE | INCLUDE),
    yes("timeout", BASE | INCLUDE),
    not_yet("become_exe", BASE),
    not_yet("collections", BASE | INCLUDE),
    not_yet("debugger", BASE | INCLUDE),
    not_yet("delegate_facts", ROLE | BLOCK | TASK),
    not_yet("delegate_to", ROLE | BLOCK | TASK),
    not_yet("module_defaults", BASE),
    not_yet("throttle", BASE),
    // Plays.
    yes("force_handlers", PLAY),
    yes("gather_facts", PLAY),
    yes("gather_subset", PLAY),
    yes("handlers", PLAY),
    yes("hosts", PLAY),
    yes("max_fail_percentage", PLAY),
    yes("order", PLAY),
    yes("post_checks", PLAY),
    yes("post_tasks", PLAY),
    yes("pre_checks", PLAY),
    yes("pre_tasks", PLAY),
    yes("roles", PLAY),
    yes("rolling", PLAY),
    yes("serial", PLAY),
    yes("strategy", PLAY),
    yes("tasks", PLAY),
    yes("vars_files", PLAY),
    not_yet("fact_path", PLAY),
    not_yet("gather_timeout", PLAY),
    not_yet("user", PLAY),
    not_yet("vars_prompt", PLAY),
    yes("import_playbook", PLAYBOOK),
    // Roles.
    yes("role", ROLE),
    // Blocks.
    yes("always", BLOCK),
    yes("block", BLOCK),
    yes("rescue", BLOCK),
    // Tasks.
    yes("args", TASK | INCLUDE),
    yes("changed_when", TASK),
    yes("delay", TASK),
    yes("failed_when", TASK),
    yes("listen", HANDLER),
    yes("loop", TASK | INCLUDE),
    yes("loop_control", TASK | INCLUDE),
    yes("notify", BLOCK | TASK),
    yes("register", TASK | INCLUDE),
    yes("retries", TASK),
    yes("until", TASK),
    yes("with_items", TASK | INCLUDE),
    not_yet("action", TASK | INCLUDE),
    not_yet("async", TASK),
    not_yet("local_action", TASK),
    not_yet("poll", TASK),
    not_yet("with_config", TASK | INCLUDE),
    not_yet("with_csvfile", TASK | INCLUDE),
    yes("with_dict", TASK | INCLUDE),
    yes("with_env", TASK | INCLUDE),
    yes("with_file", TASK | INCLUDE),
    yes("with_fileglob", TASK | INCLUDE),
    not_yet("with_filetree", TASK | INCLUDE),
    yes("with_first_found", TASK | INCLUDE),
    not_yet("with_flattened", TASK | INCLUDE),
    yes("with_indexed_items", TASK | INCLUDE),
    not_yet("with_ini", TASK | INCLUDE),
    not_yet("with_inventory_hostnames", TASK | INCLUDE),
    yes("with_lines", TASK | INCLUDE),
    yes("with_list", TASK | INCLUDE),
    yes("with_nested", TASK | INCLUDE),
    yes("with_password", TASK | INCLUDE),
    yes("with_pipe", TASK | INCLUDE),
    yes("with_random_choice", TASK | INCLUDE),
    yes("with_sequence", TASK | INCLUDE),
    yes("with_subelements", TASK | INCLUDE),
    yes("with_template", TASK | INCLUDE),
    yes("with_together", TASK | INCLUDE),
    not_yet("with_unvault", TASK | INCLUDE),
    not_yet("with_url", TASK | INCLUDE),
    yes("with_varnames", TASK | INCLUDE),
    yes("with_vars", TASK | INCLUDE),
    // `loop_control`.
    yes("extended", LOOP),
    yes("index_var", LOOP),
    yes("label", LOOP),
    yes("loop_var", LOOP),
    yes("pause", LOOP),
    yes("break_when", LOOP),
    yes("extended_allitems", LOOP),
    // `meta/main.yml`; `galaxy_info` is for people, `collections` names places to look for modules, of which
    // there is one.
    yes("allow_duplicates", META),
    yes("collections", META),
    yes("dependencies", META),
    yes("galaxy_info", META),
    not_yet("argument_specs", META),
    // `rolling`.
    yes("drain", ROLLING),
    yes("drain_timeout", ROLLING),
    yes("gate_timeout", ROLLING),
    yes("members", ROLLING),
    yes("rebalance", ROLLING),
    yes("start_timeout", ROLLING),
    yes("width", ROLLING),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Supported,
    NotYet,
    /// A keyword, but not here.
    Elsewhere,
    Unknown,
}

pub fn standing(name: &str, place: Place) -> Standing {
    let here = 1 << place as u16;
    let mut standing = Standing::Unknown;
    for keyword in KEYWORDS.iter().filter(|k| k.name == name) {
        if keyword.places & here == 0 {
            standing = Standing::Elsewhere;
        } else if keyword.supported {
            return Standing::Supported;
        } else {
            return Standing::NotYet;
        }
    }
    standing
}

/// The keywords that may stand in a place and are supported.
pub fn supported(place: Place) -> impl Iterator<Item = &'static str> {
    KEYWORDS
        .iter()
        .filter(move |k| k.supported && k.places & (1 << place as u16) != 0)
        .map(|k| k.name)
}

/// Whether Ansible has the keyword in this place, supported or not.
pub fn known(name: &str, place: Place) -> bool {
    matches!(standing(name, place), Standing::Supported | Standing::NotYet)
}

/// Complains about a key that cannot stand where it does. `true`: it is a supported keyword.
pub fn check(entry: &Entry, place: Place, out: &mut Vec<Diagnostic>) -> bool {
    let name = entry.key.as_str();
    match standing(name, place) {
        Standing::Supported => return true,
        Standing::NotYet => out.push(not_supported(entry, &format!("keyword `{name}`"))),
        Standing::Elsewhere => {
            let mut diagnostic = Diagnostic::error(
                Code::UNKNOWN_KEYWORD,
                format!("`{name}` is not a keyword of {}", place.called()),
            )
            .at(entry.key_span, "cannot stand here");
            let homes = homes(name);
            diagnostic = diagnostic.note(format!("`{name}` belongs to {homes}"));
            if place == Place::Include {
                diagnostic = diagnostic.help("put it under `apply:` to hand it to the included tasks");
            }
            out.push(diagnostic);
        }
        Standing::Unknown => out.push(unknown(entry, place, std::iter::empty())),
    }
    false
}

pub fn not_supported(entry: &Entry, what: &str) -> Diagnostic {
    Diagnostic::error(Code::NOT_SUPPORTED, format!("{what} is not supported yet"))
        .at(entry.key_span, "Ansible knows it, rmqplay does not")
}

/// An unknown key, with the nearest of the keywords and of `others` that are allowed here.
pub fn unknown<'a>(entry: &Entry, place: Place, others: impl Iterator<Item = &'a str>) -> Diagnostic {
    let name = entry.key.as_str();
    let diagnostic = Diagnostic::error(
        Code::UNKNOWN_KEYWORD,
        format!("unknown keyword `{name}` in {}", place.called()),
    )
    .at(entry.key_span, format!("not a keyword of {}", place.called()));
    let names = supported(place).map(|k| -> &'a str { k });
    match similar_name(name, names.chain(others)) {
        Some(near) => diagnostic.fix("there is a keyword with a similar name", entry.key_span, near),
        None if matches!(
            place,
            Place::LoopControl | Place::Playbook | Place::Meta | Place::Rolling
        ) =>
        {
            let all: Vec<_> = supported(place).map(|k| format!("`{k}`")).collect();
            diagnostic.note(format!("{} takes {}", place.called(), all.join(", ")))
        }
        None => diagnostic,
    }
}

fn homes(name: &str) -> String {
    let places = [
        Place::Play,
        Place::Role,
        Place::Block,
        Place::Task,
        Place::Handler,
        Place::LoopControl,
        Place::Rolling,
    ];
    let homes: Vec<_> = places
        .into_iter()
        .filter(|p| known(name, *p))
        // What a task takes a handler takes too.
        .filter(|p| *p != Place::Handler || !known(name, Place::Task))
        .map(Place::called)
        .collect();
    homes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_stand_once_per_place() {
        for (n, one) in KEYWORDS.iter().enumerate() {
            for two in &KEYWORDS[n + 1..] {
                assert!(one.name != two.name || one.places & two.places == 0, "{}", one.name);
            }
        }
    }
}
