//! The text of every complaint about what refers to something else, and about values.

use super::*;

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
