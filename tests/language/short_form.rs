//! `k=v` and free form fall apart as Ansible's `parse_kv` lets them.

use crate::oracle::python;
use rmqplay::diagnostic::{SourceMap, Span};
use rmqplay::language::{Node, short_form};
use serde_json::{Map, Value};

const SCRIPT: &str = "
import json, sys
from ansible.errors import AnsibleError
from ansible.parsing.splitter import parse_kv
out = []
for text, command in json.load(sys.stdin):
    try:
        out.append(dict(parse_kv(text, check_raw=command)))
    except AnsibleError:
        out.append(None)
print(json.dumps(out))
";

fn ours(text: &str, command: bool) -> Value {
    let sources = SourceMap::default();
    let file = sources.add("t", text);
    let node = Node::str(Span::new(file, 0, text.len()), text);
    let Ok(form) = short_form::parse(&sources, &node, text, command) else {
        return Value::Null;
    };
    let mut map: Map<String, Value> = form
        .pairs
        .entries
        .iter()
        .map(|e| (e.key.clone(), e.value.to_value()))
        .collect();
    if let Some(free) = form.free {
        map.insert("_raw_params".to_owned(), Value::String(free));
    }
    Value::Object(map)
}

fn compare(texts: Vec<String>) {
    let cases: Vec<(String, bool)> = texts
        .into_iter()
        .flat_map(|t| [(t.clone(), false), (t, true)])
        .collect();
    let theirs = python(SCRIPT, &serde_json::to_string(&cases).unwrap());
    let theirs: Vec<Value> = serde_json::from_str(&theirs).unwrap();
    let different: Vec<String> = cases
        .iter()
        .zip(theirs)
        .map(|((text, command), theirs)| (text, command, theirs, ours(text, *command)))
        .filter(|(_, _, theirs, ours)| theirs != ours)
        .map(|(text, command, theirs, ours)| format!("{text:?} ({command}): Ansible {theirs}, we {ours}"))
        .take(20)
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn real_lines_fall_apart_as_in_ansible() {
    let texts = r#"
name=vm.swappiness value=10
src=a.j2 dest="/etc/my file" mode=0644
src='a b' dest=c
echo hi
echo a=b creates=/x chdir="/a b"
creates=/x echo "q  w"   'e r'
msg="{{ a | default('x y') }}" var=b
msg={{ a | default("x") }} x={% if a %}b c{% endif %}
{{ cmd }} --flag={{ x.y }} a
msg="it's" other='say "hi"'
msg=a\=b
a\=b
line="a\tb\n\x41\u00e9\\"
=x
==x
a=
a=''
a="b
a={{ b
{# note #}x=1
k = v
 leading=1
a=b  c=d   
a=b a=c
url=http://x/?a=b&c=d
"a b"=c
ключ=значение "日本 語"=x
\ a=b
flush_handlers
"quoted whole"
'a' 'b'
a="b" c
regexp='^(.*)\s+x=\d' line='\1 y'
"#;
    let mut all: Vec<String> = texts.lines().skip(1).map(str::to_owned).collect();
    all.push("one \\\n two=3 \\\n four".to_owned());
    all.push("one\n  two 'three\n  four' x=5\n\nsix".to_owned());
    all.push("a=b\nc=d".to_owned());
    all.push("{{ a\n }} b=c".to_owned());
    all.push(String::new());
    compare(all);
}

/// All short lines of pieces that matter.
#[test]
fn wild_lines_fall_apart_as_in_ansible() {
    let pieces = ["a", "=", " ", "\"", "'", "\\", "{{", "}}", "{%", "%}", "\n", "creates="];
    let mut lines = vec![String::new()];
    let mut all = Vec::new();
    for _ in 0..4 {
        lines = lines
            .iter()
            .flat_map(|line| pieces.iter().map(move |piece| format!("{line}{piece}")))
            .collect();
        all.extend(lines.iter().cloned());
    }
    compare(all);
}
