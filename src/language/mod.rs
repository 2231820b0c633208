//! PURE. Text to checked program: YAML with spans, plays, tasks, roles, static includes. Reading files is a
//! [`Files`] given by the caller.

#![deny(clippy::disallowed_methods)]

mod action;
mod adhoc;
mod common;
pub mod expressions;
pub mod keywords;
mod known_modules;
mod load;
pub mod node;
mod notify;
mod play;
pub mod program;
mod role;
pub mod rolling;
mod shape;
pub mod short_form;
mod task;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod yaml;

pub use adhoc::adhoc;
pub use load::{Include, load, load_included};
pub use shape::not_a_variable;

pub use node::{Entry, Mapping, Node, Text, Yaml};
pub use program::{Block, Common, Item, Loop, LoopKind, Play, Program, Role, Rolling, Task};

/// What the pure parts see of the controller's disk: implemented over the real one in `commands`, in memory in
/// tests. Paths are as the user wrote them or joined to those; `/` separates.
pub trait Files: Send + Sync {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>>;
    fn exists(&self, path: &str) -> bool;
    fn is_dir(&self, path: &str) -> bool;
    /// The permission bits (0o7777) of a file; where there is no real disk, those of a new file.
    fn mode(&self, path: &str) -> std::io::Result<u32> {
        self.read(path).map(|_| 0o644)
    }
    /// Names (not paths) in a directory, sorted by bytes.
    fn list(&self, path: &str) -> std::io::Result<Vec<String>>;
    /// The absolute path without `.`, `..` (symlinks resolved where the real disk knows them).
    fn absolute(&self, path: &str) -> String;
    /// An environment variable of the controller.
    fn env(&self, name: &str) -> Option<String>;
    /// Standard output of a command run on the controller by `/bin/sh -c` (the `pipe` lookup).
    fn pipe(&self, command: &str) -> std::io::Result<Vec<u8>>;
    /// Creates a file that must not exist yet, mode 0600, parents made (the `password` lookup).
    fn create(&self, path: &str, content: &[u8]) -> std::io::Result<()>;
}
