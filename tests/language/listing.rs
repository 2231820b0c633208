//! What a playbook comes to, before any host: names, tags and order of tasks as `ansible-playbook --list-tasks`
//! has them, and what it takes for a mistake.

use crate::oracle::{program, python};
use rmqplay::commands::Disk;
use rmqplay::diagnostic::{RenderOptions, SourceMap, render_all};
use rmqplay::language::{self, Item, Program, Task, Yaml};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const FILES: &[(&str, &str)] = &[
    (
        "site.yml",
        "
- name: first
  hosts: all
  tags: [p]
  pre_tasks:
    - name: before
      ping:
  roles:
    - plain
    - role: needy
      tags: role1,role2
    - { role: plain, colour: red }
    - { name: twice, tags: t1 }
    - { name: twice, tags: t1 }
  tasks:
    - import_tasks: parts/one.yml
      tags: imported
    - name: around
      tags: block
      block:
        - command: echo hi
        - name: inner block
          block:
            - ping:
              tags: inner
      rescue:
        - name: saved
          ping:
      always:
        - ansible.builtin.ping:
          name: ever
          tags: always
  post_tasks:
    - shell: |
        true
      name: after
- import_playbook: plays/second.yml
  tags: second
- hosts: web,db
  tasks:
    - import_tasks: shared.yml
    - ansible.builtin.import_tasks:
        file: shared.yml
      tags: [again]
",
    ),
    ("shared.yml", "- name: shared\n  ping:\n  tags: s\n"),
    (
        "parts/one.yml",
        "- name: one\n  ping:\n- import_tasks: two.yml\n- import_tasks: parts/two.yml\n- import_tasks: base.yml\n",
    ),
    ("parts/two.yml", "- name: two\n  ping:\n  tags: deep\n"),
    ("base.yml", "- name: base\n  ping:\n"),
    (
        "roles/plain/tasks/main.yml",
        "- ping:\n- import_tasks: more.yml\n- import_tasks: sub/x.yml\n",
    ),
    ("roles/plain/tasks/more.yml", "- name: more\n  ping:\n  tags: [m, p]\n"),
    (
        "roles/plain/tasks/sub/x.yml",
        "- import_tasks: sub/y.yml\n- import_tasks: more.yml\n",
    ),
    ("roles/plain/tasks/sub/y.yml", "- name: y\n  ping:\n"),
    (
        "roles/needy/meta/main.yml",
        "dependencies:\n  - role: base\n    tags: dep\n  - { role: deeper }\n",
    ),
    ("roles/needy/tasks/main.yml", "- name: needy task\n  ping:\n"),
    ("roles/base/tasks/main.yml", "- name: base task\n  ping:\n"),
    ("roles/deeper/meta/main.yml", "dependencies: [base]\n"),
    ("roles/deeper/tasks/main.yaml", "- name: deeper task\n  ping:\n"),
    ("roles/twice/meta/main.yml", "allow_duplicates: true\n"),
    ("roles/twice/tasks/main.yml", "- name: twice task\n  ping:\n"),
    (
        "plays/second.yml",
        "- hosts: db\n  roles: [local]\n  tasks:\n    - import_tasks: near.yml\n",
    ),
    ("plays/near.yml", "- name: near\n  ping:\n"),
    ("plays/roles/local/tasks/main.yml", "- name: local task\n  ping:\n"),
];

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn load(directory: &Path) -> (Program, String) {
    let sources = SourceMap::default();
    let path = directory.join("site.yml").to_str().unwrap().to_owned();
    let (program, mut diagnostics) = language::load(&[path], &Disk, &sources, &[]);
    let options = RenderOptions {
        color: false,
        width: 120,
    };
    (program, render_all(&sources, &mut diagnostics, options))
}

fn text(node: &language::Node) -> String {
    match &node.yaml {
        Yaml::Str(text) => text.value.clone(),
        _ => node.to_value().to_string(),
    }
}

fn tasks(items: &[Item]) -> Vec<&Task> {
    items
        .iter()
        .flat_map(|item| match item {
            Item::Task(task) => vec![task.as_ref()],
            // Ansible lists neither `rescue` nor `always`.
            Item::Block(block) => tasks(&block.block),
            Item::RoleEnd(_) => Vec::new(),
        })
        .collect()
}

/// As Ansible prints it: `play`, then `name` and `[tags]` of each task.
fn ours(program: &Program) -> Vec<String> {
    let mut lines = Vec::new();
    for play in &program.plays {
        lines.push("play".to_owned());
        for part in [&play.pre_tasks, &play.tasks, &play.post_tasks] {
            for task in tasks(part) {
                let name = match (&task.name, &task.role) {
                    (Some(name), Some(role)) => format!("{} : {}", role.name, text(name)),
                    (Some(name), None) => text(name),
                    (None, _) => task.module.to_owned(),
                };
                let tags: BTreeSet<String> = task.chain.iter().flat_map(|c| &c.tags).map(text).collect();
                let tags: Vec<String> = tags.into_iter().collect();
                lines.push(format!("{name} [{}]", tags.join(", ")));
            }
        }
    }
    lines
}

fn theirs(directory: &Path) -> Vec<String> {
    let output = program("ansible-playbook")
        .args(["-i", "a,", "--list-tasks", "site.yml"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            if line.starts_with("play #") {
                return Some("play".to_owned());
            }
            let (name, tags) = line.split_once("\tTAGS: ")?;
            Some(format!("{} {tags}", name.trim()))
        })
        .collect()
}

#[test]
fn tasks_are_the_ones_ansible_lists() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), FILES);
    let (program, errors) = load(directory.path());
    assert_eq!(errors, "");
    let (ours, theirs) = (ours(&program), theirs(directory.path()));
    assert!(theirs.len() > 20, "{theirs:?}");
    assert_eq!(ours.join("\n"), theirs.join("\n"));
}

/// Which of the directories' `site.yml` Ansible loads.
const LOAD: &str = "
import json, os, sys
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
context.CLIARGS = ImmutableDict(tags=[], skip_tags=[], force_handlers=False, syntax=True)
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.plugins.loader import init_plugin_loader
from ansible.vars.manager import VariableManager
init_plugin_loader([])
out = []
for directory in json.load(sys.stdin):
    loader = DataLoader()
    loader.set_basedir(directory)
    variables = VariableManager(loader=loader, inventory=InventoryManager(loader=loader, sources=['a,']))
    try:
        Playbook.load(os.path.join(directory, 'site.yml'), variable_manager=variables, loader=loader)
        out.append(True)
    except AnsibleError:
        out.append(False)
print(json.dumps(out))
";

/// What Ansible refuses we refuse, and what it takes we take.
#[test]
fn mistakes_are_mistakes_to_both() {
    let cases = [
        (true, "- ping:"),
        (true, "- ansible.builtin.ping:\n  args: {data: x}"),
        (true, "- command: echo a=b"),
        (true, "- command: echo\n  args: {chdir: /}"),
        (true, "- ping:\n  tags: a, b"),
        (true, "- ping:\n  tags: [1, b]"),
        (true, "- ping:\n  when: [a, b]"),
        (true, "- ping:\n  with_items: x"),
        (true, "- block:\n    - ping:\n  always: []"),
        (true, "- ping:\n  environment: [{A: b}]"),
        (true, "- ping:\n  name: 5"),
        (true, "- ping:\n  vars:"),
        (false, "- pingg:"),
        (false, "- name: nothing"),
        (false, "- ping:\n  command: x"),
        (false, "- ping:\n  whn: x"),
        (false, "- ping:\n  hosts: x"),
        (false, "- ping:\n  listen: x"),
        (false, "- ping:\n  vars: [x]"),
        (false, "- ping:\n  vars: {a-b: 1}"),
        (true, "- ping:\n  vars: {if: 1}"),
        (false, "- ping:\n  vars: {none: 1}"),
        (false, "- ping:\n  vars: {not: 1}"),
        (false, "- ping:\n  register: 1x"),
        (false, "- ping:\n  register: a b"),
        (false, "- ping:\n  loop: [a]\n  with_items: [b]"),
        (false, "- ping:\n  loop_control: {zzz: b}\n  loop: []"),
        (false, "- ping:\n  loop_control: 5\n  loop: []"),
        (false, "- rescue:\n    - ping:"),
        (false, "- block: x"),
        (false, "- command: 'echo \"a'"),
        (false, "- text"),
        (false, "- [ping]"),
        (false, "- import_tasks: absent.yml"),
        (false, "- import_tasks: one.yml x=1"),
        (false, "- import_tasks:"),
        (false, "- import_tasks: one.yml\n  loop: [1]"),
        (true, "- import_tasks: one.yml\n  become: true"),
        (true, "- import_tasks: one.yml\n  register: r"),
        (true, "- block:\n    - ping:\n  notify: h"),
        (true, "- shell: a b=c chdir=/\n  args: {creates: x}"),
        (true, "- ansible.builtin.command:\n    cmd: x\n    argv:"),
        (true, "- ping: data=x"),
        (true, "- ping:\n  become: '{{ x }}'"),
        (true, "- ping:\n  become: 'yes'"),
        (false, "- command: x\n  notify: h\n- ping:\n bad: indent"),
        (false, "- ping: {{ x }}"),
    ];
    let root = tempfile::tempdir().unwrap();
    let directory = |n: usize| root.path().join(n.to_string());
    for (n, (_, tasks)) in cases.iter().enumerate() {
        let indented: String = tasks.lines().map(|l| format!("    {l}\n")).collect();
        let playbook = format!("- hosts: all\n  tasks:\n{indented}  handlers:\n    - ping:\n      name: h\n");
        write(&directory(n), &[("site.yml", &playbook), ("one.yml", "- ping:\n")]);
    }
    let directories: Vec<_> = (0..cases.len()).map(directory).collect();
    let theirs = python(LOAD, &serde_json::to_string(&directories).unwrap());
    let theirs: Vec<bool> = serde_json::from_str(&theirs).unwrap();
    let mut wrong = Vec::new();
    for (n, (fine, tasks)) in cases.into_iter().enumerate() {
        let errors = load(&directory(n)).1;
        let ours = !errors.contains("error");
        if ours != fine || theirs[n] != fine {
            wrong.push(format!(
                "{tasks}\n  expected {fine}, Ansible {}, we {ours}\n{errors}",
                theirs[n]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
