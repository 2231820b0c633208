//! What is read beside playbooks, and what holds of any.

use super::*;

#[test]
fn one_module_from_the_command_line() {
    let run = |module: &str, args: &str| {
        let sources = crate::diagnostic::SourceMap::default();
        let files = crate::language::testing::Memory::default();
        let modules = crate::language::testing::MODULES;
        let (program, mut diagnostics) =
            crate::language::adhoc::adhoc_with(modules, "web:!db", module, args, &files, &sources);
        let text = crate::diagnostic::render_all(&sources, &mut diagnostics, crate::language::testing::PLAIN);
        let tasks: Vec<_> = program.plays.iter().map(|p| briefs(&p.tasks)).collect();
        format!("{}\n{text}", tasks.join("\n")).trim().to_owned()
    };
    assert_snapshot!(run("ping", ""), @"ping {} | in");
    assert_snapshot!(run("command", "uptime -p chdir=/"), @r#"command {"chdir":"/","cmd":"uptime -p"} | in"#);
    assert_snapshot!(run("ansible.posix.sysctl", "name=a value='b c'"), @r#"sysctl {"name":"a","value":"b c"} | in"#);
    assert_snapshot!(run("sysctl", "{\"name\": \"a\", \"value\": 5}"), @r#"sysctl {"name":"a","value":5} | in"#);
    assert_snapshot!(run("sysctl", "nmae=a"), @r#"
    sysctl {"nmae":"a"} | in 
    error[E012]: unknown argument `nmae` for module `sysctl`
     --> <arguments>:1:1
      |
    1 | nmae=a
      | ^^^^ not an argument of `sysctl`
      |
     ::: <module>:1:1
      |
    1 | sysctl
      | ------ in this task
      |
      = note: `sysctl` takes `name`, `value`, `state`, `reload`, `retries`, `mode`
    help: there is an argument with a similar name
      |
    1 - nmae=a
    1 + name=a
      |

    error: 1 error
    "#);
    assert_snapshot!(run("pnig", ""), @r#"
    error[E011]: unknown module `pnig`
     --> <module>:1:1
      |
    1 | pnig
      | ^^^^ no such module
      |
    help: there is a module with a similar name
      |
    1 - pnig
    1 + ping
      |

    error: 1 error
    "#);
}

#[test]
fn what_the_template_engine_will_read_is_listed_once() {
    let (sources, program, diagnostics) = load(&[
        (
            "site.yml",
            "- hosts: '{{ h }}'\n  vars: {a: '{{ v }}', plain: 1, raw: !unsafe '{{ no }}'}\n  roles: [r]\n  tasks:\n    - block:\n        - debug: {msg: ['{{ m }}']}\n          loop: '{{ l }}'\n          until: u\n        - ping:\n          name: n {{ n }}\n          failed_when: [f, true]\n        - debug: {var: x.y}\n      when: w\n      become_user: '{{ b }}'\n",
        ),
        ("roles/r/defaults/main.yml", "d: '{{ d }}'\n"),
    ]);
    assert!(diagnostics.is_empty());
    let mut seen: Vec<String> = crate::language::expressions::expressions(&program)
        .into_iter()
        .map(|e| {
            let (kind, node) = match e {
                crate::language::expressions::Expression::Condition(node) => ("condition", node),
                crate::language::expressions::Expression::Value(node) => ("value", node),
            };
            let text = &sources.get(node.span.file).unwrap().text;
            format!("{kind} {}", &text[node.span.start as usize..node.span.end as usize])
        })
        .collect();
    seen.sort();
    assert_snapshot!(seen.join("\n"), @r#"
    condition f
    condition u
    condition w
    condition x.y
    value n {{ n }}
    value {msg: ['{{ m }}']}
    value {{ b }}
    value {{ d }}
    value {{ h }}
    value {{ l }}
    value {{ v }}
    "#);
}

proptest::proptest! {
    /// Whatever stands where: it is understood or refused, and every place that is shown exists.
    #[test]
    fn any_playbook_is_read_or_refused(
        plays in proptest::collection::vec(anything(), 0..3),
    ) {
        let text = serde_json::to_string(&plays).unwrap();
        let sources = crate::diagnostic::SourceMap::default();
        let files = crate::language::testing::Memory::new(&[("site.yml", &text), ("x.yml", "- import_tasks: x.yml\n- ping:\n")]);
        let (_, mut diagnostics) =
            crate::language::load::load_with(crate::language::testing::MODULES, &["site.yml".to_owned()], &files, &sources, &[]);
        crate::diagnostic::render_all(&sources, &mut diagnostics, crate::language::testing::PLAIN);
    }
}

/// Trees of keywords, modules and values in wild order.
fn anything() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
    use proptest::prelude::*;
    use serde_json::Value;
    let word = || {
        proptest::sample::select(vec![
            "hosts",
            "tasks",
            "roles",
            "block",
            "rescue",
            "always",
            "handlers",
            "ping",
            "debug",
            "command",
            "sysctl",
            "include_tasks",
            "import_tasks",
            "import_playbook",
            "when",
            "loop",
            "with_items",
            "loop_control",
            "vars",
            "tags",
            "notify",
            "listen",
            "register",
            "args",
            "environment",
            "until",
            "x.yml",
            "site.yml",
            "{{ x }}",
            "a=b c='d",
            "a=b",
            "",
            "yes",
            "role",
            "name",
            "value",
            "serial",
            "apply",
            "local_action",
            "delegate_to",
        ])
    };
    let leaf = prop_oneof![
        word().prop_map(|w| Value::String(w.to_owned())),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((word(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}
