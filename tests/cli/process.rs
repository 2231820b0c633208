//! A bad day for the process itself: signals, a full disk behind standard output, no input, few open files.

use crate::environment::Environment;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

fn command(env: &Environment, args: &[&str]) -> Command {
    // Whoever runs the tests may ignore signals (`nohup`).
    let mut command = Command::new("env");
    command
        .args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_rmqplay")])
        .args(args)
        .current_dir(env.path())
        .env_clear()
        .env("HOME", env.path())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// A play of which the first task has begun when the file `started` is there, and ends when `go` is.
fn a_task_under_way() -> (Environment, Child) {
    let env = Environment::new();
    let wait = "echo >started; n=0; until [ -e go ] || [ $n = 600 ]; do sleep 0.05; n=$((n+1)); done";
    let root = env.path().display();
    let play = format!(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - name: first\n      shell: \"{wait}\"\n      \
         args: {{chdir: {root}}}\n    - name: second\n      command: touch {root}/second\n"
    );
    env.write("play.yml", &play);
    let child = command(
        &env,
        &["apply", "play.yml", "-i", "localhost,", "--report", "json=run.json"],
    )
    .spawn()
    .unwrap();
    let begin = std::time::Instant::now();
    while !env.path().join("started").exists() {
        assert!(begin.elapsed().as_secs() < 60, "the task does not begin");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (env, child)
}

#[test]
fn whoever_ends_it_is_told_what_was_done() {
    for name in ["-TERM", "-HUP", "-INT"] {
        let (env, mut child) = a_task_under_way();
        signal(&child, name);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = lines.by_ref().any(|line| line.unwrap().contains("interrupted"));
        assert!(heard, "{name}");
        env.write("go", "");
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        assert!(
            rest.iter().any(|l| l.starts_with("changed") && l.contains("first")),
            "{name}: {rest:?}"
        );
        assert!(!env.path().join("second").exists(), "{name}");
        let report = std::fs::read_to_string(env.path().join("run.json")).unwrap();
        assert!(report.trim_end().ends_with('}'), "{name}: {report}");
    }
}

#[test]
fn who_is_not_reached_yet_is_not_waited_for() {
    let env = Environment::new();
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    env.write(
        "hosts",
        &format!("deaf ansible_host=127.0.0.1 ansible_port={port}\nlater ansible_host=127.0.0.1 ansible_port={port}\n"),
    );
    let mut child = command(
        &env,
        &["run", "all", "-i", "hosts", "-m", "ping", "-T", "300", "-f", "1"],
    )
    .spawn()
    .unwrap();
    let (_held, _) = deaf.accept().unwrap();
    signal(&child, "-INT");
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert_eq!(said.matches("unreachable=0").count(), 2, "{said}");
}

/// Half an answer with exit status 0 would be taken for the whole.
#[test]
fn a_full_disk_behind_standard_output_is_told() {
    let env = Environment::new();
    env.write(
        "play.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n",
    );
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let cases: [(&[&str], i32); 6] = [
        (&["doc", "sysctl"], 1),
        (&["inventory", "-i", "mq-1,", "--list"], 1),
        (&["completions", "bash"], 1),
        (&["lint", "play.yml", "--format", "json"], 1),
        (&["apply", "play.yml", "-i", "mq-1,", "--simulate"], 2),
        (
            &["apply", "play.yml", "-i", "mq-1,", "--simulate", "--format", "json"],
            2,
        ),
    ];
    for (args, exit) in cases {
        let output = command(&env, args).stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {said}");
        assert!(
            said.contains("could not be written") && said.contains("No space left"),
            "{args:?}: {said}"
        );
    }
    let args = [
        "apply",
        "play.yml",
        "-i",
        "mq-1,",
        "--simulate",
        "--report",
        "json=/dev/full",
    ];
    let output = env.run(&args);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("`/dev/full`"), "{output:?}");
}

#[test]
fn no_password_is_not_an_empty_one() {
    let env = Environment::new();
    env.write("empty", "\n");
    for args in [
        ["-K", "-b"].as_slice(),
        &["-b", "--become-password-file", "empty"],
        &["-b", "--become-password-file", "-"],
    ] {
        let all: Vec<&str> = ["run", "mq-1", "-i", "mq-1,", "--simulate", "-m", "ping"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let output = env.run(&all);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{args:?}: {output:?}");
        assert!(output.stderr.contains("password"), "{args:?}: {output:?}");
    }
}

#[test]
fn few_open_files_are_fewer_hosts_at_a_time() {
    let env = Environment::new();
    let hosts: Vec<String> = (0..40).map(|n| format!("here-{n} ansible_connection=local")).collect();
    env.write("hosts", &hosts.join("\n"));
    let mut limited = Command::new("sh");
    let run = |limited: &mut Command, ulimit: &str| {
        let script = format!("ulimit {ulimit} -n 64 && exec \"$0\" run all -i hosts -m ping");
        let output = limited
            .args(["-c", &script, env!("CARGO_BIN_EXE_rmqplay")])
            .current_dir(env.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let said = run(&mut limited, "");
    assert!(said.contains("2 instead of 40 hosts at a time"), "{said}");
    // A limit of one's own can be raised again, and is.
    assert_eq!(run(&mut Command::new("sh"), "-S"), "");
}

/// The program at a terminal of its own, by util-linux's `script`; `typed` goes to it once it has asked `question`.
fn at_a_terminal(env: &Environment, args: &str, question: &str, typed: &[u8]) -> (Option<i32>, String) {
    use std::io::Write as _;
    let shell = format!(
        "trap : INT; {} {args}; echo \"status $?\"; stty -a",
        env!("CARGO_BIN_EXE_rmqplay")
    );
    let mut child = Command::new("script")
        .args(["-qec", &shell, "/dev/null"])
        .current_dir(env.path())
        .env_clear()
        .env("HOME", env.path())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let mut out = child.stdout.take().unwrap();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(question) {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
        said.extend(byte);
    }
    child.stdin.as_mut().unwrap().write_all(typed).unwrap();
    out.read_to_end(&mut said).unwrap();
    child.wait().unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = said.lines().find_map(|line| line.strip_prefix("status "));
    (status.and_then(|status| status.trim().parse().ok()), said)
}

#[test]
fn ctrl_c_is_an_answer_to_every_question() {
    let env = Environment::new();
    env.write(
        "play.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: one, ping: }\n    - {name: two, ping: }\n",
    );
    let (status, said) = at_a_terminal(
        &env,
        "run mq-1 -i mq-1, --simulate -m ping -b -K",
        "BECOME password: ",
        b"\x03",
    );
    assert_eq!(status, Some(130), "{said}");
    assert!(
        said.contains(" echo ") && !said.contains(" -echo "),
        "the terminal shows what is typed again: {said}"
    );
    let (status, said) = at_a_terminal(
        &env,
        "apply play.yml -i mq-1, --simulate --step",
        "`one` ((N)o/(y)es/(c)ontinue): ",
        b"\x03",
    );
    assert_eq!(status, Some(130), "{said}");
    assert!(!said.contains("`two`"), "{said}");
}
