use crate::fixture::*;
use insta::assert_json_snapshot;
use rmqplay::cli::Exit;
use rmqplay::engine::event::{Event, Failed, HostResult, Mode, RollingState, RollingStep, Section, TaskStatus};
use rmqplay::host::{Content, Delta, Facet};
use rmqplay::report::{Json, JsonLines, Reporter, Tally};
use serde_json::{Value, json};

fn document(events: &[Event]) -> Value {
    let buffer = Buffer::default();
    let mut reporter = Json::new(Box::new(buffer.clone()));
    for event in events {
        reporter.event(event);
    }
    reporter.finish().unwrap();
    serde_json::from_str(&buffer.text()).unwrap()
}

fn exit(events: &[Event], pending: bool) -> Exit {
    let mut tally = Tally::default();
    for event in events {
        tally.event(event);
    }
    tally.exit(pending, false)
}

#[test]
fn the_document_has_the_shape_of_ansibles() {
    let command = HostResult {
        value: value(&[("rc", json!(0)), ("stdout", json!("hi")), ("changed", json!(true))]),
        deltas: vec![
            conf("a = 1\n", "a = 2\n"),
            Delta::text("/bin", None, Some(Content::from([0xff_u8]))),
            Delta {
                subject: "later".into(),
                before: Facet::Absent,
                after: Facet::Unknown("depends on `x`".into()),
            },
        ],
        layers: vec![layer()],
        warnings: vec!["careful".into()],
        ..result(TaskStatus::Changed)
    };
    let lost = Failed {
        code: "E201".into(),
        msg: "cannot connect to mq-3".into(),
        ..Failed::default()
    };
    let run = Run::new(Mode::Apply).play("tune", &["mq-1", "mq-2", "mq-3"]);
    let id = run.next_id();
    let events = run
        .begin(Section::Facts, "setup", "gather facts")
        .unreachable("mq-3", Some(id), lost)
        .event(Event::TaskFinished { task: id })
        .task("command", vec![("mq-1", command), ("mq-2", failed("exit status 1"))])
        .event(Event::Warning {
            host: None,
            task: None,
            text: "one".into(),
        })
        .event(Event::Warning {
            host: None,
            task: None,
            text: "one".into(),
        })
        .end();
    assert_json_snapshot!("document", document(&events));
    assert_eq!(exit(&events, false), Exit::Unreachable);
}

#[test]
fn hidden_diffs_are_not_in_the_document() {
    let hidden = HostResult {
        hide_diff: true,
        ..changed(vec![Delta::value("password of app", "old", "new")])
    };
    let events = Run::new(Mode::Apply)
        .play("tune", &["mq-1"])
        .task("x", vec![("mq-1", hidden)])
        .end();
    let host = &document(&events)["plays"][0]["tasks"][0]["hosts"]["mq-1"];
    assert_eq!(*host, json!({"changed": true}));
}

#[test]
fn a_run_that_never_finished_is_still_a_document() {
    let mut events = Run::new(Mode::Apply)
        .play("tune", &["mq-1"])
        .task("x", vec![("mq-1", ok())])
        .end();
    events.pop();
    let document = document(&events);
    assert_eq!(
        document["plays"][0]["tasks"][0]["hosts"]["mq-1"]["changed"],
        json!(false)
    );
    assert_eq!(document["stats"], json!({}));
}

#[test]
fn lines_are_events_without_progress() {
    let buffer = Buffer::default();
    let mut reporter = JsonLines::new(Box::new(buffer.clone()));
    let mut events = Run::new(Mode::Apply)
        .play("tune", &["mq-1"])
        .task("x", vec![("mq-1", ok())])
        .end();
    for event in &events {
        reporter.event(event);
        reporter.event(&Event::Progress {
            done: 1,
            total: 2,
            busy: 1,
        });
    }
    let read: Vec<Event> = buffer
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(read, std::mem::take(&mut events));
}

#[test]
fn exit_statuses_follow_the_contract() {
    let run = |mode, result: HostResult| {
        Run::new(mode)
            .play("tune", &["mq-1"])
            .task("x", vec![("mq-1", result)])
            .end()
    };
    assert_eq!(exit(&run(Mode::Apply, ok()), false), Exit::Done);
    assert_eq!(exit(&run(Mode::Apply, changed(vec![])), false), Exit::Done);
    assert_eq!(exit(&run(Mode::Diff, changed(vec![])), true), Exit::Pending);
    assert_eq!(exit(&run(Mode::Diff, result(TaskStatus::Unknown)), true), Exit::Pending);
    assert_eq!(exit(&run(Mode::Diff, ok()), true), Exit::Done);
    assert_eq!(exit(&run(Mode::Apply, failed("no")), false), Exit::Failed);
    assert_eq!(exit(&run(Mode::Apply, result(TaskStatus::Ignored)), false), Exit::Done);
    assert_eq!(exit(&run(Mode::Apply, result(TaskStatus::Rescued)), false), Exit::Done);
    let nothing = Run::new(Mode::Apply).play("tune", &[]).end();
    assert_eq!(exit(&nothing, false), Exit::NothingMatched);
    let mut tally = Tally::default();
    nothing.iter().for_each(|e| tally.event(e));
    assert_eq!(tally.exit(false, true), Exit::Done);
    let interrupted = Run::new(Mode::Apply)
        .play("tune", &["mq-1"])
        .event(Event::Interrupted)
        .task("x", vec![("mq-1", failed("no"))])
        .end();
    assert_eq!(exit(&interrupted, false), Exit::Interrupted);
    let gate = |step, state| {
        Run::new(Mode::Apply)
            .play("restart", &["mq-1"])
            .task("x", vec![("mq-1", ok())])
            .event(rolling(step, state))
            .end()
    };
    assert_eq!(exit(&gate(RollingStep::Gate, RollingState::Passed), false), Exit::Done);
    assert_eq!(exit(&gate(RollingStep::Gate, RollingState::Waiting), false), Exit::Done);
    assert_eq!(
        exit(&gate(RollingStep::Return, RollingState::Failed), false),
        Exit::Refused
    );
    assert_eq!(
        exit(&gate(RollingStep::Rebalance, RollingState::Failed), false),
        Exit::Done
    );
}

fn rolling(step: RollingStep, state: RollingState) -> Event {
    Event::Rolling {
        host: "mq-1".into(),
        step,
        state,
        text: "rabbit@mq-2 does not run".into(),
    }
}

#[test]
fn what_a_rolling_play_does_beside_its_tasks_stands_beside_them() {
    let events = Run::new(Mode::Apply)
        .play("restart", &["mq-1"])
        .event(rolling(RollingStep::Gate, RollingState::Failed))
        .event(Event::Stopped { reason: "why".into() })
        .event(Event::Resume {
            command: "rmqplay apply x.yml --limit mq-1".into(),
        })
        .end();
    let document = document(&events);
    assert_eq!(
        document["plays"][0]["rolling"],
        json!([{"host": "mq-1", "step": "gate", "state": "failed", "text": "rabbit@mq-2 does not run"}])
    );
    assert_eq!(document["stopped"], "why");
    assert_eq!(document["resume"], "rmqplay apply x.yml --limit mq-1");
}
