//! What the loader makes of playbooks, and the text of every complaint.

mod beside;
mod files;
mod references;
mod refused;
mod rolling;
mod understood;

use super::load::Include;
use super::testing::{all, brief, errors, errors_of, include, load, play, plays, task_errors, tasks};
use super::{Item, LoopKind};
use insta::assert_snapshot;

fn briefs(items: &[Item]) -> String {
    all(items).iter().map(|t| brief(t)).collect::<Vec<_>>().join("\n")
}
