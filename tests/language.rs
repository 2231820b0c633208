//! The language against real Ansible.

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
