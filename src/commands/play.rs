//! `apply`, `diff`, `verify`, `run`, `facts`: from options to a run and its exit status.

use crate::cli::{Exit, Listing, PasswordSource, PlayOptions, Via, Work};
use crate::commands::config::Config;
use crate::commands::{Session, extra_vars, process};
use crate::diagnostic::{Code, Diagnostic};
use crate::engine::event::{Event, Mode};
use crate::engine::run::{Reach, Run};
use crate::engine::shared::{RunOptions, Shared};
use crate::engine::vars::Layer;
use crate::inventory::{Inventory, Limit, Pattern};
use crate::language::{self, Files};
use crate::report::{Reporter as _, Tally, prompt};
use crate::template::{self, Templar};
use crate::transport::{self, Connector, Secret};
use serde_json::Value;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Runs what the command line says, over the configuration.
pub fn with(session: &Session, options: impl FnOnce(&Config) -> Result<PlayOptions, Vec<Diagnostic>>) -> Exit {
    match session.config().and_then(|config| options(&config)) {
        Ok(options) => run(session, &options),
        Err(diagnostics) => session.tell(&diagnostics),
    }
}

/// Runs what the options say.
fn run(session: &Session, options: &PlayOptions) -> Exit {
    match prepare(session, options) {
        Ok(Prepared::Interrupted) => Exit::Interrupted,
        Ok(Prepared::Listing(text)) => session.answer(&text),
        Ok(Prepared::Run(run, asking)) => match execute(session, options, &run) {
            // All that was left was refused, so that the run may have come to its end.
            Exit::Done if asking.is_some_and(|asking| asking.none.load(Relaxed)) => Exit::Interrupted,
            exit => exit,
        },
        Err(diagnostics) => session.tell(&diagnostics),
    }
}

enum Prepared {
    /// Ctrl-C while a question was asked.
    Interrupted,
    Listing(String),
    /// With who asks before each task, if anybody does.
    Run(Box<Run>, Option<Arc<Asking>>),
}

fn prepare(session: &Session, options: &PlayOptions) -> Result<Prepared, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    // All mistakes of all files in one run: nothing here stops at the first.
    let (inventory, diagnostics) = Inventory::load(&options.inventory, &session.files, &session.sources);
    problems.extend(diagnostics.into_iter().filter(Diagnostic::is_error));
    let extra: Layer = Arc::new(extra_vars::read(
        &options.extra_vars,
        &session.files,
        &session.sources,
        &mut problems,
    ));
    let files: Arc<dyn Files> = Arc::new(session.files);
    let ((program, mut diagnostics), paths) = match &options.work {
        Work::Playbooks(paths) => (
            language::load(paths, &*files, &session.sources, &options.roles_path),
            paths.clone(),
        ),
        Work::Module { pattern, module, args } => (
            language::adhoc(pattern, module, args, &*files, &session.sources),
            Vec::new(),
        ),
    };
    let now = jiff::Timestamp::now();
    let seed: u64 = rand::random();
    let settings = template::Settings {
        seed,
        clock: Arc::new(jiff::Zoned::now),
    };
    let templar = Templar::new(files.clone(), session.sources.clone(), settings);
    diagnostics.extend(templar.check_program(&program));
    let broken = diagnostics.iter().any(Diagnostic::is_error);
    if broken {
        problems.extend(diagnostics);
    } else {
        session.tell(&diagnostics);
    }
    let limit = match options
        .limit
        .as_ref()
        .map(|l| Limit::parse(l, &session.files, &session.sources))
        .transpose()
    {
        Ok(limit) => limit,
        Err(diagnostic) => {
            problems.push(diagnostic);
            None
        }
    };
    if problems.is_empty()
        && let Some(limit) = &limit
        && let Err(diagnostic) = inventory.select(&[Pattern::from("all")], Some(limit), options.allow_empty)
    {
        problems.push(diagnostic);
    }
    if !problems.is_empty() {
        return Err(problems);
    }

    let password = match &options.become_.password {
        PasswordSource::None => None,
        PasswordSource::Ask => match prompt::secret("BECOME password") {
            Ok(password) => Some(password),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Prepared::Interrupted),
            Err(error) => return Err(password_error(&error)),
        },
        PasswordSource::File(path) => Some(password_file(session, path)?),
    };
    let asking = options.step.then(|| Arc::new(Asking::default()));
    let shared = Shared {
        templar,
        files,
        sources: session.sources.clone(),
        mode: if options.drift { Mode::Diff } else { options.mode },
        now: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        options: RunOptions {
            become_: options.become_.become_,
            become_user: options.become_.user.clone(),
            become_method: options.become_.method.map(|m| {
                match m {
                    transport::Method::Sudo => "sudo",
                    transport::Method::Su => "su",
                }
                .to_owned()
            }),
            become_password: password,
            tags: options.selection.tags.clone(),
            skip_tags: options.selection.skip_tags.clone(),
            start_at_task: options.selection.start_at_task.clone(),
            force_handlers: options.force_handlers,
            task_timeout_s: options.connection.task_timeout_s,
            verbosity: options.output.verbosity,
            mask_key: format!("{:016x}", rand::random::<u64>()),
            drift: options.drift,
        },
        roles_path: options.roles_path.clone(),
        gate: asking
            .clone()
            .map(|asking| asking as Arc<dyn crate::engine::shared::Gate>),
    };
    let common_args = match options.connection.ssh_common_args.as_deref().map(shlex::split) {
        None => Vec::new(),
        Some(Some(words)) => words,
        Some(None) => {
            return Err(vec![Diagnostic::error(
                Code::USAGE,
                "`--ssh-common-args` has a quotation that is not closed",
            )]);
        }
    };
    let connector: Arc<dyn Connector> = if options.connection.simulate {
        Arc::new(transport::simulate::fleet())
    } else {
        transport::connector()
    };
    let mut forks = options.connection.forks as usize;
    if !options.connection.simulate {
        let (fit, warning) = process::forks(forks.min(inventory.hosts().len().max(1)));
        session.tell(warning.as_slice());
        forks = fit;
    }
    let run = Run {
        id: format!("{:08x}", seed >> 32),
        shared: Arc::new(shared),
        program,
        inventory: Arc::new(inventory),
        extra,
        limit,
        allow_empty: options.allow_empty,
        connector,
        forks,
        reach: Reach {
            user: options.connection.remote_user.clone(),
            private_key: options.connection.private_key.clone(),
            common_args,
            connect_timeout_s: options.connection.connect_timeout_s,
            persist_s: options.connection.persist_s,
            accept_any_host_key: options.connection.accept_any_host_key,
            local: options.connection.via == Via::Local,
        },
        playbooks: paths,
        seed,
        command: command_line(std::env::args()),
        stop: Arc::default(),
    };
    if let Some(listing) = options.listing {
        return crate::engine::run::check(&run)
            .and_then(|()| listed(&run, listing))
            .map(Prepared::Listing);
    }
    crate::engine::run::check(&run)?;
    Ok(Prepared::Run(Box::new(run), asking))
}

/// The command line without its `--limit`, to be begun again with another.
fn command_line(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut words = vec!["rmqplay".to_owned()];
    let mut arguments = arguments.into_iter().skip(1);
    while let Some(word) = arguments.next() {
        if word == "-l" || word == "--limit" {
            arguments.next();
        } else if !word.starts_with("--limit=") && !word.starts_with("-l") {
            words.push(word);
        }
    }
    words
}

fn password_error(error: &io::Error) -> Vec<Diagnostic> {
    vec![Diagnostic::error(Code::USAGE, "cannot read the password").note(error.to_string())]
}

fn password_file(session: &Session, path: &str) -> Result<Secret, Vec<Diagnostic>> {
    let text = if path == "-" {
        io::read_to_string(io::stdin()).map_err(|e| password_error(&e))?
    } else {
        let bytes = session
            .files
            .read(path)
            .map_err(|e| vec![Diagnostic::error(Code::FILE, format!("cannot read `{path}`")).note(e.to_string())])?;
        String::from_utf8(bytes).map_err(|_| vec![Diagnostic::error(Code::FILE, format!("`{path}` is not UTF-8"))])?
    };
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Secret(line.to_owned())),
        None => {
            let what = if path == "-" { "standard input" } else { path };
            Err(vec![Diagnostic::error(
                Code::USAGE,
                format!("there is no password in the first line of `{what}`"),
            )])
        }
    }
}

/// `--step`: asks once per task.
#[derive(Default)]
struct Asking {
    answers: Mutex<std::collections::HashMap<String, bool>>,
    all: AtomicBool,
    /// Ctrl-C was the answer: nothing more is asked, and the run is stopped by the same signal.
    none: AtomicBool,
}

impl crate::engine::shared::Gate for Asking {
    fn allows(&self, key: &str, task: &str) -> bool {
        if self.all.load(Relaxed) {
            return true;
        }
        if self.none.load(Relaxed) {
            return false;
        }
        let mut answers = self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(answer) = answers.get(key) {
            return *answer;
        }
        let answer = match prompt::step(task) {
            Ok(prompt::Step::Yes) => true,
            Ok(prompt::Step::Continue) => {
                self.all.store(true, Relaxed);
                true
            }
            Ok(prompt::Step::No) => false,
            Err(_) => {
                self.none.store(true, Relaxed);
                false
            }
        };
        answers.insert(key.to_owned(), answer);
        answer
    }
}

fn execute(session: &Session, options: &PlayOptions, run: &Run) -> Exit {
    let mut reporters = match session.reporters(&options.output, options.step) {
        Ok(reporters) => reporters,
        Err(diagnostics) => return session.tell(&diagnostics),
    };
    let tally = Arc::new(Mutex::new(Tally::default()));
    reporters.0.push(Box::new(tally.clone()));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return session.tell(&[Diagnostic::error(Code::USAGE, "cannot start").note(error.to_string())]);
        }
    };
    process::mind_signals(&runtime, run.stop.clone());
    let mut sink = |event: Event| reporters.event(&event);
    let ended = runtime.block_on(crate::engine::run::run(run, &mut sink));
    let reported = reporters.finish();
    if let Err(error) = &reported {
        session.tell(&[Diagnostic::error(Code::FILE, "a report could not be written").note(error.to_string())]);
    }
    // What is still on its way after a second Ctrl-C is not waited for.
    runtime.shutdown_background();
    if !ended.refused.is_empty() {
        return session.tell(&ended.refused);
    }
    let tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let exit = tally.exit(options.detailed_exitcode, options.allow_empty);
    if exit == Exit::Done
        && tally.matched
        && !tally.ran
        && let Some(warning) = nothing_ran(options)
    {
        session.tell(&[warning]);
    }
    let failed = reported.is_err() || options.drift && tally.changed + tally.unknown > 0;
    match exit {
        Exit::Done | Exit::Pending if failed => Exit::Failed,
        exit => exit,
    }
}

/// Success that did nothing is most often a slip of the command line.
fn nothing_ran(options: &PlayOptions) -> Option<Diagnostic> {
    let selection = &options.selection;
    let warning = |message: String| Diagnostic::warning(Code::NOTHING_RAN, message);
    if let Some(name) = &selection.start_at_task {
        let warning = warning(format!("nothing ran: no task has the name `{name}`"));
        return Some(
            warning
                .help("`--list-tasks` lists the names; tasks that are included while a play runs are not among them"),
        );
    }
    if !selection.tags.is_empty() || !selection.skip_tags.is_empty() {
        let mut chosen = Vec::new();
        if !selection.tags.is_empty() {
            chosen.push(format!("`--tags {}`", selection.tags.join(",")));
        }
        if !selection.skip_tags.is_empty() {
            chosen.push(format!("`--skip-tags {}`", selection.skip_tags.join(",")));
        }
        let warning = warning(format!("nothing ran: {} leaves no task", chosen.join(" with ")));
        return Some(warning.help("`--list-tags` lists the tags there are"));
    }
    (options.mode == Mode::Verify).then(|| {
        warning("nothing was checked: no play has `pre_checks` or `post_checks`".to_owned())
            .help("`diff` shows where hosts differ from what the tasks say")
    })
}

/// `--list-hosts`, `--list-tasks`, `--list-tags`, in `ansible-playbook`'s form.
fn listed(run: &Run, listing: Listing) -> Result<String, Vec<Diagnostic>> {
    use std::fmt::Write as _;
    let mut text = String::new();
    if listing == Listing::default() {
        for playbook in &run.playbooks {
            let _ = writeln!(text, "\nplaybook: {playbook}");
        }
        return Ok(text);
    }
    let mut path = None;
    for (number, play) in crate::engine::run::outline(run)?.into_iter().enumerate() {
        if path.as_deref() != Some(play.path.as_str()) {
            let _ = writeln!(text, "\nplaybook: {}", play.path);
            path = Some(play.path.clone());
        }
        let tags = |tags: &[String]| format!("TAGS: [{}]", tags.join(", "));
        let _ = writeln!(
            text,
            "\n  play #{} ({}): {}\t{}",
            number + 1,
            play.pattern,
            play.name,
            tags(&play.tags)
        );
        if listing.hosts {
            let _ = writeln!(
                text,
                "    pattern: [{}]\n    hosts ({}):",
                play.pattern_list,
                play.hosts.len()
            );
            for host in &play.hosts {
                let _ = writeln!(text, "      {host}");
            }
        }
        if listing.tasks {
            let _ = writeln!(text, "    tasks:");
            for (name, own) in &play.tasks {
                let _ = writeln!(text, "      {name}\t{}", tags(own));
            }
        }
        if listing.tags {
            let mut all: Vec<String> = play.tasks.iter().flat_map(|(_, t)| t.clone()).collect();
            all.sort();
            all.dedup();
            let _ = writeln!(text, "      TASK {}", tags(&all));
        }
    }
    Ok(text)
}

/// One module on a pattern, asked for by a command that prints the answer itself.
fn module(pattern: &str, module: &str, inventory: Vec<String>, extra_vars: Vec<crate::cli::ExtraVars>) -> PlayOptions {
    let (config, connection, become_) = (
        Config::default(),
        crate::cli::ConnectionArgs::default(),
        crate::cli::BecomeArgs::default(),
    );
    PlayOptions {
        mode: Mode::Apply,
        work: Work::Module {
            pattern: pattern.to_owned(),
            module: module.to_owned(),
            args: String::new(),
        },
        inventory,
        extra_vars,
        limit: None,
        allow_empty: false,
        selection: crate::cli::Selection::default(),
        roles_path: Vec::new(),
        listing: None,
        force_handlers: false,
        step: false,
        drift: false,
        detailed_exitcode: false,
        connection: connection.options(&config),
        become_: become_.options(),
        output: crate::cli::OutputOptions {
            format: crate::cli::Format::Human,
            reports: Vec::new(),
            verbosity: 0,
            show_diff: false,
            show_results: false,
        },
    }
}

/// `facts`: gathers and prints them, one JSON object by host.
pub fn facts(session: &Session, args: &crate::cli::FactsArgs) -> Exit {
    let config = match session.config() {
        Ok(config) => config,
        Err(diagnostics) => return session.tell(&diagnostics),
    };
    let extra_vars = match args.hosts.inventory.extra_vars() {
        Ok(vars) => vars,
        Err(diagnostics) => return session.tell(&diagnostics),
    };
    let options = PlayOptions {
        limit: args.hosts.limit.clone(),
        allow_empty: args.hosts.allow_empty,
        connection: args.connection.options(&config),
        become_: args.become_.options(),
        ..module(
            &args.pattern,
            "setup",
            args.hosts.inventory.sources(&config),
            extra_vars,
        )
    };
    let run = match prepare(session, &options) {
        Ok(Prepared::Run(run, _)) => run,
        Ok(Prepared::Listing(_)) => return Exit::Done,
        Ok(Prepared::Interrupted) => return Exit::Interrupted,
        Err(diagnostics) => return session.tell(&diagnostics),
    };
    let mut found = serde_json::Map::new();
    let mut problems = Vec::new();
    let mut tally = Tally::default();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return session.tell(&[Diagnostic::error(Code::USAGE, "cannot start").note(error.to_string())]);
        }
    };
    process::mind_signals(&runtime, run.stop.clone());
    let mut sink = |event: Event| {
        tally.event(&event);
        match event {
            Event::HostResult { host, result, .. } => {
                if let Some(facts) = result.value.get("ansible_facts") {
                    found.insert(host, facts.clone());
                } else if let Some(failure) = &result.failure {
                    problems.push(Diagnostic::error(Code::TASK_FAILED, format!("{host}: {}", failure.msg)));
                }
            }
            Event::Unreachable { host, failure, .. } => {
                let mut diagnostic = Diagnostic::error(Code::CONNECT, format!("{host}: {}", failure.msg));
                diagnostic.notes = failure.notes;
                diagnostic.helps = failure.helps;
                problems.push(diagnostic);
            }
            _ => {}
        }
    };
    let ended = runtime.block_on(crate::engine::run::run(&run, &mut sink));
    runtime.shutdown_background();
    problems.extend(ended.refused);
    let text = serde_json::to_string_pretty(&Value::Object(found)).unwrap_or_default();
    let answered = session.answer(&format!("{text}\n"));
    session.tell(&problems);
    match tally.exit(false, args.hosts.allow_empty) {
        Exit::Done => answered,
        exit => exit,
    }
}
