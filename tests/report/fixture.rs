//! Streams of events, and reporters that write into memory.

use rmqplay::diagnostic::Location;
use rmqplay::engine::event::{
    Event, Failed, HostResult, ItemResult, Mode, PlayInfo, Section, Stats, TaskInfo, TaskStatus, Timing,
};
use rmqplay::host::{Content, Delta, Facet, Layer};
use rmqplay::report::{Human, HumanOptions, Reporter};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// A sink whose content can be read afterwards.
#[derive(Clone, Default)]
pub struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn print(events: &[Event], options: HumanOptions) -> String {
    let buffer = Buffer::default();
    let mut human = Human::new(Box::new(buffer.clone()), options);
    for event in events {
        human.event(event);
    }
    human.finish().unwrap();
    buffer.text()
}

pub fn plain(events: &[Event]) -> String {
    print(events, HumanOptions::plain())
}

/// A run in the making. Counters of the recap follow from the results, as the engine's do.
pub struct Run {
    pub events: Vec<Event>,
    hosts: Vec<String>,
    next: u64,
    stats: BTreeMap<String, Stats>,
}

impl Run {
    pub fn new(mode: Mode) -> Self {
        Run {
            events: vec![Event::RunStarted {
                run: "7f3a".into(),
                version: "0.1.0".into(),
                mode,
                playbooks: vec!["playbooks/site.yml".into()],
                time: "2026-11-22T14:02:11Z".into(),
            }],
            hosts: Vec::new(),
            next: 1,
            stats: BTreeMap::new(),
        }
    }

    pub fn play(mut self, name: &str, hosts: &[&str]) -> Self {
        self.hosts = hosts.iter().map(|h| (*h).to_owned()).collect();
        for host in &self.hosts {
            self.stats.entry(host.clone()).or_default();
        }
        self.events.push(Event::PlayStarted {
            play: PlayInfo {
                id: 1,
                name: name.into(),
                hosts: self.hosts.clone(),
                location: Some(place(2)),
            },
        });
        self
    }

    pub fn event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// The id the next task will have.
    pub fn next_id(&self) -> u64 {
        self.next
    }

    pub fn task(self, name: &str, results: Vec<(&str, HostResult)>) -> Self {
        self.section(Section::Task, "command", name, results)
    }

    pub fn section(mut self, section: Section, module: &str, name: &str, results: Vec<(&str, HostResult)>) -> Self {
        self = self.begin(section, module, name);
        let id = self.next - 1;
        for (host, result) in results {
            let stats = self.stats.entry(host.to_owned()).or_default();
            match result.status {
                TaskStatus::Ok => stats.ok += 1,
                TaskStatus::Changed => {
                    stats.ok += 1;
                    stats.changed += 1;
                }
                TaskStatus::Skipped => stats.skipped += 1,
                TaskStatus::Failed => stats.failures += 1,
                TaskStatus::Ignored => {
                    stats.ok += 1;
                    stats.ignored += 1;
                }
                TaskStatus::Rescued => stats.rescued += 1,
                TaskStatus::Unknown => stats.unknown += 1,
                TaskStatus::Unreachable => stats.unreachable += 1,
            }
            self.events.push(Event::HostResult {
                task: id,
                host: host.to_owned(),
                result: result.into(),
            });
        }
        self.event(Event::TaskFinished { task: id })
    }

    pub fn begin(mut self, section: Section, module: &str, name: &str) -> Self {
        let id = self.next;
        self.next += 1;
        self.event(Event::TaskStarted {
            task: TaskInfo {
                id,
                name: name.into(),
                module: module.into(),
                section,
                location: Some(place(10 + id as usize)),
                tags: vec!["kernel".into()],
            },
        })
    }

    pub fn unreachable(mut self, host: &str, task: Option<u64>, failure: Failed) -> Self {
        self.stats.entry(host.to_owned()).or_default().unreachable += 1;
        self.event(Event::Unreachable {
            host: host.to_owned(),
            task,
            failure,
        })
    }

    pub fn end(mut self) -> Vec<Event> {
        let timing = |host: &String| {
            let timing = Timing {
                connect_ms: 83,
                round_trips: 2,
                executions: 3,
                bytes_out: 4096,
                bytes_in: 2048,
                vm_starts: 0,
            };
            (host.clone(), timing)
        };
        self.events.push(Event::RunFinished {
            timing: self.stats.keys().map(timing).collect(),
            stats: self.stats,
            elapsed_ms: 14_210,
        });
        self.events
    }
}

pub fn place(line: usize) -> Location {
    Location {
        file: "playbooks/site.yml".into(),
        line,
        column: 7,
    }
}

pub fn result(status: TaskStatus) -> HostResult {
    HostResult {
        status,
        value: Map::new(),
        deltas: Vec::new(),
        layers: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        items: Vec::new(),
        hide_diff: false,
    }
}

pub fn ok() -> HostResult {
    result(TaskStatus::Ok)
}

pub fn changed(deltas: Vec<Delta>) -> HostResult {
    HostResult {
        deltas,
        ..result(TaskStatus::Changed)
    }
}

pub fn swappiness(before: &str) -> Vec<Delta> {
    vec![
        Delta::value("sysctl vm.swappiness (live)", before, "10"),
        Delta {
            subject: "sysctl vm.swappiness (/etc/sysctl.d/60-rabbitmq.conf)".into(),
            before: Facet::Absent,
            after: Facet::Value("10".into()),
        },
    ]
}

pub fn conf(before: &str, after: &str) -> Delta {
    Delta::text(
        "/etc/rabbitmq/rabbitmq.conf",
        Some(Content::from(before)),
        Some(Content::from(after)),
    )
}

pub fn failed(msg: &str) -> HostResult {
    HostResult {
        failure: Some(Failed {
            code: "E301".into(),
            msg: msg.into(),
            ..Failed::default()
        }),
        ..result(TaskStatus::Failed)
    }
}

pub fn layer() -> Layer {
    Layer {
        knob: "vm.swappiness".into(),
        desired: "10".into(),
        file: Some("10".into()),
        live: Some("60".into()),
        read_only: false,
        process: None,
        source: Some("/etc/sysctl.d/60-rabbitmq.conf:3".into()),
    }
}

pub fn item(label: &str, status: TaskStatus, msg: Option<&str>) -> ItemResult {
    ItemResult {
        label: label.into(),
        status,
        msg: msg.map(Into::into),
    }
}

pub fn value(pairs: &[(&str, Value)]) -> Map<String, Value> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
}
