//! `lint PATH...`: everything that can be known to be wrong without a host.

mod broker;
mod kind;
mod rendered;

use super::config::Config;
use super::disk::{ReadOnly, WithText};
use super::{Session, extra_vars, scope};
use crate::cli::{DocFormat, Exit, InventoryOptions, LintArgs};
use crate::diagnostic::{Code, Diagnostic, render_json, tidy};
use crate::engine::event::Mode;
use crate::engine::run::{Reach, Run};
use crate::engine::shared::{RunOptions, Shared};
use crate::engine::vars::Layer;
use crate::inventory::{Inventory, read_vars};
use crate::language::{self, Files, Program};
use crate::rabbitmq::Version;
use crate::report::style::count;
use crate::template::{FileOptions, Settings, Templar};
use crate::transport;
pub use kind::BrokerFile;
use kind::{Found, Kind};
use serde_json::json;
use std::sync::Arc;

pub fn run(session: &Session, args: &LintArgs) -> Exit {
    let config = match session.config() {
        Ok(config) => config,
        Err(diagnostics) => return session.tell(&diagnostics),
    };
    let mut diagnostics = Vec::new();
    let as_kind = args.kind.map(Kind::Broker);
    let found = kind::find(&args.paths, as_kind, &session.files, &mut diagnostics);
    if found.is_empty() && diagnostics.is_empty() {
        let paths: Vec<String> = args.paths.iter().map(|p| format!("`{p}`")).collect();
        diagnostics.push(Diagnostic::error(
            Code::USAGE,
            format!("there is nothing to check in {}", paths.join(", ")),
        ));
    }
    let known = match Known::read(session, args, &config, &mut diagnostics) {
        Ok(known) => known,
        Err(diagnostics) => return session.tell(&diagnostics),
    };
    let mut open = Vec::new();
    for one in &found {
        let program = check(session, one, &config, args.rabbitmq_version, &mut diagnostics);
        if let Some(program) = program {
            let run = known.run(session, program, &one.path, &config);
            // A role's task is that of every playbook that has the role.
            for one in rendered::check(session, &run, args.rabbitmq_version, &mut diagnostics) {
                if !open.contains(&one) {
                    open.push(one);
                }
            }
        }
    }
    broker::check(session, &found, args.rabbitmq_version, &mut diagnostics);
    // Without an extension or content that tells, several ways lead to one file: each mistake once.
    tidy(&session.sources, &mut diagnostics);
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    match args.format {
        DocFormat::Human => {
            session.tell(&diagnostics);
            if errors == 0 {
                session.console.print(&format!("checked {}\n", summary(&found)));
            }
            if args.verbose > 0 {
                for one in &open {
                    let hosts = match one.hosts.as_slice() {
                        [] => String::new(),
                        hosts => format!(" ({})", rendered::names(hosts)),
                    };
                    session
                        .console
                        .print(&format!("not judged: {}{hosts}: {}\n", one.at, one.why));
                }
            }
        }
        DocFormat::Json => {
            let told: Vec<_> = diagnostics.iter().map(|d| render_json(&session.sources, d)).collect();
            let checked: Vec<_> = found
                .iter()
                .map(|f| json!({"path": f.path, "kind": f.kind.name()}))
                .collect();
            let open: Vec<_> = open
                .iter()
                .map(|o| json!({"at": o.at, "hosts": o.hosts, "why": o.why}))
                .collect();
            let document = json!({
                "checked": checked, "diagnostics": told, "errors": errors, "warnings": diagnostics.len() - errors,
                "not_judged": open,
            });
            if session.answer(&format!("{document:#}\n")) != Exit::Done {
                return Exit::Usage;
            }
        }
    }
    if errors == 0 { Exit::Done } else { Exit::Usage }
}

/// What the command line gives to judge a playbook by.
struct Known {
    inventory: Arc<Inventory>,
    extra: Layer,
    templar: Templar,
    files: Arc<dyn Files>,
}

impl Known {
    fn read(
        session: &Session,
        args: &LintArgs,
        config: &Config,
        out: &mut Vec<Diagnostic>,
    ) -> Result<Known, Vec<Diagnostic>> {
        let given = InventoryOptions {
            inventory: args.inventory.clone(),
            extra_vars: args.extra_vars.clone(),
        };
        let sources = match args.inventory.is_empty() {
            true => Vec::new(),
            false => given.sources(config),
        };
        let (inventory, diagnostics) = Inventory::load(&sources, &session.files, &session.sources);
        out.extend(diagnostics);
        let extra = Arc::new(extra_vars::read(
            &given.extra_vars()?,
            &session.files,
            &session.sources,
            out,
        ));
        let files: Arc<dyn Files> = Arc::new(ReadOnly);
        let settings = Settings {
            seed: rand::random(),
            clock: Arc::new(jiff::Zoned::now),
        };
        Ok(Known {
            inventory: Arc::new(inventory),
            extra,
            templar: Templar::new(files.clone(), session.sources.clone(), settings),
            files,
        })
    }

    /// The run that would be of this program, by which nothing is run.
    fn run(&self, session: &Session, program: Program, path: &str, config: &Config) -> Run {
        let shared = Shared {
            templar: self.templar.clone(),
            files: self.files.clone(),
            sources: session.sources.clone(),
            mode: Mode::Apply,
            now: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            options: RunOptions::default(),
            roles_path: config.roles_path.clone(),
            gate: None,
        };
        Run {
            id: String::new(),
            shared: Arc::new(shared),
            program,
            inventory: self.inventory.clone(),
            extra: self.extra.clone(),
            limit: None,
            allow_empty: true,
            connector: transport::connector(),
            forks: 1,
            reach: Reach::default(),
            playbooks: vec![path.to_owned()],
            seed: 0,
            command: Vec::new(),
            stop: Arc::default(),
        }
    }
}

/// `2 playbooks, 1 role, 3 templates`.
fn summary(found: &[Found]) -> String {
    let counts = Kind::ALL.iter().filter_map(|kind| {
        let n = found.iter().filter(|f| f.kind == *kind).count();
        (n > 0).then(|| match (n, *kind) {
            (1, Kind::Inventory) => "1 inventory".to_owned(),
            (n, Kind::Broker(_)) => format!("{n} {}", kind.name()),
            (n, Kind::Inventory) => format!("{n} inventories"),
            (n, kind) => count(n, kind.name()),
        })
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// Checks one file; of a playbook, the program it is.
fn check(
    session: &Session,
    one: &Found,
    config: &Config,
    version: Option<Version>,
    out: &mut Vec<Diagnostic>,
) -> Option<Program> {
    let path = &one.path;
    match one.kind {
        Kind::Playbook => {
            let program = program(session, &session.files, path, config.roles_path.clone(), version, out);
            out.extend(program.plays.iter().filter_map(|play| language::rolling::ask(play)));
            return Some(program);
        }
        // A role and a file of tasks are only ever part of a play. The play made for them here has a handler whose
        // name cannot be known, since what they notify may stand in another role or in the playbook.
        Kind::Role => {
            let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
            let play = format!("- hosts: all\n  handlers: [include_tasks: '{{{{ x }}}}']\n  roles: ['{name}']\n");
            let mut roles_path = vec![parent.to_owned()];
            roles_path.extend(config.roles_path.iter().cloned());
            made(session, parent, play, roles_path, version, out);
        }
        Kind::Tasks => {
            let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
            let play = format!(
                "- hosts: all\n  handlers: [include_tasks: '{{{{ x }}}}']\n  tasks: [import_tasks: '{name}']\n"
            );
            made(session, parent, play, config.roles_path.clone(), version, out);
        }
        Kind::Inventory => {
            out.extend(Inventory::load(std::slice::from_ref(path), &session.files, &session.sources).1);
        }
        Kind::Variables => {
            read_vars(path, &session.files, &session.sources, out);
        }
        Kind::Configuration => {
            if let Some(text) = text(session, path, out)
                && let Err(errors) = Config::parse(path, text, &session.sources)
            {
                out.extend(errors);
            }
        }
        // Together: what stands in one of them may be replaced in another.
        Kind::Broker(_) => {}
        Kind::Template => {
            if let Some(text) = text(session, path, out) {
                let file = session.sources.add(path, text);
                out.extend(scope::templar(session).check_file(file, &FileOptions::default()));
            }
        }
    }
    None
}

fn text(session: &Session, path: &str, out: &mut Vec<Diagnostic>) -> Option<String> {
    let problem = match session.files.read(path).map(String::from_utf8) {
        Ok(Ok(text)) => return Some(text),
        Ok(Err(_)) => Diagnostic::error(Code::FILE, format!("`{path}` is not UTF-8")),
        Err(error) => Diagnostic::error(Code::FILE, format!("cannot read `{path}`")).note(error.to_string()),
    };
    out.push(problem);
    None
}

fn made(
    session: &Session,
    directory: &str,
    play: String,
    roles_path: Vec<String>,
    version: Option<Version>,
    out: &mut Vec<Diagnostic>,
) {
    let path = format!("{directory}/<lint>");
    let files = WithText {
        path: path.clone(),
        text: play,
    };
    program(session, &files, &path, roles_path, version, out);
}

fn program(
    session: &Session,
    files: &dyn Files,
    path: &str,
    roles_path: Vec<String>,
    version: Option<Version>,
    out: &mut Vec<Diagnostic>,
) -> Program {
    let paths = [path.to_owned()];
    let (program, diagnostics) = language::load(&paths, files, &session.sources, &roles_path);
    out.extend(diagnostics);
    out.extend(scope::templar(session).check_program(&program));
    broker::tasks(&program, version, out);
    program
}
