//! Modules that the engine does itself, on the controller: what they take and how they are documented. How they are
//! done is in `engine::control`.

use super::{ArgKind, ArgSpec, Kind, ModuleSpec, no_guess};

/// What all of them have in common.
const CONTROL: ModuleSpec = ModuleSpec {
    name: "",
    aliases: &[],
    summary: "",
    description: "",
    args: &[],
    free_form: None,
    open: false,
    returns: &[],
    examples: "",
    local: true,
    kind: Kind::Control,
    ahead: no_guess,
};

pub static DEBUG: ModuleSpec = ModuleSpec {
    name: "debug",
    summary: "Say something, or show a variable",
    description: "Shows `msg`, or the value of the variable or expression `var`.\n\n\
                  Unlike Ansible's: a variable that is not defined is an error with its place, not a text.",
    args: &[
        ArgSpec::new("msg", ArgKind::Raw, "What to say.").default("Hello world!"),
        ArgSpec::new("var", ArgKind::Str, "A variable or expression to show, without braces."),
        ArgSpec::new("verbosity", ArgKind::Int, "Only with this many `-v`.").default("0"),
    ],
    returns: &[
        ("msg", "what was said"),
        ("NAME", "the value of `var`, under its own name"),
    ],
    examples: "- name: what the broker gets
  debug:
    msg: \"{{ rabbitmq_memory }} of {{ ansible_facts.memtotal_mb }} MB\"
- name: with -v only
  ansible.builtin.debug: {var: ansible_facts.mounts, verbosity: 1}
",
    ..CONTROL
};

pub static ASSERT: ModuleSpec = ModuleSpec {
    name: "assert",
    summary: "Fail unless conditions are true",
    description: "Evaluates the conditions in order; the first that is false fails the task.\n\n\
                  Unlike Ansible's: the message shows the place of the condition.",
    args: &[
        ArgSpec::new("that", ArgKind::ListRaw, "Conditions, as in `when`.").required(),
        ArgSpec::new("fail_msg", ArgKind::Raw, "What to say if one is false.").aliases(&["msg"]),
        ArgSpec::new("success_msg", ArgKind::Raw, "What to say if all are true."),
        ArgSpec::new("quiet", ArgKind::Bool, "Do not show what was evaluated.").default("false"),
    ],
    returns: &[
        ("msg", "`fail_msg` or `success_msg`"),
        ("assertion", "the condition that was false"),
        ("evaluated_to", "`false`, if one was"),
    ],
    examples: "- name: enough memory
  assert:
    that:
      - ansible_facts.memtotal_mb >= 4096
      - rabbitmq_watermark <= 0.7
    fail_msg: this host is too small for the profile
- ansible.builtin.assert: {that: rabbitmq_profile in rabbitmq_profiles, quiet: true}
",
    ..CONTROL
};

pub static FAIL: ModuleSpec = ModuleSpec {
    name: "fail",
    summary: "Fail with a message",
    description: "Always fails; a `when` decides whether it comes to that.\n\nLike Ansible's.",
    args: &[ArgSpec::new("msg", ArgKind::Str, "The message.").default("Failed as requested from task")],
    returns: &[("msg", "the message")],
    examples: "- name: one of the profiles
  fail:
    msg: \"there is no profile {{ rabbitmq_profile }}\"
  when: rabbitmq_profile not in rabbitmq_profiles
",
    ..CONTROL
};

pub static SET_FACT: ModuleSpec = ModuleSpec {
    name: "set_fact",
    summary: "Set variables of a host",
    description: "Each argument becomes a variable of the host for the rest of the run.\n\n\
                  There is no cache of facts between runs, as in Ansible's own default.",
    args: &[ArgSpec::new("cacheable", ArgKind::Bool, "Make it a fact too: `ansible_facts.NAME`.").default("false")],
    open: true,
    returns: &[("ansible_facts", "what was set")],
    examples: "- name: half of the memory
  set_fact:
    rabbitmq_memory: \"{{ ansible_facts.memtotal_mb // 2 }}\"
",
    ..CONTROL
};

pub static META: ModuleSpec = ModuleSpec {
    name: "meta",
    summary: "Steer the play",
    description: "`flush_handlers` runs the handlers that were notified; `end_host`, `end_batch` and `end_play` stop here; \
                  `clear_facts`, `clear_host_errors` and `reset_connection` forget; `noop` does nothing.\n\n\
                  Unlike Ansible's: `end_role` and `refresh_inventory` are not supported yet.",
    args: &[ArgSpec::new("free_form", ArgKind::Str, "What to do.").choices(&[
        "clear_facts",
        "clear_host_errors",
        "end_batch",
        "end_host",
        "end_play",
        "end_role",
        "flush_handlers",
        "noop",
        "refresh_inventory",
        "reset_connection",
    ])],
    free_form: Some("free_form"),
    examples: "- name: restart now, not at the end
  meta: flush_handlers
- ansible.builtin.meta: end_host
  when: rabbitmq_skip
",
    ..CONTROL
};

pub static INCLUDE_TASKS: ModuleSpec = ModuleSpec {
    name: "include_tasks",
    summary: "Go on with the tasks of another file",
    description: "Reads a file of tasks when it comes to this task; file name, `when` and `loop` may depend on the host. \
                  Keywords of this task count for the task alone; `apply` hands keywords on.\n\nLike Ansible's.",
    args: &[
        ArgSpec::new(
            "file",
            ArgKind::Str,
            "The file, beside this one or in `tasks/` of the role.",
        )
        .required(),
        ArgSpec::new("apply", ArgKind::Dict, "Keywords for each task of the file."),
    ],
    free_form: Some("file"),
    returns: &[("include", "the file")],
    examples: "- name: by distribution
  include_tasks: \"{{ ansible_facts.os_family | lower }}.yml\"
- ansible.builtin.include_tasks:
    file: tls.yml
    apply: {tags: tls}
  when: rabbitmq_tls
",
    ..CONTROL
};

pub static IMPORT_TASKS: ModuleSpec = ModuleSpec {
    name: "import_tasks",
    summary: "Take in the tasks of another file",
    description: "Reads a file of tasks before the play begins, as if they stood here; keywords of this task count for each of \
                  them. The file name cannot depend on the host, and there is no `loop`.\n\nLike Ansible's.",
    args: &[ArgSpec::new(
        "file",
        ArgKind::Str,
        "The file, beside this one or in `tasks/` of the role.",
    )
    .required()],
    free_form: Some("file"),
    examples: "- name: limits
  import_tasks: limits.yml
  tags: limits
",
    ..CONTROL
};
