//! Plain scalars mean what PyYAML makes of them.

use crate::oracle::python;
use rmqplay::diagnostic::SourceMap;
use rmqplay::language::{Node, Yaml, yaml};

/// One scalar a line, as it would stand after `- `.
const SCALARS: &str = "\
yes|Yes|YES|yEs|no|No|NO|on|On|ON|off|Off|OFF|true|True|TRUE|tRUE|false|False|FALSE|y|Y|n|N|t|f
~|null|Null|NULL|nULL|none|None|NaN|nan
0|-0|+0|1|-1|+1|42|007|0644|0755|-0644|+0644|0o17|0O17|08|09|0888|0_7|00|0_0
0x0|0xff|0xFF|0Xff|-0x1F|+0x1f|0x_f|0xg|0b0|0b101|-0b11|0B1|0b12|0b1_0
1_000|1_000_000|1__0|_1|1_|1_000.5|1_0.5_0
1:30|1:2:3|-1:30|+1:30|0:30|10:60|1:60|190:20:30|1:5|1:05|01:30|1_0:30|22:22|1:30:|:30|1:|1:300
1:30.5|1:30.|190:20:30.15|-1:30.5|0:0.5|1:60.5|1:30.5e+1
1.0|1.|.5|-.5|+.5|-1.5|+1.5|0.5|00.5|1.5.2|.|..|-.|1.0e3|1.0e+3|1.0E-3|1e3|1e+3|1E5|.5e+1|.e+3|1.e+3|1._5|1.5_|._5
.inf|-.inf|+.inf|.Inf|.INF|.iNF|inf|.nan|.NaN|.NAN|-.nan|.Nan
9223372036854775807|-9223372036854775808
2026-11-22|2026-11-22T14:02:11Z|2026-11-22 14:02:11|14:02|14:02:11|3.13|4.1.0|1.2.3.4|10.0.0.0/8|::1|fe80::1
a|-|+|--|- x|-x|+x|1a|1 2|0x|0b|a:b|a#b|=|<<|<|5672|15672|25%|1/2|0.4|60s|4096k|64MB|1,000|noop|none|[mq]
vm.swappiness|rabbitmq-server|/etc/rabbitmq|~/x|http://x:1/y|u=rw,g=r";

const SCRIPT: &str = r#"
import datetime, json, math, sys, yaml
class Loader(yaml.SafeLoader): pass
# Ours, on purpose: dates, `=` and `<<` stay text.
for tag in ("timestamp", "value", "merge"):
    Loader.add_constructor("tag:yaml.org,2002:" + tag, lambda l, n: l.construct_scalar(n))
for line in sys.stdin.read().splitlines():
    try:
        value = yaml.load("- " + line, Loader)[0]
    except (yaml.YAMLError, ValueError):
        print("error"); continue
    if isinstance(value, float):
        print("float", "nan" if math.isnan(value) else "%.12e" % value)
    elif value is None: print("null")
    else: print(type(value).__name__, json.dumps(value, separators=(",", ":")))
"#;

fn ours(scalar: &str) -> String {
    let sources = SourceMap::default();
    let file = sources.add("t", format!("- {scalar}"));
    let (nodes, diagnostics) = yaml::parse(&sources, file);
    if !diagnostics.is_empty() {
        return "error".into();
    }
    let item: &Node = &nodes[0].as_seq().unwrap()[0];
    match &item.yaml {
        Yaml::Null => "null".into(),
        Yaml::Bool(b) => format!("bool {b}"),
        Yaml::Int(n) => format!("int {n}"),
        Yaml::Float(f) if f.is_nan() => "float nan".into(),
        Yaml::Float(f) if f.is_infinite() => format!("float {}inf", if *f < 0.0 { "-" } else { "" }),
        Yaml::Float(f) => {
            let text = format!("{f:.12e}");
            let (mantissa, exponent) = text.split_once('e').unwrap();
            let exponent: i32 = exponent.parse().unwrap();
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("float {mantissa}e{sign}{:02}", exponent.abs())
        }
        Yaml::Str(t) => format!("str {}", serde_json::to_string(&t.value).unwrap()),
        Yaml::Seq(_) => format!("list {}", serde_json::to_string(&item.to_value()).unwrap()),
        Yaml::Map(_) => format!("dict {}", serde_json::to_string(&item.to_value()).unwrap()),
    }
}

#[test]
fn plain_scalars_mean_what_pyyaml_says() {
    let scalars: Vec<&str> = SCALARS.split(['|', '\n']).collect();
    let theirs = python(SCRIPT, &scalars.join("\n"));
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(theirs.len(), scalars.len());
    let different: Vec<String> = scalars
        .iter()
        .zip(theirs)
        .map(|(scalar, theirs)| (scalar, theirs, ours(scalar)))
        .filter(|(_, theirs, ours)| theirs != ours)
        .map(|(scalar, theirs, ours)| format!("`{scalar}`: PyYAML says {theirs}, we say {ours}"))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Every text of up to four characters of the alphabet that numbers are written in.
#[test]
fn short_numbers_mean_what_pyyaml_says() {
    let alphabet = ['0', '1', '7', '8', '_', ':', '.', '-', 'x', 'b'];
    let mut words = vec![String::new()];
    let mut all = Vec::new();
    for _ in 0..4 {
        words = words
            .iter()
            .flat_map(|w| alphabet.iter().map(move |c| format!("{w}{c}")))
            .collect();
        all.extend(words.iter().cloned());
    }
    // `---` ends documents, and a trailing colon makes a mapping: both are syntax, not scalars. `0x_` crashes PyYAML.
    all.retain(|w| {
        !w.ends_with("x_")
            && !w.ends_with("b_")
            && !w.ends_with("__")
            && !w.ends_with(':')
            && !w.starts_with(':')
            && !w.contains("---")
            && !w.starts_with("-:")
    });
    let theirs = python(SCRIPT, &all.join("\n"));
    let different: Vec<String> = all
        .iter()
        .zip(theirs.lines())
        .map(|(word, theirs)| (word, theirs, ours(word)))
        .filter(|(_, theirs, ours)| theirs != ours)
        .map(|(word, theirs, ours)| format!("`{word}`: PyYAML says {theirs}, we say {ours}"))
        .take(30)
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
