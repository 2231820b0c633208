//! The text of every complaint about keywords, modules and arguments.

use super::*;

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
      = note: `loop_control` takes `extended`, `index_var`, `label`, `loop_var`, `pause`, `break_when`, `extended_allitems`

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
            "- ping:\n  delegate_to: x\n  async: 5\n  with_ini: x\n- local_action: ping\n- include_role: {name: x}\n- community.docker.container: {}\n- import_tasks: '{{ x }}'\n- debug: '{{ args }}'\n- debug: {msg: !vault x}\n"
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

        error[E015]: keyword `with_ini` is not supported yet
         --> site.yml:6:7
          |
        6 |       with_ini: x
          |       ^^^^^^^^ Ansible knows it, rmqplay does not

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
