//! The report, from streams of events made by hand: what a person reads, what a program reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "report/fixture.rs"]
mod fixture;
#[path = "report/human.rs"]
mod human;
#[path = "report/json.rs"]
mod json;
