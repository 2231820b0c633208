//! Host lines of random bits and pieces: words and values as Python reads them.

use crate::cases::Memory;
use crate::oracle;
use crate::random::Lcg;
use rmqplay::diagnostic::SourceMap;
use rmqplay::inventory::{Adjacent, Inventory};
use serde_json::{Value, json};

/// What Ansible does with a host line, with nothing but Python's library.
const PYTHON: &str = r#"
import ast, json, shlex, sys, warnings
warnings.simplefilter('ignore')

def plain(value):
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if value is ...:
        return '...'
    if isinstance(value, complex):
        raise ValueError('not supported here')
    if isinstance(value, bytes):
        return {'__ansible_unsafe': value.decode()}
    if type(value) is int and not -2**63 <= value < 2**63:
        return str(value)
    if isinstance(value, float) and value in (float('inf'), float('-inf')):
        return None  # JSON has none
    return value

def value(text):
    try:
        literal = ast.literal_eval(text)
        # To us a sum is text.
        summed = isinstance(literal, complex) and any(sign in text.split('#')[0][1:] for sign in '+-')
        return text if summed else literal
    except (ValueError, SyntaxError):
        return text

def variables(line):
    result = {}
    for word in shlex.split(line, comments=True)[1:]:
        key, text = word.split('=', 1)
        result[key] = plain(value(text))
    return result

answers = []
for line in json.load(sys.stdin):
    try:
        answers.append(json.loads(json.dumps(variables(line))))
    except (ValueError, TypeError):
        answers.append(None)
print(json.dumps(answers))
"#;

/// Pieces whose combinations are where readers go wrong.
const PIECES: [&str; 71] = [
    "a", "b", "é", "x1", "True", "None", "set()", "0", "1", "07", "00", "1_0", "_", "0x1F", "0b2", "1.5", ".5", "5.",
    "1e3", "e", "2j", "+", "-", "...", ".", ",", ":", "(", ")", "[", "]", "{", "}", "[]", "{}", "()", "[1]", "(1,)",
    "{'a': 1}", "{1}", "'", "\"", "\\", "\\'", "\\\"", "\\n", "\\x41", "\\101", "\\u00e9", "''", "\"\"", "'s'",
    "\"d\"", "\"'q'\"", "'\"q\"'", "r'", "b'", "u\"", "f'", "'''", "#", " #", " ", " k=", "=", "{{ ", " }}", "|", "$",
    "-1", "if",
];

fn lines() -> Vec<String> {
    let mut random = Lcg(20);
    (0..20_000)
        .map(|_| {
            let quote = ["", "", "\"", "'"][random.below(4)];
            let pieces: String = (0..1 + random.below(6))
                .map(|_| PIECES[random.below(PIECES.len())])
                .collect();
            format!("h v={quote}{pieces}{quote}").trim().to_owned()
        })
        .collect()
}

/// The variables of the host, or nothing if the line is refused.
fn ours(line: &str) -> Value {
    let files = Memory(vec![("hosts.ini".to_owned(), line.to_owned())]);
    let (inventory, diagnostics) = Inventory::load(&["hosts.ini".to_owned()], &files, &SourceMap::default());
    if diagnostics.iter().any(|d| d.is_error()) {
        return Value::Null;
    }
    inventory.host_json("h", &Adjacent::default())
}

#[test]
fn random_lines_as_python_reads_them() {
    let lines = lines();
    let theirs = oracle::python(PYTHON, &serde_json::to_string(&lines).unwrap());
    let theirs: Vec<Value> = serde_json::from_str(&theirs).unwrap();
    let differences: Vec<String> = lines
        .iter()
        .zip(&theirs)
        .map(|(line, theirs)| (line, theirs, ours(line)))
        .filter(|(_, theirs, ours)| *theirs != ours)
        .map(|(line, theirs, ours)| format!("{line}\n  python {theirs}\n  ours   {ours}"))
        .collect();
    let refused = theirs.iter().filter(|t| t.is_null()).count();
    assert!(
        refused > 1000 && refused < 19_000,
        "{refused} of the lines are refused, which tests little"
    );
    assert!(theirs.iter().any(|t| *t == json!({"v": [1]})));
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}
