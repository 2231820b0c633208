//! Roles: where they are found, what belongs to one, and what its tasks inherit.

use super::common;
use super::keywords::{self, Place};
use super::load::{Loader, Scope, directory, join, static_template};
use super::shape;
use crate::diagnostic::{Code, Diagnostic, Span, similar_name};
use crate::language::{Common, Entry, Item, Node, Play, Role, Yaml};
use std::sync::Arc;

type Variables = Vec<(String, Arc<Node>)>;

/// What a role is used with. A host runs equal uses once: Ansible compares the same things.
#[derive(PartialEq)]
struct Use {
    path: String,
    params: serde_json::Value,
    vars: serde_json::Value,
    when: serde_json::Value,
    tags: serde_json::Value,
}

/// The roles of a play while they are read.
struct Uses<'p> {
    play: &'p mut Play,
    /// Those that differ; their places here are [`Role::identity`].
    different: Vec<Use>,
    /// Paths of the roles whose dependencies are being read.
    stack: Vec<String>,
}

impl Loader<'_> {
    /// `roles:` of a play: their tasks go to the head of `play.tasks`, dependencies first.
    pub(super) fn play_roles(&mut self, node: &Node, scope: &Scope, play: &mut Play) {
        let mut uses = Uses {
            play,
            different: Vec::new(),
            stack: Vec::new(),
        };
        for entry in shape::list(node, "`roles`", &mut self.out) {
            self.role_use(entry, scope, None, &mut uses);
        }
    }

    /// One use of a role. `parent`: the role that depends on it.
    fn role_use(
        &mut self,
        node: &Node,
        scope: &Scope,
        parent: Option<&Arc<Role>>,
        uses: &mut Uses<'_>,
    ) -> Option<Arc<Role>> {
        let (name, mut own, params) = self.role_entry(node)?;
        let text = name.as_str().map(str::to_owned).unwrap_or_else(|| shape::plain(&name));
        if static_template(&name, "the name of a role", &mut self.out) {
            return None;
        }
        let near = parent.map(|role| directory(&role.path));
        let Some(path) = self.find_role(&text, near, scope) else {
            self.no_such_role(&text, name.span, near, scope);
            self.lost.some = true;
            return None;
        };
        let role_name = path.rsplit('/').next().unwrap_or(&text).to_owned();
        // A name stays as it is written; of a path the last part is the name.
        let role_name = if text.starts_with('/') || text.starts_with('.') {
            role_name
        } else {
            text
        };
        if uses.stack.contains(&path) {
            self.out.push(
                Diagnostic::error(Code::CONFLICT, format!("the role `{role_name}` depends on itself"))
                    .at(name.span, "goes round in a circle"),
            );
            return None;
        }

        let meta = self.role_meta(&path);
        let this = Use {
            path: path.clone(),
            params: pairs_value(&params),
            vars: pairs_value(&own.vars),
            when: own.when.iter().map(Node::to_value).collect(),
            tags: own.tags.iter().map(Node::to_value).collect(),
        };
        let known = uses.different.iter().position(|use_| *use_ == this);
        let identity = known.unwrap_or_else(|| {
            uses.different.push(this);
            uses.different.len() - 1
        });
        let mut all_params = parent.map(|p| p.params.clone()).unwrap_or_default();
        all_params.extend(params);

        let mut role = Role {
            name: role_name,
            path: path.clone(),
            defaults: self.role_variables(&path, "defaults"),
            vars: self.role_variables(&path, "vars"),
            given: std::mem::take(&mut own.vars),
            params: all_params,
            dependencies: Vec::new(),
            user: parent.cloned(),
            identity,
            duplicates: meta.allow_duplicates,
        };
        let mut inner = scope.inside(Arc::new(own));
        let shell = Arc::new(role.clone());
        uses.stack.push(path.clone());
        role.dependencies = meta
            .dependencies
            .iter()
            .filter_map(|dependency| self.role_use(dependency, &inner, Some(&shell), uses))
            .collect();
        uses.stack.pop();

        let role = Arc::new(role);
        uses.play.roles.push(role.clone());
        inner.role = Some(role.clone());
        for (part, handlers) in [("tasks", false), ("handlers", true)] {
            let Some(file) = self.role_file(&path, part) else {
                continue;
            };
            let scope = Scope {
                handlers,
                ..inner.clone()
            };
            let items = self.task_file(&file, &scope, name.span);
            if handlers {
                uses.play.handlers.extend(items);
            } else {
                uses.play.tasks.extend(items);
            }
        }
        uses.play.tasks.push(Item::RoleEnd(role.clone()));
        Some(role)
    }

    /// Name, keywords and parameters of an entry of `roles:`: `name`, or `{role: name, when: .., any: param}`.
    fn role_entry(&mut self, node: &Node) -> Option<(Node, Common, Variables)> {
        let Yaml::Map(mapping) = &node.yaml else {
            return match node.yaml {
                Yaml::Str(_) | Yaml::Int(_) => Some((node.clone(), Common::default(), Vec::new())),
                _ => {
                    self.out
                        .push(shape::wrong(node, "an entry of `roles`", "the name of a role"));
                    None
                }
            };
        };
        let mut own = Common::default();
        let mut params = Vec::new();
        for entry in &mapping.entries {
            // Whatever is no keyword is a parameter.
            if !keywords::known(&entry.key, Place::Role) {
                params.push((entry.key.clone(), Arc::new(entry.value.clone())));
            } else if keywords::check(entry, Place::Role, &mut self.out) {
                common::take(entry, &mut own, &mut self.out);
            }
        }
        let Some(name) = mapping
            .get("role")
            .or_else(|| mapping.get("name"))
            .filter(|n| n.as_str().is_some())
        else {
            self.out.push(
                Diagnostic::error(Code::SHAPE, "an entry of `roles` needs the name of a role")
                    .at(node.span, "expected `role: NAME`"),
            );
            return None;
        };
        Some((name.clone(), own, params))
    }

    fn role_directories(&self, near: Option<&str>, scope: &Scope) -> Vec<String> {
        let mut directories = vec![join(&scope.playbook_dir, "roles")];
        directories.extend(self.roles_path.iter().cloned());
        directories.extend(near.map(str::to_owned));
        directories.push(scope.playbook_dir.clone());
        let mut unique: Vec<String> = Vec::new();
        for directory in directories {
            if !unique.contains(&directory) {
                unique.push(directory);
            }
        }
        unique
    }

    fn find_role(&self, name: &str, near: Option<&str>, scope: &Scope) -> Option<String> {
        self.role_directories(near, scope)
            .iter()
            .map(|directory| join(directory, name))
            .chain([name.to_owned()])
            .find(|path| self.files.is_dir(path))
            .map(|path| path.trim_end_matches('/').to_owned())
    }

    fn no_such_role(&mut self, name: &str, span: Span, near: Option<&str>, scope: &Scope) {
        if name.split('.').count() == 3 {
            self.out.push(
                Diagnostic::error(Code::NOT_SUPPORTED, "roles of collections are not supported yet")
                    .at(span, "Ansible knows them, rmqplay does not"),
            );
            return;
        }
        let directories = self.role_directories(near, scope);
        let present: Vec<String> = directories
            .iter()
            // The playbook's own directory holds everything but roles.
            .filter(|directory| **directory != scope.playbook_dir)
            .filter_map(|directory| self.files.list(directory).ok())
            .flatten()
            .collect();
        let diagnostic = Diagnostic::error(Code::UNKNOWN_REFERENCE, format!("the role `{name}` was not found"))
            .at(span, "no such role");
        let searched: Vec<_> = directories
            .iter()
            .map(|d| {
                if d.is_empty() {
                    "`.`".to_owned()
                } else {
                    format!("`{d}`")
                }
            })
            .collect();
        let diagnostic = diagnostic.note(format!("searched in {}", searched.join(", ")));
        self.out
            .push(match similar_name(name, present.iter().map(String::as_str)) {
                Some(near) => diagnostic.fix("there is a role with a similar name", span, near),
                None => diagnostic,
            });
    }

    /// `<role>/<part>/main.yml`, or another of its names.
    fn role_file(&self, role: &str, part: &str) -> Option<String> {
        let base = join(role, part);
        ["main.yml", "main.yaml", "main.json", "main"]
            .iter()
            .map(|name| join(&base, name))
            .find(|path| self.files.exists(path) && !self.files.is_dir(path))
    }

    /// Variables of a role: one file, or all files of a directory `main`, later ones over earlier ones.
    fn role_variables(&mut self, role: &str, part: &str) -> Variables {
        let directory = join(&join(role, part), "main");
        let paths = match self.role_file(role, part) {
            Some(path) => vec![path],
            None if self.files.is_dir(&directory) => self.variable_files(&directory),
            None => Vec::new(),
        };
        let mut variables = Variables::new();
        for path in paths {
            let Some(document) = self.document(&path, None) else {
                continue;
            };
            if let Some(node) = &document.node {
                for (name, value) in shape::variables_of_file(node, &mut self.out) {
                    variables.retain(|(old, _)| *old != name);
                    variables.push((name, value));
                }
            }
        }
        variables
    }

    fn variable_files(&self, directory: &str) -> Vec<String> {
        let mut paths = Vec::new();
        for name in self.files.list(directory).unwrap_or_default() {
            let path = join(directory, &name);
            let extension = name.rsplit_once('.').map(|(_, extension)| extension);
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            match extension {
                None if self.files.is_dir(&path) => paths.extend(self.variable_files(&path)),
                None | Some("yml" | "yaml" | "json") if !self.files.is_dir(&path) => paths.push(path),
                _ => {}
            }
        }
        paths
    }

    fn role_meta(&mut self, role: &str) -> Meta {
        let mut meta = Meta::default();
        for name in ["argument_specs.yml", "argument_specs.yaml"] {
            let path = join(&join(role, "meta"), name);
            if self.files.exists(&path)
                && let Some(document) = self.document(&path, None)
            {
                self.out.push(argument_specs(Span::new(document.file, 0, 0)));
            }
        }
        let Some(path) = self.role_file(role, "meta") else {
            return meta;
        };
        let Some(document) = self.document(&path, None) else {
            return meta;
        };
        let Some(node) = document.node.as_ref().filter(|n| !n.is_null()) else {
            return meta;
        };
        let Some(mapping) = shape::mapping(node, "`meta/main.yml`", &mut self.out) else {
            return meta;
        };
        for entry in &mapping.entries {
            match entry.key.as_str() {
                "argument_specs" => self.out.push(argument_specs(entry.key_span)),
                "dependencies" => {
                    meta.dependencies = shape::list(&entry.value, "`dependencies`", &mut self.out)
                        .iter()
                        .map(requirement)
                        .collect();
                }
                "allow_duplicates" => {
                    let value = shape::boolean(&entry.value, "`allow_duplicates`", &mut self.out);
                    meta.allow_duplicates = value.is_some_and(|v| crate::modules::boolean(&v.to_value()) == Some(true));
                }
                _ => {
                    keywords::check(entry, Place::Meta, &mut self.out);
                }
            }
        }
        meta
    }
}

#[derive(Default)]
struct Meta {
    dependencies: Vec<Node>,
    allow_duplicates: bool,
}

/// A warning, not an error: the role does the same without the check, unless its parameters are wrong.
fn argument_specs(span: Span) -> Diagnostic {
    Diagnostic::warning(Code::NOT_SUPPORTED, "`argument_specs` of roles are not supported yet")
        .at(span, "the role's parameters are not checked")
}

/// `ansible-galaxy` keeps what it needs to fetch a role in the same list: `{src: .., version: .., name: ..}`.
fn requirement(node: &Node) -> Node {
    let Yaml::Map(mapping) = &node.yaml else {
        return node.clone();
    };
    if mapping.get("src").is_none() {
        return node.clone();
    }
    let mut mapping = mapping.clone();
    let source = mapping.get("src").cloned();
    mapping
        .entries
        .retain(|e| !matches!(e.key.as_str(), "src" | "version" | "scm"));
    if mapping.get("name").is_none()
        && mapping.get("role").is_none()
        && let Some(source) = source
    {
        mapping.entries.push(Entry {
            key: "role".to_owned(),
            key_span: source.span,
            value: source,
        });
    }
    Node::new(node.span, Yaml::Map(mapping))
}

fn pairs_value(pairs: &[(String, Arc<Node>)]) -> serde_json::Value {
    pairs.iter().map(|(k, v)| (k.clone(), v.to_value())).collect()
}
