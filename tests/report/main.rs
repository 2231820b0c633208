//! The report, from streams of events made by hand: what a person reads, what a program reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fixture;
mod human;
mod json;
