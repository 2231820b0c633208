//! What a change looks like to a reader, and how it could be taken back.

use super::bytes::Content;
use super::op::Op;
use serde::{Deserialize, Serialize};

/// One difference between what is and what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// What it is about: a path for content, else `sysctl vm.swappiness`, `mode of /etc/x`, `service rabbitmq-server`.
    pub subject: String,
    pub before: Facet,
    pub after: Facet,
}

/// One side of a [`Delta`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    Absent,
    /// A short value on one line: `10`, `0644`, `stopped`.
    Value(String),
    /// Content of a file: shown as a unified diff.
    Text(Content),
    /// Dry run: not known yet, and why.
    Unknown(String),
    /// Exists and is secret; equal tags mean equal values (keyed per run).
    Secret(String),
}

impl Delta {
    pub fn value(subject: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Delta {
        Delta {
            subject: subject.into(),
            before: Facet::Value(before.into()),
            after: Facet::Value(after.into()),
        }
    }
    pub fn text(path: impl Into<String>, before: Option<Content>, after: Option<Content>) -> Delta {
        let facet = |c: Option<Content>| c.map_or(Facet::Absent, Facet::Text);
        Delta {
            subject: path.into(),
            before: facet(before),
            after: facet(after),
        }
    }
}

/// One knob in its four layers. `None`: the layer does not exist for this knob, or could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `vm.swappiness`, `nofile of rabbitmq-server.service`, `scheduler of sda`.
    pub knob: String,
    pub desired: String,
    /// What the boot-time configuration says, after precedence.
    pub file: Option<String>,
    /// What the kernel (or systemd) says now.
    pub live: Option<String>,
    /// The live value cannot be changed on this host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// What the running process has.
    pub process: Option<String>,
    /// Where the effective file value comes from.
    pub source: Option<String>,
}

impl Layer {
    /// In words, what an operator must know when the layers disagree; `None` when all is well.
    pub fn finding(&self) -> Option<&'static str> {
        let is = |v: &Option<String>| v.as_ref().map(|v| *v == self.desired);
        match (is(&self.file), is(&self.live), is(&self.process)) {
            (Some(true), Some(false), _) if self.read_only => Some("file right, live value cannot be set on this host"),
            (Some(false), Some(false), _) if self.read_only => {
                Some("file not right, live value cannot be set on this host")
            }
            (Some(false), Some(true), _) => Some("live value right, lost at reboot"),
            (Some(true), Some(false), _) => Some("file right, live value wrong until reboot or apply"),
            (Some(false), Some(false), _) => Some("neither file nor live value right"),
            (None, Some(false), _) => Some("live value wrong"),
            (Some(false), None, _) => Some("file not right"),
            (None, None, Some(false)) => Some("the process has another value"),
            (_, _, Some(false)) => Some("process started before the change"),
            _ => None,
        }
    }
}

/// How a change is taken back by a forward run (a later feature; recorded from the start).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    Ops(Vec<Op>),
    Impossible(String),
}
