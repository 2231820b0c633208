//! Runs a program on hosts: schedule (pure), host_run (pure state machine), dispatcher (the one async loop), event.

pub mod event;
