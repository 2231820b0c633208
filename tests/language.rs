//! The language against real Ansible (and the YAML reader below it).

#[path = "language/oracle.rs"]
mod oracle;
#[path = "language/scalars.rs"]
mod scalars;
