//! PURE. `rolling:`, a play over the nodes of a running cluster: how many at a time, and what must hold of the cluster
//! before a node is touched and before it counts as back ([`Turn`]).
//!
//! A node has its turn when a task is about to change something on it, not before: where everything is as it should
//! be, nobody is asked, drained or waited for.

#![deny(clippy::disallowed_methods)]

mod turn;

pub use turn::{Around, Move, Turn};

use crate::diagnostic::{Code, Diagnostic};
use crate::engine::evaluate::{Evaluation, Trouble};
use crate::language::{self, Node};
use serde_json::Value;

/// What a play says of it, evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rolling {
    /// The cluster's hosts: the play's, whatever `--limit` says, or those of `members`.
    pub members: Vec<String>,
    /// `members` was given.
    pub explicit: bool,
    /// Hosts at a time.
    pub width: Width,
    pub drain: bool,
    pub rebalance: bool,
    /// Seconds to wait for a gate to open.
    pub gate_timeout_s: u32,
    /// Seconds a drain may take.
    pub drain_timeout_s: u32,
    /// Seconds for a node to be back.
    pub start_timeout_s: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Width {
    Hosts(usize),
    /// As `serial` says.
    Serial,
}

/// As long as systemd gives a node of RabbitMQ to start (`TimeoutStartSec` of the packages).
const TIMEOUT_S: u32 = 600;
const DRAIN_TIMEOUT_S: u32 = 120;

/// The most nodes that may be down at a time, so that the others are a majority. Of one and of two nodes one may,
/// since none could be changed otherwise: queues that need both are found by the gate.
pub fn most(nodes: usize) -> usize {
    (nodes.saturating_sub(1) / 2).max(1)
}

impl Rolling {
    /// Evaluates the keyword; `None` where it is off. `select` finds the hosts of patterns, whatever `--limit` says.
    pub fn plan(
        written: &language::Rolling,
        evaluation: &Evaluation<'_>,
        serial: Option<&Node>,
        select: impl FnOnce(Option<&Node>) -> Result<Vec<String>, Box<Diagnostic>>,
    ) -> Result<Option<Rolling>, Box<Diagnostic>> {
        let wrong = |trouble: Trouble, node: &Node| match trouble {
            Trouble::Wrong(diagnostic) => diagnostic,
            Trouble::NotYet(what) => {
                Box::new(Diagnostic::error(Code::VALUE, what).at(node.span, "needed before the play starts"))
            }
        };
        let boolean = |node: &Option<Node>, what: &str| match node {
            Some(node) => evaluation.boolean(node, what).map_err(|t| wrong(t, node)),
            None => Ok(true),
        };
        let number = |node: &Option<Node>, what: &str, default: u32| match node {
            None => Ok(default),
            Some(node) => match u32::try_from(evaluation.integer(node, what).map_err(|t| wrong(t, node))?) {
                Ok(n) if n > 0 => Ok(n),
                _ => Err(Box::new(
                    Diagnostic::error(Code::VALUE, format!("`{what}` must be at least 1")).at(node.span, ""),
                )),
            },
        };
        if !boolean(&written.on, "rolling")? {
            return Ok(None);
        }
        let width = match (serial, &written.width) {
            (Some(serial), Some(width)) => {
                return Err(Box::new(
                    Diagnostic::error(Code::CONFLICT, "both `serial` and `width` say how many hosts at a time")
                        .at(width.span, "said here")
                        .context(serial.span, "and here")
                        .help("take one of them away"),
                ));
            }
            (Some(_), None) => Width::Serial,
            (None, width) => Width::Hosts(number(width, "width", 1)? as usize),
        };
        Ok(Some(Rolling {
            members: select(written.members.as_ref())?,
            explicit: written.members.is_some(),
            width,
            drain: boolean(&written.drain, "drain")?,
            rebalance: boolean(&written.rebalance, "rebalance")?,
            gate_timeout_s: number(&written.gate_timeout, "gate_timeout", TIMEOUT_S)?,
            drain_timeout_s: number(&written.drain_timeout, "drain_timeout", DRAIN_TIMEOUT_S)?,
            start_timeout_s: number(&written.start_timeout, "start_timeout", TIMEOUT_S)?,
        }))
    }

    /// What `serial` has to be for the batches.
    pub fn serial(&self) -> Option<Value> {
        match self.width {
            Width::Hosts(n) => Some(Value::from(n)),
            Width::Serial => None,
        }
    }

    /// Why so many hosts at a time are too many; `None`: they are not.
    pub fn too_wide(&self, batch: usize) -> Option<String> {
        let nodes = self.members.len();
        (batch > most(nodes)).then(|| {
            format!(
                "{batch} of {nodes} nodes at a time would leave no majority: at most {} may be down",
                most(nodes)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::most;

    #[test]
    fn a_majority_stays_up() {
        let most: Vec<usize> = (0..=7).map(most).collect();
        assert_eq!(most, [1, 1, 1, 1, 1, 2, 2, 3]);
    }
}
