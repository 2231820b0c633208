//! Files to a [`Program`]: what is read once, where things are searched, and the entry points.

use super::keywords::{self, Place};
use super::notify::Lost;
use super::shape::{self, Out};
use super::{Files, Item, Node, Play, Program, Task, Yaml, yaml};
use crate::diagnostic::{Code, Diagnostic, FileId, SourceMap, Span};
use crate::language::{Common, Role};
use crate::modules::ModuleSpec;
use std::collections::HashMap;
use std::sync::Arc;

/// The modules a program may use.
#[derive(Clone, Copy)]
pub struct Modules {
    pub find: fn(&str) -> Option<&'static ModuleSpec>,
    pub all: fn() -> &'static [&'static ModuleSpec],
}

pub const REGISTERED: Modules = Modules {
    find: crate::modules::find,
    all: || crate::modules::REGISTRY,
};

/// Reads playbooks with everything that is static in them: roles, `import_tasks`, `import_playbook`. `roles_path`:
/// directories searched for roles besides `roles/` beside the playbook. All mistakes of all files are reported;
/// with an error among them the program must not be run.
pub fn load(
    paths: &[String],
    files: &dyn Files,
    sources: &SourceMap,
    roles_path: &[String],
) -> (Program, Vec<Diagnostic>) {
    load_with(REGISTERED, paths, files, sources, roles_path)
}

pub(super) fn load_with(
    modules: Modules,
    paths: &[String],
    files: &dyn Files,
    sources: &SourceMap,
    roles_path: &[String],
) -> (Program, Vec<Diagnostic>) {
    let mut loader = Loader::new(modules, files, sources, roles_path);
    let mut program = Program::default();
    for path in paths {
        program.starts.push(program.plays.len());
        program.plays.extend(loader.playbook(path, None, &mut Vec::new()));
    }
    let mut diagnostics = loader.out;
    crate::diagnostic::tidy(sources, &mut diagnostics);
    (program, diagnostics)
}

/// An `include_tasks` whose turn has come.
pub struct Include<'a> {
    /// The file as the task names it, templates evaluated.
    pub path: &'a str,
    /// The task that includes, as it was loaded.
    pub parent: &'a Task,
    pub play: &'a Play,
    /// The task is a handler.
    pub handler: bool,
    /// The variables of the include's loop. Give data as `raw` strings, or it would be read as templates.
    pub vars: Vec<(String, Arc<Node>)>,
}

/// The tasks an `include_tasks` brings in. Reads the file anew each time: where many hosts include the same, keep
/// the result. Of the include's own keywords they inherit `vars` and what stands under
/// `apply:`, nothing else; of what surrounds it, all.
pub fn load_included(
    include: Include<'_>,
    files: &dyn Files,
    sources: &SourceMap,
    roles_path: &[String],
) -> (Vec<Item>, Vec<Diagnostic>) {
    load_included_with(REGISTERED, include, files, sources, roles_path)
}

pub(super) fn load_included_with(
    modules: Modules,
    include: Include<'_>,
    files: &dyn Files,
    sources: &SourceMap,
    roles_path: &[String],
) -> (Vec<Item>, Vec<Diagnostic>) {
    let mut loader = Loader::new(modules, files, sources, roles_path);
    let parent = include.parent;
    let mut chain = parent.chain.clone();
    let own = chain.pop();
    let mut vars = own.map(|c| c.vars.clone()).unwrap_or_default();
    vars.extend(include.vars);
    chain.push(Arc::new(Common {
        vars,
        params: true,
        ..Common::default()
    }));
    if let Some(apply) = parent.args.as_map().and_then(|args| args.get("apply"))
        && let Some(mapping) = shape::mapping(apply, "`apply`", &mut loader.out)
    {
        let (common, rest) = super::common::split(mapping, Place::Block, &mut loader.out);
        for entry in rest {
            loader.out.push(keywords::not_supported(
                entry,
                &format!("`{}` under `apply`", entry.key),
            ));
        }
        chain.push(Arc::new(common));
    }
    let scope = Scope {
        chain,
        role: parent.role.clone(),
        file: parent.file.clone(),
        playbook_dir: directory(&include.play.path).to_owned(),
        handlers: include.handler,
        notify: Vec::new(),
        includes: Vec::new(),
    };
    let items = match loader.find_tasks(include.path, &scope) {
        Some(path) => loader.task_file(&path, &scope, parent.module_span),
        None => {
            let span = parent.module_span;
            loader.out.push(no_such_tasks(include.path, &scope, span));
            Vec::new()
        }
    };
    super::notify::check(include.play, &loader.lost, &items, &mut loader.out);
    let mut diagnostics = loader.out;
    crate::diagnostic::tidy(sources, &mut diagnostics);
    (items, diagnostics)
}

/// An `import_playbook` around a play: the file it stands in, and its `vars`, `tags` and `when`.
pub(super) struct Around {
    pub path: String,
    pub common: Common,
}

/// Where tasks are being read: what they inherit and what paths are relative to.
#[derive(Clone)]
pub(super) struct Scope {
    pub chain: Vec<Arc<Common>>,
    pub role: Option<Arc<Role>>,
    pub file: String,
    pub playbook_dir: String,
    pub handlers: bool,
    /// `notify` of the blocks around.
    pub notify: Vec<Node>,
    /// Files of static imports around, against going in circles.
    pub includes: Vec<String>,
}

impl Scope {
    pub fn inside(&self, common: Arc<Common>) -> Scope {
        let mut scope = self.clone();
        scope.chain.push(common);
        scope
    }
}

pub(super) struct Loader<'a> {
    pub modules: Modules,
    pub files: &'a dyn Files,
    pub sources: &'a SourceMap,
    pub roles_path: &'a [String],
    pub out: Vec<Diagnostic>,
    /// Of the play that is being read.
    pub lost: Lost,
    /// Files already read; a role used twice is parsed once.
    read: HashMap<String, Option<Arc<Document>>>,
}

/// The first document of a file. `None` in `node`: the file is empty.
pub(super) struct Document {
    pub file: FileId,
    pub node: Option<Node>,
}

impl<'a> Loader<'a> {
    pub fn new(modules: Modules, files: &'a dyn Files, sources: &'a SourceMap, roles_path: &'a [String]) -> Self {
        Loader {
            modules,
            files,
            sources,
            roles_path,
            out: Vec::new(),
            lost: Lost::default(),
            read: HashMap::new(),
        }
    }

    /// A YAML file; `None` (and a complaint, at `from` where something refers to it) if it cannot be read.
    pub fn document(&mut self, path: &str, from: Option<Span>) -> Option<Arc<Document>> {
        if let Some(document) = self.read.get(path) {
            return document.clone();
        }
        let document = self.read_document(path, from).map(Arc::new);
        self.read.insert(path.to_owned(), document.clone());
        document
    }

    fn read_document(&mut self, path: &str, from: Option<Span>) -> Option<Document> {
        let refused = |message: String| {
            let diagnostic = Diagnostic::error(Code::FILE, message);
            match from {
                Some(span) => diagnostic.at(span, "named here"),
                None => diagnostic,
            }
        };
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.out
                    .push(refused(format!("cannot read `{path}`: {}", reason(&error))));
                return None;
            }
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                self.out
                    .push(refused(format!("`{path}` is not UTF-8 text (byte {at})")));
                return None;
            }
        };
        let vault = text.starts_with("$ANSIBLE_VAULT;");
        let file = self.sources.add(path, text);
        if vault {
            self.out.push(
                Diagnostic::error(Code::NOT_SUPPORTED, "files encrypted with vault are not supported yet")
                    .at(Span::new(file, 0, "$ANSIBLE_VAULT".len()), ""),
            );
            return None;
        }
        let (mut documents, diagnostics) = yaml::parse(self.sources, file);
        let broken = diagnostics.iter().any(|d| d.code == Code::YAML_SYNTAX);
        self.out.extend(diagnostics);
        if broken {
            return None;
        }
        if let Some(second) = documents.get(1) {
            self.out.push(
                Diagnostic::error(Code::SHAPE, "the file has more than one YAML document")
                    .at(
                        Span::new(file, second.span.start as usize, second.span.start as usize),
                        "the second begins here",
                    )
                    .help("keep one per file"),
            );
        }
        documents.truncate(1);
        Some(Document {
            file,
            node: documents.pop(),
        })
    }

    /// The plays of a playbook file, those it imports included.
    pub fn playbook(&mut self, path: &str, from: Option<Span>, around: &mut Vec<Around>) -> Vec<Arc<Play>> {
        let Some(document) = self.document(path, from) else {
            return Vec::new();
        };
        let start = Span::new(document.file, 0, 0);
        let empty = |node: &Node| node.is_null() || matches!(&node.yaml, Yaml::Seq(items) if items.is_empty());
        let Some(node) = document.node.as_ref().filter(|node| !empty(node)) else {
            self.out
                .push(Diagnostic::error(Code::SHAPE, "the playbook is empty").at(start, "expected a list of plays"));
            return Vec::new();
        };
        let Yaml::Seq(items) = &node.yaml else {
            self.out.push(
                Diagnostic::error(
                    Code::SHAPE,
                    format!("a playbook must be a list of plays, not {}", node.kind()),
                )
                .at(
                    Span {
                        end: node.span.start,
                        ..node.span
                    },
                    "expected `- hosts: ...`",
                ),
            );
            return Vec::new();
        };
        let mut plays = Vec::new();
        for item in items {
            let Some(mapping) = shape::mapping(item, "a play", &mut self.out) else {
                continue;
            };
            let import = mapping.entries.iter().find(|e| short(&e.key) == "import_playbook");
            match import {
                Some(import) => plays.extend(self.import_playbook(path, mapping, import, around)),
                None => plays.extend(self.play(path, item, mapping, around).map(Arc::new)),
            }
        }
        plays
    }

    fn import_playbook(
        &mut self,
        path: &str,
        mapping: &super::Mapping,
        import: &super::Entry,
        around: &mut Vec<Around>,
    ) -> Vec<Arc<Play>> {
        let mut common = Common::default();
        for entry in mapping.entries.iter().filter(|e| e.key != import.key) {
            if keywords::check(entry, Place::Playbook, &mut self.out) && entry.key != "name" {
                super::common::take(entry, &mut common, &mut self.out);
            }
        }
        let Some(name) = import.value.as_str() else {
            self.out
                .push(shape::wrong(&import.value, "`import_playbook`", "a path"));
            return Vec::new();
        };
        if static_template(&import.value, "`import_playbook`", &mut self.out) {
            return Vec::new();
        }
        let target = join(directory(path), name);
        let absolute = self.files.absolute(&target);
        if absolute == self.files.absolute(path) || around.iter().any(|a| a.path == absolute) {
            self.out.push(
                Diagnostic::error(Code::CONFLICT, format!("the playbook `{name}` imports itself"))
                    .at(import.value.span, "goes round in a circle"),
            );
            return Vec::new();
        }
        around.push(Around {
            path: self.files.absolute(path),
            common,
        });
        let plays = self.playbook(&target, Some(import.value.span), around);
        around.pop();
        plays
    }

    /// Where a file of tasks is: beside the file that names it, then in the role, then beside the playbook.
    pub fn find_tasks(&self, name: &str, scope: &Scope) -> Option<String> {
        candidates(name, scope)
            .into_iter()
            .find(|path| self.files.exists(path) && !self.files.is_dir(path))
    }

    /// The tasks (or handlers) of a file.
    pub fn task_file(&mut self, path: &str, scope: &Scope, from: Span) -> Vec<Item> {
        let Some(document) = self.document(path, Some(from)) else {
            self.lost.some |= scope.handlers;
            return Vec::new();
        };
        let mut scope = scope.clone();
        scope.file = path.to_owned();
        scope.includes.push(self.files.absolute(path));
        match &document.node {
            Some(node) => self.items(node, "a file of tasks", &scope),
            None => Vec::new(),
        }
    }
}

pub(super) fn candidates(name: &str, scope: &Scope) -> Vec<String> {
    let mut dirs = vec![directory(&scope.file).to_owned()];
    if let Some(role) = &scope.role {
        let sub = if scope.handlers { "handlers" } else { "tasks" };
        dirs.extend([join(&role.path, sub), join(&role.path, "tasks"), role.path.clone()]);
    }
    dirs.push(scope.playbook_dir.clone());
    let mut paths: Vec<String> = Vec::new();
    for dir in dirs {
        let path = join(&dir, name);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

pub(super) fn no_such_tasks(name: &str, scope: &Scope, span: Span) -> Diagnostic {
    let searched: Vec<_> = candidates(name, scope).into_iter().map(|p| format!("`{p}`")).collect();
    Diagnostic::error(Code::FILE, format!("there is no file `{name}`"))
        .at(span, "named here")
        .note(format!("searched: {}", searched.join(", ")))
}

/// Static imports happen before there are variables.
pub(super) fn static_template(node: &Node, what: &str, out: Out<'_>) -> bool {
    let template = node.is_template();
    if template {
        out.push(
            Diagnostic::error(
                Code::NOT_SUPPORTED,
                format!("a template in {what} is not supported yet"),
            )
            .at(node.span, "read before there are variables"),
        );
    }
    template
}

/// The name without Ansible's own collection.
pub(super) fn short(name: &str) -> &str {
    name.strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .unwrap_or(name)
}

/// The directory of a path as written; empty for a bare name.
pub(super) fn directory(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => "",
    }
}

pub(super) fn join(directory: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    match directory {
        _ if path.starts_with('/') => path.to_owned(),
        "" => path.to_owned(),
        "/" => format!("/{path}"),
        _ => format!("{}/{path}", directory.trim_end_matches('/')),
    }
}

/// An I/O error without its number.
fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}
