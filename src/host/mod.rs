//! PURE. The vocabulary of a host: [`Probe`] → [`Observation`], [`Op`] → [`Outcome`], [`Guard`], [`Delta`],
//! [`Undo`]. Data only: `transport::shell` alone knows how it is done on a target, `transport::fake` how it is
//! pretended.

#![deny(clippy::disallowed_methods)]

pub mod bytes;
mod change;
pub mod facts;
mod op;
mod probe;

pub use bytes::{Content, Hidden};
pub use change::{Delta, Facet, Layer, Undo};
pub use op::{Effect, Exec, Guard, Op, Outcome, Status, kernel_file};
pub use probe::{ExecResult, FileKind, Files, Observation, Probe, Scope, Stat};
