//! What several test programs share: a controller's disk in memory, and a run of a playbook on fake hosts.
#![allow(dead_code, reason = "each test program uses a part")]

use rmqplay::diagnostic::{Diagnostic, RenderOptions, SourceMap, render_human};
use rmqplay::engine::event::{Event, HostResult, Mode};
use rmqplay::engine::run::{Ended, Reach, Run};
use rmqplay::engine::shared::{RunOptions, Shared};
use rmqplay::inventory::{Inventory, Limit};
use rmqplay::language::{self, Files};
use rmqplay::template::{Settings, Templar};
use rmqplay::transport::Connector;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use tokio::sync::Notify;

/// Files by path; directories are what stands before a `/`.
#[derive(Default)]
pub struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    /// What files below `/live/` hold, and what `pipe` says, both by what comes after it.
    live: Option<Live>,
}

type Live = Box<dyn Fn(&str) -> String + Send + Sync>;

impl Memory {
    pub fn new(files: &[(&str, &str)]) -> Self {
        Memory {
            files: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect(),
            live: None,
        }
    }

    fn live(&self, about: &str) -> std::io::Result<Vec<u8>> {
        let live = self.live.as_ref().ok_or_else(|| Error::from(ErrorKind::Unsupported))?;
        Ok(live(about).into_bytes())
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        if let Some(about) = path.strip_prefix("/live/") {
            return self.live(about);
        }
        self.files
            .get(&self.absolute(path))
            .cloned()
            .ok_or_else(|| Error::from(ErrorKind::NotFound))
    }
    fn exists(&self, path: &str) -> bool {
        path.starts_with("/live/") || self.files.contains_key(&self.absolute(path)) || self.is_dir(path)
    }
    fn is_dir(&self, path: &str) -> bool {
        let prefix = format!("{}/", self.absolute(path));
        self.files.keys().any(|k| k.starts_with(&prefix))
    }
    fn list(&self, path: &str) -> std::io::Result<Vec<String>> {
        let prefix = format!("{}/", self.absolute(path));
        let below = self.files.keys().filter_map(|k| k.strip_prefix(&prefix));
        let names: BTreeSet<String> = below
            .filter_map(|rest| rest.split('/').next().map(str::to_owned))
            .collect();
        Ok(names.into_iter().collect())
    }
    fn absolute(&self, path: &str) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn pipe(&self, command: &str) -> std::io::Result<Vec<u8>> {
        self.live(command)
    }
    fn create(&self, _: &str, _: &[u8]) -> std::io::Result<()> {
        Err(Error::from(ErrorKind::Unsupported))
    }
}

/// A play to be run on fake hosts; `site.yml` is the playbook, `hosts` the inventory.
pub struct Story {
    pub files: Arc<Memory>,
    pub mode: Mode,
    pub forks: usize,
    pub options: RunOptions,
    pub limit: Option<String>,
    pub playbooks: Vec<String>,
    /// Interrupts the run, as Ctrl-C does.
    pub stop: Arc<Notify>,
}

/// What it came to.
pub struct Told {
    pub ended: Ended,
    pub events: Vec<Event>,
    pub sources: SourceMap,
}

impl Story {
    pub fn new(playbook: &str, hosts: &str) -> Story {
        Story::with(&[("site.yml", playbook), ("hosts", hosts)])
    }

    pub fn with(files: &[(&str, &str)]) -> Story {
        Story {
            files: Arc::new(Memory::new(files)),
            mode: Mode::Apply,
            forks: 50,
            options: RunOptions::default(),
            limit: None,
            playbooks: vec!["site.yml".to_owned()],
            stop: Arc::default(),
        }
    }

    /// What the controller's changing files and commands say.
    pub fn live(mut self, live: impl Fn(&str) -> String + Send + Sync + 'static) -> Story {
        let files = self.files.files.clone();
        self.files = Arc::new(Memory {
            files,
            live: Some(Box::new(live)),
        });
        self
    }

    pub fn mode(mut self, mode: Mode) -> Story {
        self.mode = mode;
        self
    }

    pub fn limit(mut self, limit: &str) -> Story {
        self.limit = Some(limit.to_owned());
        self
    }

    /// Runs it. Mistakes in playbook or inventory are a failed test.
    pub fn run(&self, connector: Arc<dyn Connector>) -> Told {
        let told = self.attempt(connector);
        assert!(told.ended.refused.is_empty(), "{}", told.refused());
        told
    }

    /// Runs it; the run may be refused before anything is touched.
    pub fn attempt(&self, connector: Arc<dyn Connector>) -> Told {
        let sources = SourceMap::default();
        let files: Arc<dyn Files> = self.files.clone();
        let (inventory, mut problems) = Inventory::load(&["hosts".to_owned()], &*files, &sources);
        let (program, more) = language::load(&self.playbooks, &*files, &sources, &[]);
        problems.extend(more);
        let problems: Vec<&Diagnostic> = problems.iter().filter(|d| d.is_error()).collect();
        assert!(problems.is_empty(), "{}", shown(&sources, problems.into_iter()));
        let run = Run {
            id: "test".to_owned(),
            shared: Arc::new(Shared {
                templar: Templar::new(
                    files.clone(),
                    sources.clone(),
                    Settings {
                        seed: 1,
                        clock: Arc::new(|| "2026-11-22T14:02:11+00:00[UTC]".parse().expect("a time")),
                    },
                ),
                files,
                sources: sources.clone(),
                mode: self.mode,
                now: "2026-11-22T14:02:11Z".to_owned(),
                options: self.options.clone(),
                roles_path: Vec::new(),
                gate: None,
            }),
            program,
            inventory: Arc::new(inventory),
            extra: Arc::default(),
            limit: self
                .limit
                .as_ref()
                .map(|limit| Limit::parse(limit, &*self.files, &sources).unwrap()),
            allow_empty: false,
            connector,
            forks: self.forks,
            reach: Reach::default(),
            playbooks: self.playbooks.clone(),
            seed: 1,
            command: ["rmqplay", "apply", "site.yml"].map(str::to_owned).to_vec(),
            stop: self.stop.clone(),
        };
        let mut events = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let ended = runtime.block_on(rmqplay::engine::run::run(&run, &mut |event| events.push(event)));
        Told { ended, events, sources }
    }
}

fn shown<'a>(sources: &SourceMap, diagnostics: impl Iterator<Item = &'a Diagnostic>) -> String {
    let options = RenderOptions {
        color: false,
        width: 120,
    };
    diagnostics.map(|d| render_human(sources, d, options)).collect()
}

impl Told {
    /// Why nothing ran, as a user reads it.
    pub fn refused(&self) -> String {
        shown(&self.sources, self.ended.refused.iter())
    }

    /// Results by host and task name, in the order in which they came.
    pub fn results(&self, host: &str) -> Vec<(String, HostResult)> {
        let mut names = BTreeMap::new();
        let mut results = Vec::new();
        for event in &self.events {
            match event {
                Event::TaskStarted { task } => {
                    names.insert(task.id, task.name.clone());
                }
                Event::HostResult { task, host: h, result } if h == host => {
                    results.push((names.get(task).cloned().unwrap_or_default(), (**result).clone()));
                }
                _ => {}
            }
        }
        results
    }

    /// `name=status` of every task of a host.
    pub fn statuses(&self, host: &str) -> Vec<String> {
        self.results(host)
            .into_iter()
            .map(|(name, r)| format!("{name}={:?}", r.status))
            .collect()
    }
}
