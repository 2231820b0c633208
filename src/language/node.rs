//! The spanned YAML tree: what `yaml` reads and everything else in `language` and `inventory` lowers from.

use crate::diagnostic::Span;
use serde_json::Value;

/// A YAML value and where it stands. For a plain scalar the span covers its text, for a quoted one what is
/// inside the quotes, for a block scalar the block's lines, for a collection all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span: Span,
    pub yaml: Yaml,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Text),
    Seq(Vec<Node>),
    Map(Mapping),
}

/// A string, and what its writing says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub value: String,
    /// Written `'..'`, `".."`, `|` or `>`: never re-read as a number or boolean.
    pub quoted: bool,
    /// Tagged `!unsafe`: never a template.
    pub raw: bool,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Mapping {
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Mapping {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.key.as_str())
    }
}

impl Node {
    pub fn new(span: Span, yaml: Yaml) -> Self {
        Node { span, yaml }
    }

    pub fn str(span: Span, value: impl Into<String>) -> Self {
        Node {
            span,
            yaml: Yaml::Str(Text {
                value: value.into(),
                quoted: true,
                raw: false,
            }),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.yaml {
            Yaml::Str(t) => Some(&t.value),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Mapping> {
        match &self.yaml {
            Yaml::Map(m) => Some(m),
            _ => None,
        }
    }

    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.yaml {
            Yaml::Seq(s) => Some(s),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.yaml, Yaml::Null)
    }

    /// What the thing is called in messages: "a string", "a list"...
    pub fn kind(&self) -> &'static str {
        match &self.yaml {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a boolean",
            Yaml::Int(_) => "an integer",
            Yaml::Float(_) => "a number",
            Yaml::Str(_) => "a string",
            Yaml::Seq(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }

    /// Whether the string holds template delimiters (and is not `!unsafe`).
    pub fn is_template(&self) -> bool {
        match &self.yaml {
            Yaml::Str(t) => !t.raw && has_template(&t.value),
            _ => false,
        }
    }

    /// Whether this or anything inside is a template.
    pub fn contains_template(&self) -> bool {
        match &self.yaml {
            Yaml::Seq(s) => s.iter().any(Node::contains_template),
            Yaml::Map(m) => m.entries.iter().any(|e| e.value.contains_template()),
            _ => self.is_template(),
        }
    }

    /// The plain value, templates left as they are written.
    pub fn to_value(&self) -> Value {
        match &self.yaml {
            Yaml::Null => Value::Null,
            Yaml::Bool(b) => Value::Bool(*b),
            Yaml::Int(n) => Value::from(*n),
            Yaml::Float(f) => serde_json::Number::from_f64(*f).map_or(Value::Null, Value::Number),
            Yaml::Str(t) => Value::String(t.value.clone()),
            Yaml::Seq(s) => Value::Array(s.iter().map(Node::to_value).collect()),
            Yaml::Map(m) => Value::Object(m.entries.iter().map(|e| (e.key.clone(), e.value.to_value())).collect()),
        }
    }

    /// A tree with `span` everywhere, made of a plain value (command line, derived values).
    pub fn from_value(span: Span, value: &Value) -> Node {
        let yaml = match value {
            Value::Null => Yaml::Null,
            Value::Bool(b) => Yaml::Bool(*b),
            Value::Number(n) => match n.as_i64() {
                Some(i) => Yaml::Int(i),
                None => Yaml::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(s) => Yaml::Str(Text {
                value: s.clone(),
                quoted: true,
                raw: false,
            }),
            Value::Array(a) => Yaml::Seq(a.iter().map(|v| Node::from_value(span, v)).collect()),
            Value::Object(o) => Yaml::Map(Mapping {
                entries: o
                    .iter()
                    .map(|(k, v)| Entry {
                        key: k.clone(),
                        key_span: span,
                        value: Node::from_value(span, v),
                    })
                    .collect(),
            }),
        };
        Node { span, yaml }
    }
}

/// Whether a string holds template delimiters.
pub fn has_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}
