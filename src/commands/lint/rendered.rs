//! RabbitMQ's files as the tasks of a playbook write them: rendered with the variables of plays, roles and the inventory, and
//! checked like any other. What a host must tell first stays open.

use crate::commands::Session;
use crate::diagnostic::{Code, Diagnostic, FileId, Span};
use crate::engine::run::Run;
use crate::engine::unhosted::{self, Text, Untold, Written};
use crate::language::{Node, Yaml};
use crate::modules::broker_file::{self, Kind};
use crate::rabbitmq::Version;
use crate::rabbitmq::conf::{self, Line, Setting, Target, schema, write};
use crate::template::imagine::{HOLE, Imagined, Way};
use indexmap::IndexMap;
use std::collections::{BTreeSet, HashMap, HashSet};

// A hole of a template is one of a file.
const _: () = assert!(HOLE == conf::HOLE);

/// The name of a rendered text among files that have places.
const RENDERED: FileId = FileId(u32::MAX);

/// Something that was not judged: where, on which hosts, why.
#[derive(PartialEq)]
pub struct Open {
    pub at: String,
    pub hosts: Vec<String>,
    pub why: String,
}

/// Checks what the tasks of `run` write; tells what could not be.
pub fn check(session: &Session, run: &Run, version: Option<Version>, out: &mut Vec<Diagnostic>) -> Vec<Open> {
    let told = unhosted::written(run, version);
    let mut judge = Judge {
        session,
        version,
        shown: HashMap::new(),
        found: IndexMap::new(),
    };
    let alone = alone(&told.written);
    for (first, hosts) in alike(&told.written) {
        let whole = hosts.iter().all(|host| alone.contains(*host));
        judge.written(first, &hosts, whole);
    }
    let mut order: Vec<&str> = Vec::new();
    for one in &told.written {
        if !order.contains(&one.host.as_str()) {
            order.push(&one.host);
        }
    }
    out.extend(judge.found.into_values().map(|finding| finding.told(&order)));
    out.extend(told.wrong);
    let mut open = untold(session, &told.untold);
    // Their mistakes are those of a run, which tells them.
    open.extend(told.plays.into_iter().map(|problem| {
        Open {
            at: problem
                .position()
                .and_then(|s| session.sources.locate(s))
                .map_or_else(String::new, |l| l.to_string()),
            hosts: Vec::new(),
            why: problem.message,
        }
    }));
    open
}

/// Hosts whose rabbitmq.conf is the only file of its kind that is written: what is not in it is nowhere.
fn alone(written: &[Written]) -> HashSet<&str> {
    let mut paths: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for one in written
        .iter()
        .filter(|w| broker_file::kind(&w.dest) == Some(Kind::Conf))
    {
        paths.entry(&one.host).or_default().insert(&one.dest);
    }
    let main = broker_file::conf_path(None);
    let alone = paths.into_iter().filter(|(_, paths)| paths.iter().eq([&main.as_str()]));
    alone.map(|(host, _)| host).collect()
}

/// What comes to the same on several hosts, once, with their names.
fn alike(written: &[Written]) -> Vec<(&Written, Vec<&str>)> {
    let mut groups: IndexMap<_, (&Written, Vec<&str>)> = IndexMap::new();
    for one in written {
        let text: Vec<String> = match &one.text {
            Text::Rendered(imagined) => imagined.ways.iter().map(|w| w.text.clone()).collect(),
            Text::Settings { settings, profile, .. } => {
                let settings = settings.iter().map(|s| format!("{} {:?}", s.key, s.value));
                settings.chain(profile.iter().map(|(name, _)| name.clone())).collect()
            }
        };
        let key = (one.task.span, one.dest.as_str(), one.version, one.certain, text);
        let group = groups.entry(key).or_insert_with(|| (one, Vec::new()));
        if !group.1.contains(&one.host.as_str()) {
            group.1.push(&one.host);
        }
    }
    groups.into_values().collect()
}

fn untold(session: &Session, untold: &[Untold]) -> Vec<Open> {
    let mut groups: IndexMap<(Span, &str), Vec<String>> = IndexMap::new();
    for one in untold {
        let hosts = groups.entry((one.task.span, &one.why)).or_default();
        if !one.host.is_empty() && !hosts.contains(&one.host) {
            hosts.push(one.host.clone());
        }
    }
    let open = groups.into_iter().map(|((span, why), hosts)| Open {
        at: session.sources.locate(span).map_or_else(String::new, |l| l.to_string()),
        hosts,
        why: why.to_owned(),
    });
    open.collect()
}

/// `mq-1, mq-2, mq-3 and 5 others`.
pub fn names(hosts: &[String]) -> String {
    let (first, rest) = hosts.split_at(hosts.len().min(3));
    let first = first.join(", ");
    match rest.len() {
        0 => first,
        1 => format!("{first} and 1 other"),
        n => format!("{first} and {n} others"),
    }
}

/// What is wrong at one place, wherever it is rendered.
struct Finding {
    diagnostic: Diagnostic,
    dest: String,
    hosts: Vec<String>,
    /// The first text it was found in: number and text of the line.
    line: Option<(usize, String)>,
}

impl Finding {
    /// `order`: hosts as the inventory has them.
    fn told(mut self, order: &[&str]) -> Diagnostic {
        self.hosts.sort_by_key(|host| order.iter().position(|h| h == host));
        let mut whose = format!("in `{}`", self.dest);
        if !self.hosts.is_empty() {
            whose = format!("{whose} of {}", names(&self.hosts));
        }
        let note = match self.line {
            Some((number, text)) if text.is_empty() => format!("{whose}, line {number}"),
            Some((number, text)) => format!("{whose}, line {number}: `{text}`"),
            None => whose,
        };
        self.diagnostic.note(note)
    }
}

/// A finding and where in the text it is.
struct Placed {
    diagnostic: Diagnostic,
    /// In the rendered text.
    at: Option<Span>,
    way: usize,
}

/// A finding's file, bytes, code and message.
type Identity = (Option<(String, u32, u32)>, Code, String);

struct Judge<'a> {
    session: &'a Session,
    version: Option<Version>,
    /// Files without their secrets, as they are shown.
    shown: HashMap<(FileId, bool), FileId>,
    found: IndexMap<Identity, Finding>,
}

impl Judge<'_> {
    fn written(&mut self, one: &Written, hosts: &[&str], whole: bool) {
        let version = self.version.or(one.version).filter(|_| one.certain);
        let target = Target {
            version,
            extra_keys: one.extra_keys.clone(),
            ..Target::default()
        };
        let placed = match (&one.text, broker_file::kind(&one.dest)) {
            (
                Text::Settings {
                    settings,
                    profile,
                    wrong,
                    open,
                    ..
                },
                _,
            ) => {
                let lines = with_profile(settings, profile.as_ref(), version);
                let found = if whole && !open {
                    conf::check(&lines, &target)
                } else {
                    conf::check_part(&lines, &target)
                };
                let found = found.into_iter().chain(wrong.iter().cloned()).map(|found| Placed {
                    diagnostic: super::broker::in_a_tree(found),
                    at: None,
                    way: 0,
                });
                found.collect()
            }
            (Text::Rendered(imagined), Some(Kind::Conf)) => configuration(imagined, &target, whole),
            (Text::Rendered(imagined), Some(kind)) => others(imagined, kind),
            (Text::Rendered(_), None) => Vec::new(),
        };
        for found in placed {
            self.add(one, hosts, found);
        }
    }

    fn add(&mut self, one: &Written, hosts: &[&str], found: Placed) {
        let kind = broker_file::kind(&one.dest);
        let env = kind == Some(Kind::Env);
        // What is secret among Erlang's terms, nothing marks.
        let hidden = one.secret || kind == Some(Kind::Advanced);
        let mut diagnostic = found.diagnostic;
        let mut line = None;
        if let Text::Rendered(imagined) = &one.text
            && let Some(way) = imagined.ways.get(found.way)
        {
            let setting = found.at.and_then(|at| setting_at(way, at));
            diagnostic = self.moved(diagnostic, way, one, env);
            line = found.at.map(|at| shown_line(way, at, env, hidden));
            if one.secret {
                let written = found.at.is_some_and(|at| is_written(way, at));
                diagnostic = if written { diagnostic } else { unsaid(diagnostic) };
            } else if let Some((key, value)) = setting {
                diagnostic = self.with_origin(diagnostic, one, &key, value.as_deref());
            }
        } else if let Text::Settings { settings, .. } = &one.text {
            let at = diagnostic.position();
            let setting = settings
                .iter()
                .find(|s| Some(s.value_span) == at || Some(s.key_span) == at);
            match setting {
                Some(s) if one.secret && (Some(s.value_span) == at) => diagnostic = unsaid(diagnostic),
                Some(s) if !one.secret => diagnostic = self.with_origin(diagnostic, one, &s.key, s.value.as_deref()),
                _ => {}
            }
        }
        let place = diagnostic.position().map(|span| {
            let file = self.session.sources.get(span.file).map(|f| f.name.clone());
            (file.unwrap_or_default(), span.start, span.end)
        });
        let key = (place, diagnostic.code, diagnostic.message.clone());
        let finding = self.found.entry(key).or_insert_with(|| Finding {
            diagnostic,
            dest: one.dest.clone(),
            hosts: Vec::new(),
            line,
        });
        for host in hosts.iter().filter(|h| !h.is_empty()) {
            if !finding.hosts.iter().any(|h| h == host) {
                finding.hosts.push((*host).to_owned());
            }
        }
    }

    /// A finding in a rendered text, at the places of the template.
    fn moved(&mut self, mut found: Diagnostic, way: &Way, one: &Written, env: bool) -> Diagnostic {
        let mut moved = |span: Span| match way.origin(span.start as usize, span.end as usize) {
            _ if span.file != RENDERED => (span, true),
            Some((from, verbatim)) => (self.shown(from, env), verbatim),
            None => (one.task.module_span, false),
        };
        for fix in std::mem::take(&mut found.fixes) {
            match moved(fix.span) {
                (span, true) => found.fixes.push(crate::diagnostic::Fix { span, ..fix }),
                (_, false) => found.helps.push(format!("{}: `{}`", fix.message, fix.replacement)),
            }
        }
        for label in &mut found.labels {
            label.span = moved(label.span).0;
        }
        for related in &mut found.related {
            related.span = moved(related.span).0;
        }
        // A second place in another file is no part of the same snippet.
        if let Some(at) = found.position() {
            let (here, elsewhere) = found.labels.into_iter().partition(|l| l.span.file == at.file);
            found.labels = here;
            for label in elsewhere {
                found = found.related(label.text, label.span, "");
            }
        }
        found
    }

    /// The same place in the file as it may be shown.
    fn shown(&mut self, span: Span, env: bool) -> Span {
        let sources = &self.session.sources;
        let file = *self
            .shown
            .entry((span.file, env))
            .or_insert_with(|| match sources.get(span.file) {
                Some(source) => {
                    let name = source.name.strip_prefix("./").unwrap_or(&source.name);
                    let mask = if env { conf::env::masked } else { conf::masked };
                    sources.add(name, mask(&source.text))
                }
                None => span.file,
            });
        Span { file, ..span }
    }

    /// Adds the variable that the value comes from, where that is plain.
    fn with_origin(&self, found: Diagnostic, one: &Written, key: &str, value: Option<&str>) -> Diagnostic {
        if schema::is_secret(key) {
            return found;
        }
        let at = found.position();
        if let Some(node) = given(&one.read, key, value) {
            if Some(node.span) != at {
                let named = format!("`{key}` is given here");
                return with_variable(
                    found.related(named, node.span, ""),
                    one,
                    node.as_str().unwrap_or_default(),
                );
            }
            return with_variable(found, one, node.as_str().unwrap_or_default());
        }
        let Some(value) = value else { return found };
        let source = at.and_then(|at| {
            let file = self.session.sources.get(at.file)?;
            file.text.get(at.start as usize..at.end as usize).map(str::to_owned)
        });
        let before = found.related.len();
        let found = with_variable(found, one, source.as_deref().unwrap_or_default());
        if found.related.len() > before {
            return found;
        }
        let mut same = Vec::new();
        for (name, node) in &one.read {
            scalars(node, value, &mut |span| same.push((name, span)));
        }
        match same.as_slice() {
            // A short one may be the same by chance.
            [(name, span)] if value.len() > 3 => found.related(format!("`{name}` has this value"), *span, ""),
            _ => found,
        }
    }
}

/// A finding of a task with `no_log`: its place, and nothing of what is put together there.
fn unsaid(mut found: Diagnostic) -> Diagnostic {
    found.message = if found.is_error() {
        "RabbitMQ cannot use what is put together here".to_owned()
    } else {
        "what is put together here is not advised".to_owned()
    };
    found.labels.iter_mut().for_each(|label| label.text.clear());
    found.related.clear();
    found.notes.clear();
    found.helps.clear();
    found.fixes.clear();
    found.note("`no_log` hides what it is")
}

/// Whether the line of a rendered text stands in the template as it is.
fn is_written(way: &Way, at: Span) -> bool {
    let at = at.start as usize;
    let start = way.text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1);
    let end = way
        .text
        .get(at..)
        .and_then(|t| t.find('\n'))
        .map_or(way.text.len(), |n| at + n);
    way.origin(start, end).is_some_and(|(_, verbatim)| verbatim)
}

/// Settings with those of a profile below, which are where its name is.
fn with_profile(settings: &[Setting], profile: Option<&(String, Span)>, version: Option<Version>) -> Vec<Line> {
    let Some((name, span)) = profile else {
        return settings.iter().cloned().map(Line::Setting).collect();
    };
    let given = settings.iter().map(|s| (s.key.clone(), Some(String::new()))).collect();
    let of_profile = write::settings(Some(name), given, version);
    let of_profile = of_profile
        .into_iter()
        .filter(|(key, _)| !settings.iter().any(|s| s.key == *key));
    let of_profile = of_profile.map(|(key, value)| Setting {
        key,
        key_span: *span,
        value: Some(value),
        value_span: *span,
    });
    of_profile.chain(settings.iter().cloned()).map(Line::Setting).collect()
}

/// Whether a text may have keys that are not known.
fn is_open(way: &Way) -> bool {
    way.lost
        || way.text.lines().filter(|l| l.contains(HOLE)).any(|line| {
            let key = line.split('=').next().unwrap_or_default();
            !line.trim_start().starts_with('#') && (key.contains(HOLE) || !line.contains('='))
        })
}

fn read(way: &Way, target: &Target, whole: bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let lines = conf::parse(RENDERED, &way.text, target, &mut found);
    found.extend(if whole {
        conf::check(&lines, target)
    } else {
        conf::check_part(&lines, target)
    });
    found
}

/// What is wrong whichever way a template goes, and what is wrong in one of them for every release: which release a host
/// runs may be what decides the way.
fn configuration(imagined: &Imagined, target: &Target, whole: bool) -> Vec<Placed> {
    let whole = whole && !imagined.ways.iter().any(is_open);
    let mut out = Vec::new();
    if imagined.complete {
        let all = imagined.ways.iter().map(|way| read(way, target, whole)).collect();
        out.extend(common(imagined, all));
    }
    if imagined.complete && imagined.ways.len() == 1 {
        return out;
    }
    let any = Target {
        version: None,
        ..target.clone()
    };
    for (number, way) in imagined.ways.iter().enumerate() {
        let mut found = Vec::new();
        let lines = conf::parse(RENDERED, &way.text, &any, &mut found);
        found.extend(conf::check_each(&lines, &any));
        for diagnostic in found {
            let at = diagnostic.position();
            let same = |p: &Placed| {
                let place = |at: Option<Span>, way: &Way| at.and_then(|s| way.origin(s.start as usize, s.end as usize));
                let other = imagined.ways.get(p.way).and_then(|w| place(p.at, w));
                p.diagnostic.code == diagnostic.code
                    && p.diagnostic.message == diagnostic.message
                    && other == place(at, way)
            };
            if !out.iter().any(same) {
                out.push(Placed {
                    diagnostic,
                    at,
                    way: number,
                });
            }
        }
    }
    out
}

/// What all ways have in common, at its place in the first.
fn common(imagined: &Imagined, all: Vec<Vec<Diagnostic>>) -> Vec<Placed> {
    let identity = |number: usize, d: &Diagnostic| {
        let way = imagined.ways.get(number);
        let origin = way.and_then(|w| d.position().and_then(|s| w.origin(s.start as usize, s.end as usize)));
        (d.code, d.message.clone(), origin)
    };
    let sets: Vec<Vec<_>> = (all.iter().enumerate().skip(1))
        .map(|(number, found)| found.iter().map(|d| identity(number, d)).collect())
        .collect();
    let first = all.into_iter().next().unwrap_or_default();
    let kept = first.into_iter().filter(|d| {
        let own = identity(0, d);
        sets.iter().all(|set| set.contains(&own))
    });
    let placed = kept.map(|diagnostic| Placed {
        at: diagnostic.position(),
        diagnostic,
        way: 0,
    });
    placed.collect()
}

/// advanced.config and rabbitmq-env.conf.
fn others(imagined: &Imagined, kind: Kind) -> Vec<Placed> {
    if !imagined.complete {
        return Vec::new();
    }
    let all = imagined.ways.iter().map(|way| {
        // A term with a hole is none that could be read.
        if way.lost || (kind == Kind::Advanced && way.text.contains(HOLE)) {
            return Vec::new();
        }
        if kind == Kind::Advanced {
            return conf::advanced::check(RENDERED, &way.text);
        }
        let filled = way.text.replace(HOLE, "x");
        let mut found = conf::env::check(RENDERED, &filled);
        found.retain(|d| {
            let at = d
                .position()
                .and_then(|s| way.text.get(s.start as usize..s.end as usize));
            !at.is_some_and(|text| text.contains(HOLE))
        });
        found
    });
    common(imagined, all.collect())
}

/// The setting that a place of a text is part of.
fn setting_at(way: &Way, at: Span) -> Option<(String, Option<String>)> {
    let lines = conf::parse(RENDERED, &way.text, &Target::default(), &mut Vec::new());
    lines.into_iter().find_map(|line| match line {
        Line::Setting(s) if s.key_span.start <= at.start && at.start <= s.value_span.end => Some((s.key, s.value)),
        _ => None,
    })
}

/// Number and text of the line, without what is not to be shown.
fn shown_line(way: &Way, at: Span, env: bool, secret: bool) -> (usize, String) {
    let masked = if env {
        conf::env::masked(&way.text)
    } else {
        conf::masked(&way.text)
    };
    let before = masked.get(..at.start as usize).unwrap_or(&masked);
    let number = before.matches('\n').count() + 1;
    let line = masked.lines().nth(number - 1).unwrap_or_default().trim();
    let text = if secret {
        String::new()
    } else {
        line.replace(HOLE, "…")
    };
    (number, text)
}

/// Adds where the variable stands that an expression names.
fn with_variable(found: Diagnostic, one: &Written, expression: &str) -> Diagnostic {
    let mut words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    match words.find_map(|word| one.read.iter().find(|(name, _)| name == word)) {
        Some((name, node)) if Some(node.span) != found.position() => {
            found.related(format!("`{name}` is set here"), node.span, "")
        }
        _ => found,
    }
}

/// The value that a mapping among the variables gives `key`: the very value, else what may have become it.
fn given<'n>(read: &'n [(String, std::sync::Arc<Node>)], key: &str, value: Option<&str>) -> Option<&'n Node> {
    let mut all = Vec::new();
    read.iter().for_each(|(_, node)| entries(node, key, &mut all));
    let is = |n: &&Node| value.is_none_or(|v| crate::modules::plain(&n.to_value()) == v);
    let may_be = |n: &&Node| n.is_template() || n.as_map().is_some() || n.as_seq().is_some();
    let found = all.iter().copied().find(|n| is(n));
    found.or_else(|| all.iter().copied().find(|n| may_be(n)))
}

/// What mappings give `key`, as a whole or as a tree of its parts.
fn entries<'n>(node: &'n Node, key: &str, out: &mut Vec<&'n Node>) {
    let Yaml::Map(map) = &node.yaml else { return };
    for entry in &map.entries {
        if entry.key == key {
            out.push(&entry.value);
        } else if let Some(rest) = key.strip_prefix(entry.key.as_str()).and_then(|r| r.strip_prefix('.')) {
            entries(&entry.value, rest, out);
        }
        entries(&entry.value, key, out);
    }
}

/// The scalars below a node that are `value`.
fn scalars(node: &Node, value: &str, found: &mut impl FnMut(Span)) {
    match &node.yaml {
        Yaml::Map(map) => map.entries.iter().for_each(|e| scalars(&e.value, value, found)),
        Yaml::Seq(items) => items.iter().for_each(|n| scalars(n, value, found)),
        _ if crate::modules::plain(&node.to_value()) == value => found(node.span),
        _ => {}
    }
}
