//! The real binary, under full control of its environment: help, usage errors, exit codes, answers of the
//! commands that touch no host.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "cli/environment.rs"]
mod environment;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/process.rs"]
mod process;
#[path = "cli/simulate.rs"]
mod simulate;

use environment::Environment;
use insta::assert_snapshot;

#[test]
fn help_is_pinned() {
    let env = Environment::new();
    for command in [
        "",
        "apply",
        "diff",
        "verify",
        "run",
        "lint",
        "inventory",
        "template",
        "vars",
        "facts",
        "lab",
        "doc",
        "completions",
    ] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let output = env.run(&args);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        let name = if command.is_empty() {
            "help".to_owned()
        } else {
            format!("help_{command}")
        };
        assert_snapshot!(name, output.stdout);
    }
}

#[test]
fn usage_errors_exit_with_one_and_say_what_is_there() {
    let env = Environment::new();
    let output = env.run(&["aply"]);
    assert_snapshot!(output.transcript(), @r"
    exit 1
    --- stderr
    error: unrecognized subcommand 'aply'

      tip: a similar subcommand exists: 'apply'

    Usage: rmqplay [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    let cases: &[&[&str]] = &[
        &[],
        &["apply"],
        &["apply", "--nonsense", "site.yml"],
        &["apply", "-f", "0", "site.yml"],
        &["apply", "--report", "yaml=x", "site.yml"],
        &["apply", "--persist", "5", "--no-persist", "site.yml"],
        &["apply", "-K", "--become-password-file", "x", "site.yml"],
        &["inventory"],
        &["inventory", "--list", "--graph"],
        &["vault"],
        &["doc", "--format", "yaml"],
    ];
    for case in cases {
        let output = env.run(case);
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (1, ""),
            "{case:?}: {}",
            output.stderr
        );
        assert!(
            output.stderr.contains("Usage:") || output.stderr.contains("error:"),
            "{case:?}: {}",
            output.stderr
        );
    }
}

#[test]
fn diff_does_what_check_and_diff_ask_for() {
    let env = Environment::new();
    env.write(
        "play.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n",
    );
    let output = env.run(&["diff", "-CD", "play.yml", "-i", "mq-1,", "--simulate"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(output.stdout.starts_with("dry run: nothing is changed"), "{output:?}");
}

#[test]
fn a_playbook_without_plays_is_a_mistake() {
    let env = Environment::new();
    for text in ["", "[]\n", "---\n"] {
        env.write("play.yml", text);
        let output = env.run(&["apply", "play.yml", "-i", "mq-1,", "--simulate"]);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{text:?}");
        assert!(output.stderr.contains("the playbook is empty"), "{output:?}");
    }
}

#[test]
fn the_version_is_an_answer() {
    let output = Environment::new().run(&["--version"]);
    assert_eq!(
        output.transcript(),
        format!("exit 0\n--- stdout\nrmqplay {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_know_commands_and_options() {
    let env = Environment::new();
    for shell in ["bash", "fish", "zsh"] {
        let output = env.run(&["completions", shell]);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        for word in ["apply", "detailed-exitcode", "become-method"] {
            assert!(output.stdout.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn an_unknown_module_has_no_page() {
    let output = Environment::new().run(&["doc", "no_such_module_at_all"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(
        output.stderr.contains("unknown module `no_such_module_at_all`"),
        "{}",
        output.stderr
    );
}
