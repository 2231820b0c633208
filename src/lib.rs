//! rmqplay: declarative provisioning and tuning of RabbitMQ nodes.
//!
//! ```text
//! files → language, inventory, template → Program → engine → Event stream → report
//!                                          modules ↕  ↕ transport → sh on the host
//! ```
//!
//! One direction, one owner per step: only `transport` touches a host, only `report` speaks to the user, only
//! `commands` read and write the user's files, only `main` exits. ARCHITECTURE.md is the map.

pub mod cli;
pub mod commands;
pub mod diagnostic;
pub mod engine;
pub mod host;
pub mod inventory;
pub mod lab;
pub mod language;
pub mod modules;
pub mod rabbitmq;
pub mod report;
pub mod template;
pub mod transport;
