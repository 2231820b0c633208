use crate::fixture::*;
use insta::assert_snapshot;
use rmqplay::engine::event::{
    Event, Failed, HostResult, Mode, PlayInfo, RollingState, RollingStep, Section, TaskStatus,
};
use rmqplay::host::{Delta, Facet};
use rmqplay::report::style::Palette;
use rmqplay::report::{HumanOptions, JsonLines, Reporter, Tally, replay};
use serde_json::json;

/// A run with everything in it.
fn story(mode: Mode) -> Vec<Event> {
    let change = || changed(swappiness("60"));
    let conf = || {
        changed(vec![
            conf(
                "listeners.tcp.default = 5672\nvm_memory_high_watermark.relative = 0.4\n",
                "listeners.tcp.default = 5672\nvm_memory_high_watermark.relative = 0.6\n",
            ),
            Delta::value("mode of /etc/rabbitmq/rabbitmq.conf", "0644", "0640"),
        ])
    };
    let refused = HostResult {
        failure: Some(Failed {
            code: "E301".into(),
            msg: "exit status 69".into(),
            notes: vec![
                "command: rabbitmqctl add_user app".into(),
                "stderr: Error: unable to perform an operation on node 'rabbit@mq-3'\nTCP connection succeeded".into(),
            ],
            helps: vec![
                "to go on from here: rmqplay apply playbooks/site.yml --limit mq-3 --start-at-task 'create user app'"
                    .into(),
            ],
            location: Some(place(40)),
            rendered: None,
        }),
        ..result(TaskStatus::Failed)
    };
    let run = Run::new(mode)
        .play("tune RabbitMQ nodes", &["mq-1", "mq-2", "mq-3"])
        .section(
            Section::Facts,
            "setup",
            "gather facts",
            vec![("mq-2", ok()), ("mq-1", ok()), ("mq-3", ok())],
        )
        .section(
            Section::PreCheck,
            "check",
            "a quorum is there",
            vec![("mq-1", ok()), ("mq-2", ok()), ("mq-3", ok())],
        )
        // Hosts answer in any order; the report has the order of the play.
        .section(
            Section::Task,
            "sysctl",
            "kernel",
            vec![("mq-3", change()), ("mq-1", change()), ("mq-2", ok())],
        )
        .section(
            Section::Task,
            "template",
            "rabbitmq.conf",
            vec![("mq-1", ok()), ("mq-2", conf()), ("mq-3", ok())],
        );
    let id = run.next_id();
    run.begin(Section::Task, "wait_for", "the port answers")
        .event(Event::Retrying {
            task: id,
            host: "mq-1".into(),
            left: 4,
        })
        .event(Event::Retrying {
            task: id,
            host: "mq-1".into(),
            left: 3,
        })
        .event(Event::HostResult {
            task: id,
            host: "mq-1".into(),
            result: ok().into(),
        })
        .event(Event::HostResult {
            task: id,
            host: "mq-2".into(),
            result: ok().into(),
        })
        .event(Event::HostResult {
            task: id,
            host: "mq-3".into(),
            result: ok().into(),
        })
        .event(Event::TaskFinished { task: id })
        .task(
            "create user app",
            vec![("mq-1", ok()), ("mq-2", ok()), ("mq-3", refused)],
        )
        .task(
            "skipped on all",
            vec![
                ("mq-1", result(TaskStatus::Skipped)),
                ("mq-2", result(TaskStatus::Skipped)),
            ],
        )
        .section(
            Section::Handler,
            "service",
            "restart rabbitmq-server",
            vec![("mq-2", changed(vec![]))],
        )
        .section(
            Section::PostCheck,
            "check",
            "limits reach the process",
            vec![("mq-1", ok()), ("mq-2", ok())],
        )
        .end()
}

#[test]
fn an_apply_from_end_to_end() {
    assert_snapshot!("apply", plain(&story(Mode::Apply)));
}

#[test]
fn erlang_vms_are_counted_where_there_were_any() {
    let mut events = story(Mode::Apply);
    let Some(Event::RunFinished { timing, .. }) = events.last_mut() else {
        panic!("no end");
    };
    timing.get_mut("mq-1").unwrap().vm_starts = 2;
    let text = plain(&events);
    assert_eq!(text.matches("vm_starts").count(), 1, "{text}");
    assert!(text.contains("round_trips=2 vm_starts=2\n"), "{text}");
    assert!(text.contains(" round trips, 2 Erlang VM starts, "), "{text}");
}

#[test]
fn without_diffs_changed_lines_are_counted() {
    let options = HumanOptions {
        show_diff: false,
        ..HumanOptions::plain()
    };
    let text = print(&story(Mode::Apply), options);
    assert!(
        text.contains("    ~ /etc/rabbitmq/rabbitmq.conf: 1 line added, 1 removed\n"),
        "{text}"
    );
    assert!(!text.contains("@@"), "{text}");
}

#[test]
fn verbosity_adds_places_values_and_calm_hosts() {
    let options = HumanOptions {
        verbosity: 3,
        ..HumanOptions::plain()
    };
    assert_snapshot!("apply_vvv", print(&story(Mode::Apply), options));
}

#[test]
fn colour_is_only_colour() {
    let options = HumanOptions {
        palette: Palette::new(true),
        ..HumanOptions::plain()
    };
    let coloured = print(&story(Mode::Apply), options);
    assert_snapshot!("apply_colour", coloured.replace('\u{1b}', "␛"));
    assert_eq!(console::strip_ansi_codes(&coloured), plain(&story(Mode::Apply)));
}

#[test]
fn a_replay_prints_the_same() {
    for mode in [Mode::Apply, Mode::Diff] {
        let journal = Buffer::default();
        let mut lines = JsonLines::new(Box::new(journal.clone()));
        for event in story(mode) {
            lines.event(&event);
        }
        lines.finish().unwrap();
        let again = Buffer::default();
        let mut human = rmqplay::report::Human::new(Box::new(again.clone()), HumanOptions::plain());
        replay(journal.text().as_bytes(), &mut human).unwrap();
        assert_eq!(again.text(), plain(&story(mode)));
    }
}

#[test]
fn a_journal_that_is_torn_says_where() {
    let mut tally = Tally::default();
    let error = replay("{\"event\":\"interrupted\"}\n{\"eve".as_bytes(), &mut tally).unwrap_err();
    assert!(error.to_string().starts_with("line 2: "), "{error}");
    assert!(tally.interrupted);
}

#[test]
fn a_dry_run_has_three_answers() {
    let unknown = HostResult {
        value: value(&[("msg", json!("cannot know until `make directory` has run"))]),
        ..result(TaskStatus::Unknown)
    };
    let partly = changed(vec![Delta {
        subject: "/etc/motd".into(),
        before: Facet::Value("12 bytes".into()),
        after: Facet::Unknown("depends on `make directory`".into()),
    }]);
    let events = Run::new(Mode::Diff)
        .play("tune", &["mq-1", "mq-2"])
        .task("kernel", vec![("mq-1", ok()), ("mq-2", changed(swappiness("60")))])
        .task(
            "make directory",
            vec![
                ("mq-1", changed(vec![Delta::value("mode of /x", "0755", "0700")])),
                ("mq-2", ok()),
            ],
        )
        .task("what is in it", vec![("mq-1", unknown), ("mq-2", ok())])
        .task("motd", vec![("mq-1", partly), ("mq-2", ok())])
        .end();
    assert_snapshot!(plain(&events), @r"
    dry run: nothing is changed

    play: tune (2 hosts)
    will change  kernel  (1 unchanged, 1 will change)
      mq-2
        ~ sysctl vm.swappiness (live): 60 → 10
        + sysctl vm.swappiness (/etc/sysctl.d/60-rabbitmq.conf): 10
    will change  make directory  (1 unchanged, 1 will change)
      mq-1
        ~ mode of /x: 0755 → 0700
    cannot know  what is in it  (1 unchanged, 1 cannot know yet)
      mq-1
        cannot know until `make directory` has run
    will change  motd  (1 unchanged, 1 will change)
      mq-1
        ? /etc/motd: 12 bytes → cannot know yet (depends on `make directory`)

    mq-1 : ok=3    changed=2    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0    unknown=1    round_trips=2
    mq-2 : ok=4    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0    round_trips=2

    recap: 2 hosts, 4 tasks: 4 unchanged, 3 will change, 1 cannot know yet; 4 round trips, 14.2 s (run 7f3a)
    ");
}

#[test]
fn layers_that_disagree_are_a_table_in_a_dry_run() {
    let drifted = HostResult {
        layers: vec![layer()],
        ..changed(vec![Delta::value("sysctl vm.swappiness (live)", "60", "10")])
    };
    let calm = HostResult {
        layers: vec![rmqplay::host::Layer {
            live: Some("10".into()),
            ..layer()
        }],
        ..ok()
    };
    let events = |mode| {
        Run::new(mode)
            .play("tune", &["mq-1", "mq-2"])
            .section(
                Section::Task,
                "sysctl",
                "kernel",
                vec![("mq-1", drifted.clone()), ("mq-2", calm.clone())],
            )
            .end()
    };
    let text = plain(&events(Mode::Verify));
    let body: Vec<&str> = text.lines().take_while(|l| !l.starts_with("mq-1 :")).collect();
    assert_snapshot!(body.join("\n"), @r"
    verify: nothing is changed

    play: tune (2 hosts)
    drifted      kernel  (1 unchanged, 1 drifted)
      mq-1
        ~ sysctl vm.swappiness (live): 60 → 10
        knob           desired  file  live  process  finding
        vm.swappiness  10       10    60    -        file right, live value wrong until reboot or apply (/etc/sysctl.d/60-rabbitmq.conf:3)
    ");
    assert!(!plain(&events(Mode::Apply)).contains("finding"));
}

#[test]
fn of_two_hundred_hosts_only_three_are_told() {
    let names: Vec<String> = (1..=200).map(|n| format!("mq-{n:03}")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let results = hosts
        .iter()
        .map(|h| match *h {
            "mq-007" | "mq-042" => (*h, changed(swappiness("60"))),
            "mq-100" => (*h, changed(swappiness("30"))),
            _ => (*h, ok()),
        })
        .collect();
    let everywhere = hosts.iter().map(|h| (*h, changed(swappiness("60")))).collect();
    let half = hosts
        .iter()
        .enumerate()
        .map(|(i, h)| (*h, if i % 2 == 0 { changed(swappiness("60")) } else { ok() }))
        .collect();
    let events = Run::new(Mode::Apply)
        .play("tune", &hosts)
        .task("on three", results)
        .task("everywhere", everywhere)
        .task("on half", half)
        .end();
    assert_snapshot!("two_hundred_hosts", plain(&events));
}

#[test]
fn hosts_that_cannot_be_reached_for_one_reason_are_told_once() {
    let refused = |n: u32| Failed {
        code: "E201".into(),
        msg: "permission denied".into(),
        notes: vec![format!("ssh said: deploy@10.0.3.{n}: Permission denied (publickey).")],
        helps: vec![format!(
            "check user and key: ssh -o BatchMode=yes deploy@10.0.3.{n} true"
        )],
        ..Failed::default()
    };
    let closed = Failed {
        code: "E201".into(),
        msg: "connection refused".into(),
        notes: vec!["ssh said: the same".into()],
        helps: vec!["is sshd running there?".into()],
        ..Failed::default()
    };
    let run = || {
        let run = Run::new(Mode::Apply).play("tune", &["mq-1", "mq-2", "mq-3", "mq-4"]);
        run.unreachable("mq-3", None, refused(3))
            .unreachable("mq-2", None, closed.clone())
            .unreachable("mq-1", None, refused(1))
            .unreachable("mq-4", None, closed.clone())
            .end()
    };
    assert_snapshot!("unreachable_together", plain(&run()));
    // `-v`: the words of each.
    let options = HumanOptions {
        verbosity: 1,
        ..HumanOptions::plain()
    };
    assert!(
        print(&run(), options)
            .contains("\nerror[E201]: cannot connect to mq-3: permission denied\n   = ssh said: deploy@10.0.3.3")
    );
}

#[test]
fn unreachable_hosts_keep_the_words_of_ssh() {
    let failure = |host: &str| Failed {
        code: "E201".into(),
        msg: format!("cannot connect to {host}: permission denied"),
        notes: vec!["ssh said: deploy@10.0.3.12: Permission denied (publickey).".into()],
        helps: vec!["check the key with: ssh -o BatchMode=yes deploy@10.0.3.12 true".into()],
        ..Failed::default()
    };
    let run = Run::new(Mode::Apply).play("tune", &["mq-1", "mq-2", "mq-3"]);
    let id = run.next_id();
    let events = run
        .begin(Section::Facts, "setup", "gather facts")
        .unreachable("mq-2", Some(id), failure("mq-2"))
        .event(Event::HostResult {
            task: id,
            host: "mq-1".into(),
            result: ok().into(),
        })
        .event(Event::HostResult {
            task: id,
            host: "mq-3".into(),
            result: ok().into(),
        })
        .event(Event::TaskFinished { task: id })
        .unreachable(
            "mq-3",
            None,
            Failed {
                code: "E203".into(),
                msg: "the connection was lost".into(),
                ..Failed::default()
            },
        )
        .task("kernel", vec![("mq-1", ok())])
        .end();
    assert_snapshot!("unreachable", plain(&events));
}

#[test]
fn equal_failures_are_told_once_and_warnings_too() {
    let warned = || HostResult {
        warnings: vec!["noop is called none today".into()],
        ..ok()
    };
    let events = Run::new(Mode::Apply)
        .play("tune", &["mq-1", "mq-2", "mq-3"])
        .section(
            Section::Task,
            "io_scheduler",
            "disks",
            vec![("mq-1", warned()), ("mq-2", warned()), ("mq-3", ok())],
        )
        .section(
            Section::Task,
            "io_scheduler",
            "disks again",
            vec![("mq-1", warned()), ("mq-2", ok()), ("mq-3", ok())],
        )
        .task(
            "fails",
            vec![
                ("mq-1", failed("no such file\nsecond line")),
                ("mq-2", failed("no such file\nsecond line")),
                ("mq-3", ok()),
            ],
        )
        .section(
            Section::PostCheck,
            "check",
            "port open",
            vec![("mq-3", failed("port 5672 is closed"))],
        )
        .event(Event::Stopped {
            reason: "a check failed".into(),
        })
        .end();
    assert_snapshot!("failures_and_warnings", plain(&events));
}

#[test]
fn loops_tell_the_items_that_matter() {
    let looped = HostResult {
        items: vec![
            item("a", TaskStatus::Ok, None),
            item("b", TaskStatus::Changed, None),
            item("c", TaskStatus::Failed, Some("no such user")),
        ],
        ..failed("one or more items failed")
    };
    let fine = HostResult {
        items: vec![item("a", TaskStatus::Ok, None), item("b", TaskStatus::Changed, None)],
        ..changed(vec![])
    };
    let events = Run::new(Mode::Apply)
        .play("tune", &["mq-1", "mq-2"])
        .task("users", vec![("mq-1", looped), ("mq-2", fine)])
        .end();
    assert_snapshot!("loops", plain(&events));
}

#[test]
fn debug_is_read_without_asking_and_results_with_v() {
    let debug = |text: &str| HostResult {
        value: value(&[("msg", json!(text)), ("changed", json!(false))]),
        ..ok()
    };
    let command = || HostResult {
        value: value(&[
            ("changed", json!(false)),
            ("rc", json!(0)),
            ("stdout", json!("one\ntwo")),
            ("stdout_lines", json!(["one", "two"])),
        ]),
        ..ok()
    };
    let events = Run::new(Mode::Apply)
        .play("tune", &["mq-1", "mq-2"])
        .section(
            Section::Task,
            "debug",
            "say",
            vec![("mq-1", debug("hello mq-1")), ("mq-2", debug("hello mq-2"))],
        )
        .section(
            Section::Task,
            "debug",
            "say the same",
            vec![("mq-1", debug("hello")), ("mq-2", debug("hello"))],
        )
        .task("look", vec![("mq-1", command()), ("mq-2", command())])
        .end();
    let head = |text: String| {
        text.lines()
            .take_while(|l| !l.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_snapshot!(head(plain(&events)), @r"
    play: tune (2 hosts)
    unchanged    say  (2 hosts)
      mq-1
        msg: hello mq-1
      mq-2
        msg: hello mq-2
    unchanged    say the same  (2 hosts)
        msg: hello
    unchanged    look  (2 hosts)
    ");
    let options = HumanOptions {
        verbosity: 1,
        ..HumanOptions::plain()
    };
    let text = head(print(&events, options));
    assert!(
        text.ends_with("look  (2 hosts)\n    rc: 0\n    stdout: |-\n      one\n      two"),
        "{text}"
    );
}

#[test]
fn batches_skipped_plays_and_interrupts_are_told() {
    let skipped = PlayInfo {
        id: 9,
        name: "none".into(),
        hosts: vec![],
        location: None,
    };
    let batch = |n: usize, host: &str| Event::BatchStarted {
        number: n,
        of: 2,
        hosts: vec![host.into()],
    };
    let run = Run::new(Mode::Apply)
        .event(Event::PlaySkipped {
            play: skipped,
            reason: "no host matches `db`".into(),
        })
        .play("tune", &["mq-1", "mq-2"])
        .event(batch(1, "mq-1"))
        .task("kernel", vec![("mq-1", ok())])
        .event(batch(2, "mq-2"));
    let id = run.next_id();
    let events = run
        .begin(Section::Task, "command", "long")
        .event(Event::HostResult {
            task: id,
            host: "mq-2".into(),
            result: changed(vec![]).into(),
        })
        .event(Event::Interrupted)
        .end();
    assert_snapshot!("batches", plain(&events));
}

#[test]
fn hidden_diffs_stay_hidden_and_hosts_cannot_drive_the_terminal() {
    let hidden = HostResult {
        hide_diff: true,
        ..changed(vec![Delta::value("password of app", "old", "new")])
    };
    let hostile = failed("\u{1b}[2J\u{202e}gone\u{7}");
    let events = Run::new(Mode::Apply)
        .play("Кролики \u{1b}[1m", &["兎-1", "кролик-2"])
        .task("密码", vec![("兎-1", hidden), ("кролик-2", hostile)])
        .end();
    let text = plain(&events);
    assert!(!text.contains("old") && !text.contains("password"), "{text}");
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\u{7}'),
        "{text}"
    );
    assert_snapshot!("unicode", text);
}

#[test]
fn a_rolling_play_tells_its_gates() {
    let rolling = |host: &str, step, state, text: &str| Event::Rolling {
        host: host.into(),
        step,
        state,
        text: text.into(),
    };
    let events = Run::new(Mode::Apply)
        .play("restart", &["mq-1", "mq-2"])
        .event(rolling("mq-1", RollingStep::Gate, RollingState::Passed, "all run"))
        .event(rolling(
            "mq-1",
            RollingStep::Drain,
            RollingState::Passed,
            "serves nobody",
        ))
        .event(rolling(
            "mq-1",
            RollingStep::Return,
            RollingState::Passed,
            "all run again",
        ))
        .event(rolling(
            "mq-2",
            RollingStep::Gate,
            RollingState::Waiting,
            "rabbit@mq-1 does not run",
        ))
        .event(rolling(
            "mq-2",
            RollingStep::Gate,
            RollingState::Failed,
            "rabbit@mq-1 does not run",
        ))
        .event(Event::Stopped {
            reason: "mq-2: rabbit@mq-1 does not run".into(),
        })
        .event(Event::Resume {
            command: "rmqplay apply x.yml --limit mq-2".into(),
        })
        .end();
    assert_snapshot!("rolling", plain(&events));
}
