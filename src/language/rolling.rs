//! A play that restarts RabbitMQ should say how: a node that goes while its queues need it takes messages' replicas,
//! and sometimes the cluster, with it.

use super::play::tasks_of;
use crate::diagnostic::{Code, Diagnostic};
use crate::language::{Play, Task};

/// What `lint` asks of a play: it restarts or stops the broker and says nothing of `rolling`.
pub fn ask(play: &Play) -> Option<Diagnostic> {
    if play.rolling.is_some() {
        return None;
    }
    let sections = [&play.pre_tasks, &play.tasks, &play.handlers, &play.post_tasks];
    let task = sections
        .into_iter()
        .flat_map(|items| tasks_of(items))
        .find(|t| restarts(t))?;
    let diagnostic = Diagnostic::warning(Code::UNGUARDED_RESTART, "a node of RabbitMQ is restarted without asking its cluster")
        .at(task.module_span, "takes the node down")
        .context(play.hosts.span, "on each of these hosts")
        .help("`rolling: true` on the play looks at quorum, alarms and partitions first, drains the node, and waits until it is back")
        .help("`rolling: false` says that it is meant as it is");
    Some(match &play.serial {
        Some(serial) => diagnostic.context(serial.span, "`serial` alone looks at nothing"),
        None => diagnostic.note("without `serial` all hosts of the play go at the same time"),
    })
}

fn restarts(task: &Task) -> bool {
    let text = |key: &str| {
        task.args
            .as_map()
            .and_then(|args| args.get(key))
            .and_then(|n| n.as_str())
            .unwrap_or_default()
    };
    let down = |state: &str| ["restarted", "stopped"].contains(&state);
    let broker = |text: &str| text.contains("rabbitmq");
    match task.module {
        "service" | "systemd_service" => down(text("state")) && broker(text("name")),
        "rabbitmq_node" => down(text("state")),
        "command" | "shell" => [
            "restart rabbitmq",
            "stop rabbitmq",
            "rabbitmqctl stop",
            "rabbitmqctl shutdown",
        ]
        .iter()
        .any(|words| text("cmd").contains(words)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::ask;
    use crate::diagnostic::{RenderOptions, SourceMap, render_human};
    use crate::language::testing::Memory;
    use insta::assert_snapshot;

    fn asked(playbook: &str) -> String {
        let sources = SourceMap::default();
        let files = Memory::new(&[("site.yml", playbook)]);
        let (program, problems) = crate::language::load(&["site.yml".to_owned()], &files, &sources, &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let options = RenderOptions {
            color: false,
            width: 120,
        };
        let asked = program.plays.iter().filter_map(|play| ask(play));
        asked.map(|d| render_human(&sources, &d, options)).collect()
    }

    #[test]
    fn a_play_that_restarts_the_broker_is_asked() {
        assert_snapshot!(asked("
- hosts: mq
  handlers:
    - systemd_service: {name: '{{ rabbitmq_service }}', state: restarted}
"), @r"
    warning[W401]: a node of RabbitMQ is restarted without asking its cluster
     --> site.yml:4:7
      |
    2 | - hosts: mq
      |          -- on each of these hosts
    3 |   handlers:
    4 |     - systemd_service: {name: '{{ rabbitmq_service }}', state: restarted}
      |       ^^^^^^^^^^^^^^^ takes the node down
      |
      = note: without `serial` all hosts of the play go at the same time
    help: `rolling: true` on the play looks at quorum, alarms and partitions first, drains the node, and waits until it is back
    help: `rolling: false` says that it is meant as it is
    ");
        assert_snapshot!(asked("
- hosts: mq
  serial: 1
  tasks:
    - command: systemctl restart rabbitmq-server
"), @r"
    warning[W401]: a node of RabbitMQ is restarted without asking its cluster
     --> site.yml:5:7
      |
    2 | - hosts: mq
      |          -- on each of these hosts
    3 |   serial: 1
      |           - `serial` alone looks at nothing
    4 |   tasks:
    5 |     - command: systemctl restart rabbitmq-server
      |       ^^^^^^^ takes the node down
      |
    help: `rolling: true` on the play looks at quorum, alarms and partitions first, drains the node, and waits until it is back
    help: `rolling: false` says that it is meant as it is
    ");
    }

    #[test]
    fn who_has_decided_is_not() {
        for fine in [
            "- {hosts: mq, rolling: true, tasks: [rabbitmq_node: {state: restarted}]}",
            "- {hosts: mq, rolling: false, tasks: [rabbitmq_node: {state: restarted}]}",
            "- {hosts: mq, tasks: [service: {name: rabbitmq-server, state: started}]}",
            "- {hosts: mq, tasks: [service: {name: nginx, state: restarted}]}",
        ] {
            assert_eq!(asked(fine), "", "{fine}");
        }
    }
}
