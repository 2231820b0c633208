//! The text of every complaint about files as a whole: YAML, shapes, keys that stand twice.

use super::*;

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
    let (_, mut diagnostics) = crate::language::load(
        &["absent.yml".to_owned()],
        &crate::language::testing::Memory::default(),
        &sources,
        &[],
    );
    assert_snapshot!(crate::diagnostic::render_all(&sources, &mut diagnostics, crate::language::testing::PLAIN), @r#"
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
