//! Inventories, patterns and precedence, against real Ansible.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "inventory/cases.rs"]
mod cases;
#[path = "language/oracle.rs"]
mod oracle;

#[path = "inventory/against_ansible.rs"]
mod against_ansible;
#[path = "inventory/messages.rs"]
mod messages;
#[path = "inventory/ours.rs"]
mod ours;
#[path = "inventory/random.rs"]
mod random;
#[path = "inventory/values.rs"]
mod values;
