//! The report, from streams of events made by hand: what a person reads, what a program reads.

mod fixture;
mod human;
mod json;
