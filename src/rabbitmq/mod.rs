//! PURE. What RabbitMQ is: versions, its command line, its configuration, its objects, its clusters. Knows hosts'
//! vocabulary ([`crate::host`]) and diagnostics, nothing of modules or the engine.

#![deny(clippy::disallowed_methods)]

pub mod api;
pub mod checks;
pub mod cli;
pub mod cluster;
pub mod conf;
pub mod definitions;
pub mod health;
pub mod upgrade;
pub mod version;

pub use version::Version;
