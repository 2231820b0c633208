//! PURE. What a module's `prepare` may ask of the engine: the controller's files, templates, variables.

#![deny(clippy::disallowed_methods)]

use super::{Evaluation, Trouble};
use crate::engine::event::Mode;
use crate::engine::search;
use crate::engine::trace::Source;
use crate::engine::vars::TaskScope;
use crate::language::{Files, Task};
use crate::modules::{ArgError, Prepare};
use crate::template::{FileOptions, Found, Outside, Scope};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A task's answers.
pub(super) struct Context<'a> {
    pub(super) evaluation: &'a Evaluation<'a>,
    pub(super) task: &'a Task,
    pub(super) environment: BTreeMap<String, String>,
}

impl Context<'_> {
    fn files(&self) -> &dyn Files {
        &*self.evaluation.shared().files
    }

    fn search(&self, kind: &str, src: &str) -> Result<String, ArgError> {
        let not_yet = |why| ArgError {
            unknown: Some(why),
            ..ArgError::default()
        };
        self.evaluation.scope.outside(Outside::Look).map_err(not_yet)?;
        self.evaluation.find(self.task, kind, src)
    }
}

impl Prepare for Context<'_> {
    fn file(&self, src: &str) -> Result<(String, Vec<u8>), ArgError> {
        let path = self.search("files", src)?;
        let bytes = search::read(self.files(), &path)?;
        Ok((path, bytes))
    }

    fn tree(&self, src: &str) -> Result<(String, Vec<String>), ArgError> {
        let root = self.search("files", src.trim_end_matches('/'))?;
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            let directory = if below.is_empty() {
                root.clone()
            } else {
                format!("{root}/{below}")
            };
            let names = self
                .files()
                .list(&directory)
                .map_err(|e| ArgError::new("src", format!("`{directory}` cannot be read: {e}")))?;
            if names.is_empty() && !below.is_empty() {
                found.push(format!("{below}/"));
            }
            for name in names {
                let relative = if below.is_empty() {
                    name
                } else {
                    format!("{below}/{name}")
                };
                if self.files().is_dir(&format!("{root}/{relative}")) {
                    open.push(relative);
                } else {
                    found.push(relative);
                }
            }
        }
        found.sort();
        Ok((root, found))
    }

    fn mode(&self, src: &str, template: bool) -> Result<u32, ArgError> {
        let path = self.search(if template { "templates" } else { "files" }, src)?;
        self.files()
            .mode(&path)
            .map_err(|e| ArgError::new("mode", format!("`{path}` cannot be looked at: {e}")))
    }

    fn template(&self, src: &str, options: &FileOptions, dest: &str) -> Result<Vec<u8>, ArgError> {
        let source = self.evaluation.template_source(self.task, src)?;
        self.evaluation.scope.trace.mark_source(source.clone());
        let Source { path, text, .. } = source;
        let shared = self.evaluation.shared();
        let mut local: HashMap<String, Arc<Value>> = (*self.evaluation.scope.local).clone();
        for (name, value) in template_variables(self.evaluation, &path, dest) {
            local.insert(name.to_owned(), Arc::new(Value::from(value)));
        }
        let scope: Arc<dyn Scope> = Arc::new(TaskScope {
            local: Arc::new(local),
            ..(*self.evaluation.scope).clone()
        });
        let search = self.evaluation.scope.search();
        shared
            .templar
            .file(&path, &text, options, &search, &scope)
            .map(String::into_bytes)
            .map_err(|error| match Trouble::from(error) {
                Trouble::NotYet(what) => ArgError {
                    unknown: Some(what),
                    ..ArgError::default()
                },
                Trouble::Wrong(diagnostic) => {
                    let diagnostic = diagnostic.related("the template is used by this task", self.task.module_span, "");
                    ArgError {
                        diagnostic: Some(Box::new(diagnostic)),
                        ..ArgError::default()
                    }
                }
            })
    }

    fn now(&self) -> &str {
        &self.evaluation.shared().now
    }

    fn check_mode(&self) -> bool {
        self.evaluation.shared().mode == Mode::Diff
    }

    fn environment(&self) -> BTreeMap<String, String> {
        self.environment.clone()
    }

    fn salt(&self, of: &str) -> [u8; 4] {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(format!("{}\0{of}", self.evaluation.shared().options.mask_key));
        [digest[0], digest[1], digest[2], digest[3]]
    }

    fn variable(&self, name: &str) -> Result<Option<Value>, ArgError> {
        match self.evaluation.scope.lookup(name) {
            Found::Missing | Found::Scope(_) => Ok(None),
            Found::Data(value) => Ok(Some((*value).clone())),
            Found::Unknown(what) => Err(ArgError {
                unknown: Some(what),
                ..ArgError::default()
            }),
            Found::Trusted(node) => self.evaluation.resolve(&node).map_err(|trouble| match trouble {
                Trouble::NotYet(what) => ArgError {
                    unknown: Some(what),
                    ..ArgError::default()
                },
                Trouble::Wrong(diagnostic) => ArgError {
                    diagnostic: Some(diagnostic),
                    ..ArgError::default()
                },
            }),
        }
    }
}

/// What a template can ask of itself.
pub fn template_variables(evaluation: &Evaluation<'_>, path: &str, dest: &str) -> [(&'static str, String); 4] {
    let shared = evaluation.shared();
    [
        ("template_path", path.to_owned()),
        ("template_fullpath", shared.files.absolute(path)),
        ("template_destpath", dest.to_owned()),
        ("template_run_date", shared.now.clone()),
    ]
}
