//! Hosts in memory: for tests of the engine and for `--simulate`. A [`FakeHost`] answers probes and ops as a real
//! one would, as far as files go; commands are answered by a [`Program`].

mod tree;

pub use self::tree::Tree;
use crate::host::{
    Content, Exec, ExecResult, FileKind, Guard, Observation, Op, Outcome, Probe, Stat, Status, kernel_file,
};
use crate::transport::{BoxFuture, CallError, CallErrorKind, Connector, Peer, Reply, Request, Response, Step, Target};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A thousand hosts are asked for the same few patterns.
fn compiled(pattern: &str) -> Result<Arc<glob::Pattern>, glob::PatternError> {
    static PATTERNS: Mutex<BTreeMap<String, Arc<glob::Pattern>>> = Mutex::new(BTreeMap::new());
    let mut patterns = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = patterns.get(pattern) {
        return Ok(compiled.clone());
    }
    let compiled = Arc::new(glob::Pattern::new(pattern)?);
    patterns.insert(pattern.to_owned(), compiled.clone());
    Ok(compiled)
}

/// What runs when a command runs on a fake host.
pub trait Program: Send + Sync {
    /// Answers a command; `act` is false for probes, which must not change the host.
    fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult;

    /// What the host tells of itself when facts are gathered.
    fn facts(&self, host: &FakeHost) -> Arc<Value> {
        let _ = host;
        Arc::default()
    }

    /// What else happens on the host when an op has been done (a daemon that rewrites files...).
    fn after(&self, host: &mut FakeHost, op: &Op) {
        let _ = (host, op);
    }
}

/// Every command succeeds and says nothing.
#[derive(Debug)]
pub struct Silent;

impl Program for Silent {
    fn run(&self, _: &mut FakeHost, _: &Exec, _: bool) -> ExecResult {
        ExecResult::default()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub kind: FileKind,
    pub content: Content,
    pub mode: u32,
    pub owner: String,
    pub group: String,
    pub target: Option<String>,
}

impl Node {
    pub fn file(content: impl AsRef<[u8]>) -> Node {
        Node {
            kind: FileKind::File,
            content: Content::from(content),
            mode: 0o644,
            owner: root(),
            group: root(),
            target: None,
        }
    }
    pub fn directory() -> Node {
        Node {
            kind: FileKind::Directory,
            mode: 0o755,
            ..Node::file("")
        }
    }
}

fn root() -> String {
    "root".to_owned()
}

/// The state of a host.
#[derive(Clone, Default)]
pub struct FakeHost {
    pub files: Tree,
    /// Free for programs: packages, units, users...
    pub state: BTreeMap<String, Value>,
    /// Every command that acted, in order.
    pub ran: Vec<Vec<String>>,
    /// Ports that accept connections.
    pub ports: Vec<u16>,
    /// No connection can be made.
    pub refuse: bool,
    /// Calls answered so far.
    pub calls: u64,
    /// Faults to come: the call with this number (from 0) is lost, before or after its ops ran.
    pub lose: BTreeMap<u64, Loss>,
}

/// How a call is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing ran.
    Before,
    /// Everything ran, the answer was lost.
    After,
}

impl FakeHost {
    pub fn with(files: impl IntoIterator<Item = (&'static str, &'static str)>) -> FakeHost {
        let mut host = FakeHost::default();
        for (path, text) in files {
            host.put(path, Node::file(text));
        }
        host
    }

    /// Puts a file and the directories above it.
    pub fn put(&mut self, path: &str, node: Node) {
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/').filter(|(p, _)| !p.is_empty()) {
            if !self.files.contains_key(parent) {
                self.files.insert(parent.to_owned(), Node::directory());
            }
            above = parent;
        }
        self.files.insert(path.to_owned(), node);
    }

    fn resolve(&self, path: &str) -> String {
        let mut path = path.to_owned();
        for _ in 0..16 {
            match self.files.get(&path) {
                Some(Node {
                    kind: FileKind::Link,
                    target: Some(target),
                    ..
                }) => {
                    path = if target.starts_with('/') {
                        target.clone()
                    } else {
                        let parent = path.rsplit_once('/').map_or("", |(p, _)| p);
                        format!("{parent}/{target}")
                    };
                }
                _ => return path,
            }
        }
        path
    }

    /// The files that match a glob of sh, in order.
    fn matching(&self, pattern: &str) -> Result<impl Iterator<Item = (&String, &Node)>, glob::PatternError> {
        let wanted = compiled(pattern)?;
        let as_sh = glob::MatchOptions {
            require_literal_separator: true,
            ..glob::MatchOptions::new()
        };
        let literal = pattern.split(['*', '?', '[']).next().unwrap_or_default();
        let below = self.files.beginning_with(literal);
        Ok(below.filter(move |(path, _)| wanted.matches_with(path, as_sh)))
    }

    pub fn look(&mut self, probe: &Probe, program: &dyn Program) -> Observation {
        match probe {
            Probe::Stat { path, follow } => {
                let path = if *follow { self.resolve(path) } else { path.to_string() };
                let stat = self.files.get(&path).map(|node| Stat {
                    kind: node.kind,
                    mode: node.mode,
                    uid: u32::from(node.owner != "root") * 1000,
                    gid: u32::from(node.group != "root") * 1000,
                    owner: node.owner.clone(),
                    group: node.group.clone(),
                    size: node.content.as_bytes().len() as u64,
                    mtime: 0,
                    atime: 0,
                    ctime: 0,
                    inode: 1,
                    dev: 1,
                    nlink: 1,
                    blocks: 8,
                    block_size: 4096,
                    rdev: 0,
                    target: node.target.clone(),
                });
                Observation::Stat(stat.map(Arc::new))
            }
            Probe::Read { path, max } => match self.files.get(&self.resolve(path)) {
                Some(node) if node.kind == FileKind::Directory => {
                    Observation::Failed(format!("{path}: Is a directory"))
                }
                Some(node) if node.content.as_bytes().len() as u64 > *max => {
                    Observation::Failed(format!("{path}: more than {max} bytes"))
                }
                node => Observation::Content(node.map(|n| n.content.clone())),
            },
            Probe::Hash { path, algorithm } => match self.files.get(&self.resolve(path)) {
                Some(node) if node.kind == FileKind::File => match algorithm.as_str() {
                    "sha1" => Observation::Text(Some(node.content.sha1())),
                    "sha256" => Observation::Text(Some(node.content.sha256())),
                    other => Observation::Failed(format!("{other} is not there")),
                },
                _ => Observation::Text(None),
            },
            Probe::Glob { pattern } => match self.matching(pattern) {
                Ok(found) => Observation::List(found.map(|(path, _)| path.clone()).collect()),
                Err(error) => Observation::Failed(error.to_string()),
            },
            Probe::ReadGlob { pattern } => match self.matching(pattern) {
                Ok(found) => {
                    let content = |path: &str| self.files.get(&self.resolve(path)).filter(|n| n.kind == FileKind::File);
                    let read = |path: &String| (path.clone(), content(path).map(|node| node.content.clone()));
                    Observation::Files(Arc::new(found.map(|(path, _)| read(path)).collect()))
                }
                Err(error) => Observation::Failed(error.to_string()),
            },
            Probe::Exec { argv, stdin, .. } => {
                let command = Exec {
                    argv: argv.clone(),
                    stdin: stdin.as_ref().map(|hidden| Content::from(hidden.as_bytes())),
                    ..Exec::default()
                };
                Observation::Exec(program.run(self, &command, false))
            }
            Probe::Facts => Observation::Facts(program.facts(self)),
            Probe::Tcp { port, .. } => Observation::Text(self.ports.contains(port).then(|| "open".to_owned())),
        }
    }

    pub fn act(&mut self, op: &Op, program: &dyn Program) -> Outcome {
        match op {
            Op::Write {
                path,
                content,
                mode,
                owner,
                group,
                guard,
                backup,
                ..
            } => {
                let path = self.resolve(path);
                let old = self.files.get(&path).cloned();
                if let Some(refused) = guarded(guard.as_ref(), old.as_ref()) {
                    return refused;
                }
                if !self.has_parent(&path) {
                    return Outcome::failed(format!("{path}: No such file or directory"));
                }
                if let (Some(backup), Some(old)) = (backup, &old) {
                    self.files.insert(backup.clone(), old.clone());
                }
                let base = old.unwrap_or_else(|| Node::file(""));
                self.files.insert(
                    path,
                    Node {
                        kind: FileKind::File,
                        content: content.clone(),
                        mode: mode.unwrap_or(base.mode),
                        owner: owner.clone().unwrap_or(base.owner),
                        group: group.clone().unwrap_or(base.group),
                        target: None,
                    },
                );
            }
            Op::Put { path, content } => match self.files.get_mut(&path.clone()) {
                None => return Outcome::failed(format!("{path}: No such file or directory")),
                Some(node) => node.content = kernel_file(Some(&node.content), content),
            },
            Op::MakeDir {
                path,
                mode,
                owner,
                group,
                parents,
            } => {
                if !*parents && !self.has_parent(path) {
                    return Outcome::failed(format!("{path}: No such file or directory"));
                }
                let mut node = self.files.get(path).cloned().unwrap_or_else(Node::directory);
                if node.kind != FileKind::Directory {
                    return Outcome::failed(format!("{path}: File exists"));
                }
                node.mode = mode.unwrap_or(node.mode);
                node.owner = owner.clone().unwrap_or(node.owner);
                node.group = group.clone().unwrap_or(node.group);
                self.put(path, node);
            }
            Op::Link {
                path,
                target,
                hard,
                force,
            } => {
                if self.files.contains_key(path) && !force {
                    return Outcome::failed(format!("{path}: File exists"));
                }
                let node = if *hard {
                    match self.files.get(target) {
                        Some(node) => node.clone(),
                        None => return Outcome::failed(format!("{target}: No such file or directory")),
                    }
                } else {
                    Node {
                        kind: FileKind::Link,
                        mode: 0o777,
                        target: Some(target.clone()),
                        ..Node::file("")
                    }
                };
                self.files.insert(path.clone(), node);
            }
            Op::Remove { path, recursive } => {
                let below = format!("{path}/");
                let inside: Vec<String> = self.files.beginning_with(&below).map(|(p, _)| p.clone()).collect();
                if *recursive {
                    inside.iter().for_each(|path| drop(self.files.remove(path)));
                } else if !inside.is_empty() {
                    return Outcome::failed(format!("{path}: Directory not empty"));
                }
                self.files.remove(path);
            }
            Op::Chmod { path, mode } => match self.files.get_mut(path) {
                None => return Outcome::failed(format!("{path}: No such file or directory")),
                Some(node) => node.mode = *mode,
            },
            Op::Chown { path, owner, group, .. } => match self.files.get_mut(path) {
                None => return Outcome::failed(format!("{path}: No such file or directory")),
                Some(node) => {
                    node.owner = owner.clone().unwrap_or_else(|| node.owner.clone());
                    node.group = group.clone().unwrap_or_else(|| node.group.clone());
                }
            },
            Op::Touch { path, .. } => {
                if !self.files.contains_key(path) {
                    self.put(path, Node::file(""));
                }
            }
            Op::Copy { source, path, guard } => {
                let Some(node) = self.files.get(source).cloned() else {
                    return Outcome::failed(format!("{source}: No such file or directory"));
                };
                if let Some(refused) = guarded(guard.as_ref(), self.files.get(path)) {
                    return refused;
                }
                let base = self.files.get(path).cloned().unwrap_or_else(|| Node::file(""));
                let content = node.content;
                self.put(path, Node { content, ..base });
            }
            Op::Exec(command) => {
                self.ran.push(command.argv.clone());
                let result = program.run(self, command, true);
                let failed = !command.ok.is_empty() && !command.ok.contains(&result.rc);
                let status = if failed {
                    Status::Failed(format!("exit status {}", result.rc))
                } else {
                    Status::Done
                };
                return Outcome {
                    status,
                    exec: Some(result),
                };
            }
        }
        Outcome::done()
    }

    fn has_parent(&self, path: &str) -> bool {
        match path.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => self
                .files
                .get(&self.resolve(parent))
                .is_some_and(|n| n.kind == FileKind::Directory),
            _ => true,
        }
    }

    /// One message, as a peer would run it.
    pub fn answer(&mut self, request: &Request, program: &dyn Program) -> Response {
        let mut failed = false;
        let replies = request
            .steps
            .iter()
            .map(|step| match step {
                Step::Probe(_) if failed => Reply::Seen(Observation::Failed("not run".to_owned())),
                Step::Op(_) if failed => Reply::Did(Outcome {
                    status: Status::NotRun,
                    exec: None,
                }),
                Step::Probe(probe) => Reply::Seen(self.look(probe, program)),
                Step::Op(op) => {
                    let outcome = self.act(op, program);
                    failed = !outcome.is_done();
                    if !failed {
                        program.after(self, op);
                    }
                    Reply::Did(outcome)
                }
            })
            .collect();
        Response {
            replies,
            bytes_out: 0,
            bytes_in: 0,
        }
    }
}

fn guarded(guard: Option<&Guard>, old: Option<&Node>) -> Option<Outcome> {
    let refused = |found: String| {
        Some(Outcome {
            status: Status::Refused(found),
            exec: None,
        })
    };
    match (guard?, old) {
        (Guard::Absent, Some(_)) => refused("a file".to_owned()),
        (Guard::Sha256(_), None) => refused("absent".to_owned()),
        (Guard::Sha256(wanted), Some(node)) if node.content.sha256() != *wanted => refused(node.content.sha256()),
        _ => None,
    }
}

/// A fleet of fake hosts, made on first contact.
pub struct FakeConnector {
    hosts: Mutex<BTreeMap<String, Arc<Mutex<FakeHost>>>>,
    make: Box<dyn Fn(&str) -> FakeHost + Send + Sync>,
    program: Arc<dyn Program>,
}

impl FakeConnector {
    pub fn new(make: impl Fn(&str) -> FakeHost + Send + Sync + 'static, program: Arc<dyn Program>) -> Self {
        FakeConnector {
            hosts: Mutex::new(BTreeMap::new()),
            make: Box::new(make),
            program,
        }
    }

    /// The host, made if it is not there yet.
    pub fn host(&self, name: &str) -> Arc<Mutex<FakeHost>> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Mutex::new((self.make)(name))))
            .clone()
    }
}

impl Connector for FakeConnector {
    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Box<dyn Peer>, CallError>> {
        let host = self.host(&target.name);
        let refuse = host.lock().unwrap_or_else(PoisonError::into_inner).refuse;
        let connected: Result<Box<dyn Peer>, CallError> = if refuse {
            Err(CallError {
                kind: CallErrorKind::Connect,
                message: "connection refused".to_owned(),
                said: String::new(),
                help: None,
                origin: None,
            })
        } else {
            Ok(Box::new(FakePeer {
                host,
                program: self.program.clone(),
            }))
        };
        Box::pin(std::future::ready(connected))
    }
}

struct FakePeer {
    host: Arc<Mutex<FakeHost>>,
    program: Arc<dyn Program>,
}

impl Peer for FakePeer {
    fn call<'a>(&'a mut self, request: &'a Request) -> BoxFuture<'a, Result<Response, CallError>> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let number = host.calls;
        host.calls += 1;
        let loss = host.lose.get(&number).copied();
        let answer = match loss {
            Some(Loss::Before) => None,
            _ => Some(host.answer(request, &*self.program)),
        };
        let lost = CallError {
            kind: CallErrorKind::Lost,
            message: "connection lost".to_owned(),
            said: String::new(),
            help: None,
            origin: None,
        };
        let result = match (loss, answer) {
            (None, Some(response)) => Ok(response),
            _ => Err(lost),
        };
        Box::pin(std::future::ready(result))
    }

    fn close<'a>(&'a mut self) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
