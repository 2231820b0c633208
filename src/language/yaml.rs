//! YAML events to spanned [`Node`]s; the only user of the YAML parser crate.
//!
//! Scalars mean what PyYAML makes of them (`scalar`), since that is what Ansible's users have. Where YAML
//! readers disagree (a key that stands twice) the file is refused.

mod explain;
mod scalar;

use super::{Entry, Mapping, Node, Text, Yaml};
use crate::diagnostic::{Code, Diagnostic, FileId, SourceMap, Span, similar_name};
use granit_parser::{Event, Parser, ScalarStyle, Tag};
use std::collections::HashMap;

/// How deep collections may nest, aliases expanded; everything downstream recurses.
const MAX_DEPTH: usize = 128;
/// How many nodes aliases may add to a file: enough for any honest use, too few for a "billion laughs".
const MAX_ALIASED: usize = 200_000;

/// Reads a text of the source map: one node per document, and what is wrong with it. After a mistake of syntax
/// the documents before it are returned; after any other the tree is whole but for the place that is wrong.
/// An empty document has no node.
pub fn parse(sources: &SourceMap, file: FileId) -> (Vec<Node>, Vec<Diagnostic>) {
    let Some(source) = sources.get(file) else {
        return (Vec::new(), Vec::new());
    };
    let mut builder = Builder::new(file, &source.text);
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut read_to = 0;
    for event in Parser::new_from_str_with_options(&source.text, options) {
        match event {
            Ok((event, span)) => {
                read_to = read_to.max(span.byte_range().map_or(0, |r| r.end));
                builder.event(event, &span);
            }
            Err(error) => {
                let diagnostic = explain::syntax(file, &source.text, read_to, &error);
                // No two complaints about one place.
                let start = diagnostic.position().map(|s| s.start);
                builder.diagnostics.retain(|d| d.position().map(|s| s.start) != start);
                builder.diagnostics.push(diagnostic);
                break;
            }
        }
    }
    (builder.documents, builder.diagnostics)
}

/// An anchored node, with what it costs to use it again.
struct Anchor {
    node: Node,
    size: usize,
    depth: usize,
}

/// A collection that is being read.
struct Frame {
    span: Span,
    anchor: usize,
    tag: Option<(String, Span)>,
    flow: bool,
    /// The nodes of a sequence; keys and values in turn of a mapping.
    nodes: Vec<Node>,
    mapping: bool,
    /// Positions in `nodes` of `<<` keys.
    merges: Vec<usize>,
}

struct Builder<'a> {
    file: FileId,
    text: &'a str,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchor>,
    anchor_names: HashMap<String, usize>,
    aliased: usize,
    documents: Vec<Node>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    fn new(file: FileId, text: &'a str) -> Self {
        Builder {
            file,
            text,
            stack: Vec::new(),
            anchors: HashMap::new(),
            anchor_names: HashMap::new(),
            aliased: 0,
            documents: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or_default();
        Span::new(self.file, range.start, range.end)
    }

    fn event(&mut self, event: Event<'_>, raw: &granit_parser::Span) {
        let span = self.span(raw);
        let tag = |tag: Option<std::borrow::Cow<'_, Tag>>, builder: &Self| {
            let place = raw.tag_span().map_or(span, |s| builder.span(&s));
            tag.map(|t| (canonical_tag(&t), place))
        };
        match event {
            Event::Scalar(value, style, anchor, t) => {
                let t = tag(t, self);
                self.scalar(&value, style, anchor, t, span);
            }
            Event::SequenceStart(style, anchor, t) => {
                let t = tag(t, self);
                self.open(span, anchor, t, style, false);
            }
            Event::MappingStart(style, anchor, t) => {
                let t = tag(t, self);
                self.open(span, anchor, t, style, true);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Anchor(id, name) => {
                self.anchor_names.insert(name.into_owned(), id);
            }
            Event::Alias(id) => self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                let mut diagnostic = Diagnostic::error(Code::YAML_SYNTAX, format!("unknown anchor `{name}`"))
                    .at(span, "no `&` with this name stands above");
                if let Some(near) = similar_name(&name, self.anchor_names.keys().map(String::as_str)) {
                    diagnostic = diagnostic.fix("there is an anchor with a similar name", span, format!("*{near}"));
                } else {
                    diagnostic = diagnostic.help("if this is text that begins with `*`, quote it");
                }
                self.diagnostics.push(diagnostic);
                self.push(Node::new(span, Yaml::Null));
            }
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.anchor_names.clear();
            }
            _ => {}
        }
    }

    fn open(
        &mut self,
        span: Span,
        anchor: usize,
        tag: Option<(String, Span)>,
        style: granit_parser::StructureStyle,
        mapping: bool,
    ) {
        self.stack.push(Frame {
            span,
            anchor,
            tag,
            flow: style == granit_parser::StructureStyle::Flow,
            nodes: Vec::new(),
            mapping,
            merges: Vec::new(),
        });
    }

    fn close(&mut self, end: Span) {
        let Some(frame) = self.stack.pop() else {
            return;
        };
        // A block collection "ends" where the next token begins: it is its last child's end that a reader sees.
        let last = frame.nodes.last().map(|n| n.span.end);
        let end = if frame.flow {
            end.end
        } else {
            last.unwrap_or(end.start).max(frame.span.end)
        };
        let span = Span { end, ..frame.span };
        let yaml = if frame.mapping {
            self.mapping(frame.nodes, &frame.merges, frame.flow, span)
        } else {
            Yaml::Seq(frame.nodes)
        };
        let mut node = Node::new(span, yaml);
        if let Some((name, place)) = frame.tag {
            match (name.as_str(), frame.mapping) {
                ("!!map", true) | ("!!seq", false) | ("!", _) => {}
                ("!unsafe", _) => mark_raw(&mut node),
                _ => self.bad_tag(&name, place, &node),
            }
        }
        self.finish(node, frame.anchor);
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, anchor: usize, tag: Option<(String, Span)>, span: Span) {
        let plain = style == ScalarStyle::Plain;
        // The parser writes "nothing" as `~`; a tag may make it an empty string.
        let value = if plain && span.start == span.end { "" } else { value };
        let span = self.inside(span, style, value);
        let text = |quoted| {
            Yaml::Str(Text {
                value: value.to_owned(),
                quoted,
                raw: false,
            })
        };
        let Some((name, place)) = tag else {
            let in_key = self.stack.last().is_some_and(|f| f.mapping && f.nodes.len() % 2 == 0);
            if plain
                && value == "<<"
                && in_key
                && let Some(frame) = self.stack.last_mut()
            {
                frame.merges.push(frame.nodes.len());
            }
            let yaml = if plain { scalar::resolve(value) } else { text(true) };
            self.finish(Node::new(span, yaml), anchor);
            return;
        };
        let mut node = Node::new(span, text(true));
        let typed = match name.as_str() {
            "!" | "!!str" => Some(node.yaml.clone()),
            "!!null" => Some(Yaml::Null),
            "!!bool" => scalar::boolean(&value.to_lowercase()).map(Yaml::Bool),
            "!!int" => scalar::integer(value).map(|_| scalar::resolve(value)),
            "!!float" => scalar::float(value).or_else(|| value.parse().ok()).map(Yaml::Float),
            "!unsafe" => {
                mark_raw(&mut node);
                Some(node.yaml.clone())
            }
            _ => {
                self.bad_tag(&name, place, &node);
                Some(node.yaml.clone())
            }
        };
        match typed {
            Some(yaml) => node.yaml = yaml,
            None => self.diagnostics.push(
                Diagnostic::error(Code::VALUE, format!("`{value}` is not what the tag `{name}` says"))
                    .at(span, "this value")
                    .context(place, "tagged here"),
            ),
        }
        self.finish(node, anchor);
    }

    /// The place of a scalar's text: inside the quotes, the lines of a block without what follows them.
    fn inside(&self, span: Span, style: ScalarStyle, value: &str) -> Span {
        match style {
            ScalarStyle::Plain => span,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if span.end >= span.start + 2 => Span {
                start: span.start + 1,
                end: span.end - 1,
                ..span
            },
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => span,
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let (mut start, mut end) = (span.start as usize, span.end as usize);
                end = start
                    + self
                        .text
                        .get(start..end)
                        .map_or(end - start, |block| block.trim_end().len());
                // Blank lines at the head belong to the text.
                for _ in value.chars().take_while(|c| *c == '\n') {
                    let head = self.text.get(..start).unwrap_or_default();
                    let line = head.rfind('\n').map_or(0, |n| n + 1);
                    match head.get(..line.saturating_sub(1)).and_then(|s| s.rfind('\n')) {
                        Some(newline) => start = newline + 1,
                        None => break,
                    }
                }
                Span::new(self.file, start, end.max(start))
            }
        }
    }

    fn alias(&mut self, id: usize, span: Span) {
        let Some(anchor) = self.anchors.get(&id) else {
            self.diagnostics.push(
                Diagnostic::error(Code::YAML_SYNTAX, "an alias cannot stand inside what it refers to")
                    .at(span, "refers to a collection that contains it"),
            );
            self.push(Node::new(span, Yaml::Null));
            return;
        };
        let too_many = self.aliased + anchor.size > MAX_ALIASED;
        let too_deep = self.stack.len() + anchor.depth > MAX_DEPTH;
        if too_many || too_deep {
            let told = self.aliased > MAX_ALIASED;
            self.aliased = MAX_ALIASED + 1;
            if !told {
                let what = if too_many {
                    format!("aliases make this file larger than {MAX_ALIASED} values")
                } else {
                    format!("aliases nest this file deeper than {MAX_DEPTH} levels")
                };
                self.diagnostics
                    .push(Diagnostic::error(Code::YAML_SYNTAX, what).at(span, "one alias too many"));
            }
            self.push(Node::new(span, Yaml::Null));
            return;
        }
        self.aliased += anchor.size;
        let node = anchor.node.clone();
        self.push(node);
    }

    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            let (size, depth) = measure(&node);
            self.anchors.insert(
                anchor,
                Anchor {
                    node: node.clone(),
                    size,
                    depth,
                },
            );
        }
        self.push(node);
    }

    fn push(&mut self, node: Node) {
        match self.stack.last_mut() {
            Some(frame) => frame.nodes.push(node),
            None => self.documents.push(node),
        }
    }

    fn mapping(&mut self, nodes: Vec<Node>, merges: &[usize], flow: bool, span: Span) -> Yaml {
        let mut mapping = Mapping::default();
        let mut own: HashMap<String, Span> = HashMap::new();
        let mut pairs = Vec::new();
        let mut inherited: Vec<Node> = Vec::new();
        let mut nodes = nodes.into_iter();
        let mut index = 0;
        while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
            if merges.contains(&index) {
                self.merge(value, &mut inherited);
            } else {
                pairs.push((key, value));
            }
            index += 2;
        }
        // Of several mappings the first has the say, and the mapping's own keys win over all.
        for source in inherited.into_iter().rev() {
            if let Yaml::Map(source) = source.yaml {
                for entry in source.entries {
                    set(&mut mapping, entry);
                }
            }
        }
        for (key, value) in pairs {
            let Some(name) = key_text(&key) else {
                self.diagnostics.push(explain::key(&key, &value, flow, span, self.text));
                continue;
            };
            if let Some(first) = own.get(&name) {
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::DUPLICATE_KEY,
                        format!("key `{name}` appears twice in this mapping"),
                    )
                    .at(key.span, "and again here")
                    .context(*first, "first here")
                    .note("YAML readers disagree on which one wins, so rmqplay refuses the file"),
                );
                continue;
            }
            own.insert(name.clone(), key.span);
            set(
                &mut mapping,
                Entry {
                    key: name,
                    key_span: key.span,
                    value,
                },
            );
        }
        Yaml::Map(mapping)
    }

    /// What `<<: VALUE` brings in: a mapping, or a list of them.
    fn merge(&mut self, value: Node, into: &mut Vec<Node>) {
        match value.yaml {
            Yaml::Map(_) => into.push(value),
            Yaml::Seq(items) => {
                for item in items {
                    if item.as_map().is_some() {
                        into.push(item);
                    } else {
                        self.bad_merge(&item);
                    }
                }
            }
            _ => self.bad_merge(&value),
        }
    }

    fn bad_merge(&mut self, value: &Node) {
        self.diagnostics.push(
            Diagnostic::error(Code::SHAPE, format!("`<<` merges mappings, this is {}", value.kind()))
                .at(value.span, "expected a mapping or a list of mappings"),
        );
    }

    fn bad_tag(&mut self, name: &str, place: Span, node: &Node) {
        let known = matches!(
            name,
            "!vault" | "!vault-encrypted" | "!!binary" | "!!set" | "!!omap" | "!!pairs" | "!!timestamp"
        );
        let diagnostic = if known {
            Diagnostic::error(
                Code::NOT_SUPPORTED,
                format!("the YAML tag `{name}` is not supported yet"),
            )
            .at(place, "")
        } else if name.starts_with("!!")
            && matches!(&name[2..], "map" | "seq" | "str" | "int" | "float" | "bool" | "null")
        {
            Diagnostic::error(Code::VALUE, format!("the tag `{name}` does not fit {}", node.kind())).at(place, "")
        } else {
            let mut d = Diagnostic::error(Code::YAML_SYNTAX, format!("unknown YAML tag `{name}`"))
                .at(place, "")
                .note("known tags are `!unsafe`, `!!str`, `!!int`, `!!float`, `!!bool`, `!!null`, `!!seq`, `!!map`");
            if node.as_str().is_some() {
                d = d.help("if this is text that begins with `!`, quote it");
            }
            d
        };
        self.diagnostics.push(diagnostic);
    }
}

/// As Python's dict: the place of the first, the value of the last.
fn set(mapping: &mut Mapping, entry: Entry) {
    match mapping.entries.iter_mut().find(|e| e.key == entry.key) {
        Some(old) => *old = entry,
        None => mapping.entries.push(entry),
    }
}

/// Keys are strings for us; what YAML reads as something else is written as JSON would.
fn key_text(key: &Node) -> Option<String> {
    match &key.yaml {
        Yaml::Str(text) => Some(text.value.clone()),
        Yaml::Null => Some("null".to_owned()),
        Yaml::Bool(value) => Some(value.to_string()),
        Yaml::Int(value) => Some(value.to_string()),
        Yaml::Float(value) => Some(format!("{value:?}")),
        Yaml::Seq(_) | Yaml::Map(_) => None,
    }
}

/// `!!x` for the core schema, however it was written; the tag's text for others.
fn canonical_tag(tag: &Tag) -> String {
    match tag.core_suffix() {
        Some(suffix) => format!("!!{suffix}"),
        None if tag.handle() == "tag:yaml.org,2002:" => format!("!!{}", tag.suffix()),
        None => tag.original(),
    }
}

fn mark_raw(node: &mut Node) {
    match &mut node.yaml {
        Yaml::Str(text) => text.raw = true,
        Yaml::Seq(items) => items.iter_mut().for_each(mark_raw),
        Yaml::Map(mapping) => mapping.entries.iter_mut().for_each(|e| mark_raw(&mut e.value)),
        _ => {}
    }
}

/// Number of nodes and levels of a tree.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<&Node> = match &node.yaml {
        Yaml::Seq(items) => items.iter().collect(),
        Yaml::Map(mapping) => mapping.entries.iter().map(|e| &e.value).collect(),
        _ => return (1, 0),
    };
    children.into_iter().fold((1, 1), |(size, depth), child| {
        let (s, d) = measure(child);
        (size + s, depth.max(d + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (SourceMap, Vec<Node>, Vec<Diagnostic>) {
        let sources = SourceMap::default();
        let file = sources.add("t.yml", text);
        let (nodes, diagnostics) = parse(&sources, file);
        (sources, nodes, diagnostics)
    }

    fn value(text: &str) -> serde_json::Value {
        let (_, nodes, diagnostics) = read(text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(nodes.len(), 1);
        nodes[0].to_value()
    }

    /// What the span of every scalar and collection covers, in order.
    fn covered(text: &str) -> Vec<String> {
        fn walk(node: &Node, text: &str, out: &mut Vec<String>) {
            out.push(text[node.span.start as usize..node.span.end as usize].to_owned());
            match &node.yaml {
                Yaml::Seq(items) => items.iter().for_each(|n| walk(n, text, out)),
                Yaml::Map(mapping) => mapping.entries.iter().for_each(|e| {
                    out.push(text[e.key_span.start as usize..e.key_span.end as usize].to_owned());
                    walk(&e.value, text, out);
                }),
                _ => {}
            }
        }
        let (_, nodes, diagnostics) = read(text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let mut out = Vec::new();
        walk(&nodes[0], text, &mut out);
        out
    }

    #[test]
    fn spans_are_bytes_of_the_text_itself() {
        assert_eq!(
            covered("# комментарий 日本\nключ: \"зна чение\" # c\n'b': ''\n"),
            ["ключ: \"зна чение\" # c\n'b': '", "ключ", "зна чение", "b", ""]
        );
        assert_eq!(
            covered("- a: |\n\n    one\n    two\n\n- [x, {y: z}]\n- >-\n  f\n\n# end\n"),
            [
                "- a: |\n\n    one\n    two\n\n- [x, {y: z}]\n- >-\n  f",
                "a: |\n\n    one\n    two",
                "a",
                "\n    one\n    two",
                "[x, {y: z}]",
                "x",
                "{y: z}",
                "y",
                "z",
                "f"
            ]
        );
        assert_eq!(
            covered("a:\nb: plain\n  more\n"),
            ["a:\nb: plain\n  more", "a", "", "b", "plain\n  more"]
        );
    }

    #[test]
    fn merges_and_aliases() {
        assert_eq!(
            value("b: &b {x: 1, y: 2}\nc: &c {x: 9, z: 3}\nd:\n  y: own\n  <<: [*b, *c]\ne: *c\n"),
            serde_json::json!({
                "b": {"x": 1, "y": 2}, "c": {"x": 9, "z": 3},
                "d": {"x": 1, "z": 3, "y": "own"}, "e": {"x": 9, "z": 3},
            })
        );
        assert_eq!(value("{\"<<\": 1}"), serde_json::json!({"<<": 1}));
        assert_eq!(
            value("{1: a, yes: b, ~: c, 1.5: d}"),
            serde_json::json!({"1": "a", "true": "b", "null": "c", "1.5": "d"})
        );
    }

    #[test]
    fn tags() {
        let (_, nodes, diagnostics) = read("[!!str 5, !!int '0x10', !unsafe '{{ x }}', ! yes, !unsafe [a], !!str ]");
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(
            nodes[0].to_value(),
            serde_json::json!(["5", 16, "{{ x }}", "yes", ["a"], ""])
        );
        let items = nodes[0].as_seq().unwrap();
        assert!(!items[2].is_template());
        assert!(matches!(&items[4].as_seq().unwrap()[0].yaml, Yaml::Str(t) if t.raw));
    }

    #[test]
    fn documents() {
        let (_, nodes, diagnostics) = read("--- 1\n---\n- 2\n...\n");
        assert!(diagnostics.is_empty());
        assert_eq!(
            nodes.iter().map(Node::to_value).collect::<Vec<_>>(),
            [serde_json::json!(1), serde_json::json!([2])]
        );
        assert_eq!(read("# nothing\n").1, []);
        assert_eq!(read("").1, []);
    }

    #[test]
    fn hostile_files_end() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let many = vec![format!("*a{}", n - 1); 9].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{many}]\n"));
        }
        let (_, _, diagnostics) = read(&laughs);
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(
            diagnostics[0].message,
            "aliases make this file larger than 200000 values"
        );

        let mut deep = String::from("a0: &a0 [x]\n");
        for n in 1..400 {
            deep.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
        }
        let (_, _, diagnostics) = read(&deep);
        assert_eq!(diagnostics[0].message, "aliases nest this file deeper than 128 levels");

        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            assert_eq!(read(&text).2[0].code, Code::YAML_SYNTAX);
        }
        assert_eq!(
            read("&a [*a]").2[0].message,
            "an alias cannot stand inside what it refers to"
        );
    }

    proptest::proptest! {
        /// Whatever the text: no panic, and every span lies on characters of it.
        #[test]
        fn any_text_is_read_or_refused(text in "([-:{}\\[\\]&*!|>'\"%@`#, \\n\\t]|[a-c1é日])*") {
            let (sources, nodes, diagnostics) = read(&text);
            fn check(node: &Node, text: &str) {
                assert!(text.get(node.span.start as usize..node.span.end as usize).is_some(), "{node:?}");
                match &node.yaml {
                    Yaml::Seq(items) => items.iter().for_each(|n| check(n, text)),
                    Yaml::Map(mapping) => mapping.entries.iter().for_each(|e| check(&e.value, text)),
                    _ => {}
                }
            }
            nodes.iter().for_each(|n| check(n, &text));
            for diagnostic in diagnostics {
                for label in &diagnostic.labels {
                    assert!(text.get(label.span.start as usize..label.span.end as usize).is_some(), "{diagnostic:?}");
                }
                crate::diagnostic::render_human(&sources, &diagnostic, crate::diagnostic::RenderOptions { color: false, width: 100 });
            }
        }
    }
}
