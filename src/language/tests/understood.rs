//! What the loader makes of playbooks.

use super::*;

#[test]
fn everything_is_inherited_from_the_outside_in() {
    let play = play(&[
        (
            "site.yml",
            "
- name: all of it
  hosts: [a, b]
  become: true
  tags: play
  vars: {x: 1, y: 1}
  pre_tasks:
    - import_tasks: tasks/more.yml
      become: false
      notify: two
      when: imported
      tags: [i, j]
      vars: {x: 2}
  roles:
    - plain
    - role: other
      when: with_other
      tags: o1, o2
      become: false
      param: 5
      vars: {y: 3}
  tasks:
    - block:
        - name: inner
          ping:
          when: [a, b]
          become: no
          vars: {x: 3}
          notify: [one, two]
        - ping:
      rescue:
        - command: rescue me
      always:
        - include_tasks: later.yml
      when: in_block
      notify: one
  post_tasks:
    - ping:
  handlers:
    - name: one
      ping:
    - block:
        - ping:
          listen: two
      when: grouped
",
        ),
        ("tasks/more.yml", "- import_tasks: even/more.yml\n- ping:\n"),
        ("tasks/even/more.yml", "- ping:\n  tags: deep\n"),
        ("roles/plain/tasks/main.yml", "- ping:\n- import_tasks: part.yml\n"),
        ("roles/plain/tasks/part.yml", "- ping:\n  when: part\n"),
        (
            "roles/other/meta/main.yml",
            "dependencies: [{role: base, when: wanted, p: 1}]\ngalaxy_info: {author: x}\n",
        ),
        ("roles/other/tasks/main.yaml", "- ping:\n"),
        ("roles/other/handlers/main.yml", "- name: of other\n  ping:\n"),
        ("roles/base/tasks/main.yml", "- ping:\n"),
    ]);
    assert_snapshot!(briefs(&play.pre_tasks), @r#"
    ping {} | when=imported | tags=play & i & j & deep | vars=x:1 & y:1 & x:2 | become=false | notify=two | in tasks/even/more.yml
    ping {} | when=imported | tags=play & i & j | vars=x:1 & y:1 & x:2 | become=false | notify=two | in tasks/more.yml
    "#);
    assert_snapshot!(briefs(&play.tasks), @r#"
    ping {} | tags=play | vars=x:1 & y:1 | become=true | role=plain | in roles/plain/tasks/main.yml
    ping {} | when=part | tags=play | vars=x:1 & y:1 | become=true | role=plain | in roles/plain/tasks/part.yml
    ping {} | when=with_other & wanted | tags=play & o1 & o2 | vars=x:1 & y:1 | become=false | role=base | in roles/base/tasks/main.yml
    ping {} | when=with_other | tags=play & o1 & o2 | vars=x:1 & y:1 | become=false | role=other | in roles/other/tasks/main.yaml
    ping inner | when=in_block & a & b | tags=play | vars=x:1 & y:1 & x:3 | become=false | notify=one & two | in site.yml
    ping {} | when=in_block | tags=play | vars=x:1 & y:1 | become=true | notify=one | in site.yml
    command {"cmd":"rescue me"} | when=in_block | tags=play | vars=x:1 & y:1 | become=true | notify=one | in site.yml
    include_tasks {"file":"later.yml"} | when=in_block | tags=play | vars=x:1 & y:1 | become=true | notify=one | in site.yml
    "#);
    assert_snapshot!(briefs(&play.post_tasks), @"ping {} | tags=play | vars=x:1 & y:1 | become=true | in site.yml");
    assert_snapshot!(briefs(&play.handlers), @r#"
    ping of other | when=with_other | tags=play & o1 & o2 | vars=x:1 & y:1 | become=false | role=other | in roles/other/handlers/main.yml
    ping one | tags=play | vars=x:1 & y:1 | become=true | in site.yml
    ping {} | when=grouped | tags=play | vars=x:1 & y:1 | become=true | in site.yml
    "#);
    let Item::Block(block) = play.tasks.last().unwrap() else {
        panic!()
    };
    assert_eq!((block.block.len(), block.rescue.len(), block.always.len()), (2, 1, 1));
}

#[test]
fn roles_bring_variables() {
    let play = play(&[
        (
            "site.yml",
            "- hosts: all\n  roles:\n    - {role: r, vars: {e: entry}, p: param}\n",
        ),
        ("shared/roles/r/defaults/main/10.yml", "a: first\nb: first\n"),
        ("shared/roles/r/defaults/main/20.yaml", "b: second\n"),
        ("shared/roles/r/defaults/main/.hidden.yml", "a: hidden\n"),
        ("shared/roles/r/vars/main.yml", "c: vars\n"),
        (
            "shared/roles/r/meta/main.yml",
            "dependencies:\n  - role: ../roles/d\n    q: own\n",
        ),
        ("shared/roles/r/tasks/main.yml", "- ping:\n"),
        ("shared/roles/d/tasks/main.yml", "- ping:\n"),
    ]);
    let names: Vec<_> = play.roles.iter().map(|r| (r.name.as_str(), r.path.as_str())).collect();
    assert_eq!(names, [("d", "shared/roles/../roles/d"), ("r", "shared/roles/r")]);
    let values = |pairs: &[(String, std::sync::Arc<crate::language::Node>)]| {
        pairs
            .iter()
            .map(|(k, v)| format!("{k}={}", crate::language::shape::plain(v)))
            .collect::<Vec<_>>()
    };
    let role = &play.roles[1];
    assert_eq!(values(&role.defaults), ["a=first", "b=second"]);
    assert_eq!(values(&role.vars), ["c=vars"]);
    assert_eq!(values(&role.params), ["p=param"]);
    assert_eq!(role.dependencies[0].name, "d");
    assert_eq!(values(&play.roles[0].params), ["p=param", "q=own"]);
    assert_eq!(values(&role.given), ["e=entry"]);
    assert_eq!(play.roles[0].user.as_ref().map(|r| &*r.name), Some("r"));
}

#[test]
fn a_role_runs_once_unless_it_is_asked_something_else() {
    let files = |roles: &str| {
        vec![
            ("site.yml".to_owned(), format!("- hosts: all\n  roles: {roles}\n")),
            ("roles/r/tasks/main.yml".to_owned(), "- ping:\n".to_owned()),
            ("roles/r/handlers/main.yml".to_owned(), "- ping:\n".to_owned()),
            ("roles/many/tasks/main.yml".to_owned(), "- ping:\n".to_owned()),
            (
                "roles/many/meta/main.yml".to_owned(),
                "allow_duplicates: yes\n".to_owned(),
            ),
            ("roles/top/meta/main.yml".to_owned(), "dependencies: [r]\n".to_owned()),
        ]
    };
    // Which uses a host takes for the same, in the order in which they come.
    let uses = |roles: &str| {
        let files = files(roles);
        let files: Vec<_> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        let play = play(&files);
        let of = |task: &std::sync::Arc<crate::language::Task>| {
            let role = task.role.clone().unwrap();
            role.identity + if role.duplicates { 100 } else { 0 }
        };
        assert_eq!(play.tasks.len(), all(&play.tasks).len() + play.roles.len());
        all(&play.tasks).iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(uses("[r, {role: r}, {name: r}]"), [0, 0, 0]);
    assert_eq!(uses("[{role: r, p: 1}, {role: r, p: 2}, {role: r, p: 1}]"), [0, 1, 0]);
    assert_eq!(uses("[{role: r, when: a}, r, {role: r, tags: x}]"), [0, 1, 2]);
    assert_eq!(uses("[many, many]"), [100, 100]);
    // What is around a use is not part of it.
    assert_eq!(uses("[{role: top, when: a}, r, top]"), [1, 1, 1]);
}

#[test]
fn short_and_free_forms() {
    let forms = tasks(
        r#"- sysctl: name=vm.swappiness value="1 2" state=present
- sysctl: {name: a}
  args: {name: hidden, value: "{{ v }}"}
- command: echo a=b chdir=/tmp "x  y" creates='/a b'
  args: {chdir: /, cmd: hidden}
- command: |
    one {{ x | default('a b') }}
    two
- meta: flush_handlers
- ansible.builtin.set_fact: a=1 b={{ c + 1 }}
- ansible.posix.sysctl: key=k
- debug: msg='it''s {{ a }}'
- command:
    cmd: plain
- ping:"#,
    );
    let lines: Vec<String> = forms
        .iter()
        .map(|t| format!("{} {}", t.module, t.args.to_value()))
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    sysctl {"name":"vm.swappiness","value":"1 2","state":"present"}
    sysctl {"name":"a","value":"{{ v }}"}
    command {"chdir":"/tmp","cmd":"echo a=b \"x  y\"","creates":"/a b"}
    command {"cmd":"one {{ x | default('a b') }}\ntwo\n"}
    meta {"action":"flush_handlers"}
    set_fact {"a":"1","b":"{{ c + 1 }}"}
    sysctl {"key":"k"}
    debug {"msg":"it''s {{ a }}"}
    command {"cmd":"plain"}
    ping {}
    "#);
}

#[test]
fn values_of_short_forms_have_places_of_their_own() {
    let (sources, _, diagnostics) = load(&[(
        "site.yml",
        "- hosts: all\n  tasks:\n    - sysctl: name=a state='здесь' reload=maybe\n",
    )]);
    let places: Vec<_> = diagnostics
        .iter()
        .map(|d| {
            let span = d.position().unwrap();
            let text = &sources.get(span.file).unwrap().text;
            text[span.start as usize..span.end as usize].to_owned()
        })
        .collect();
    assert_eq!(places, ["здесь", "maybe"]);
}

#[test]
fn loops_and_conditions() {
    let looped = tasks(
        "- ping:
  loop: [1, 2]
  loop_control: {loop_var: it, index_var: n, label: '{{ it }}', pause: 2, extended: yes}
- ping:
  with_items: '{{ all }}'
- ping:
  with_items: one
- ping:
  register: result
  until: result is success
  retries: 5
  delay: '{{ d }}'
  changed_when: [a, b]
  failed_when: false",
    );
    let first = looped[0].loop_.as_ref().unwrap();
    assert_eq!(first.kind, LoopKind::Loop);
    assert_eq!(
        (first.loop_var.as_deref(), first.index_var.as_deref()),
        (Some("it"), Some("n"))
    );
    assert!(first.extended && first.pause.is_some() && first.label.is_some());
    assert_eq!(looped[1].loop_.as_ref().unwrap().kind, LoopKind::Items);
    assert_eq!(looped[2].loop_.as_ref().unwrap().expr.as_str(), Some("one"));
    let last = &looped[3];
    assert_eq!(last.register.as_deref(), Some("result"));
    assert_eq!(last.changed_when.as_ref().unwrap().len(), 2);
    assert_eq!(last.failed_when.as_ref().unwrap().len(), 1);
    assert!(last.retries.is_some() && last.delay.is_some() && last.until.is_some());
}

#[test]
fn plays_of_an_import_take_what_stands_on_it() {
    let plays = plays(&[
        (
            "site.yml",
            "- import_playbook: plays/one.yml\n  when: outer\n  tags: t\n  vars: {x: outer}\n- hosts: b\n",
        ),
        (
            "plays/one.yml",
            "- ansible.builtin.import_playbook: two.yml\n  when: inner\n  vars: {x: inner, y: inner}\n",
        ),
        (
            "plays/two.yml",
            "- hosts: a\n  tags: own\n  vars: {x: own, z: own}\n  tasks:\n    - ping:\n  roles: [r]\n",
        ),
        ("plays/roles/r/tasks/main.yml", "- ping:\n"),
    ]);
    assert_eq!(
        plays.iter().map(|p| p.path.as_str()).collect::<Vec<_>>(),
        ["plays/two.yml", "site.yml"]
    );
    assert_snapshot!(briefs(&plays[0].tasks), @r#"
    ping {} | when=outer & inner | tags=own & t | vars=x:"own" & z:"own" & x:"inner" & y:"inner" & x:"outer" | role=r | in plays/roles/r/tasks/main.yml
    ping {} | when=outer & inner | tags=own & t | vars=x:"own" & z:"own" & x:"inner" & y:"inner" & x:"outer" | in plays/two.yml
    "#);
}

#[test]
fn includes_inherit_what_surrounds_them() {
    let files = [
        (
            "site.yml",
            "- hosts: all\n  become: true\n  tasks:\n    - block:\n        - include_tasks:\n            file: '{{ f }}'\n            apply: {tags: applied, when: applied}\n          when: not_handed_down\n          tags: not_handed_down\n          vars: {v: 1}\n      when: around\n",
        ),
        ("sub/inc.yml", "- ping:\n- include_tasks: beside.yml\n"),
        ("sub/bad.yml", "- pnig:\n- ping:\n  notify: nobody\n"),
    ];
    let (sources, program, _) = load(&files);
    let play = program.plays[0].clone();
    let task = all(&play.tasks).remove(0);
    let ask = |path| {
        include(
            &files,
            &sources,
            Include {
                path,
                parent: &task,
                play: &play,
                handler: false,
                vars: vec![(
                    "item".to_owned(),
                    std::sync::Arc::new(crate::language::Node::str(task.span, "x")),
                )],
            },
        )
    };
    let (items, text) = ask("sub/inc.yml");
    assert_eq!(text, "");
    assert_snapshot!(briefs(&items), @r#"
    ping {} | when=around & applied | tags=applied | vars=v:1 & item:"x" | become=true | in sub/inc.yml
    include_tasks {"file":"beside.yml"} | when=around & applied | tags=applied | vars=v:1 & item:"x" | become=true | in sub/inc.yml
    "#);
    assert_snapshot!(ask("sub/bad.yml").1, @r#"
    error[E011]: unknown module `pnig`
     --> sub/bad.yml:1:3
      |
    1 | - pnig:
      |   ^^^^ no such module
      |
    help: there is a module with a similar name
      |
    1 - - pnig:
    1 + - ping:
      |

    error[E017]: no handler is called `nobody`
     --> sub/bad.yml:3:11
      |
    3 |   notify: nobody
      |           ^^^^^^ neither the name of a handler nor what one listens to
      |
      = note: this play has no handlers with names

    error: 2 errors
    "#);
    assert_snapshot!(ask("nowhere.yml").1, @r#"
    error[E002]: there is no file `nowhere.yml`
     --> site.yml:5:11
      |
    5 |         - include_tasks:
      |           ^^^^^^^^^^^^^ named here
      |
      = note: searched: `nowhere.yml`

    error: 1 error
    "#);
}
