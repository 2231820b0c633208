//! What the loader makes of playbooks, and the text of every complaint.

use super::load::Include;
use super::testing::{all, brief, errors, errors_of, include, load, play, plays, task_errors, tasks};
use super::{Item, LoopKind};
use insta::assert_snapshot;

fn briefs(items: &[Item]) -> String {
    all(items).iter().map(|t| brief(t)).collect::<Vec<_>>().join("\n")
}

// --- What is understood -------------------------------------------------------------------------------------

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
    ping {} | when=with_other & wanted | tags=play & o1 & o2 | vars=x:1 & y:1 & y:3 | become=false | role=base | in roles/base/tasks/main.yml
    ping {} | when=with_other | tags=play & o1 & o2 | vars=x:1 & y:1 & y:3 | become=false | role=other | in roles/other/tasks/main.yaml
    ping inner | when=in_block & a & b | tags=play | vars=x:1 & y:1 & x:3 | become=false | notify=one & two | in site.yml
    ping {} | when=in_block | tags=play | vars=x:1 & y:1 | become=true | notify=one | in site.yml
    command {"cmd":"rescue me"} | when=in_block | tags=play | vars=x:1 & y:1 | become=true | notify=one | in site.yml
    include_tasks {"file":"later.yml"} | when=in_block | tags=play | vars=x:1 & y:1 | become=true | notify=one | in site.yml
    "#);
    assert_snapshot!(briefs(&play.post_tasks), @"ping {} | tags=play | vars=x:1 & y:1 | become=true | in site.yml");
    assert_snapshot!(briefs(&play.handlers), @r#"
    ping of other | when=with_other | tags=play & o1 & o2 | vars=x:1 & y:1 & y:3 | become=false | role=other | in roles/other/handlers/main.yml
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
    let values = |pairs: &[(String, std::sync::Arc<super::Node>)]| {
        pairs
            .iter()
            .map(|(k, v)| format!("{k}={}", super::shape::plain(v)))
            .collect::<Vec<_>>()
    };
    let role = &play.roles[1];
    assert_eq!(values(&role.defaults), ["a=first", "b=second"]);
    assert_eq!(values(&role.vars), ["c=vars"]);
    assert_eq!(values(&role.params), ["p=param"]);
    assert_eq!(role.parents[0].name, "d");
    assert_eq!(values(&play.roles[0].params), ["p=param", "q=own"]);
    assert_eq!(values(&all(&play.tasks)[1].chain[1].vars), ["e=entry"]);
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
    let count = |roles: &str| {
        let files = files(roles);
        let files: Vec<_> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        let play = play(&files);
        (all(&play.tasks).len(), all(&play.handlers).len())
    };
    assert_eq!(count("[r, r]"), (1, 1));
    assert_eq!(count("[r, {role: r}, {name: r}]"), (1, 1));
    assert_eq!(count("[{role: r, p: 1}, {role: r, p: 2}, {role: r, p: 1}]"), (2, 2));
    assert_eq!(count("[{role: r, when: a}, r]"), (2, 2));
    assert_eq!(count("[many, many]"), (2, 0));
    assert_eq!(count("[top, r]"), (1, 1));
    // What ansible-core 2.19 does with this list.
    assert_eq!(
        count(
            "[{role: top, when: false}, r, r, {role: r, when: false}, {role: r, when: true}, top, \
             {role: r, tags: x}, {role: r, vars: {a: 1}}]"
        ),
        (6, 6)
    );
    // It may not have run the first time.
    assert_eq!(count("[{role: top, when: a}, r]"), (2, 2));
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
                vars: vec![("item".to_owned(), std::sync::Arc::new(super::Node::str(task.span, "x")))],
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

// --- What is refused: the text of every code ----------------------------------------------------------------

#[test]
fn e001_yaml_syntax() {
    assert_snapshot!(errors("- hosts: all\n  tasks:\n      - sysctl:\n\t  name: x\n"), @r#"
    error[E001]: tabs cannot indent YAML
     --> site.yml:4:1
      |
    4 |       name: x
      | ^^^^ a tab
      |
    help: replace it with spaces; the lines around it use 6

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: {{ name }}\n"), @r#"
    error[E001]: a value that begins with a template must be quoted
     --> site.yml:4:14
      |
    4 |         msg: {{ name }}
      |              ^^^^^^^^^^ YAML reads `{` as the beginning of a mapping
      |
    help: quote the whole value
      |
    4 -         msg: {{ name }}
    4 +         msg: "{{ name }}"
      |

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: {{ name }}/sub # c\n"), @r#"
    error[E001]: a value that begins with a template must be quoted
     --> site.yml:4:14
      |
    4 |         msg: {{ name }}/sub # c
      |              ^^^^^^^^^^^^^^ YAML reads `{` as the beginning of a mapping
      |
    help: quote the whole value
      |
    4 -         msg: {{ name }}/sub # c
    4 +         msg: "{{ name }}/sub" # c
      |

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug: msg=a: b\n"), @r#"
    error[E001]: a second `: ` on one line
     --> site.yml:3:19
      |
    3 |     - debug: msg=a: b
      |                   ^ a mapping cannot begin here
      |
    help: if the colon belongs to the text, quote the value

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: \"never closed\n"), @r#"
    error[E001]: this quote is never closed
     --> site.yml:4:14
      |
    4 |         msg: "never closed
      |              ^ opened here

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: \"one\n    two\"\n"), @r#"
    error[E001]: a quoted value goes on with less indentation than it needs
     --> site.yml:5:9
      |
    5 |         two"
      |         ^^^^ indent this line more than the key of the value

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: 'never\n- debug:\n    msg: 'b'\n"), @r#"
    error[E001]: this quote is never closed
     --> site.yml:4:14
      |
    4 |         msg: 'never
      |              ^ opened here

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: \"a\\d\"\n"), @r#"
    error[E001]: unknown escape in a double-quoted string
     --> site.yml:4:16
      |
    4 |         msg: "a\d"
      |                ^^ not an escape of YAML
      |
    help: double the backslash, or use single quotes, which take it as it is

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: 'a' b\n"), @r#"
    error[E001]: text follows the closing quote
     --> site.yml:4:18
      |
    4 |         msg: 'a' b
      |                  ^ the value ended before this
      |
    help: quote the whole value, or nothing of it

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug: {msg: [a, b}\n"), @r#"
    error[E001]: `[` is closed by `}`
     --> site.yml:3:20
      |
    3 |     - debug: {msg: [a, b}
      |                    ^ opened here

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug: {msg: a\n- ping:\n"), @r#"
    error[E001]: a bracket is not closed, or a comma is missing
     --> site.yml:4:11
      |
    4 |     - ping:
      |           ^ before this

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg: a\n   var: b\n"), @r#"
    error[E001]: this line does not fit the lines above it
     --> site.yml:5:8
      |
    5 |        var: b
      |        ^ indented by 7 spaces
      |
      = note: items of one list, and keys of one mapping, begin in the same column

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug:\n    msg\n    var: b\n"), @r#"
    error[E001]: a mapping cannot begin here
     --> site.yml:5:9
      |
    5 |         var: b
      |         ^^^^^^ the text above it has not ended
      |
    help: look at the line above: its key may lack a `:`

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug: @home\n"), @r#"
    error[E001]: a value cannot begin with `@`
     --> site.yml:3:14
      |
    3 |     - debug: @home
      |              ^ reserved by YAML
      |
    help: quote the value

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug: *nothing\n"), @r#"
    error[E001]: unknown anchor `nothing`
     --> site.yml:3:14
      |
    3 |     - debug: *nothing
      |              ^^^^^^^^ no `&` with this name stands above
      |
    help: if this is text that begins with `*`, quote it

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- debug: !nothing x\n"), @r#"
    error[E001]: unknown YAML tag `!nothing`
     --> site.yml:3:14
      |
    3 |     - debug: !nothing x
      |              ^^^^^^^^
      |
      = note: known tags are `!unsafe`, `!!str`, `!!int`, `!!float`, `!!bool`, `!!null`, `!!seq`, `!!map`
    help: if this is text that begins with `!`, quote it

    error: 1 error
    "#);
}

#[test]
fn e002_files() {
    let sources = crate::diagnostic::SourceMap::default();
    let (_, mut diagnostics) = super::load(
        &["absent.yml".to_owned()],
        &super::testing::Memory::default(),
        &sources,
        &[],
    );
    assert_snapshot!(crate::diagnostic::render_all(&sources, &mut diagnostics, super::testing::PLAIN), @r#"
    error[E002]: cannot read `absent.yml`: there is no such file

    error: 1 error
    "#);
    assert_snapshot!(errors("- import_playbook: absent.yml\n"), @r#"
    error[E002]: cannot read `absent.yml`: there is no such file
     --> site.yml:1:20
      |
    1 | - import_playbook: absent.yml
      |                    ^^^^^^^^^^ named here

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- import_tasks: absent.yml\n"), @r#"
    error[E002]: there is no file `absent.yml`
     --> site.yml:3:21
      |
    3 |     - import_tasks: absent.yml
      |                     ^^^^^^^^^^ named here
      |
      = note: searched: `absent.yml`

    error: 1 error
    "#);
}

#[test]
fn e003_shape() {
    assert_snapshot!(errors("hosts: all\n"), @r#"
    error[E003]: a playbook must be a list of plays, not a mapping
     --> site.yml:1:1
      |
    1 | hosts: all
      | ^ expected `- hosts: ...`

    error: 1 error
    "#);
    assert_snapshot!(errors(""), @r#"
    error[E003]: the playbook is empty
     --> site.yml:1:1
      |
    1 |
      | ^ expected a list of plays

    error: 1 error
    "#);
    assert_snapshot!(errors("- ping:\n- hsts: all\n"), @r#"
    error[E003]: a play needs `hosts`
     --> site.yml:1:3
      |
    1 | - ping:
      |   ^^^^ this play has none
      |
    help: this looks like a file of tasks; a play says on which hosts they run

    error[E003]: a play needs `hosts`
     --> site.yml:2:3
      |
    2 | - hsts: all
      |   ^^^^ this play has none
      |
    help: there is a key with a similar name
      |
    2 | - hosts: all
      |    +

    error: 2 errors
    "#);
    assert_snapshot!(errors("- hosts:\n  tasks: {ping: }\n  vars: [x]\n  roles: [[r]]\n"), @r#"
    error[E003]: `hosts` is empty
     --> site.yml:1:8
      |
    1 | - hosts:
      |        ^ expected a host pattern

    error[E003]: `tasks` must be a list, not a mapping
     --> site.yml:2:10
      |
    2 |   tasks: {ping: }
      |          ^^^^^^^^ expected a list

    error[E003]: `vars` must be a mapping, not a list
     --> site.yml:3:9
      |
    3 |   vars: [x]
      |         ^^^ expected a mapping

    error[E003]: an entry of `roles` must be the name of a role, not a list
     --> site.yml:4:11
      |
    4 |   roles: [[r]]
      |           ^^^ expected the name of a role

    error: 4 errors
    "#);
    assert_snapshot!(task_errors("- just text\n- debug: [a]\n- debug: some text\n- ping:\n  loop: item\n"), @r#"
    error[E003]: a task must be a mapping, not a string
     --> site.yml:3:7
      |
    3 |     - just text
      |       ^^^^^^^^^ expected a mapping

    error[E003]: what `debug` is given must be a mapping of arguments, not a list
     --> site.yml:4:14
      |
    4 |     - debug: [a]
      |              ^^^ expected a mapping of arguments

    error[E003]: module `debug` takes no free text
     --> site.yml:5:14
      |
    5 |     - debug: some text
      |              ^^^^^^^^^ expected `key=value` or a mapping

    error[E003]: `loop` must be a list, not a string
     --> site.yml:7:13
      |
    7 |       loop: item
      |             ^^^^ expected a list
      |
    help: an expression must stand in `{{ }}` here

    error: 4 errors
    "#);
    assert_snapshot!(task_errors("- rescue:\n    - ping:\n"), @r#"
    error[E003]: `rescue` needs a `block`
     --> site.yml:3:7
      |
    3 |     - rescue:
      |       ^^^^^^ there is no `block` beside it

    error: 1 error
    "#);
}

#[test]
fn e004_duplicate_key() {
    assert_snapshot!(errors("- hosts: all\n  vars: {a: 1}\n  tasks: []\n\n\n\n\n  vars: {b: 1}\n"), @r#"
    error[E004]: key `vars` appears twice in this mapping
     --> site.yml:8:3
      |
    2 |   vars: {a: 1}
      |   ---- first here
    ...
    8 |   vars: {b: 1}
      |   ^^^^ and again here
      |
      = note: YAML readers disagree on which one wins, so rmqplay refuses the file

    error: 1 error
    "#);
}

#[test]
fn e010_unknown_keyword() {
    assert_snapshot!(errors("- hosts: all\n  taks:\n    - ping:\n"), @r#"
    error[E010]: unknown keyword `taks` in a play
     --> site.yml:2:3
      |
    2 |   taks:
      |   ^^^^ not a keyword of a play
      |
    help: there is a keyword with a similar name
      |
    2 |   tasks:
      |     +

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- ping:\n  wehn: x\n  zzz: 1\n- ping:\n  serial: 1\n- ping:\n  listen: x\n"), @r#"
    error[E010]: unknown keyword `wehn` in a task
     --> site.yml:4:7
      |
    4 |       wehn: x
      |       ^^^^ not a keyword of a task
      |
    help: there is a keyword with a similar name
      |
    4 -       wehn: x
    4 +       when: x
      |

    error[E010]: unknown keyword `zzz` in a task
     --> site.yml:5:7
      |
    5 |       zzz: 1
      |       ^^^ not a keyword of a task

    error[E010]: `serial` is not a keyword of a task
     --> site.yml:7:7
      |
    7 |       serial: 1
      |       ^^^^^^ cannot stand here
      |
      = note: `serial` belongs to a play

    error[E010]: `listen` is not a keyword of a task
     --> site.yml:9:7
      |
    9 |       listen: x
      |       ^^^^^^ cannot stand here
      |
      = note: `listen` belongs to a handler

    error: 4 errors
    "#);
    assert_snapshot!(task_errors("- include_tasks: x.yml\n  become: true\n"), @r#"
    error[E010]: `become` is not a keyword of an include
     --> site.yml:4:7
      |
    4 |       become: true
      |       ^^^^^^ cannot stand here
      |
      = note: `become` belongs to a play, a role, a block, a task
    help: put it under `apply:` to hand it to the included tasks

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- ping:\n  loop: []\n  loop_control: {lopvar: x, zz: 1}\n"), @r#"
    error[E010]: unknown keyword `lopvar` in `loop_control`
     --> site.yml:5:22
      |
    5 |       loop_control: {lopvar: x, zz: 1}
      |                      ^^^^^^ not a keyword of `loop_control`
      |
    help: there is a keyword with a similar name
      |
    5 -       loop_control: {lopvar: x, zz: 1}
    5 +       loop_control: {loop_var: x, zz: 1}
      |

    error[E010]: unknown keyword `zz` in `loop_control`
     --> site.yml:5:33
      |
    5 |       loop_control: {lopvar: x, zz: 1}
      |                                 ^^ not a keyword of `loop_control`
      |
      = note: `loop_control` takes `extended`, `index_var`, `label`, `loop_var`, `pause`

    error: 2 errors
    "#);
}

#[test]
fn e011_unknown_module() {
    assert_snapshot!(task_errors("- sysclt:\n    name: x\n  name: a\n- thing: {}\n  when: x\n- pause:\n- user: {name: x}\n- ansible.posix.sysclt: {}\n- community.general.sysctl: {}\n"), @r#"
    error[E011]: unknown module `sysclt`
     --> site.yml:3:7
      |
    3 |     - sysclt:
      |       ^^^^^^ no such module
      |
    help: there is a module with a similar name
      |
    3 -     - sysclt:
    3 +     - sysctl:
      |

    error[E011]: unknown module `thing`
     --> site.yml:6:7
      |
    6 |     - thing: {}
      |       ^^^^^ no such module
      |
      = note: neither a module nor a keyword; `rmqplay doc` lists the modules

    error[E015]: module `pause` is not supported yet
     --> site.yml:8:7
      |
    8 |     - pause:
      |       ^^^^^ Ansible knows it, rmqplay does not

    error[E015]: module `user` is not supported yet
     --> site.yml:9:7
      |
    9 |     - user: {name: x}
      |       ^^^^ Ansible knows it, rmqplay does not

    error[E011]: unknown module `ansible.posix.sysclt`
      --> site.yml:10:7
       |
    10 |     - ansible.posix.sysclt: {}
       |       ^^^^^^^^^^^^^^^^^^^^ no such module
       |
    help: there is a module with a similar name
       |
    10 -     - ansible.posix.sysclt: {}
    10 +     - ansible.posix.sysctl: {}
       |

    error[E015]: module `community.general.sysctl` is not supported yet
      --> site.yml:11:7
       |
    11 |     - community.general.sysctl: {}
       |       ^^^^^^^^^^^^^^^^^^^^^^^^ Ansible knows it, rmqplay does not

    error: 6 errors
    "#);
}

#[test]
fn e012_e013_e021_arguments() {
    assert_snapshot!(task_errors("- name: swap\n  sysctl:\n    name: vm.swappiness\n    valeu: 65536\n"), @r#"
    error[E012]: unknown argument `valeu` for module `sysctl`
     --> site.yml:6:9
      |
    4 |       sysctl:
      |       ------ in this task
    5 |         name: vm.swappiness
    6 |         valeu: 65536
      |         ^^^^^ not an argument of `sysctl`
      |
      = note: `sysctl` takes `name`, `value`, `state`, `reload`, `retries`, `mode`
    help: there is an argument with a similar name
      |
    6 -         valeu: 65536
    6 +         value: 65536
      |

    error: 1 error
    "#);
    assert_snapshot!(task_errors("- sysctl:\n    value: 1\n- ping: {data: 1}\n"), @r#"
    error[E013]: module `sysctl` needs the argument `name`
     --> site.yml:3:7
      |
    3 |     - sysctl:
      |       ^^^^^^ `name` is missing
      |
      = note: `name`: the key

    error[E012]: unknown argument `data` for module `ping`
     --> site.yml:5:14
      |
    5 |     - ping: {data: 1}
      |       ----   ^^^^ not an argument of `ping`
      |       |
      |       in this task
      |
      = note: `ping` takes no arguments

    error: 2 errors
    "#);
    assert_snapshot!(
        task_errors(
            "- sysctl:\n    name: [a]\n    state: presnt\n    reload: maybe\n    retries: many\n    mode: {a: 1}\n    key: twice\n"
        ),
        @r#"
        error[E021]: `state` of module `sysctl` cannot be `presnt`
         --> site.yml:5:16
          |
        3 |     - sysctl:
          |       ------ in this task
        4 |         name: [a]
        5 |         state: presnt
          |                ^^^^^^ not one of the choices
          |
          = note: choices are `present`, `absent`
        help: there is a choice with a similar name
          |
        5 |         state: present
          |                    +

        error[E021]: module `sysctl` needs a boolean for `reload`
         --> site.yml:6:17
          |
        3 |     - sysctl:
          |       ------ in this task
        ...
        6 |         reload: maybe
          |                 ^^^^^ this is a string
          |
        help: write `true` or `false`

        error[E021]: module `sysctl` needs an integer for `retries`
         --> site.yml:7:18
          |
        3 |     - sysctl:
          |       ------ in this task
        ...
        7 |         retries: many
          |                  ^^^^ this is a string

        error[E021]: module `sysctl` needs a file mode such as `"0644"` or `u=rw,g=r` for `mode`
         --> site.yml:8:15
          |
        3 |     - sysctl:
          |       ------ in this task
        ...
        8 |         mode: {a: 1}
          |               ^^^^^^ this is a mapping

        error[E014]: `name` is given twice under two names
         --> site.yml:9:9
          |
        4 |         name: [a]
          |         ---- first here
        ...
        9 |         key: twice
          |         ^^^ and again here

        error: 5 errors
        "#
    );
    assert_eq!(
        task_errors(
            "- sysctl:\n    name: a\n    state: '{{ s }}'\n    reload: 'yes'\n    retries: '5'\n    mode: 0644\n    value:\n"
        ),
        ""
    );
}

#[test]
fn e014_conflicts() {
    assert_snapshot!(task_errors("- ping:\n  loop: [a]\n  with_items: [b]\n- import_tasks: x.yml\n  loop: [1]\n  register: r\n"), @r#"
    error[E014]: a task loops once
     --> site.yml:5:7
      |
    4 |       loop: [a]
      |       ---- a loop here
    5 |       with_items: [b]
      |       ^^^^^^^^^^ and a second loop here

    error[E002]: there is no file `x.yml`
     --> site.yml:6:21
      |
    6 |     - import_tasks: x.yml
      |                     ^^^^^ named here
      |
      = note: searched: `x.yml`

    error[E014]: `import_tasks` cannot loop
     --> site.yml:7:7
      |
    6 |     - import_tasks: x.yml
      |       ------------ in this import
    7 |       loop: [1]
      |       ^^^^ an import is read once, before the run
      |
    help: `include_tasks` can

    warning[E014]: `register` does nothing on `import_tasks`
     --> site.yml:8:7
      |
    6 |     - import_tasks: x.yml
      |       ------------ in this import
    7 |       loop: [1]
    8 |       register: r
      |       ^^^^^^^^ an import is read once, before the run

    error: 3 errors, 1 warning
    "#);
    assert_snapshot!(
        errors_of(&[
            ("site.yml", "- import_playbook: site.yml\n- hosts: all\n  roles: [a]\n  tasks:\n    - import_tasks: t.yml\n"),
            ("roles/a/meta/main.yml", "dependencies: [b]\n"),
            ("roles/b/meta/main.yml", "dependencies:\n  - role: a\n"),
            ("t.yml", "- import_tasks: ./t.yml\n"),
        ]),
        @r#"
        error[E014]: the role `a` depends on itself
         --> roles/b/meta/main.yml:2:11
          |
        2 |   - role: a
          |           ^ goes round in a circle

        error[E014]: the playbook `site.yml` imports itself
         --> site.yml:1:20
          |
        1 | - import_playbook: site.yml
          |                    ^^^^^^^^ goes round in a circle

        error[E014]: `./t.yml` imports itself
         --> t.yml:1:17
          |
        1 | - import_tasks: ./t.yml
          |                 ^^^^^^^ goes round in a circle

        error: 3 errors
        "#
    );
}

#[test]
fn e015_not_supported() {
    assert_snapshot!(
        errors(
            "- hosts: all\n  vars_prompt: []\n  strategy: debug\n  connection: docker\n  become_method: doas\n  roles: [a.b.c]\n"
        ),
        @r#"
        error[E015]: keyword `vars_prompt` is not supported yet
         --> site.yml:2:3
          |
        2 |   vars_prompt: []
          |   ^^^^^^^^^^^ Ansible knows it, rmqplay does not

        error[E015]: `strategy` `debug` is not supported yet
         --> site.yml:3:13
          |
        3 |   strategy: debug
          |             ^^^^^ Ansible knows it, rmqplay does not
          |
          = note: supported are `linear`, `free`, `host_pinned`

        error[E015]: `connection` `docker` is not supported yet
         --> site.yml:4:15
          |
        4 |   connection: docker
          |               ^^^^^^ Ansible knows it, rmqplay does not
          |
          = note: supported are `ssh`, `local`

        error[E015]: `become_method` `doas` is not supported yet
         --> site.yml:5:18
          |
        5 |   become_method: doas
          |                  ^^^^ Ansible knows it, rmqplay does not
          |
          = note: supported are `sudo`, `su`

        error[E015]: roles of collections are not supported yet
         --> site.yml:6:11
          |
        6 |   roles: [a.b.c]
          |           ^^^^^ Ansible knows them, rmqplay does not

        error: 5 errors
        "#
    );
    assert_snapshot!(
        task_errors(
            "- ping:\n  delegate_to: x\n  async: 5\n  with_dict: {}\n- local_action: ping\n- include_role: {name: x}\n- community.docker.container: {}\n- import_tasks: '{{ x }}'\n- debug: '{{ args }}'\n- debug: {msg: !vault x}\n"
        ),
        @r#"
        error[E015]: keyword `delegate_to` is not supported yet
         --> site.yml:4:7
          |
        4 |       delegate_to: x
          |       ^^^^^^^^^^^ Ansible knows it, rmqplay does not

        error[E015]: keyword `async` is not supported yet
         --> site.yml:5:7
          |
        5 |       async: 5
          |       ^^^^^ Ansible knows it, rmqplay does not

        error[E015]: keyword `with_dict` is not supported yet
         --> site.yml:6:7
          |
        6 |       with_dict: {}
          |       ^^^^^^^^^ Ansible knows it, rmqplay does not

        error[E015]: keyword `local_action` is not supported yet
         --> site.yml:7:7
          |
        7 |     - local_action: ping
          |       ^^^^^^^^^^^^ Ansible knows it, rmqplay does not

        error[E015]: module `include_role` is not supported yet
         --> site.yml:8:7
          |
        8 |     - include_role: {name: x}
          |       ^^^^^^^^^^^^ Ansible knows it, rmqplay does not

        error[E015]: module `community.docker.container` is not supported yet
         --> site.yml:9:7
          |
        9 |     - community.docker.container: {}
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^ Ansible knows it, rmqplay does not

        error[E015]: a template in `import_tasks` is not supported yet
          --> site.yml:10:22
           |
        10 |     - import_tasks: '{{ x }}'
           |                      ^^^^^^^ read before there are variables

        error[E015]: arguments given as one template are not supported yet
          --> site.yml:11:15
           |
        11 |     - debug: '{{ args }}'
           |               ^^^^^^^^^^ cannot be checked before the run
           |
        help: write the keys, and templates as their values

        error[E015]: the YAML tag `!vault` is not supported yet
          --> site.yml:12:20
           |
        12 |     - debug: {msg: !vault x}
           |                    ^^^^^^

        error: 9 errors
        "#
    );
    assert_snapshot!(
        errors_of(&[
            ("site.yml", "- hosts: all\n  roles: [r]\n  handlers:\n    - block: []\n      rescue: []\n"),
            ("roles/r/meta/main.yml", "argument_specs: {}\n"),
            ("roles/r/vars/main.yml", "$ANSIBLE_VAULT;1.1;AES256\n00\n"),
        ]),
        @r#"
        warning[E015]: `argument_specs` of roles are not supported yet
         --> roles/r/meta/main.yml:1:1
          |
        1 | argument_specs: {}
          | ^^^^^^^^^^^^^^ the role's parameters are not checked

        error[E015]: files encrypted with vault are not supported yet
         --> roles/r/vars/main.yml:1:1
          |
        1 | $ANSIBLE_VAULT;1.1;AES256
          | ^^^^^^^^^^^^^^

        error[E015]: `rescue` among handlers is not supported yet
         --> site.yml:5:7
          |
        5 |       rescue: []
          |       ^^^^^^ Ansible would not run it

        error: 2 errors, 1 warning
        "#
    );
}

#[test]
fn e016_task_module() {
    assert_snapshot!(task_errors("- name: nothing\n- ping:\n  name: two\n  debug: msg=x\n"), @r#"
    error[E016]: this task has no module
     --> site.yml:3:7
      |
    3 |     - name: nothing
      |       ^^^^ says nothing to do

    error[E016]: this task has two modules, `ping` and `debug`
     --> site.yml:6:7
      |
    4 |     - ping:
      |       ---- a module here
    5 |       name: two
    6 |       debug: msg=x
      |       ^^^^^ and a second here
      |
    help: make it two tasks

    error: 2 errors
    "#);
}

#[test]
fn e017_unknown_references() {
    assert_snapshot!(
        errors_of(&[
            ("site.yml", "- hosts: all\n  roles: [rabitmq, zzz]\n"),
            ("roles/rabbitmq/tasks/main.yml", "- ping:\n"),
        ]),
        @r#"
        error[E017]: the role `rabitmq` was not found
         --> site.yml:2:11
          |
        2 |   roles: [rabitmq, zzz]
          |           ^^^^^^^ no such role
          |
          = note: searched in `roles`, `shared/roles`, `.`
        help: there is a role with a similar name
          |
        2 |   roles: [rabbitmq, zzz]
          |              +

        error[E017]: the role `zzz` was not found
         --> site.yml:2:20
          |
        2 |   roles: [rabitmq, zzz]
          |                    ^^^ no such role
          |
          = note: searched in `roles`, `shared/roles`, `.`

        error: 2 errors
        "#
    );
    assert_snapshot!(
        errors(
            "- hosts: all\n  tasks:\n    - ping:\n      notify: restart rabitmq\n    - ping:\n      notify: ['{{ x }}', heard, nobody]\n  handlers:\n    - name: restart rabbitmq\n      ping:\n      listen: heard\n"
        ),
        @r#"
        error[E017]: no handler is called `restart rabitmq`
         --> site.yml:4:15
          |
        4 |       notify: restart rabitmq
          |               ^^^^^^^^^^^^^^^ neither the name of a handler nor what one listens to
          |
        help: there is a handler with a similar name
          |
        4 |       notify: restart rabbitmq
          |                          +

        error[E017]: no handler is called `nobody`
         --> site.yml:6:34
          |
        6 |       notify: ['{{ x }}', heard, nobody]
          |                                  ^^^^^^ neither the name of a handler nor what one listens to
          |
          = note: handlers of this play: `restart rabbitmq`, `heard`

        error: 2 errors
        "#
    );
    // A handler, role or file that could not be read is one mistake, not two.
    assert_snapshot!(
        errors(
            "- hosts: all\n  tasks:\n    - ping:\n      notify: [one, two]\n  handlers:\n    - name: one\n      user:\n      listen: [two]\n"
        ),
        @r#"
        error[E015]: module `user` is not supported yet
         --> site.yml:7:7
          |
        7 |       user:
          |       ^^^^ Ansible knows it, rmqplay does not

        error: 1 error
        "#
    );
    let play = "- hosts: all\n  roles: [r]\n  tasks:\n    - ping:\n      notify: one\n";
    for broken in [
        vec![("site.yml", play)],
        vec![("site.yml", play), ("roles/r/handlers/main.yml", "- [")],
        vec![
            ("site.yml", play),
            ("roles/r/handlers/main.yml", "- import_tasks: absent.yml"),
        ],
    ] {
        assert!(errors_of(&broken).ends_with("\nerror: 1 error\n"));
    }
}

#[test]
fn e021_values_of_keywords() {
    assert_snapshot!(
        errors(
            "- hosts: all\n  become: sometimes\n  serial: some\n  order: sortd\n  strategy: fast\n  port: ssh\n  vars: {a-b: 1, none: 2}\n  tasks:\n    - ping:\n      register: 2x\n      retries: lots\n      tags: {a: 1}\n"
        ),
        @r#"
        error[E021]: `become` must be a boolean, not `sometimes`
         --> site.yml:2:11
          |
        2 |   become: sometimes
          |           ^^^^^^^^^ expected `true` or `false`
          |
        help: an expression must stand in `{{ }}` here

        error[E021]: `serial` cannot be `some`
         --> site.yml:3:11
          |
        3 |   serial: some
          |           ^^^^ expected a number of hosts or a percentage such as `"30%"`

        error[E021]: `order` cannot be `sortd`
         --> site.yml:4:10
          |
        4 |   order: sortd
          |          ^^^^^ not one of the choices
          |
        help: there is a choice with a similar name
          |
        4 |   order: sorted
          |              +

        error[E021]: `strategy` cannot be `fast`
         --> site.yml:5:13
          |
        5 |   strategy: fast
          |             ^^^^ not one of the choices
          |
          = note: choose one of `linear`, `free`, `host_pinned`

        error[E021]: `port` must be a number, not `ssh`
         --> site.yml:6:9
          |
        6 |   port: ssh
          |         ^^^ expected a number

        error[E021]: `a-b` cannot be the name of a variable
         --> site.yml:7:10
          |
        7 |   vars: {a-b: 1, none: 2}
          |          ^^^
          |
          = note: names begin with a letter or `_` and hold only letters, digits and `_`

        error[E021]: `none` cannot be the name of a variable
         --> site.yml:7:18
          |
        7 |   vars: {a-b: 1, none: 2}
          |                  ^^^^
          |
          = note: the word has a meaning of its own in expressions

        error[E021]: `2x` cannot be the name of a variable
          --> site.yml:10:17
           |
        10 |       register: 2x
           |                 ^^
           |
           = note: names begin with a letter or `_` and hold only letters, digits and `_`

        error[E021]: `retries` must be a number, not `lots`
          --> site.yml:11:16
           |
        11 |       retries: lots
           |                ^^^^ expected a number

        error[E003]: a tag must be a string, not a mapping
          --> site.yml:12:13
           |
        12 |       tags: {a: 1}
           |             ^^^^^^ expected a string

        error: 10 errors
        "#
    );
}

#[test]
fn all_mistakes_of_all_files_are_told() {
    assert_snapshot!(
        errors_of(&[
            ("site.yml", "- hosts: all\n  foo: 1\n  roles: [r]\n  tasks:\n    - import_tasks: t.yml\n"),
            ("t.yml", "- pnig:\n"),
            ("roles/r/tasks/main.yml", "- ping:\n  a: [\n"),
            ("roles/r/handlers/main.yml", "- ping: {x: 1}\n"),
        ]),
        @r#"
        error[E012]: unknown argument `x` for module `ping`
         --> roles/r/handlers/main.yml:1:10
          |
        1 | - ping: {x: 1}
          |   ----   ^ not an argument of `ping`
          |   |
          |   in this task
          |
          = note: `ping` takes no arguments

        error[E001]: this `[` is never closed
         --> roles/r/tasks/main.yml:2:6
          |
        2 |   a: [
          |      ^ opened here

        error[E010]: unknown keyword `foo` in a play
         --> site.yml:2:3
          |
        2 |   foo: 1
          |   ^^^ not a keyword of a play

        error[E011]: unknown module `pnig`
         --> t.yml:1:3
          |
        1 | - pnig:
          |   ^^^^ no such module
          |
        help: there is a module with a similar name
          |
        1 - - pnig:
        1 + - ping:
          |

        error: 4 errors
        "#
    );
}

// --- Beside playbooks ---------------------------------------------------------------------------------------

#[test]
fn one_module_from_the_command_line() {
    let run = |module: &str, args: &str| {
        let sources = crate::diagnostic::SourceMap::default();
        let files = super::testing::Memory::default();
        let modules = super::testing::MODULES;
        let (program, mut diagnostics) = super::adhoc::adhoc_with(modules, "web:!db", module, args, &files, &sources);
        let text = crate::diagnostic::render_all(&sources, &mut diagnostics, super::testing::PLAIN);
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
    let mut seen: Vec<String> = super::expressions::expressions(&program)
        .into_iter()
        .map(|e| {
            let (kind, node) = match e {
                super::expressions::Expression::Condition(node) => ("condition", node),
                super::expressions::Expression::Value(node) => ("value", node),
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
        let files = super::testing::Memory::new(&[("site.yml", &text), ("x.yml", "- import_tasks: x.yml\n- ping:\n")]);
        let (_, mut diagnostics) =
            super::load::load_with(super::testing::MODULES, &["site.yml".to_owned()], &files, &sources, &[]);
        crate::diagnostic::render_all(&sources, &mut diagnostics, super::testing::PLAIN);
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

// --- Rolling plays ------------------------------------------------------------------------------------------

#[test]
fn rolling_has_a_form() {
    assert_snapshot!(errors("- {hosts: a, rolling: [1]}\n- {hosts: a, rolling: sometimes}\n- hosts: a\n  rolling: {wdith: 1, members: [], drain: 3}\n"), @r"
    error[E003]: `rolling` must be a boolean or a mapping, not a list
     --> site.yml:1:23
      |
    1 | - {hosts: a, rolling: [1]}
      |                       ^^^ expected a boolean or a mapping

    error[E021]: `rolling` must be a boolean, not `sometimes`
     --> site.yml:2:23
      |
    2 | - {hosts: a, rolling: sometimes}
      |                       ^^^^^^^^^ expected `true` or `false`
      |
    help: an expression must stand in `{{ }}` here

    error[E010]: unknown keyword `wdith` in `rolling`
     --> site.yml:4:13
      |
    4 |   rolling: {wdith: 1, members: [], drain: 3}
      |             ^^^^^ not a keyword of `rolling`
      |
    help: there is a keyword with a similar name
      |
    4 -   rolling: {wdith: 1, members: [], drain: 3}
    4 +   rolling: {width: 1, members: [], drain: 3}
      |

    error[E003]: `members` is empty
     --> site.yml:4:32
      |
    4 |   rolling: {wdith: 1, members: [], drain: 3}
      |                                ^^ expected a host pattern

    error[E021]: `drain` must be a boolean, not `3`
     --> site.yml:4:43
      |
    4 |   rolling: {wdith: 1, members: [], drain: 3}
      |                                           ^ expected `true` or `false`

    error: 5 errors
    ");
}
