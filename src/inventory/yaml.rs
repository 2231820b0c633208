//! YAML (and JSON) inventories: groups with `hosts`, `children` and `vars`.

use super::address;
use super::graph::{Draft, GroupId, Origin};
use crate::diagnostic::{Code, Diagnostic, Span, similar_name};
use crate::language::{Entry, Mapping, Node, Yaml};
use std::sync::Arc;

const KEYS: [&str; 3] = ["hosts", "children", "vars"];

/// Reads a document into the draft; `top` maps names of groups to groups.
pub(super) fn read(draft: &mut Draft, top: &Mapping, origin: &Arc<Origin>, diagnostics: &mut Vec<Diagnostic>) {
    let mut reader = Reader {
        draft,
        origin,
        diagnostics,
    };
    for entry in &top.entries {
        reader.group(entry);
    }
}

struct Reader<'a> {
    draft: &'a mut Draft,
    origin: &'a Arc<Origin>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn error(&mut self, message: impl Into<String>, span: Span, label: impl Into<String>) {
        self.push(Diagnostic::error(Code::INVENTORY, message).at(span, label));
    }

    fn group(&mut self, entry: &Entry) -> Option<GroupId> {
        let name = &entry.key;
        if name.is_empty() {
            self.error("a group must have a name", entry.key_span, "");
            return None;
        }
        let sections = match &entry.value.yaml {
            Yaml::Null => return Some(self.draft.group(name)),
            Yaml::Map(sections) => sections,
            _ => {
                // Ansible warns too and goes on: such keys serve as a place for anchors.
                self.push(
                    Diagnostic::warning(Code::INVENTORY, format!("`{name}` is not a group and is left out")).at(
                        entry.value.span,
                        format!("a group is a mapping, this is {}", entry.value.kind()),
                    ),
                );
                return None;
            }
        };
        let group = self.draft.group(name);
        for section in &sections.entries {
            self.section(group, entry, section);
        }
        Some(group)
    }

    fn section(&mut self, group: GroupId, owner: &Entry, section: &Entry) {
        let name = owner.key.as_str();
        let known = KEYS.contains(&section.key.as_str());
        if !known {
            return self.unknown(name, section);
        }
        let lone;
        let entries = match &section.value.yaml {
            Yaml::Null => return,
            Yaml::Map(mapping) => &mapping.entries,
            // One name may stand without a colon.
            Yaml::Str(text) => {
                lone = [Entry {
                    key: text.value.clone(),
                    key_span: section.value.span,
                    value: Node::new(section.value.span, Yaml::Null),
                }];
                lone.as_slice()
            }
            _ => {
                let diagnostic = Diagnostic::error(
                    Code::INVENTORY,
                    format!("`{}` of a group must be a mapping", section.key),
                )
                .at(section.value.span, format!("this is {}", section.value.kind()))
                .context(owner.key_span, "in this group");
                self.push(match &section.value.yaml {
                    Yaml::Seq(_) => diagnostic.help("write each as a key with a colon: `name:` instead of `- name`"),
                    _ => diagnostic,
                });
                return;
            }
        };
        for entry in entries {
            match section.key.as_str() {
                "vars" => {
                    let value = Arc::new(entry.value.clone());
                    if let Err(message) = self.draft.set_of_group(group, &entry.key, value) {
                        self.error(message, entry.value.span, "");
                    }
                }
                "children" => self.child(group, name, entry),
                _ => self.hosts(group, entry),
            }
        }
    }

    fn unknown(&mut self, group: &str, section: &Entry) {
        let key = &section.key;
        let label = format!("in group `{group}`");
        let diagnostic = match similar_name(key, KEYS) {
            Some(similar) => Diagnostic::error(Code::INVENTORY, format!("unknown key `{key}` of a group"))
                .at(section.key_span, label)
                .fix("there is one with a similar name", section.key_span, similar),
            None => Diagnostic::warning(Code::INVENTORY, format!("unknown key `{key}` of a group is left out"))
                .at(section.key_span, label),
        };
        self.push(
            diagnostic
                .note("a group has `hosts`, `children` and `vars`; a group inside a group stands under `children`"),
        );
    }

    fn child(&mut self, group: GroupId, name: &str, entry: &Entry) {
        let Some(child) = self.group(entry) else { return };
        if self.draft.child(group, child).is_err() {
            let label = format!("`{}` is above `{name}` already", entry.key);
            self.error(format!("group `{name}` would contain itself"), entry.key_span, label);
        }
    }

    fn hosts(&mut self, group: GroupId, entry: &Entry) {
        let (names, port) = match address::expand(&entry.key) {
            Ok(expanded) => expanded,
            Err(why) => return self.error(why, entry.key_span, "in this host range"),
        };
        if entry.key.is_empty() {
            return self.error("a host must have a name", entry.key_span, "");
        }
        if names.is_empty() {
            self.push(
                Diagnostic::warning(Code::INVENTORY, "this host range holds no host")
                    .at(entry.key_span, "ends before it begins"),
            );
        }
        let vars: Vec<(&str, Arc<Node>)> = match &entry.value.yaml {
            Yaml::Null => Vec::new(),
            Yaml::Map(vars) => vars
                .entries
                .iter()
                .map(|e| (e.key.as_str(), Arc::new(e.value.clone())))
                .collect(),
            _ => {
                self.push(
                    Diagnostic::error(
                        Code::INVENTORY,
                        format!("the variables of host `{}` must be a mapping", entry.key),
                    )
                    .at(entry.value.span, format!("this is {}", entry.value.kind())),
                );
                return;
            }
        };
        for name in &names {
            self.draft
                .host(name, group, port.map(|p| (p, entry.key_span)), self.origin);
            for (key, value) in &vars {
                if let Err(message) = self.draft.set(name, key, Arc::clone(value)) {
                    return self.error(message, value.span, "");
                }
            }
        }
    }
}
