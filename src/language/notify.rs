//! `notify` names a handler that exists.

use super::play::tasks_of;
use super::shape::Out;
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::language::{Item, Play, Yaml};

/// Handlers that could not be read: to notify them is no second mistake.
#[derive(Debug, Default)]
pub struct Lost {
    pub names: Vec<String>,
    /// A file, a role...: there is no telling which handlers it has.
    pub some: bool,
}

pub fn check_play(play: &Play, lost: &Lost, out: Out<'_>) {
    for part in play.sections() {
        check(play, lost, part, out);
    }
}

/// Looks at what `items` notify. Silent where a handler's name cannot be known before the run.
pub fn check(play: &Play, lost: &Lost, items: &[Item], out: Out<'_>) {
    if lost.some {
        return;
    }
    let mut names = lost.names.clone();
    for handler in tasks_of(&play.handlers) {
        if handler.module == "include_tasks" {
            return;
        }
        let name = handler.name.iter().chain(&handler.listen);
        for node in name {
            if node.is_template() {
                return;
            }
            let name = super::shape::plain(node);
            if let Some(role) = &handler.role {
                names.push(format!("{} : {name}", role.name));
            }
            names.push(name);
        }
    }
    for task in tasks_of(items) {
        for notified in task.notify.iter().filter(|n| !n.is_template()) {
            let Yaml::Str(text) = &notified.yaml else {
                continue;
            };
            let name = &text.value;
            if names.contains(name) {
                continue;
            }
            let diagnostic = Diagnostic::error(Code::UNKNOWN_REFERENCE, format!("no handler is called `{name}`"))
                .at(notified.span, "neither the name of a handler nor what one listens to");
            out.push(match similar_name(name, names.iter().map(String::as_str)) {
                Some(near) => diagnostic.fix("there is a handler with a similar name", notified.span, near),
                None if names.is_empty() => diagnostic.note("this play has no handlers with names"),
                None => diagnostic.note(format!("handlers of this play: {}", listed(&names))),
            });
        }
    }
}

fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names
        .iter()
        .filter(|n| !n.contains(" : "))
        .take(8)
        .map(|n| format!("`{n}`"))
        .collect();
    shown.join(", ")
}
