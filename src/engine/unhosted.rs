//! PURE. What tasks would write into RabbitMQ's files, as far as it can be told without any host: from the variables
//! of plays, roles and the inventory. Facts and results of tasks are unknown; what depends on them is left open.

#![deny(clippy::disallowed_methods)]

use crate::diagnostic::{Code, Diagnostic, Span};
use crate::engine::control::{self, Effect};
use crate::engine::evaluate::{Evaluation, Trouble, item_scope, template_variables};
use crate::engine::host_run::scope;
use crate::engine::run::{Preview, Run, preview};
use crate::engine::vars::{Missing, Produced, TaskScope};
use crate::engine::walk::Pos;
use crate::language::{Item, Node, Play, Task, Yaml};
use crate::modules::{self, broker_file, template};
use crate::rabbitmq::Version;
use crate::rabbitmq::conf::{self, Setting};
use crate::template::imagine::{Imagined, Piece, Way};
use crate::template::{ErrorKind, FileOptions, Found, Scope, TemplateError};
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// What one task writes into one file on one host.
#[derive(Clone, Debug)]
pub struct Written {
    pub task: Arc<Task>,
    /// Empty: of any host, since none is known.
    pub host: String,
    pub dest: String,
    pub text: Text,
    /// The release it is for, where a variable or an argument says so.
    pub version: Option<Version>,
    pub extra_keys: Vec<String>,
    /// The task's conditions hold; otherwise only a host can tell.
    pub certain: bool,
    /// `no_log`: what is written is not shown.
    pub secret: bool,
    /// The variables that were read for it.
    pub read: Vec<(String, Arc<Node>)>,
}

#[derive(Clone, Debug)]
pub enum Text {
    Rendered(Imagined),
    /// `rabbitmq_conf`'s values, those of the profile not among them.
    Settings {
        settings: Vec<Setting>,
        profile: Option<(String, Span)>,
        /// Values that are not known, and why.
        unknown: Vec<String>,
        /// Values that cannot be written at all.
        wrong: Vec<Diagnostic>,
        /// Some keys are not known.
        open: bool,
    },
}

/// Something that could not be told, and why.
#[derive(Clone, Debug)]
pub struct Untold {
    pub task: Arc<Task>,
    pub host: String,
    pub why: String,
}

#[derive(Debug, Default)]
pub struct Telling {
    pub written: Vec<Written>,
    pub untold: Vec<Untold>,
    /// Templates that cannot be parsed.
    pub wrong: Vec<Diagnostic>,
    /// Plays that could not be looked at: their own mistakes.
    pub plays: Vec<Diagnostic>,
}

/// A file of tasks may include itself, under a condition that only a host decides; a variable may be in itself.
const DEEPEST: usize = 6;
/// Variables that are known to say which release a host runs.
const RELEASE: [&str; 2] = ["rabbitmq_version", "rabbitmq_series"];
/// What only an inventory tells.
const OF_INVENTORY: [&str; 10] = [
    "groups",
    "group_names",
    "hostvars",
    "inventory_hostname",
    "inventory_hostname_short",
    "inventory_dir",
    "inventory_file",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_batch",
];

/// All that the tasks of the program write, `version` taken for the hosts' where their variables cannot say.
pub fn written(run: &Run, version: Option<Version>) -> Telling {
    let mut found = Telling::default();
    let wanted: Vec<bool> = run.program.plays.iter().map(|p| !writers(p).is_empty()).collect();
    let (previews, plays) = preview(run, &wanted);
    found.plays = plays;
    let produced = results(&run.program.plays);
    for preview in previews {
        let writers = writers(&preview.play.play);
        let mut looker = Looker {
            run,
            preview: &preview,
            version,
            included: HashMap::new(),
            depth: 0,
            found: &mut found,
        };
        for host in &preview.hosts {
            let mut produced = produced.clone();
            if host.name.is_empty() {
                for name in OF_INVENTORY {
                    produced.set(name, Err("no inventory says so".to_owned().into()));
                }
            }
            for (name, value) in produced.values.iter() {
                preview.board.publish(&host.name, &Pos::default(), name, value);
            }
            for task in &writers {
                let mut scope = scope(
                    host,
                    &preview.play,
                    produced.clone(),
                    &Pos::default(),
                    Some(task),
                    &preview.board,
                );
                if host.name.is_empty() {
                    scope.hostvars = None;
                }
                looker.task(task, scope, &host.name);
            }
        }
    }
    found
}

/// The tasks that may write such a file, or bring others that do.
fn writers(play: &Play) -> Vec<Arc<Task>> {
    let mut out = Vec::new();
    let sections = play.sections();
    sections.into_iter().for_each(|items| collect(items, &mut out));
    out
}

fn collect(items: &[Item], out: &mut Vec<Arc<Task>>) {
    for item in items {
        match item {
            Item::Task(task) if writes(task) => out.push(task.clone()),
            Item::Task(_) | Item::RoleEnd(_) => {}
            Item::Block(block) => {
                for part in [&block.block, &block.rescue, &block.always] {
                    collect(part, out);
                }
            }
        }
    }
}

fn writes(task: &Task) -> bool {
    match task.module {
        "rabbitmq_conf" | "include_tasks" => true,
        "template" | "copy" => argument(task, "dest").is_some_and(|dest| {
            dest.is_template()
                || dest
                    .as_str()
                    .is_some_and(|d| d.ends_with('/') || broker_file::is_one(d))
        }),
        _ => false,
    }
}

fn argument<'t>(task: &'t Task, name: &str) -> Option<&'t Node> {
    task.args.as_map()?.get(name)
}

/// The names that tasks give values to while a play runs.
fn results(plays: &[Arc<Play>]) -> Produced {
    fn names(items: &[Item], out: &mut BTreeSet<String>) {
        for item in items {
            match item {
                Item::Task(task) => {
                    out.extend(task.register.clone());
                    if let (true, Some(map)) = (task.module == "set_fact", task.args.as_map()) {
                        out.extend(map.keys().map(str::to_owned));
                    }
                }
                Item::Block(block) => [&block.block, &block.rescue, &block.always]
                    .into_iter()
                    .for_each(|part| names(part, out)),
                Item::RoleEnd(_) => {}
            }
        }
    }
    let mut out = BTreeSet::new();
    for play in plays {
        for items in play.sections() {
            names(items, &mut out);
        }
    }
    let mut produced = Produced::default();
    for name in out {
        produced.set(&name, Err(Missing::from("a task of the play tells it".to_owned())));
    }
    produced
}

/// Tells which variables an evaluation reads.
#[derive(Debug)]
struct Watched {
    base: Arc<TaskScope>,
    read: Mutex<IndexMap<String, Arc<Node>>>,
}

impl Scope for Watched {
    fn lookup(&self, name: &str) -> Found {
        let found = self.base.lookup(name);
        if let Found::Trusted(node) = &found {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if !read.contains_key(name) {
                read.insert(name.to_owned(), node.clone());
            }
        }
        found
    }

    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn defined_at(&self, name: &str) -> Option<Span> {
        self.base.defined_at(name)
    }
}

/// Why a text cannot be had.
enum Why {
    Open(String),
    Wrong(Box<Diagnostic>),
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Why::Open(why)
    }
}

impl From<TemplateError> for Why {
    fn from(error: TemplateError) -> Self {
        match error.kind {
            ErrorKind::Syntax => Why::Wrong(error.diagnostic),
            _ => Why::Open(error.message),
        }
    }
}

struct Looker<'a> {
    run: &'a Run,
    preview: &'a Preview,
    version: Option<Version>,
    /// Tasks by the include that brings them and its file.
    included: HashMap<(usize, String), Vec<Arc<Task>>>,
    /// How many includes stand around.
    depth: usize,
    found: &'a mut Telling,
}

fn why(trouble: Trouble) -> String {
    match trouble {
        Trouble::NotYet(what) => what,
        Trouble::Wrong(diagnostic) => diagnostic.message,
    }
}

impl Looker<'_> {
    fn untold(&mut self, task: &Arc<Task>, host: &str, why: impl Into<String>) {
        self.found.untold.push(Untold {
            task: task.clone(),
            host: host.to_owned(),
            why: why.into(),
        });
    }

    fn evaluation(&self, scope: &Arc<TaskScope>) -> Evaluation<'_> {
        Evaluation {
            play: &self.preview.play,
            scope: scope.clone(),
            handler: false,
        }
    }

    fn task(&mut self, task: &Arc<Task>, mut scope: TaskScope, host: &str) {
        self.release(&mut scope);
        let scope = Arc::new(scope);
        let items = match self.evaluation(&scope).items(task) {
            Ok(None) => return self.item(task, &scope, host),
            Ok(Some(items)) => items,
            Err(trouble) => {
                let name = task.loop_.as_ref().and_then(|l| l.loop_var.clone());
                let mut scope = (*scope).clone();
                let missing = Missing::from(why(trouble));
                scope.produced.set(name.as_deref().unwrap_or("item"), Err(missing));
                return self.item(task, &Arc::new(scope), host);
            }
        };
        for index in 0..items.len() {
            self.item(task, &item_scope(&scope, task, &items, index), host);
        }
    }

    /// A release that only facts tell is the one that was asked for.
    fn release(&self, scope: &mut TaskScope) {
        let Some(version) = self.version else { return };
        for name in RELEASE {
            let open = match scope.lookup(name) {
                Found::Trusted(node) => {
                    let evaluation = self.evaluation(&Arc::new(scope.clone()));
                    matches!(evaluation.resolve(&node), Err(Trouble::NotYet(_)))
                }
                found => matches!(found, Found::Unknown(_)),
            };
            if open {
                let value = Value::from(format!("{}.{}", version.major, version.minor));
                scope.produced.set(name, Ok(Arc::new(value)));
            }
        }
    }

    fn item(&mut self, task: &Arc<Task>, scope: &Arc<TaskScope>, host: &str) {
        let evaluation = self.evaluation(scope);
        let mut certain = true;
        for condition in task.chain.iter().flat_map(|c| &c.when) {
            match evaluation.condition(condition) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => certain = false,
            }
        }
        if task.module == "include_tasks" {
            return self.include(task, scope, host);
        }
        let watched = Arc::new(Watched {
            base: scope.clone(),
            read: Mutex::default(),
        });
        let told = match task.module {
            "rabbitmq_conf" => self.rabbitmq_conf(task, &evaluation, &watched),
            _ => self.file(task, &evaluation, &watched),
        };
        let (dest, text) = match told {
            Ok(Some(told)) => told,
            Ok(None) => return,
            Err(Why::Open(why)) => return self.untold(task, host, why),
            Err(Why::Wrong(diagnostic)) => {
                let used = diagnostic.related("the template is used by this task", task.module_span, "");
                return self.found.wrong.push(used);
            }
        };
        let version = self.named_version(task, &evaluation);
        let extra_keys = match argument(task, "extra_keys").map(|n| evaluation.resolve(n)) {
            Some(Ok(Some(Value::Array(items)))) => items.iter().map(modules::plain).collect(),
            Some(Ok(Some(Value::String(text)))) => text.split(',').map(|t| t.trim().to_owned()).collect(),
            _ => Vec::new(),
        };
        let secret = evaluation.flag(task, "no_log", |c| c.no_log.as_ref());
        let unknown: BTreeSet<String> = match &text {
            Text::Rendered(imagined) => imagined.ways.iter().flat_map(|w| w.unknown.clone()).collect(),
            Text::Settings { unknown, .. } => unknown.iter().cloned().collect(),
        };
        for why in unknown {
            self.untold(task, host, why);
        }
        let read = watched.read.lock().unwrap_or_else(PoisonError::into_inner);
        let written = Written {
            task: task.clone(),
            host: host.to_owned(),
            dest,
            text,
            version,
            extra_keys,
            certain,
            secret: !matches!(secret, Ok(None | Some(false))),
            read: read.iter().map(|(name, node)| (name.clone(), node.clone())).collect(),
        };
        self.found.written.push(written);
    }

    fn include(&mut self, task: &Arc<Task>, scope: &Arc<TaskScope>, host: &str) {
        let evaluation = self.evaluation(scope);
        let file = ["_raw_params", "file"].iter().find_map(|name| argument(task, name));
        let key = match file.map(|node| evaluation.text(node)) {
            Some(Ok(file)) => (Arc::as_ptr(task) as usize, file),
            Some(Err(trouble)) => return self.untold(task, host, why(trouble)),
            None => return,
        };
        let known = self.included.get(&key).filter(|_| task.loop_.is_none()).cloned();
        let tasks = match known {
            Some(tasks) => tasks,
            None => match control::run(&evaluation, task).map(|outcome| outcome.after) {
                Ok(Some(Effect::Insert(items))) => {
                    let mut tasks = Vec::new();
                    collect(&items, &mut tasks);
                    self.included.insert(key, tasks.clone());
                    tasks
                }
                Ok(_) => return,
                Err(trouble) => return self.untold(task, host, why(trouble)),
            },
        };
        if self.depth == DEEPEST {
            return self.untold(task, host, "includes nest too deep");
        }
        self.depth += 1;
        for inner in tasks {
            let play = &self.preview.play;
            let produced = scope.produced.clone();
            let board = &self.preview.board;
            let fresh = self::scope(&scope.host, play, produced, &Pos::default(), Some(&inner), board);
            let hostvars = scope.hostvars.clone();
            self.task(&inner, TaskScope { hostvars, ..fresh }, host);
        }
        self.depth -= 1;
    }

    fn named_version(&self, task: &Task, evaluation: &Evaluation<'_>) -> Option<Version> {
        let argument = argument(task, "version").filter(|_| task.module == "rabbitmq_conf");
        let argument = argument.and_then(|node| evaluation.text(node).ok());
        let variables = RELEASE
            .into_iter()
            .filter_map(|name| match evaluation.scope.lookup(name) {
                Found::Trusted(node) => evaluation.text(&node).ok(),
                Found::Data(value) => Some(modules::plain(&value)),
                _ => None,
            });
        let named = argument.into_iter().chain(variables);
        // `3.10` without quotes is the number 3.1: no release anybody means.
        named
            .filter_map(|text| conf::release(&text).ok())
            .find(|v| *v >= Version::new(3, 7, 0))
    }

    /// `template` and `copy`.
    fn file(
        &self,
        task: &Arc<Task>,
        evaluation: &Evaluation<'_>,
        watched: &Arc<Watched>,
    ) -> Result<Option<(String, Text)>, Why> {
        let Some(dest) = argument(task, "dest") else {
            return Ok(None);
        };
        let mut dest = evaluation.text(dest).map_err(why)?;
        let src = argument(task, "src").map(|node| evaluation.text(node)).transpose();
        if dest.ends_with('/') {
            let src = src.as_ref().map_err(|t| why(t.clone()))?;
            let name = src.as_deref().map(|s| s.rsplit('/').next().unwrap_or(s));
            dest.push_str(name.unwrap_or_default());
        }
        if !broker_file::is_one(&dest) {
            return Ok(None);
        }
        let text = match (argument(task, "content"), src.map_err(why)?) {
            (Some(content), _) => self.content(content, watched)?,
            (None, Some(src)) if task.module == "template" => {
                let arguments = evaluation.known_arguments(task);
                let spec = modules::find(task.module).ok_or_else(|| "no such module".to_owned())?;
                let args = evaluation.coerce(task, spec, &arguments).map_err(why)?;
                let options = template::options(&args).map_err(|e| e.message)?;
                self.template(task, evaluation, watched, &src, &options, &dest)?
            }
            (None, Some(src)) => {
                let path = evaluation.find(task, "files", &src).map_err(|e| e.message)?;
                let text = self.read(&path)?;
                let from = self.run.shared.sources.add(self.shown(&path), text.as_str());
                Imagined {
                    ways: vec![Way {
                        pieces: vec![Piece {
                            start: 0,
                            end: text.len(),
                            from: Span::new(from, 0, text.len()),
                            verbatim: true,
                        }],
                        text,
                        ..Way::default()
                    }],
                    complete: true,
                }
            }
            (None, None) => return Ok(None),
        };
        Ok(Some((dest, Text::Rendered(text))))
    }

    /// A path below the working directory as one would write it there: `playbook_dir` makes absolute ones.
    fn shown(&self, path: &str) -> String {
        let files = &self.run.shared.files;
        let whole = files.absolute(path);
        let here = files.absolute(".");
        let inside = whole.strip_prefix(&here).and_then(|p| p.strip_prefix('/'));
        inside.map_or_else(|| path.to_owned(), str::to_owned)
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let bytes = self.run.shared.files.read(path);
        let bytes = bytes.map_err(|e| format!("`{path}` cannot be read: {e}"))?;
        String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8"))
    }

    fn content(&self, node: &Node, watched: &Arc<Watched>) -> Result<Imagined, Why> {
        let scope: Arc<dyn Scope> = watched.clone();
        Ok(self.run.shared.templar.imagine_text(node, &scope)?)
    }

    fn template(
        &self,
        task: &Task,
        evaluation: &Evaluation<'_>,
        watched: &Arc<Watched>,
        src: &str,
        options: &FileOptions,
        dest: &str,
    ) -> Result<Imagined, Why> {
        let path = evaluation.find(task, "templates", src).map_err(|e| e.message)?;
        let text = self.read(&path)?;
        let values = template_variables(evaluation, &path, dest);
        let values = values.map(|(name, value)| (name.to_owned(), Found::Data(Arc::new(Value::from(value)))));
        let scope: Arc<dyn Scope> = Arc::new(crate::template::Overlay {
            base: watched.clone(),
            values: values.into_iter().collect(),
        });
        let search = &evaluation.scope.search();
        let path = self.shown(&path);
        let templar = &self.run.shared.templar;
        Ok(templar.imagine_file(&path, &text, options, search, &scope)?)
    }

    fn rabbitmq_conf(
        &self,
        task: &Arc<Task>,
        evaluation: &Evaluation<'_>,
        watched: &Arc<Watched>,
    ) -> Result<Option<(String, Text)>, Why> {
        let text = |name: &str| argument(task, name).map(|node| evaluation.text(node)).transpose();
        let dest = broker_file::conf_path(text("conf_d").map_err(why)?.as_deref());
        if let Some(src) = text("src").map_err(why)? {
            let text = self.template(task, evaluation, watched, &src, &FileOptions::default(), &dest)?;
            return Ok(Some((dest, Text::Rendered(text))));
        }
        if let Some(content) = argument(task, "content") {
            return Ok(Some((dest, Text::Rendered(self.content(content, watched)?))));
        }
        let mut settings = Vec::new();
        let (mut open, mut unknown, mut wrong) = (false, Vec::new(), Vec::new());
        if let Some(values) = argument(task, "values") {
            let scope: Arc<dyn Scope> = watched.clone();
            let mut tree = Tree {
                depth: 0,
                looker: self,
                scope: &scope,
                out: &mut settings,
                wrong: &mut wrong,
                open: &mut open,
                unknown: &mut unknown,
            };
            tree.node(values, String::new(), values.span);
        }
        let profile = match text("profile") {
            Ok(name) => name.zip(argument(task, "profile").map(|n| n.span)),
            Err(trouble) => {
                open = true;
                unknown.push(why(trouble));
                None
            }
        };
        let text = Text::Settings {
            settings,
            profile,
            unknown,
            wrong,
            open,
        };
        Ok(Some((dest, text)))
    }
}

/// Settings out of a tree of values.
struct Tree<'a> {
    /// How many variables stand around.
    depth: usize,
    looker: &'a Looker<'a>,
    scope: &'a Arc<dyn Scope>,
    out: &'a mut Vec<Setting>,
    wrong: &'a mut Vec<Diagnostic>,
    open: &'a mut bool,
    unknown: &'a mut Vec<String>,
}

fn below(key: &str, name: &str) -> String {
    if key.is_empty() {
        name.to_owned()
    } else {
        format!("{key}.{name}")
    }
}

impl Tree<'_> {
    /// The mapping or list that `{{ name }}` stands for, as it is written: some of it may be known where not all is.
    fn named(&self, node: &Node) -> Option<Arc<Node>> {
        let name = node.as_str()?.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
        match self.scope.lookup(name) {
            Found::Trusted(tree) if matches!(tree.yaml, Yaml::Map(_) | Yaml::Seq(_)) => Some(tree),
            _ => None,
        }
    }

    fn node(&mut self, node: &Node, key: String, key_span: Span) {
        // One that is in itself is told where it is evaluated.
        if self.depth < DEEPEST
            && let Some(tree) = self.named(node)
        {
            self.depth += 1;
            self.node(&tree, key, key_span);
            self.depth -= 1;
            return;
        }
        match &node.yaml {
            Yaml::Map(map) => {
                for entry in &map.entries {
                    self.node(&entry.value, below(&key, &entry.key), entry.key_span);
                }
            }
            Yaml::Seq(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.node(item, below(&key, &(i + 1).to_string()), item.span);
                }
            }
            _ if node.is_template() => match self.looker.run.shared.templar.resolve(node, self.scope) {
                Ok(Some(value)) => self.value(&value, key, key_span, node.span),
                Ok(None) => {}
                Err(error) => {
                    self.unknown.push(error.message);
                    // Otherwise it may be a tree of settings.
                    if conf::schema::find(&key).is_some() {
                        self.out.push(Setting {
                            key,
                            key_span,
                            value: None,
                            value_span: node.span,
                        });
                    } else {
                        *self.open = true;
                    }
                }
            },
            _ => self.value(&node.to_value(), key, key_span, node.span),
        }
    }

    fn value(&mut self, value: &Value, key: String, key_span: Span, value_span: Span) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    self.value(value, below(&key, name), value_span, value_span);
                }
            }
            Value::Array(items) => {
                for (i, value) in items.iter().enumerate() {
                    self.value(value, below(&key, &(i + 1).to_string()), value_span, value_span);
                }
            }
            _ if key.is_empty() => {}
            Value::Null => {}
            value => {
                let value = match conf::write::scalar(&key, value) {
                    Ok(value) => Some(value),
                    Err(error) => {
                        let message = format!("`{key}` cannot be written: {}", error.why);
                        let found = Diagnostic::error(Code::CONF_VALUE, message).at(value_span, "");
                        self.wrong.push(found);
                        None
                    }
                };
                self.out.push(Setting {
                    key,
                    key_span,
                    value,
                    value_span,
                });
            }
        }
    }
}
