//! What Ansible has not: places of values, errors with a way out.

use crate::cases::{self, Memory};
use rmqplay::diagnostic::{Code, Diagnostic, SourceMap};
use rmqplay::inventory::{Adjacent, Inventory, Level, Limit, Pattern};

fn load(files: &[(&str, &str)], sources: &[&str]) -> (Inventory, Vec<Diagnostic>, SourceMap) {
    let map = SourceMap::default();
    let sources: Vec<String> = sources.iter().map(|s| (*s).to_owned()).collect();
    let (inventory, diagnostics) = Inventory::load(&sources, &Memory::new(files), &map);
    (inventory, diagnostics, map)
}

/// Each layer that defines a key: its level, its name and the place, low to high.
#[test]
fn layers_say_where_each_value_stands() {
    let case = cases::all().into_iter().find(|c| c.name == "playbook_vars").unwrap();
    let loaded = case.load();
    let explain = |key: &str| -> Vec<String> {
        let layers = loaded.inventory.host_layers("w1", &loaded.playbook);
        let defines = layers.iter().filter_map(|l| Some((l, l.get(key)?)));
        defines
            .map(|(layer, node)| {
                let place = loaded.map.locate(node.span).unwrap();
                format!(
                    "{} {} | {} | {place} {}",
                    layer.level.number(),
                    layer.level.name(),
                    layer.label,
                    node.to_value()
                )
            })
            .collect()
    };
    assert_eq!(
        explain("l5"),
        [
            "3 inventory group vars | group `all` | inv/hosts:13:4 \"all\"",
            "3 inventory group vars | group `web` | inv/hosts:6:4 \"web\"",
            "4 inventory group_vars/all | inv/group_vars/all.yml | inv/group_vars/all.yml:2:5 \"inv_all\"",
            "5 playbook group_vars/all | play/group_vars/all.yml | play/group_vars/all.yml:1:5 \"play_all\"",
            "6 inventory group_vars | inv/group_vars/web.yml | inv/group_vars/web.yml:4:5 \"inv_web\"",
        ]
    );
    assert_eq!(
        explain("l10"),
        [
            "8 inventory host vars | host `w1` | inv/hosts:2:24 \"host\"",
            "9 inventory host_vars | inv/host_vars/w1.yml | inv/host_vars/w1.yml:2:6 \"inv_host\"",
            "10 playbook host_vars | play/host_vars/w1.yml | play/host_vars/w1.yml:1:6 \"play_host\"",
        ]
    );
}

#[test]
fn the_implicit_localhost_is_local_and_in_no_group() {
    let (inventory, _, map) = load(&[("hosts", "other x=1\n")], &["hosts"]);
    let hosts = inventory.select(&["localhost".into()], None, false).unwrap();
    assert_eq!(hosts, ["localhost".into()]);
    assert!(inventory.is_implicit("localhost") && !inventory.is_implicit("other"));
    assert!(inventory.group_names("localhost").is_empty());
    assert_eq!(inventory.hosts(), ["other".into()]);
    let layers = inventory.host_layers("localhost", &Adjacent::default());
    assert_eq!(layers.len(), 1);
    assert_eq!(
        (layers[0].level, &*layers[0].label),
        (Level::InventoryHost, "implicit localhost")
    );
    let node = layers[0].get("ansible_connection").unwrap();
    assert_eq!(node.as_str(), Some("local"));
    assert_eq!(map.locate(node.span).unwrap().file, "<implicit localhost>");
}

#[test]
fn layers_are_shared_between_hosts() {
    let hosts = (0..5000).map(|n| format!("h{n:04}\n")).collect::<String>();
    let text = format!("[all:vars]\na=1\n[g]\n{hosts}[g:vars]\nb=2\n");
    let (inventory, diagnostics, _) = load(&[("hosts", &text)], &["hosts"]);
    assert!(diagnostics.is_empty());
    let adjacent = Adjacent::default();
    let (first, last) = (
        inventory.host_layers("h0000", &adjacent),
        inventory.host_layers("h4999", &adjacent),
    );
    assert_eq!(first.len(), 2);
    for (a, b) in first.iter().zip(&last) {
        assert!(std::sync::Arc::ptr_eq(&a.vars, &b.vars));
    }
}

#[test]
fn all_errors_of_all_files_in_one_go() {
    let files = [
        ("a", "[g:childs]\nx\n[h]\nh1 = 2\nh2 a='b\n[i:vars]\nj=1\n"),
        ("b.yml", "all:\n  hostz: {}\n  children: {c: {hosts: [x]}}\n"),
        ("group_vars/all.yml", "[]\n"),
    ];
    let (_, diagnostics, map) = load(&files, &["a", "nowhere", "b.yml"]);
    let found: Vec<String> = diagnostics
        .iter()
        .map(|d| match d.position().and_then(|span| map.locate(span)) {
            Some(place) => format!("{place} {}", d.code),
            None => format!("{} {}", d.message, d.code),
        })
        .collect();
    let expected = [
        "a:1:4 E030",
        "a:4:6 E030",
        "a:5:6 E030",
        "a:6:2 E030",
        "there is no inventory `nowhere` E032",
        "b.yml:2:3 E030",
        "b.yml:3:25 E030",
        "group_vars/all.yml:1:1 E003",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_supported_is_said() {
    for (name, text) in [
        ("hosts.py", "#!/usr/bin/python3\nprint()\n"),
        ("h.toml", "[all]\n"),
        ("aws.yml", "plugin: aws\n"),
    ] {
        let (_, diagnostics, _) = load(&[(name, text)], &[name]);
        assert_eq!(diagnostics.len(), 1, "{name}");
        assert_eq!(diagnostics[0].code, Code::NOT_SUPPORTED, "{name}");
        assert!(diagnostics[0].position().is_some(), "{name}");
    }
    let vault = [("hosts", "h\n"), ("host_vars/h", "$ANSIBLE_VAULT;1.1;AES256\n3132\n")];
    let (_, diagnostics, _) = load(&vault, &["hosts"]);
    assert_eq!(diagnostics[0].code, Code::NOT_SUPPORTED);
}

#[test]
fn a_limit_must_name_something() {
    let files = Memory::new(&[("empty", "\n \n"), ("one", "h1\n")]);
    let map = SourceMap::default();
    assert!(Limit::parse("@one", &files, &map).is_ok());
    for limit in ["", ",", "@empty"] {
        assert_eq!(
            Limit::parse(limit, &files, &map).unwrap_err().code,
            Code::NO_MATCH,
            "{limit}"
        );
    }
    assert_eq!(Limit::parse("@nowhere", &files, &map).unwrap_err().code, Code::FILE);
}

#[test]
fn several_patterns_are_one() {
    let (inventory, _, _) = load(&[("hosts", "[a]\nh1\nh2\n[b]\nh3\nh4\n")], &["hosts"]);
    let patterns: Vec<Pattern> = ["!h2", "b,h1", "a"].map(Pattern::from).into();
    let hosts = inventory.select(&patterns, None, false).unwrap();
    assert_eq!(hosts, ["h3".into(), "h4".into(), "h1".into()]);
    assert_eq!(inventory.select(&[], None, false).unwrap(), inventory.hosts());
}

#[test]
fn a_file_for_a_group_almost_of_that_name() {
    let files = [
        ("hosts", "[rabbit]\nmq1\n[db]\ndb1\n"),
        ("group_vars/rabbitt.yml", "a: 1\n"),
        ("group_vars/bd.yml", "a: 1\n"),
        ("group_vars/db.yml", "a: 1\n"),
        ("group_vars/other_inventory.yml", "a: 1\n"),
    ];
    let (_, diagnostics, _) = load(&files, &["hosts"]);
    let messages: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(messages, ["`group_vars/rabbitt.yml` is not read"]);
    assert_eq!(diagnostics[0].helps, ["there is a group with a similar name: `rabbit`"]);
}

/// The usual layout: everything beside the playbook. A mistake in a file is told once.
#[test]
fn files_beside_inventory_and_playbook_are_read_once() {
    let files = Memory::new(&[
        ("hosts", "[g]\nh\n"),
        ("group_vars/g.yml", "a: 1\n"),
        ("group_vars/all.yml", "- b\n"),
    ]);
    let map = SourceMap::default();
    let (inventory, diagnostics) = Inventory::load(&["hosts".to_owned()], &files, &map);
    assert_eq!(diagnostics.len(), 1);
    let (playbook, diagnostics) = Adjacent::load(&inventory, &[String::new()], &files, &map);
    assert!(diagnostics.is_empty());
    let levels: Vec<Level> = inventory.host_layers("h", &playbook).iter().map(|l| l.level).collect();
    assert_eq!(levels, [Level::InventoryGroupVars, Level::PlaybookGroupVars]);
}
