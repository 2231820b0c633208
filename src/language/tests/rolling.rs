//! Rolling plays.

use super::*;

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
