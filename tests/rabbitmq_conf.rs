//! rabbitmq.conf: our verdict is the node's, every kind of mistake people make is named, and what works is left alone.

use rmqplay::diagnostic::{Code, Diagnostic, RenderOptions, SourceMap, render_human};
use rmqplay::rabbitmq::Version;
use rmqplay::rabbitmq::conf::{Target, check, masked, parse, profile};
use std::fmt::Write as _;

const V3: Version = Version::new(3, 10, 8);
const V4: Version = Version::new(4, 0, 5);

fn findings(map: &SourceMap, text: &str, target: &Target) -> Vec<Diagnostic> {
    let file = map.add("rabbitmq.conf", text);
    let mut out = Vec::new();
    let lines = parse(file, text, target, &mut out);
    out.extend(check(&lines, target));
    out.sort_by_key(Diagnostic::position);
    out
}

fn of(text: &str, version: Option<Version>) -> Vec<Diagnostic> {
    findings(&SourceMap::default(), text, &Target::new(version))
}

fn rendered(text: &str, version: Option<Version>) -> String {
    let shown = SourceMap::default();
    let found = findings(&SourceMap::default(), text, &Target::new(version));
    shown.add("rabbitmq.conf", masked(text));
    found.iter().fold(String::new(), |mut all, d| {
        let _ = writeln!(
            all,
            "{}",
            render_human(
                &shown,
                d,
                RenderOptions {
                    color: false,
                    width: 120
                }
            )
        );
        all
    })
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('\\')) => out.push('\\'),
            ('\\', other) => out.extend(other),
            (c, _) => out.push(c),
        }
    }
    out
}

/// Errors with which a node does not start; the others are ours, about what it takes and should not have been given.
fn refused(found: &[Diagnostic]) -> bool {
    let codes = [Code::CONF_SYNTAX, Code::CONF_KEY, Code::CONF_VERSION, Code::CONF_VALUE];
    found.iter().any(|d| d.is_error() && codes.contains(&d.code))
}

#[test]
fn our_verdict_is_the_nodes() {
    let data = include_str!("rabbitmq_conf/verdicts.tsv");
    let mut wrong = String::new();
    let mut lines = 0;
    for line in data.lines().filter(|l| !l.starts_with("# ")) {
        let mut columns = line.splitn(3, '\t');
        let (old, new) = (columns.next().unwrap(), columns.next().unwrap());
        let text = unescaped(columns.next().unwrap_or_else(|| panic!("{line}")));
        for (version, verdict) in [(V3, old), (V4, new)] {
            let found = of(&text, Some(version));
            if refused(&found) != (verdict == "no") {
                let ours: Vec<String> = found.iter().map(|d| format!("{} {}", d.code, d.message)).collect();
                let _ = writeln!(wrong, "{version}: {verdict}, {text:?}: {ours:?}");
            }
        }
        // Without a version only what is wrong for all is an error.
        if refused(&of(&text, None)) && (old == "ok" || new == "ok") {
            let _ = writeln!(wrong, "a release takes it: {text:?}");
        }
        lines += 1;
    }
    assert!(lines > 300);
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The three blocks of configuration this project began with, line by line: where each goes wrong, on the release it is
/// checked for. The second column is what is said of the line alone (`-`: nothing).
#[test]
fn every_line_of_the_first_blocks_gets_its_finding() {
    let data = include_str!("rabbitmq_conf/first_blocks.tsv");
    let mut wrong = String::new();
    let mut lines = 0;
    for line in data.lines().filter(|l| !l.starts_with("# ")) {
        let mut columns = line.splitn(4, '\t');
        let mut column = || columns.next().unwrap_or_else(|| panic!("four columns: {line}"));
        let (text, expected) = (column(), [(None, column()), (Some(V3), column()), (Some(V4), column())]);
        for (version, expected) in expected {
            let found = of(text, version);
            let found = found
                .iter()
                .map(|d| format!("{} {}", d.code, d.message))
                .collect::<Vec<_>>()
                .join("; ");
            let found = if found.is_empty() { "-".to_owned() } else { found };
            if found != expected {
                let _ = writeln!(
                    wrong,
                    "{text}\n  {version:?}\n  expected {expected}\n  found    {found}"
                );
            }
        }
        lines += 1;
    }
    assert_eq!(lines, 39);
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The same as whole files, as a reader sees it.
#[test]
fn the_first_blocks_as_they_are_told() {
    insta::assert_snapshot!("block1", rendered(include_str!("rabbitmq_conf/block1.conf"), Some(V4)));
    insta::assert_snapshot!("block2", rendered(include_str!("rabbitmq_conf/block2.conf"), Some(V4)));
    insta::assert_snapshot!("block3", rendered(include_str!("rabbitmq_conf/block3.conf"), Some(V4)));
}

/// One of each kind of finding that the blocks do not have.
#[test]
fn messages() {
    let newest = Some(Version::new(4, 3, 5));
    insta::assert_snapshot!(
        "messages_3.10",
        rendered(include_str!("rabbitmq_conf/mistakes_3.10.conf"), Some(V3))
    );
    insta::assert_snapshot!(
        "messages_4.3",
        rendered(include_str!("rabbitmq_conf/mistakes_4.3.conf"), newest)
    );
}

/// Later files are there to replace what earlier ones say.
#[test]
fn files_are_read_one_after_the_other() {
    let map = SourceMap::default();
    let target = Target::new(Some(V4));
    let mut lines = Vec::new();
    for (name, text) in [
        ("rabbitmq.conf", "heartbeat = 60\nchannel_max = 100\n"),
        (
            "conf.d/10-a.conf",
            "heartbeat = 20\nvm_memory_high_watermark.relative = 0.5\n",
        ),
        (
            "conf.d/20-b.conf",
            "channel_max = 100\nvm_memory_high_watermark.absolute = 1000000000\n",
        ),
    ] {
        lines.extend(parse(map.add(name, text), text, &target, &mut Vec::new()));
    }
    let found: Vec<String> = check(&lines, &target)
        .iter()
        .map(|d| format!("{:?} {} {} ({})", d.severity, d.code, d.message, d.notes.join("; ")))
        .collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    Warning E605 `heartbeat` is set twice (the later file wins: `20`)
    Warning E605 `channel_max` is set twice (both times with the same value)
    Error E605 `vm_memory_high_watermark` is given as `.absolute` and as `.relative` (`.absolute` wins since RabbitMQ 3.13, `.relative` before)
    ");
}

/// Ports, enumerations, versions of TLS... of a plugin that is installed and not enabled.
#[test]
fn what_a_plugin_would_need() {
    let text = "management.tcp.port = 15672\nprometheus.tcp.port = 15692\nfoo.bar = 1\nfoo.baz = 1\nour_key = 1\n";
    let target = Target {
        version: Some(V4),
        plugins: Some(vec!["rabbitmq_management".to_owned()]),
        extra_keys: vec!["foo.*".to_owned(), "our_key".to_owned()],
    };
    let found = findings(&SourceMap::default(), text, &target);
    let found: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        found,
        ["`prometheus.tcp.port` has no effect: the plugin `rabbitmq_prometheus` is not enabled"]
    );
}

/// Configurations as they work on their release (the first part of their names): nothing that would stop a node or a task.
/// What is advised is listed, so that a new rule shows where it speaks.
#[test]
fn what_works_is_left_alone() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq_conf/good");
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 25);
    let mut advice = String::new();
    for name in names {
        let text = std::fs::read_to_string(format!("{directory}/{name}")).unwrap();
        let series: Version = name.split_once('-').unwrap().0.parse().unwrap();
        // The last release of its series, and any.
        let version = Version { patch: 99, ..series };
        for version in [Some(version), None] {
            for found in of(&text, version) {
                assert!(
                    !found.is_error(),
                    "{name} {version:?}: {} {}",
                    found.code,
                    found.message
                );
                if version.is_some() {
                    let _ = writeln!(advice, "{name}: {} {}", found.code, found.message);
                }
            }
        }
    }
    insta::assert_snapshot!("advice", advice);
}

/// The role's numbers, by which it sizes the disk, and the module's are the same.
#[test]
fn profiles_are_the_roles() {
    let vars: serde_yaml::Value =
        serde_yaml::from_str(include_str!("../playbooks/roles/rabbitmq/vars/main.yml")).unwrap();
    for name in profile::NAMES {
        let role = &vars["rabbitmq_profiles"][name];
        let ours: std::collections::BTreeMap<String, String> = profile::settings(name, Some(V4)).into_iter().collect();
        for (theirs, key) in [
            ("watermark", "vm_memory_high_watermark.relative"),
            ("acceptors", "num_acceptors.tcp"),
            ("heartbeat", "heartbeat"),
            ("channel_max", "channel_max"),
            ("stats_ms", "collect_statistics_interval"),
            ("consumer_timeout_ms", "consumer_timeout"),
        ] {
            let text = serde_yaml::to_string(&role[theirs]).unwrap();
            assert_eq!(text.trim_end(), ours[key], "{key} of {name}");
        }
    }
}
