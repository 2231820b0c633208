//! Runs a program on hosts.
//!
//! | file | pure | does |
//! | --- | --- | --- |
//! | `run` | | plays × hosts: calls the dispatcher; `run/plan` patterns and batches, `run/host` variables and targets, `run/outline` what is told without hosts |
//! | `schedule` | yes | serial batches, when a rollout stops |
//! | `rolling` | yes | `rolling:`: gates around the changes of a node of a cluster |
//! | `dispatcher` | | the one async loop: owns hosts' states, connections, timers, signals |
//! | `host_run` | yes | one host through one play: what to send, what to make of the answer |
//! | `walk` | yes | which task comes next: sections, blocks, includes, handlers; positions |
//! | `evaluate`, `control`, `select` | yes | conditions, loops, arguments; tasks done on the controller; tags |
//! | `search` | yes | where a task's relative paths are looked for on the controller |
//! | `ahead` | yes | what following tasks will look at |
//! | `overlay` | yes | the dry run's memory |
//! | `vars` | yes | layers of variables |
//! | `blackboard` | yes | what hosts see of each other: `hostvars` |
//! | `trace` | yes | what evaluations come upon: secrets, other hosts, the controller |
//! | `share` | yes | what hosts have in common is done by one of them |
//! | `ledger` | yes | handlers still to run, written down on the host |
//! | `result` | yes | what a task came to |
//! | `unhosted` | yes | what can be told of tasks without a host, for `lint` |
//! | `event` | yes | the stream of events |

mod ahead;
pub mod blackboard;
mod control;
pub mod dispatcher;
mod evaluate;
pub mod event;
pub mod host_run;
mod ledger;
mod mask;
pub mod overlay;
mod result;
pub mod rolling;
pub mod run;
pub mod schedule;
mod search;
pub mod select;
mod share;
pub mod shared;
pub mod trace;
pub mod unhosted;
pub mod vars;
pub mod walk;
