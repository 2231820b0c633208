//! Real nodes: booted once for all tests that want the same ones, taken down after the last. Needs root on Debian or
//! Ubuntu; the first run builds the images (a minute each), every other one takes them from the cache.
//!
//! A test that changes the nodes leaves them as it found them, or asks for nodes of another kind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

#[path = "lab/bare.rs"]
mod bare;
#[path = "lab/becoming.rs"]
mod becoming;
#[path = "lab/booted.rs"]
mod booted;
#[path = "lab/bootstrap.rs"]
mod bootstrap;
#[path = "lab/cluster.rs"]
mod cluster;
#[path = "lab/conf.rs"]
mod conf;
#[path = "lab/demo.rs"]
mod demo;
#[path = "lab/desk.rs"]
mod desk;
#[path = "lab/faults.rs"]
mod faults;
#[path = "lab/lifecycle.rs"]
mod lifecycle;
#[path = "lab/nodes.rs"]
mod nodes;
#[path = "lab/objects.rs"]
mod objects;
#[path = "lab/outages.rs"]
mod outages;
#[path = "lab/rolling.rs"]
mod rolling;
#[path = "lab/site.rs"]
mod site;
#[path = "lab/warm.rs"]
mod warm;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

macro_rules! tests {
    ($($test:path),+ $(,)?) => {
        vec![$(Trial::test(stringify!($test), || { $test(); Ok(()) })),+]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // There is one lab.
    arguments.test_threads = Some(1);
    // In this order, as each change of the kind of nodes is a boot.
    let tests = tests![
        bare::has_neither_rabbitmq_nor_python,
        faults::link,
        faults::sshd,
        faults::power,
        faults::reboot,
        faults::disk,
        faults::hung_host,
        outages::unreachable_hosts,
        outages::become_refused,
        outages::full_disk,
        outages::interrupted_once,
        outages::interrupted_while_writing,
        outages::interrupted_twice,
        outages::interrupted_between_attempts,
        outages::power_lost_in_mid_task,
        outages::power_lost_between_tasks,
        outages::link_cut_in_mid_task,
        warm::second_run_logs_in_no_more,
        lifecycle::up_again_keeps_what_runs,
        lifecycle::up_grows_and_shrinks,
        lifecycle::up_boots_what_is_switched_off,
        lifecycle::up_refuses_another_release,
        lifecycle::down_leaves_nothing,
        lifecycle::down_after_an_interrupted_up,
        lifecycle::up_after_a_reboot_of_the_machine,
        nodes::are_machines_of_their_own,
        nodes::reach_each_other_by_name,
        nodes::run_rabbitmq_on_a_disk_of_their_own,
        nodes::let_users_become_root,
        nodes::host_keys_are_strict,
        becoming::each_way,
        becoming::within_a_play,
        conf::on_trixie,
        objects::on_a_cluster,
        site::on_trixie,
        cluster::begun_grown_and_mended,
        cluster::a_cookie_of_its_own,
        rolling::changes_and_restarts_lose_nothing,
        rolling::interrupted_once,
        rolling::a_node_dies_at_the_worst_moment,
        demo::from_nothing_and_again,
        bootstrap::from_files_of_others,
        site::on_bookworm,
        conf::on_bookworm,
        cluster::on_3_10,
        objects::on_bookworm,
    ];
    let conclusion = libtest_mimic::run(&arguments, tests);
    booted::take_down();
    conclusion.exit_code()
}
