//! The keywords that plays, roles, blocks and tasks share.

use super::keywords::{self, Place};
use super::shape::{self, Out};
use crate::diagnostic::Span;
use crate::language::{Common, Entry, Mapping, Node, Text, Yaml};

const CONNECTIONS: &[&str] = &["ssh", "local"];
const CONNECTIONS_NOT_YET: &[&str] = &[
    "smart",
    "paramiko_ssh",
    "paramiko",
    "psrp",
    "winrm",
    "docker",
    "chroot",
    "persistent",
];
const BECOME: &[&str] = &["sudo", "su"];
const BECOME_NOT_YET: &[&str] = &[
    "doas",
    "dzdo",
    "ksu",
    "machinectl",
    "pbrun",
    "pfexec",
    "pmrun",
    "runas",
    "run0",
    "sesu",
    "sudosu",
];

/// Takes a shared keyword into `common`. `false`: it is not one of those.
pub fn take(entry: &Entry, common: &mut Common, out: Out<'_>) -> bool {
    let node = &entry.value;
    let what = format!("`{}`", entry.key);
    let what = what.as_str();
    match entry.key.as_str() {
        "when" => common.when = shape::conditions(node, what, out),
        "vars" => common.vars = shape::variables(node, what, out),
        "tags" => common.tags = tags(node, out),
        "environment" => common.environment = environment(node, out),
        "become" => common.become_ = shape::boolean(node, what, out),
        "become_user" => common.become_user = shape::string(node, what, out),
        "become_method" => common.become_method = shape::choice(node, what, BECOME, BECOME_NOT_YET, out),
        "become_flags" => common.become_flags = shape::string(node, what, out),
        "remote_user" => common.remote_user = shape::string(node, what, out),
        "port" => common.port = shape::number(node, what, out),
        "connection" => common.connection = shape::choice(node, what, CONNECTIONS, CONNECTIONS_NOT_YET, out),
        "no_log" => common.no_log = shape::boolean(node, what, out),
        "check_mode" => common.check_mode = shape::boolean(node, what, out),
        "diff" => common.diff = shape::boolean(node, what, out),
        "ignore_errors" => common.ignore_errors = shape::boolean(node, what, out),
        "ignore_unreachable" => common.ignore_unreachable = shape::boolean(node, what, out),
        "any_errors_fatal" => common.any_errors_fatal = shape::boolean(node, what, out),
        "run_once" => common.run_once = shape::boolean(node, what, out),
        "timeout" => common.timeout = shape::number(node, what, out),
        _ => return false,
    }
    true
}

/// All shared keywords of a mapping; the others are given back, checked to be keywords of the place.
pub fn split<'a>(mapping: &'a Mapping, place: Place, out: Out<'_>) -> (Common, Vec<&'a Entry>) {
    let mut common = Common::default();
    let mut rest = Vec::new();
    for entry in &mapping.entries {
        if keywords::check(entry, place, out) && !take(entry, &mut common, out) {
            rest.push(entry);
        }
    }
    (common, rest)
}

/// A list, or a string with commas.
fn tags(node: &Node, out: Out<'_>) -> Vec<Node> {
    let Yaml::Str(text) = &node.yaml else {
        let tags = shape::one_or_many(node);
        return tags
            .into_iter()
            .filter(|tag| match tag.yaml {
                Yaml::Str(_) | Yaml::Int(_) => true,
                _ => {
                    out.push(shape::wrong(tag, "a tag", "a string"));
                    false
                }
            })
            .collect();
    };
    let mut at = 0;
    text.value
        .split(',')
        .map(|part| {
            let lead = part.len() - part.trim_start().len();
            let start = node.span.start as usize + at + lead;
            at += part.len() + 1;
            let whole = node.span.end - node.span.start;
            let span = match whole as usize == text.value.len() {
                true => Span::new(node.span.file, start, start + part.trim().len()),
                false => node.span,
            };
            Node::new(
                span,
                Yaml::Str(Text {
                    value: part.trim().to_owned(),
                    ..text.clone()
                }),
            )
        })
        .collect()
}

/// A mapping, a template, or a list of those.
fn environment(node: &Node, out: Out<'_>) -> Vec<Node> {
    let all = shape::one_or_many(node);
    all.into_iter()
        .filter(|one| {
            let fine = one.as_map().is_some() || one.is_template();
            if !fine {
                out.push(shape::wrong(one, "`environment`", "a mapping"));
            }
            fine
        })
        .collect()
}
