//! The texts of errors, whole.

use crate::cases::Memory;
use rmqplay::diagnostic::{Diagnostic, RenderOptions, SourceMap, Span, render_human};
use rmqplay::inventory::{Inventory, Limit, Pattern};

fn render(map: &SourceMap, diagnostics: &[Diagnostic]) -> String {
    let options = RenderOptions {
        color: false,
        width: 100,
    };
    diagnostics
        .iter()
        .map(|d| render_human(map, d, options))
        .collect::<Vec<_>>()
        .join("\n")
}

fn errors(name: &str, text: &str) -> String {
    let map = SourceMap::default();
    let (_, diagnostics) = Inventory::load(&[name.to_owned()], &Memory::new(&[(name, text)]), &map);
    render(&map, &diagnostics)
}

fn pattern_error(pattern: &str, limit: Option<&str>) -> String {
    let map = SourceMap::default();
    let files = Memory::new(&[("hosts", "[rabbit]\nmq[1:3]\n[db]\ndb1\n")]);
    let (inventory, _) = Inventory::load(&["hosts".to_owned()], &files, &map);
    let limit = limit.map(|l| Limit::parse(l, &files, &map).unwrap());
    let id = map.add("playbooks/site.yml", format!("- hosts: {pattern}\n"));
    let pattern = Pattern {
        text: pattern.to_owned(),
        span: Some(Span::new(id, 9, 9 + pattern.len())),
    };
    render(
        &map,
        &[inventory.select(&[pattern], limit.as_ref(), false).unwrap_err()],
    )
}

#[test]
fn undefined_group() {
    insta::assert_snapshot!(errors("hosts", "[prod:children]\nrabitt\n\n[rabbit]\nmq1\n"), @r#"
    error[E030]: group `rabitt` is not defined
     --> hosts:2:1
      |
    2 | rabitt
      | ^^^^^^ a child of `prod`, but no section `[rabitt]`
      |
    help: there is a group with a similar name
      |
    2 - rabitt
    2 + rabbit
      |
    "#);
}

#[test]
fn section() {
    insta::assert_snapshot!(errors("hosts", "[mq:childs]\na\n"), @r#"
    error[E030]: unknown kind of section `childs`
     --> hosts:1:5
      |
    1 | [mq:childs]
      |     ^^^^^^ not a kind of section
      |
      = note: a section is `[group]`, `[group:children]` or `[group:vars]`
    "#);
}

#[test]
fn white_space_around_equals() {
    insta::assert_snapshot!(errors("hosts", "[mq]\nmq1 ansible_user = root\n"), @r#"
    error[E030]: expected `key=value` behind the host
     --> hosts:2:5
      |
    2 | mq1 ansible_user = root
      |     ^^^^^^^^^^^^ not a `key=value`
      |
    help: write it without white space around the `=`
    "#);
}

#[test]
fn range() {
    insta::assert_snapshot!(errors("hosts", "mq[01-10]\n"), @r#"
    error[E030]: a host range must be `first:last` or `first:last:step`
     --> hosts:1:1
      |
    1 | mq[01-10]
      | ^^^^^^^^^ in this host range
    "#);
}

#[test]
fn value() {
    insta::assert_snapshot!(errors("hosts", "[all:vars]\nname={{ 1 }}\n"), @r#"
    error[E030]: this value cannot be read: a set cannot hold another collection
     --> hosts:2:6
      |
    2 | name={{ 1 }}
      |      ^^^^^^^
      |
      = note: values of INI inventories are Python literals where they look like one
    help: put the value in quotation marks, on a host line in two kinds of them: `"'...'"`
    "#);
}

#[test]
fn hosts_as_a_list() {
    insta::assert_snapshot!(errors("hosts.yml", "all:\n  children:\n    mq:\n      hosts:\n        - mq1\n"), @r#"
    error[E030]: `hosts` of a group must be a mapping
     --> hosts.yml:5:9
      |
    3 |     mq:
      |     -- in this group
    4 |       hosts:
    5 |         - mq1
      |         ^^^^^ this is a list
      |
    help: write each as a key with a colon: `name:` instead of `- name`
    "#);
}

#[test]
fn key_of_a_group() {
    insta::assert_snapshot!(errors("hosts.yml", "all:\n  host:\n    mq1:\n"), @r#"
    error[E030]: unknown key `host` of a group
     --> hosts.yml:2:3
      |
    2 |   host:
      |   ^^^^ in group `all`
      |
      = note: a group has `hosts`, `children` and `vars`; a group inside a group stands under `children`
    help: there is one with a similar name
      |
    2 |   hosts:
      |       +
    "#);
}

#[test]
fn groups_in_a_ring() {
    insta::assert_snapshot!(errors("hosts", "[a:children]\nb\n[b:children]\na\n"), @r#"
    error[E030]: group `b` would contain itself
     --> hosts:4:1
      |
    4 | a
      | ^ `a` is above `b` already
    "#);
}

#[test]
fn missing() {
    let map = SourceMap::default();
    let (_, diagnostics) = Inventory::load(&["mq1".to_owned()], &Memory::new(&[]), &map);
    insta::assert_snapshot!(render(&map, &diagnostics), @r#"
    error[E032]: there is no inventory `mq1`
     |
    help: to give a host by name, write a comma behind it: `-i mq1,`
    "#);
}

#[test]
fn unknown_pattern() {
    insta::assert_snapshot!(pattern_error("rabbitt:!db1", None), @r#"
    error[E032]: `rabbitt` matches no host and no group
     --> playbooks/site.yml:1:10
      |
    1 | - hosts: rabbitt:!db1
      |          ^^^^^^^ matches nothing
      |
    help: there is a group with a similar name: `rabbit`
    "#);
}

#[test]
fn subscript_of_nothing() {
    insta::assert_snapshot!(pattern_error("db:mq0[12]", None), @r#"
    error[E032]: `mq0` matches no host and no group
     --> playbooks/site.yml:1:13
      |
    1 | - hosts: db:mq0[12]
      |             ^^^^^^^ matches nothing
      |
      = note: brackets at the end of a pattern choose among the hosts that `mq0` matches; ranges are for inventories only
    help: there is a host with a similar name: `mq1`
    "#);
}

#[test]
fn subscript_outside() {
    insta::assert_snapshot!(pattern_error("rabbit[5]", None), @r#"
    error[E032]: the subscript of `rabbit[5]` is outside of what `rabbit` matches
     --> playbooks/site.yml:1:10
      |
    1 | - hosts: rabbit[5]
      |          ^^^^^^^^^ `rabbit` matches 3 hosts
    "#);
}

#[test]
fn limit() {
    insta::assert_snapshot!(pattern_error("rabbit", Some("mq1,mg2")), @r#"
    error[E032]: `mg2` matches no host and no group
     --> --limit:1:5
      |
    1 | mq1,mg2
      |     ^^^ matches nothing
      |
    help: there is a host with a similar name: `mq2`
    "#);
}
