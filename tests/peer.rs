//! Conformance of the shell peer: one suite over every shell, locally and over ssh.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

#[path = "peer/backend.rs"]
mod backend;
#[path = "peer/sshd.rs"]
#[expect(dead_code, reason = "tests/ssh.rs uses the rest")]
mod sshd;

use backend::{Backend, Scratch};
use rmqplay::host::{Content, Exec, FileKind, Guard, Hidden, Observation, Op, Probe, Status};
use rmqplay::transport::{CallErrorKind, Reply, Request, Step};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

/// Every case over every back end.
macro_rules! conformance {
    ($($case:ident)*) => {
        conformance!(@ dash [$($case)*]);
        conformance!(@ bash [$($case)*]);
        conformance!(@ busybox [$($case)*]);
        conformance!(@ ssh [$($case)*]);
    };
    (@ $backend:ident [$($case:ident)*]) => {
        mod $backend {
            $(#[test] fn $case() { super::$case(&crate::backend::$backend()) })*
        }
    };
}

conformance! {
    stat_tells_what_is_there
    stat_follows_links_only_when_asked
    stat_of_many_paths_at_once
    names_without_owner
    read_is_exact
    read_of_proc_and_sys
    read_tells_files_apart
    read_of_a_glob
    read_refuses_what_is_no_file
    read_says_when_a_file_is_too_large
    one_unreadable_file_spoils_no_other
    hash_of_every_algorithm
    glob_lists_sorted
    glob_takes_all_else_literally
    exec_tells_streams_and_status
    exec_probe_has_a_time_limit
    exec_probe_reads_what_it_is_given
    scripts_are_as_processes_of_their_own
    tcp_open_and_closed
    equal_probes_answer_alike
    hostile_names
    write_makes_and_replaces
    write_keeps_owner_mode_and_attributes
    write_goes_through_a_symlink
    write_in_place_of_a_bind_mount
    write_is_guarded
    write_backs_up
    write_validates
    write_of_hostile_content
    put_says_what_the_kernel_says
    make_directories
    links
    remove
    modes_owners_and_times
    copy_on_the_host
    exec_with_surroundings
    exec_time_limit_ends_the_group
    a_daemon_does_not_hold_us
    long_output_is_cut_and_said_to_be
    the_first_failure_stops_the_rest
    nul_is_refused
    look_after_acting
}

fn stat_tells_what_is_there(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"12345", 0o640);
    std::fs::create_dir(dir.path("d")).unwrap();
    let stat = host.stat(&dir.at("f")).unwrap();
    let real = std::fs::metadata(dir.path("f")).unwrap();
    assert_eq!(
        (
            stat.kind,
            stat.mode,
            stat.size,
            stat.uid,
            stat.owner.as_str(),
            stat.group.as_str()
        ),
        (FileKind::File, 0o640, 5, 0, "root", "root")
    );
    assert_eq!(
        (stat.inode, stat.dev, stat.nlink),
        (real.ino(), real.dev(), real.nlink())
    );
    assert_eq!((stat.mtime, stat.ctime), (real.mtime(), real.ctime()));
    assert_eq!((stat.blocks, stat.block_size), (real.blocks(), real.blksize()));
    let null = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((stat.rdev, host.stat("/dev/null").unwrap().rdev), (0, null.rdev()));
    assert_eq!(host.stat(&dir.at("d")).unwrap().kind, FileKind::Directory);
    assert_eq!(host.stat("/dev/null").unwrap().kind, FileKind::Char);
    assert_eq!(host.stat(&dir.at("none")), None);
    assert_eq!(host.stat(&dir.at("f/below")), None);
    assert_eq!(host.stat(&dir.at("none/below/that")), None);
}

fn stat_follows_links_only_when_asked(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"", 0o600);
    symlink("f", dir.path("l")).unwrap();
    symlink("nowhere", dir.path("dangling")).unwrap();
    let link = host.stat(&dir.at("l")).unwrap();
    assert_eq!((link.kind, link.target.as_deref()), (FileKind::Link, Some("f")));
    assert_eq!(
        host.stat(&dir.at("dangling")).unwrap().target.as_deref(),
        Some("nowhere")
    );
    let answers = host.look([Probe::stat_follow(dir.at("l")), Probe::stat_follow(dir.at("dangling"))]);
    assert!(matches!(&answers[0], Observation::Stat(Some(s)) if s.kind == FileKind::File && s.target.is_none()));
    assert_eq!(answers[1], Observation::Stat(None));
}

fn stat_of_many_paths_at_once(host: &Backend) {
    let dir = Scratch::new(host);
    let names: Vec<String> = (0..3000).map(|n| dir.at(&format!("{n}-{}", "x".repeat(60)))).collect();
    for name in names.iter().step_by(3) {
        std::fs::write(name, name).unwrap();
    }
    let answers = host.look(names.iter().map(Probe::stat));
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(
            matches!(answer, Observation::Stat(Some(_))),
            n % 3 == 0,
            "{n}: {answer:?}"
        );
    }
}

fn names_without_owner(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"", 0o600);
    std::os::unix::fs::chown(dir.path("f"), Some(54321), Some(54322)).unwrap();
    let stat = host.stat(&dir.at("f")).unwrap();
    assert_eq!(
        (stat.uid, stat.gid, stat.owner.as_str(), stat.group.as_str()),
        (54321, 54322, "", "")
    );
}

fn read_is_exact(host: &Backend) {
    let dir = Scratch::new(host);
    let contents: [&[u8]; 8] = [
        b"",
        b"\n",
        b"no newline",
        b"two\nlines\n\n\n",
        b"nul \0 inside\0",
        b"\xff\xfe not utf-8 \x80",
        b" \\n \\\\ $HOME `id` $(id) ' \" \t",
        &[7; 1_000_000],
    ];
    for (n, content) in contents.iter().enumerate() {
        dir.file(&n.to_string(), content, 0o644);
    }
    let answers = host.look((0..contents.len()).map(|n| Probe::read(dir.at(&n.to_string()))));
    for (content, answer) in contents.iter().zip(answers) {
        assert_eq!(answer, Observation::Content(Some(Content::from(content))));
    }
    assert_eq!(host.read(&dir.at("none")), Observation::Content(None));
}

/// What `head` writes between files is no file's to imitate, wherever the file is.
fn read_tells_files_apart(host: &Backend) {
    let dir = Scratch::new(host);
    let lying = format!("==> {} <==\n\n==> /./dev/null <==\n", dir.at("b"));
    let texts = [("a", &*lying), ("b", ""), ("c <==\n", "\n"), ("-v", "no line break")];
    for (name, text) in texts {
        host.act([write(dir.at(name), text)]);
    }
    let seen = host.look(texts.map(|(name, _)| Probe::read(dir.at(name))));
    let wanted = texts.map(|(_, text)| Observation::Content(Some(Content::from(text))));
    assert_eq!(seen, wanted);
}

fn read_of_a_glob(host: &Backend) {
    let dir = Scratch::new(host);
    for name in ["a b.conf", "c\nd.conf", ".hidden.conf", "x.other"] {
        dir.file(name, name.as_bytes(), 0o644);
    }
    symlink("nowhere", dir.path("broken.conf")).unwrap();
    std::fs::create_dir(dir.path("dir.conf")).unwrap();
    let pattern = dir.at("*.conf");
    let seen = host.look([
        Probe::read_glob(dir.at("none*")),
        Probe::read(dir.at("x.other")),
        Probe::read_glob(&pattern),
        Probe::read(dir.at("none")),
        Probe::read_glob(dir.at("x.other")),
    ]);
    let files = |files: &[(&str, Option<&str>)]| {
        let files = files.iter().map(|(name, text)| (dir.at(name), text.map(Content::from)));
        Observation::Files(std::sync::Arc::new(files.collect()))
    };
    let matched = [
        ("a b.conf", Some("a b.conf")),
        ("broken.conf", None),
        ("c\nd.conf", Some("c\nd.conf")),
        ("dir.conf", None),
    ];
    assert_eq!(seen[0], files(&[]));
    assert_eq!(seen[1], Observation::Content(Some(Content::from("x.other"))));
    assert_eq!(seen[2], files(&matched));
    assert_eq!(seen[3], Observation::Content(None));
    assert_eq!(seen[4], files(&[("x.other", Some("x.other"))]));
    // One that can be opened and not read spoils no other.
    let seen = host.look([Probe::read_glob("/proc/self/me[m]"), Probe::read_glob(dir.at("x*"))]);
    let unreadable = std::sync::Arc::new([("/proc/self/mem".to_owned(), None)].into());
    assert_eq!(seen[0], Observation::Files(unreadable));
    assert_eq!(seen[1], files(&[("x.other", Some("x.other"))]));
}

fn read_of_proc_and_sys(host: &Backend) {
    let paths = [
        "/proc/sys/vm/max_map_count",
        "/proc/sys/net/ipv4/tcp_rmem",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ];
    for (path, answer) in paths.iter().zip(host.look(paths.map(Probe::read))) {
        assert_eq!(
            answer,
            Observation::Content(Some(Content::from(std::fs::read(path).unwrap())))
        );
    }
}

fn read_refuses_what_is_no_file(host: &Backend) {
    let dir = Scratch::new(host);
    let refused = |path: &str, why: &str| Observation::Failed(format!("cannot look at `{path}`: {why}"));
    assert_eq!(host.read(&dir.at("")), refused(&dir.at(""), "Is a directory"));
    assert_eq!(host.read("/dev/null"), refused("/dev/null", "not a regular file"));
    symlink("loop", dir.path("loop")).unwrap();
    assert!(matches!(host.read(&dir.at("loop")), Observation::Failed(text) if text.contains("symbolic links")));
}

fn read_says_when_a_file_is_too_large(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"12345", 0o644);
    let read = |max| Probe::Read {
        path: dir.at("f").into(),
        max,
    };
    let answers = host.look([read(4), read(5)]);
    assert_eq!(
        answers[0],
        Observation::Failed(format!("cannot look at `{}`: larger than 4 bytes", dir.at("f")))
    );
    assert_eq!(answers[1], Observation::Content(Some(Content::from("12345"))));
}

/// Some files of /sys and /proc can be opened and not read.
fn one_unreadable_file_spoils_no_other(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("a", b"before", 0o644);
    dir.file("b", b"after", 0o644);
    let odd = "/proc/self/mem";
    let answers = host.look([Probe::read(dir.at("a")), Probe::read(odd), Probe::read(dir.at("b"))]);
    assert_eq!(answers[0], Observation::Content(Some(Content::from("before"))));
    assert!(
        matches!(&answers[1], Observation::Failed(text) if text.ends_with(": Input/output error")),
        "{:?}",
        answers[1]
    );
    assert_eq!(answers[2], Observation::Content(Some(Content::from("after"))));
}

fn hash_of_every_algorithm(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"abc", 0o644);
    dir.file("new\nline\\", b"abc", 0o644);
    let hash = |name: &str, algorithm: &str| Probe::Hash {
        path: dir.at(name).into(),
        algorithm: algorithm.to_owned(),
    };
    let known = [
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (
            "sha256",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
    ];
    for (algorithm, expected) in known {
        let answers = host.look([hash("f", algorithm), hash("none", algorithm), hash("", algorithm)]);
        assert_eq!(answers[0], Observation::Text(Some(expected.to_owned())), "{algorithm}");
        assert_eq!(
            &answers[1..],
            [Observation::Text(None), Observation::Text(None)],
            "{algorithm}"
        );
        assert_eq!(
            host.look([hash("new\nline\\", algorithm)])[0],
            Observation::Text(Some(expected.to_owned()))
        );
    }
    assert!(matches!(&host.look([hash("f", "crc")])[0], Observation::Failed(_)));
}

fn glob_lists_sorted(host: &Backend) {
    let dir = Scratch::new(host);
    for name in [
        "b.conf",
        "a.conf",
        "c.txt",
        "d d.conf",
        "[x].conf",
        "A.conf",
        ".hidden.conf",
    ] {
        dir.file(name, b"", 0o644);
    }
    let glob = |pattern: &str| match &host.look([Probe::glob(dir.at(pattern))])[0] {
        Observation::List(list) => list
            .iter()
            .map(|p| p.rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(glob("*.conf"), ["A.conf", "[x].conf", "a.conf", "b.conf", "d d.conf"]);
    assert_eq!(glob("[a-b].conf"), ["a.conf", "b.conf"]);
    assert_eq!(glob("[!a-c]*"), ["A.conf", "[x].conf", "d d.conf"]);
    assert_eq!(glob("?.txt"), ["c.txt"]);
    assert_eq!(glob("a.conf"), ["a.conf"]);
    assert_eq!(glob("none*"), Vec::<String>::new());
    assert_eq!(glob("[[]x].conf"), ["[x].conf"]);
}

fn glob_takes_all_else_literally(host: &Backend) {
    let dir = Scratch::new(host);
    for name in [
        "$HOME a",
        "`id`b",
        "it's",
        "line\nbreak",
        "{x,y}",
        "~",
        "back\\slash",
        "[open",
    ] {
        dir.file(name, b"", 0o644);
        let pattern = dir.at(&format!("{}*", name.replace('*', "?")));
        assert_eq!(
            host.look([Probe::glob(&pattern)])[0],
            Observation::List(vec![dir.at(name)]),
            "{name:?}"
        );
    }
}

fn exec_tells_streams_and_status(host: &Backend) {
    let run = |argv: &[&str]| match &host.look([Probe::exec(argv.iter().copied())])[0] {
        Observation::Exec(result) => result.clone(),
        other => panic!("{other:?}"),
    };
    let result = run(&["sh", "-c", "printf 'out\\0'; printf err >&2; exit 3"]);
    assert_eq!(
        (result.rc, result.stdout.as_bytes(), result.stderr.as_bytes()),
        (3, &b"out\0"[..], &b"err"[..])
    );
    assert!(!result.truncated);
    assert_eq!(run(&["true"]).rc, 0);
    assert_eq!(run(&["no-such-program"]).rc, 127);
    assert_eq!(run(&["sh", "-c", "kill -15 $$"]).rc, 143);
    assert_eq!(run(&["cat"]).rc, 0, "standard input is empty");
    let odd = [
        "printf", "%s|", "", " ", "it's", "$(id)", "`id`", "-n", "--", "a\nb", "é", "*",
    ];
    assert_eq!(run(&odd).stdout.text(), "| |it's|$(id)|`id`|-n|--|a\nb|é|*|");
}

fn scripts_are_as_processes_of_their_own(host: &Backend) {
    let script = |text: &str, arguments: &[&str]| match &host.look([Probe::script(text, arguments)])[0] {
        Observation::Exec(result) => (
            result.rc,
            result.stdout.text().into_owned(),
            result.stderr.text().into_owned(),
        ),
        other => panic!("{other:?}"),
    };
    let told = |rc: i32, out: &str, err: &str| (rc, out.to_owned(), err.to_owned());
    assert_eq!(
        script("echo \"$# $1\"; echo bad >&2", &["a  'b"]),
        told(0, "1 a  'b\n", "bad")
    );
    assert_eq!(script("exit 7", &[]), told(7, "", ""));
    assert_eq!(script("cd /; IFS=,; probes=9; exec printf x", &[]), told(0, "x", ""));
    assert_eq!(script("cat; umask", &[]).0, 0);
    // Several at once, with and without words: each has its own, and what one sets is not the next one's.
    let texts = ["v=1; echo one", "exit 1", "echo ${v-unset}", "false", "echo last >&2"];
    let seen = host.look(texts.map(|text| Probe::script(text, &[])));
    let all: Vec<_> = seen
        .iter()
        .map(|seen| match seen {
            Observation::Exec(result) => (result.rc, format!("{}{}", result.stdout.text(), result.stderr.text())),
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = [(0, "one\n"), (1, ""), (0, "unset\n"), (1, ""), (0, "last")];
    assert_eq!(all, wanted.map(|(rc, text)| (rc, text.to_owned())));
}

fn exec_probe_has_a_time_limit(host: &Backend) {
    let probe = Probe::Exec {
        argv: ["sh", "-c", "echo begun; sleep 1000"].map(String::from).to_vec(),
        stdin: None,
        timeout_s: 1,
    };
    match &host.look([probe])[0] {
        Observation::Exec(result) => assert_eq!((result.rc, result.stdout.text().as_ref()), (124, "begun\n")),
        other => panic!("{other:?}"),
    }
}

fn exec_probe_reads_what_it_is_given(host: &Backend) {
    let given = |argv: &[&str], stdin: &[u8], timeout_s: u32| Probe::Exec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        stdin: Some(Hidden::new(stdin)),
        timeout_s,
    };
    // More than a pipe holds, and not text.
    let large: Vec<u8> = (0..100_000u64).map(|n| (n * n / 7) as u8).collect();
    let probes = [
        given(&["cat"], &large, 5),
        given(
            &["sh", "-c", "read -r one; echo \"$1 $one\"; exit 3", "sh", "said"],
            b"a b $(id)\nrest\n",
            0,
        ),
        given(&["cat"], b"", 5),
        Probe::exec(["cat"]),
        given(&["sh", "-c", "echo begun; sleep 1000"], b"never read", 1),
    ];
    let seen: Vec<(i32, Vec<u8>)> = host
        .look(probes)
        .iter()
        .map(|seen| match seen {
            Observation::Exec(result) => (result.rc, result.stdout.as_bytes().to_vec()),
            other => panic!("{other:?}"),
        })
        .collect();
    let said = |rc: i32, text: &[u8]| (rc, text.to_vec());
    let wanted = [
        said(0, &large),
        said(3, b"said a b $(id)\n"),
        said(0, b""),
        said(0, b""),
        said(124, b"begun\n"),
    ];
    assert_eq!(seen, wanted);
}

fn tcp_open_and_closed(host: &Backend) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let probe = || Probe::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
        timeout_s: 5,
    };
    assert_eq!(host.look([probe()])[0], Observation::Text(Some("open".to_owned())));
    drop(listener);
    assert_eq!(host.look([probe()])[0], Observation::Text(None));
}

fn equal_probes_answer_alike(host: &Backend) {
    let dir = Scratch::new(host);
    let count = Probe::exec(["sh", "-c", "echo x >>\"$0\"", &dir.at("count")]);
    host.look([count.clone(), Probe::stat("/"), count]);
    assert_eq!(std::fs::read(dir.path("count")).unwrap(), b"x\n", "made once");
}

const HOSTILE: [&str; 16] = [
    "it's",
    "\"double\"",
    "a b  c",
    "new\nline",
    "trailing\n",
    "$(touch pwned)",
    "`touch pwned`",
    "-n",
    "--",
    "*",
    "\\",
    "é ü 日本",
    "tab\there",
    "; true #",
    "%s%n",
    "{a,b}",
];

fn hostile_names(host: &Backend) {
    let dir = Scratch::new(host);
    let link = |name: &str| dir.at(&format!("link to {name}"));
    let files = HOSTILE.iter().map(|name| write(dir.at(name), *name));
    let links = HOSTILE.iter().map(|name| Op::Link {
        path: link(name),
        target: (*name).to_owned(),
        hard: false,
        force: false,
    });
    let outcomes = host.act(files.chain(links));
    assert!(outcomes.iter().all(|outcome| outcome.is_done()), "{outcomes:?}");
    for (n, answer) in host
        .look(HOSTILE.iter().map(|name| Probe::stat(dir.at(name))))
        .iter()
        .enumerate()
    {
        assert!(
            matches!(answer, Observation::Stat(Some(s)) if s.size == HOSTILE[n].len() as u64),
            "{:?}",
            HOSTILE[n]
        );
    }
    for (n, answer) in host
        .look(HOSTILE.iter().map(|name| Probe::stat(link(name))))
        .iter()
        .enumerate()
    {
        assert!(
            matches!(answer, Observation::Stat(Some(s)) if s.target.as_deref() == Some(HOSTILE[n])),
            "{answer:?}"
        );
    }
    for (n, answer) in host
        .look(HOSTILE.iter().map(|name| Probe::read(link(name))))
        .iter()
        .enumerate()
    {
        assert_eq!(answer, &Observation::Content(Some(Content::from(HOSTILE[n]))));
    }
    assert!(!dir.path("pwned").exists());
}

fn write(path: String, content: impl Into<Content>) -> Op {
    Op::Write {
        path,
        content: content.into(),
        mode: None,
        owner: None,
        group: None,
        guard: None,
        backup: None,
        validate: None,
    }
}

fn mode_of(path: std::path::PathBuf) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn write_makes_and_replaces(host: &Backend) {
    let dir = Scratch::new(host);
    assert_eq!(host.act([write(dir.at("f"), "one\n")])[0].status, Status::Done);
    assert_eq!(std::fs::read(dir.path("f")).unwrap(), b"one\n");
    assert_eq!(mode_of(dir.path("f")), 0o644);
    let before = std::fs::metadata(dir.path("f")).unwrap().ino();
    assert_eq!(host.act([write(dir.at("f"), "")])[0].status, Status::Done);
    assert_eq!(std::fs::read(dir.path("f")).unwrap(), b"");
    assert_ne!(
        std::fs::metadata(dir.path("f")).unwrap().ino(),
        before,
        "another file took its place"
    );
    let full = |mode| Op::Write {
        path: dir.at("f"),
        content: Content::from("x"),
        mode: Some(mode),
        owner: Some("daemon".to_owned()),
        group: Some("1234".to_owned()),
        guard: None,
        backup: None,
        validate: None,
    };
    assert_eq!(host.act([full(0o4751)])[0].status, Status::Done);
    let meta = std::fs::metadata(dir.path("f")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o4751, 1, 1234));
    assert!(
        matches!(&host.act([write(dir.at("no/f"), "")])[0].status, Status::Failed(text) if text.contains("no such directory"))
    );
    assert!(
        matches!(&host.act([write(dir.at(""), "")])[0].status, Status::Failed(text) if text.contains("Is a directory"))
    );
}

fn write_keeps_owner_mode_and_attributes(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"old", 0o2710);
    std::os::unix::fs::chown(dir.path("f"), Some(1), Some(2)).unwrap();
    std::fs::set_permissions(dir.path("f"), std::fs::Permissions::from_mode(0o2710)).unwrap();
    let xattr = backend::set_xattr(&dir.path("f"));
    assert_eq!(host.act([write(dir.at("f"), "new")])[0].status, Status::Done);
    let meta = std::fs::metadata(dir.path("f")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o2710, 1, 2));
    assert_eq!(std::fs::read(dir.path("f")).unwrap(), b"new");
    if !host.is_busybox() {
        assert_eq!(backend::xattr(&dir.path("f")), xattr);
    }
}

fn write_goes_through_a_symlink(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("real", b"old", 0o600);
    symlink("real", dir.path("link")).unwrap();
    symlink("fresh", dir.path("dangling")).unwrap();
    host.act([write(dir.at("link"), "new"), write(dir.at("dangling"), "made")]);
    assert_eq!(std::fs::read(dir.path("real")).unwrap(), b"new");
    assert_eq!(std::fs::read(dir.path("fresh")).unwrap(), b"made");
    assert!(std::fs::symlink_metadata(dir.path("link")).unwrap().is_symlink());
    assert_eq!(mode_of(dir.path("real")), 0o600);
}

fn write_in_place_of_a_bind_mount(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("behind", b"old", 0o640);
    dir.file("front", b"", 0o644);
    let _mount = backend::Mount::bind(&dir.path("behind"), &dir.path("front"));
    assert_eq!(host.act([write(dir.at("front"), "new")])[0].status, Status::Done);
    assert_eq!(std::fs::read(dir.path("behind")).unwrap(), b"new");
    assert_eq!(mode_of(dir.path("behind")), 0o640);
}

fn write_is_guarded(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"old", 0o644);
    let old = Content::from("old").sha256();
    let guarded = |name: &str, guard| Op::Write {
        path: dir.at(name),
        content: Content::from("new"),
        mode: None,
        owner: None,
        group: None,
        guard: Some(guard),
        backup: Some(dir.at("backup")),
        validate: None,
    };
    let other = Guard::Sha256(Content::from("other").sha256());
    assert_eq!(
        host.act([guarded("f", other.clone())])[0].status,
        Status::Refused(old.clone())
    );
    assert_eq!(
        host.act([guarded("f", Guard::Absent)])[0].status,
        Status::Refused(old.clone())
    );
    assert_eq!(
        host.act([guarded("g", other)])[0].status,
        Status::Refused("absent".to_owned())
    );
    assert_eq!(dir.list(), ["f"], "neither a backup nor a temporary file");
    assert_eq!(std::fs::read(dir.path("f")).unwrap(), b"old");
    assert_eq!(host.act([guarded("f", Guard::Sha256(old))])[0].status, Status::Done);
    assert_eq!(host.act([guarded("g", Guard::Absent)])[0].status, Status::Done);
}

fn write_backs_up(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"old", 0o640);
    std::os::unix::fs::chown(dir.path("f"), Some(1), Some(2)).unwrap();
    let op = |path: &str| Op::Write {
        path: dir.at(path),
        content: Content::from("new"),
        mode: Some(0o600),
        owner: None,
        group: None,
        guard: None,
        backup: Some(dir.at(&format!("{path}.bak"))),
        validate: None,
    };
    host.act([op("f"), op("fresh")]);
    let meta = std::fs::metadata(dir.path("f.bak")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o640, 1, 2));
    assert_eq!(std::fs::read(dir.path("f.bak")).unwrap(), b"old");
    assert_eq!(dir.list(), ["f", "f.bak", "fresh"]);
}

fn write_validates(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"old", 0o644);
    let op = |content: &str| Op::Write {
        path: dir.at("f"),
        content: Content::from(content),
        mode: None,
        owner: None,
        group: None,
        guard: None,
        backup: None,
        validate: Some(
            ["sh", "-c", "echo \"$1\"; echo saw >&2; grep -q good \"$1\"", "sh", "%s"]
                .map(String::from)
                .to_vec(),
        ),
    };
    let outcome = &host.act([op("bad")])[0];
    assert!(
        matches!(&outcome.status, Status::Failed(text) if text.contains("validation failed")),
        "{outcome:?}"
    );
    assert_eq!(outcome.exec.as_ref().unwrap().stderr.text(), "saw\n");
    assert_eq!(std::fs::read(dir.path("f")).unwrap(), b"old");
    assert_eq!(host.act([op("good")])[0].status, Status::Done);
    assert_eq!(dir.list(), ["f"]);
}

fn write_of_hostile_content(host: &Backend) {
    let dir = Scratch::new(host);
    let large: Vec<u8> = (0..1_000_003u32).map(|n| (n * 7 % 256) as u8).collect();
    let contents: [&[u8]; 7] = [
        b"\0",
        b"\xff\xfe\0\x80",
        b"no newline",
        b"'\"`$(id)\\\n",
        b"EOF\n.\n",
        b"",
        &large,
    ];
    let names: Vec<String> = (0..contents.len()).map(|n| dir.at(&n.to_string())).collect();
    let outcomes = host.act(
        names
            .iter()
            .zip(contents)
            .map(|(name, content)| write(name.clone(), content)),
    );
    assert!(outcomes.iter().all(|outcome| outcome.is_done()), "{outcomes:?}");
    for (n, content) in contents.iter().enumerate() {
        assert!(std::fs::read(dir.path(&n.to_string())).unwrap() == *content, "{n}");
    }
}

fn put_says_what_the_kernel_says(host: &Backend) {
    let put = |path: &str, content: &str| {
        let op = Op::Put {
            path: path.to_owned(),
            content: Content::from(content),
        };
        host.act([op])[0].status.clone()
    };
    // Its own value: harms nothing.
    let now = std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    assert_eq!(put("/proc/sys/vm/swappiness", &now), Status::Done);
    assert!(
        matches!(put("/proc/sys/vm/swappiness", "no number\n"), Status::Failed(text) if text.contains("Invalid argument"))
    );
    assert!(matches!(put("/proc/sys/vm/none", "1"), Status::Failed(text) if text.contains("No such file")));
    let dir = Scratch::new(host);
    dir.file("f", b"longer than that", 0o600);
    assert_eq!(put(&dir.at("f"), "short"), Status::Done);
    assert_eq!(std::fs::read(dir.path("f")).unwrap(), b"short");
}

fn make_directories(host: &Backend) {
    let dir = Scratch::new(host);
    let make = |name: &str, mode, owner: Option<&str>, parents| Op::MakeDir {
        path: dir.at(name),
        mode,
        owner: owner.map(str::to_owned),
        group: None,
        parents,
    };
    let outcomes = host.act([
        make("a", None, None, false),
        make("a", None, None, false),
        make("b/c/d", Some(0o1770), Some("daemon"), true),
    ]);
    assert!(outcomes.iter().all(|outcome| outcome.is_done()), "{outcomes:?}");
    assert_eq!(
        (
            mode_of(dir.path("a")),
            mode_of(dir.path("b/c")),
            mode_of(dir.path("b/c/d"))
        ),
        (0o755, 0o755, 0o1770)
    );
    assert_eq!(std::fs::metadata(dir.path("b/c/d")).unwrap().uid(), 1);
    assert_eq!(std::fs::metadata(dir.path("b/c")).unwrap().uid(), 0);
    assert!(
        matches!(&host.act([make("x/y", None, None, false)])[0].status, Status::Failed(text) if text.contains("No such file"))
    );
    dir.file("file", b"", 0o644);
    assert!(
        matches!(&host.act([make("file", None, None, false)])[0].status, Status::Failed(text) if text.contains("File exists"))
    );
}

fn links(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"", 0o644);
    dir.file("g", b"", 0o644);
    std::fs::create_dir(dir.path("empty")).unwrap();
    std::fs::create_dir_all(dir.path("full/x")).unwrap();
    let link = |path: &str, target: &str, hard, force| Op::Link {
        path: dir.at(path),
        target: if hard { dir.at(target) } else { target.to_owned() },
        hard,
        force,
    };
    let status = |op| host.act([op])[0].status.clone();
    assert_eq!(status(link("l", "f", false, false)), Status::Done);
    assert!(matches!(status(link("l", "g", false, false)), Status::Failed(text) if text.contains("File exists")));
    assert_eq!(status(link("l", "empty", false, true)), Status::Done);
    assert_eq!(
        status(link("l", "g", false, true)),
        Status::Done,
        "a link to a directory is replaced, not entered"
    );
    assert_eq!(std::fs::read_link(dir.path("l")).unwrap().to_str(), Some("g"));
    assert_eq!(status(link("h", "f", true, false)), Status::Done);
    assert_eq!(status(link("h", "f", true, true)), Status::Done);
    assert_eq!(std::fs::metadata(dir.path("f")).unwrap().nlink(), 2);
    assert_eq!(status(link("empty", "f", false, true)), Status::Done);
    assert!(matches!(status(link("full", "f", false, true)), Status::Failed(_)));
    assert_eq!(dir.list(), ["empty", "f", "full", "g", "h", "l"]);
}

fn remove(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"", 0o644);
    std::fs::create_dir_all(dir.path("d/e")).unwrap();
    symlink("d", dir.path("l")).unwrap();
    let remove = |name: &str, recursive| {
        let op = Op::Remove {
            path: dir.at(name),
            recursive,
        };
        host.act([op])[0].status.clone()
    };
    assert_eq!(remove("f", false), Status::Done);
    assert_eq!(remove("f", false), Status::Done);
    assert_eq!(remove("l", true), Status::Done);
    assert!(matches!(remove("d", false), Status::Failed(text) if text.contains("not empty")));
    assert_eq!(remove("d", true), Status::Done);
    assert_eq!(dir.list(), Vec::<String>::new());
    let root = Op::Remove {
        path: "//".to_owned(),
        recursive: true,
    };
    assert!(matches!(&host.act([root])[0].status, Status::Failed(text) if text.contains("root directory")));
}

fn modes_owners_and_times(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("f", b"", 0o644);
    symlink("f", dir.path("l")).unwrap();
    let chown = |path: &str, owner: Option<&str>, group: Option<&str>, follow| Op::Chown {
        path: dir.at(path),
        owner: owner.map(str::to_owned),
        group: group.map(str::to_owned),
        follow,
    };
    let outcomes = host.act([
        Op::Chmod {
            path: dir.at("f"),
            mode: 0o4700,
        },
        chown("l", Some("daemon"), None, true),
        chown("l", None, Some("bin"), false),
        Op::Touch {
            path: dir.at("f"),
            atime: Some(5),
            mtime: Some(1_000_000_000),
        },
        Op::Touch {
            path: dir.at("made"),
            atime: None,
            mtime: None,
        },
    ]);
    assert!(outcomes.iter().all(|outcome| outcome.is_done()), "{outcomes:?}");
    let meta = std::fs::metadata(dir.path("f")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.atime(), meta.mtime()),
        (1, 0, 5, 1_000_000_000)
    );
    assert_eq!(std::fs::symlink_metadata(dir.path("l")).unwrap().gid(), 2);
    assert_eq!(mode_of(dir.path("made")), 0o644);
    // A directory loses its set-group-ID bit too, and one that is made does not keep its parent's.
    std::fs::create_dir(dir.path("d")).unwrap();
    std::fs::set_permissions(dir.path("d"), std::fs::Permissions::from_mode(0o2775)).unwrap();
    let made = Op::MakeDir {
        path: dir.at("d/new"),
        mode: Some(0o755),
        owner: None,
        group: None,
        parents: false,
    };
    let chmod = Op::Chmod {
        path: dir.at("d"),
        mode: 0o755,
    };
    assert!(host.act([made, chmod]).iter().all(|outcome| outcome.is_done()));
    assert_eq!(mode_of(dir.path("d")), 0o755);
    assert_eq!(mode_of(dir.path("d/new")), 0o755);
    let failed = host.act([chown("f", Some("no-such-user"), None, false)]);
    assert!(
        matches!(&failed[0].status, Status::Failed(text) if text.contains("no-such-user")),
        "{failed:?}"
    );
}

fn copy_on_the_host(host: &Backend) {
    let dir = Scratch::new(host);
    dir.file("from", b"\0bytes\xff", 0o751);
    let copy = |guard| Op::Copy {
        source: dir.at("from"),
        path: dir.at("to"),
        guard,
    };
    assert_eq!(host.act([copy(Some(Guard::Absent))])[0].status, Status::Done);
    assert_eq!(std::fs::read(dir.path("to")).unwrap(), b"\0bytes\xff");
    assert_eq!(mode_of(dir.path("to")), 0o644);
    assert!(matches!(
        host.act([copy(Some(Guard::Absent))])[0].status,
        Status::Refused(_)
    ));
    dir.file("to", b"old", 0o640);
    assert_eq!(host.act([copy(None)])[0].status, Status::Done);
    assert_eq!(std::fs::read(dir.path("to")).unwrap(), b"\0bytes\xff");
    assert_eq!(mode_of(dir.path("to")), 0o640);
}

fn exec_with_surroundings(host: &Backend) {
    let dir = Scratch::new(host);
    std::fs::create_dir(dir.path("-cwd")).unwrap();
    let exec = Exec {
        argv: [
            "sh",
            "-c",
            "umask; pwd; printf '%s|' \"$A\" \"$LC_ALL\"; cat; echo e >&2",
        ]
        .map(String::from)
        .to_vec(),
        env: [("A", "it's $A\n"), ("odd.name", "v"), ("LC_ALL", "POSIX")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        stdin: Some(Content::from("in\0put")),
        cwd: Some(dir.at("-cwd")),
        ..Exec::default()
    };
    let outcome = &host.act([Op::Exec(exec.clone())])[0];
    let result = outcome.exec.as_ref().unwrap();
    let expected = format!("0022\n{}\nit's $A\n|POSIX|in\0put", dir.at("-cwd"));
    assert_eq!(result.stdout.text(), expected);
    assert_eq!(
        (result.rc, result.stderr.text().as_ref(), &outcome.status),
        (0, "e\n", &Status::Done)
    );
    let (start, end): (f64, f64) = (result.start.parse().unwrap(), result.end.parse().unwrap());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!(start <= end && (now - end).abs() < 60.0, "{start} {end} {now}");
    let odd = Exec {
        argv: vec!["env".to_owned()],
        ..exec.clone()
    };
    let odd = host.act([Op::Exec(odd)])[0]
        .exec
        .as_ref()
        .unwrap()
        .stdout
        .text()
        .into_owned();
    assert!(odd.contains("\nodd.name=v\n"), "{odd}");
    let nowhere = Exec {
        cwd: Some(dir.at("none")),
        ..exec
    };
    assert!(
        matches!(&host.act([Op::Exec(nowhere)])[0].status, Status::Failed(text) if text.contains("no such directory"))
    );
}

fn exec_time_limit_ends_the_group(host: &Backend) {
    let dir = Scratch::new(host);
    let exec = Exec {
        argv: ["sh", "-c", "sleep 1000 & echo $! >\"$0\"; wait", &dir.at("pid")]
            .map(String::from)
            .to_vec(),
        timeout_s: Some(1),
        ok: vec![0],
        ..Exec::default()
    };
    let outcome = &host.act([Op::Exec(exec)])[0];
    assert_eq!(
        outcome.status,
        Status::Failed("the time limit of 1 s ended it".to_owned())
    );
    assert_eq!(outcome.exec.as_ref().unwrap().rc, 124);
    let pid = std::fs::read_to_string(dir.path("pid")).unwrap();
    backend::wait_until("the grandchild ends", || !backend::is_alive(pid.trim()));
}

fn a_daemon_does_not_hold_us(host: &Backend) {
    let dir = Scratch::new(host);
    let exec = Op::exec(
        ["sh", "-c", "echo out; sleep 1000 & echo $! >\"$0\"", &dir.at("pid")],
        Default::default(),
    );
    let outcome = &host.act([exec])[0];
    let pid = std::fs::read_to_string(dir.path("pid")).unwrap();
    assert!(backend::is_alive(pid.trim()), "it runs on");
    backend::end(pid.trim());
    assert_eq!(outcome.exec.as_ref().unwrap().stdout.text(), "out\n");
}

fn long_output_is_cut_and_said_to_be(host: &Backend) {
    let exec = |bytes: u32| {
        Op::exec(
            ["sh", "-c", &format!("head -c {bytes} /dev/zero; echo e >&2")],
            Default::default(),
        )
    };
    let outcomes = host.act([exec(1024 * 1024), exec(3_000_000)]);
    let results: Vec<_> = outcomes.iter().map(|outcome| outcome.exec.as_ref().unwrap()).collect();
    assert_eq!(
        results
            .iter()
            .map(|r| (r.stdout.as_bytes().len(), r.truncated))
            .collect::<Vec<_>>(),
        [(1 << 20, false), (1 << 20, true)]
    );
    assert_eq!(results[1].stderr.text(), "e\n");

    // A look may tell more; half of it would be none.
    let look = |bytes: u32| Probe::exec(["head", "-c", &bytes.to_string(), "/dev/zero"]);
    let seen = host.look([look(3_000_000), look(17 << 20)]);
    assert!(
        matches!(&seen[0], Observation::Exec(r) if r.stdout.as_bytes().len() == 3_000_000),
        "{:?}",
        seen[0]
    );
    assert_eq!(seen[1], Observation::Failed("it told more than 16 MiB".to_owned()));
}

fn the_first_failure_stops_the_rest(host: &Backend) {
    let dir = Scratch::new(host);
    let steps = vec![
        Step::Op(Op::exec(["sh", "-c", "exit 3"], Default::default())),
        Step::Op(write(dir.at("f"), "x")),
        Step::Probe(Probe::stat("/")),
    ];
    let replies = host
        .call(Request {
            steps,
            ..Request::default()
        })
        .unwrap()
        .replies;
    assert!(matches!(&replies[0], Reply::Did(o) if o.status == Status::Failed("exit status 3".to_owned())));
    assert!(matches!(&replies[1], Reply::Did(o) if o.status == Status::NotRun));
    assert!(matches!(&replies[2], Reply::Seen(Observation::Failed(_))));
    assert_eq!(dir.list(), Vec::<String>::new());
}

fn nul_is_refused(host: &Backend) {
    let answers = host.look([
        Probe::stat("/a\0b"),
        Probe::stat("/"),
        Probe::exec(["echo", "\0"]),
        Probe::read(""),
    ]);
    assert!(matches!(&answers[0], Observation::Failed(text) if text.contains("NUL")));
    assert!(matches!(&answers[1], Observation::Stat(Some(_))));
    assert!(matches!(&answers[2], Observation::Failed(text) if text.contains("NUL")));
    assert!(matches!(&answers[3], Observation::Failed(text) if text.contains("empty")));
    let outcomes = host.act([
        write("/tmp/a\0b".to_owned(), ""),
        write("/nowhere/at/all".to_owned(), ""),
    ]);
    assert!(matches!(&outcomes[0].status, Status::Failed(text) if text.contains("NUL")));
    assert_eq!(outcomes[1].status, Status::NotRun);
}

fn look_after_acting(host: &Backend) {
    let dir = Scratch::new(host);
    let read = || Step::Probe(Probe::read(dir.at("f")));
    let steps = vec![
        read(),
        Step::Op(write(dir.at("f"), "1")),
        read(),
        Step::Op(write(dir.at("f"), "2")),
        read(),
    ];
    let replies = host
        .call(Request {
            steps,
            ..Request::default()
        })
        .unwrap()
        .replies;
    let seen: Vec<_> = replies.iter().step_by(2).collect();
    let content = |text: Option<&str>| Reply::Seen(Observation::Content(text.map(Content::from)));
    assert_eq!(seen, [&content(None), &content(Some("1")), &content(Some("2"))]);
}

/// What a converged host pays: process ids are consecutive in a namespace of its own, so the last one is their number.
#[test]
fn a_batch_of_probes_starts_few_processes() {
    let mut probes: Vec<Probe> = Vec::new();
    for n in 0..13 {
        probes.push(Probe::read(format!(
            "/proc/sys/vm/{}",
            ["swappiness", "max_map_count", "none"][n % 3]
        )));
    }
    for name in [
        "passwd",
        "group",
        "hosts",
        "fstab",
        "none.conf",
        "services",
        "profile",
        "shells",
    ] {
        let path = format!("/etc/{name}");
        probes.extend([Probe::stat(&path), Probe::stat_follow(&path), Probe::read(&path)]);
        probes.push(Probe::Hash {
            path: path.clone().into(),
            algorithm: "sha256".to_owned(),
        });
        probes.push(Probe::glob(format!("{path}*")));
    }
    probes.extend((0..10).map(|n| Probe::stat(format!("/etc/sysctl.d/{n}.conf"))));
    assert!(probes.len() >= 60);
    let last = |probes: Vec<Probe>| -> u32 {
        let host = backend::shell(&["unshare", "--pid", "--fork", "dash"]);
        let own = Probe::exec(["sh", "-c", "echo $$"]);
        match host.look(probes.into_iter().chain([own])).pop() {
            Some(Observation::Exec(result)) => result.stdout.text().trim().parse().unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let without = last(Vec::new());
    // One each: stat, head, sha256sum.
    assert_eq!(last(probes) - without, 3);
    // A script of ours is one more shell, not a program; a command has its limit.
    let scripts = |count: usize| (0..count).map(|n| Probe::script("echo \"$1\"", &[&n.to_string()]));
    assert_eq!(last(scripts(5).collect()) - without, 5);
    let commands = (0..5).map(|n| Probe::exec(["echo", &n.to_string()]));
    assert_eq!(last(commands.collect()) - without, 10);
    // And with the time limit's own two; the last is the rm of the temporary files.
    assert_eq!(without, 3);
    assert!(last(vec![Probe::Facts]) - without <= FACTS_COST);
}

/// head, id, date, ip three times, hostname and stat with their time limits; uname where the kernel is old.
const FACTS_COST: u32 = 11;

#[test]
fn nothing_is_left_behind() {
    for shell in ["dash", "bash"] {
        let host = backend::shell(&[shell]);
        let dir = Scratch::new(&host);
        let host = backend::shell(&["env", &format!("TMPDIR={}", dir.at("")), shell]);
        let steps = vec![
            Step::Probe(Probe::read("/etc/passwd")),
            Step::Probe(Probe::exec(["sh", "-c", "ls -A \"$0\"", &dir.at("")])),
            Step::Op(write(dir.at("f"), "x")),
            Step::Op(Op::exec(["false"], Default::default())),
        ];
        let replies = host
            .call(Request {
                steps,
                ..Request::default()
            })
            .unwrap()
            .replies;
        assert!(
            matches!(&replies[1], Reply::Seen(Observation::Exec(r)) if r.stdout.text().contains(".rmqplay.")),
            "{replies:?}"
        );
        assert_eq!(dir.list(), ["f"]);
    }
}

#[test]
fn a_host_without_the_tools_is_told_so() {
    let empty = tempfile::tempdir().unwrap();
    let host = backend::with_path(empty.path());
    let error = host.call(Request {
        steps: vec![Step::Probe(Probe::stat("/"))],
        ..Request::default()
    });
    // sh finds the system's own directories too; only a name that is nowhere is missing.
    assert!(error.is_ok());
    let error = backend::shell(&["/bin/false"]).call(Request::default()).unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Shell);
}

// ---- properties

use proptest::prelude::*;

/// Text no shell is fond of, and any other; without NUL.
fn hostile() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned);
    let any = any::<String>().prop_map(|text| text.replace('\0', "\n"));
    prop::collection::vec(prop_oneof![nasty, any, "[ -~]{0,8}"], 0..4).prop_map(|parts| parts.concat())
}

fn some<T: std::fmt::Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(item, 1..12)
}

fn hosts() -> [Backend; 3] {
    [backend::dash(), backend::bash(), backend::busybox()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_arrive_as_they_are(words in some(hostile())) {
        let argv = ["printf".to_owned(), "%s\\0".to_owned()].into_iter().chain(words.clone());
        let probe = Probe::exec(argv);
        let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        for host in hosts() {
            match &host.look([probe.clone()])[0] {
                Observation::Exec(result) => prop_assert_eq!(result.stdout.as_bytes(), &expected),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn contents_and_names_come_back(files in some((hostile(), prop::collection::vec(any::<u8>(), 0..2000)))) {
        for host in hosts() {
            let dir = Scratch::new(&host);
            let mut known = std::collections::BTreeMap::new();
            for (name, content) in &files {
                // A file's name: at most 255 bytes, no slash.
                let mut name = format!("f{}", name.replace('/', "|"));
                while name.len() > 200 {
                    name.pop();
                }
                known.insert(dir.at(&name), content.clone());
            }
            let outcomes = host.act(known.iter().map(|(path, content)| write(path.clone(), content)));
            prop_assert!(outcomes.iter().all(|outcome| outcome.is_done()), "{:?}", outcomes);
            let contents = host.look(known.keys().map(Probe::read));
            let stats = host.look(known.keys().map(Probe::stat));
            let hash = |path: &String| Probe::Hash { path: path.as_str().into(), algorithm: "sha256".to_owned() };
            let hashes = host.look(known.keys().map(hash));
            for (at, content) in known.values().enumerate() {
                let content = Content::from(content);
                prop_assert_eq!(&hashes[at], &Observation::Text(Some(content.sha256())));
                prop_assert!(matches!(&stats[at], Observation::Stat(Some(s)) if s.size == content.as_bytes().len() as u64));
                prop_assert_eq!(&contents[at], &Observation::Content(Some(content)));
            }
            let all = host.look([Probe::glob(dir.at("f*"))]);
            prop_assert_eq!(&all[0], &Observation::List(known.keys().cloned().collect()));
        }
    }
}

/// An answer that is cut, or of which a byte is another, is an error or another answer: never a panic, and if cut never good.
#[test]
fn a_cut_answer_is_lost() {
    use rmqplay::transport::{shell, wire};
    use std::io::Write as _;
    let dir = Scratch::new(&backend::dash());
    symlink("f", dir.path("l")).unwrap();
    let steps = vec![
        Step::Probe(Probe::stat("/")),
        Step::Probe(Probe::stat(dir.at("l"))),
        Step::Probe(Probe::read("/proc/sys/vm/swappiness")),
        Step::Probe(Probe::glob("/etc/pass*")),
        Step::Op(write(dir.at("f"), "x")),
        Step::Op(Op::exec(["echo", "out"], Default::default())),
    ];
    let request = Request {
        steps,
        ..Request::default()
    };
    let marker = "marker0123456789";
    let mut child = std::process::Command::new("dash")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&shell::encode(&request, marker))
        .unwrap();
    let answer = child.wait_with_output().unwrap().stdout;
    assert!(wire::is_complete(&answer, marker));
    let good = wire::decode(&request, marker, &answer).unwrap();
    assert_eq!(good.len(), 6);
    let with_banner = [b"Welcome!\nmarker\n", &answer[..]].concat();
    assert_eq!(wire::decode(&request, marker, &with_banner).unwrap(), good);
    for cut in 0..answer.len() {
        let error = wire::decode(&request, marker, &answer[..cut]).unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Lost);
        for byte in [0, b'\n', b'9', 0xff] {
            let mut other = answer.clone();
            other[cut] = byte;
            let _ = wire::decode(&request, marker, &other);
        }
    }
}
