//! Every keyword that Ansible has is known to us: supported, or refused by name.

use crate::oracle::python;
use rmqplay::language::keywords::{Place, known};
use std::collections::BTreeMap;

const SCRIPT: &str = "
import json, os
from ansible import plugins
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from ansible.playbook.loop_control import LoopControl
from ansible.playbook.play import Play
from ansible.playbook.role.include import RoleInclude
from ansible.playbook.task import Task
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.loader import lookup_loader
names = lambda cls: [n for n, f in cls.fattributes.items() if not f.private and n != 'async_val']
lookups = ['with_' + os.path.splitext(os.path.basename(p))[0] for p in lookup_loader.all(path_only=True)]
print(json.dumps({
    'play': names(Play), 'role': names(RoleInclude), 'block': names(Block),
    'task': names(Task) + lookups + ['local_action'], 'handler': names(Handler) + lookups + ['local_action'],
    'include': sorted(TaskInclude.VALID_INCLUDE_KEYWORDS - {'loop_with'}), 'loop_control': names(LoopControl),
}))
";

#[test]
fn every_keyword_of_ansible_is_known() {
    let theirs: BTreeMap<String, Vec<String>> = serde_json::from_str(&python(SCRIPT, "")).unwrap();
    let mut missing = Vec::new();
    for (place, name) in [
        (Place::Play, "play"),
        (Place::Role, "role"),
        (Place::Block, "block"),
        (Place::Task, "task"),
        (Place::Handler, "handler"),
        (Place::Include, "include"),
        (Place::LoopControl, "loop_control"),
    ] {
        assert!(theirs[name].len() > 5, "{name}");
        let unknown = theirs[name].iter().filter(|keyword| !known(keyword, place));
        missing.extend(unknown.map(|keyword| format!("{name}: {keyword}")));
    }
    assert!(missing.is_empty(), "{missing:?}");
}
