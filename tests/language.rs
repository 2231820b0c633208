//! The language against real Ansible.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

#[path = "language/keywords.rs"]
mod keywords;
#[path = "language/listing.rs"]
mod listing;
#[path = "language/oracle.rs"]
mod oracle;
#[path = "language/scalars.rs"]
mod scalars;
#[path = "language/short_form.rs"]
mod short_form;
