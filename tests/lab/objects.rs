//! Every module for a broker's objects, on real brokers: a cluster of three, and a node of the old release.

use crate::booted::{lab, on};
use crate::desk::{Desk, Report, says};
use rmqplay::lab::{Lab, Node, Release, Wanted};
use rmqplay::modules::find;
use serde_json::Value;

/// Of everything something; `$` and backquotes are what shells would make something else of.
const PRESENT: &str = r#"
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - {name: plugin, rabbitmq_plugin: {names: "rabbitmq_federation,rabbitmq_management", new_only: true}}
    - {name: flags, rabbitmq_feature_flag: {name: quorum_queue}}
    - {name: vhost, rabbitmq_vhost: {name: shop, tags: [b, a], default_queue_type: quorum}}
    - {name: metadata, rabbitmq_vhost_metadata: {vhost: shop, description: the shop}}
    - {name: tracing, rabbitmq_vhost: {name: shop, tracing: true}}
    - {name: vhost limits, rabbitmq_vhost_limits: {vhost: shop, max_queues: 100}}
    - {name: admin, rabbitmq_user: {user: admin, password: s3cret, update_password: always, tags: administrator}}
    - name: users
      rabbitmq_user:
        user: "app{{ item }}"
        password: "s3cret$ `x` {{ item }}"
        update_password: always
        tags: monitoring,policymaker
        vhost: shop
        configure_priv: '^$ `a`\d'
        write_priv: '.*'
        read_priv: '.*'
      loop: [1, 2, 3]
      loop_control: {label: "{{ item }}"}
      no_log: true
    - {name: nobody, rabbitmq_user: {user: nobody}}
    - {name: permissions, rabbitmq_permissions: {user: nobody, vhost: shop, read_priv: '.*'}}
    - {name: topic permissions, rabbitmq_topic_permissions: {user: nobody, vhost: shop, exchange: amq.topic, read_priv: ^x}}
    - {name: user limits, rabbitmq_user_limits: {user: nobody, max_connections: 3, max_channels: 4}}
    - name: policies
      rabbitmq_policy: {name: "p{{ item }}", vhost: shop, pattern: "^p{{ item }}", apply_to: queues, tags: {max-length: 10}}
      loop: [1, 2]
    - {name: operator policy, rabbitmq_operator_policy: {name: op, vhost: shop, pattern: ^x, tags: {max-length: 10}}}
    - name: parameter
      rabbitmq_parameter: {component: federation-upstream, name: east, vhost: shop, value: {uri: 'amqp://localhost', expires: 3600000}}
    - {name: global parameter, rabbitmq_global_parameter: {name: gp, value: '{"a": [1, {"b": null}]}'}}
    - {name: exchange, rabbitmq_exchange: {name: ev, vhost: shop, type: topic, arguments: {alternate-exchange: amq.fanout}}}
    - {name: internal, rabbitmq_exchange: {name: inner, vhost: shop, type: fanout, internal: true}}
    - {name: queue, rabbitmq_queue: {name: orders, vhost: shop, arguments: {x-queue-type: quorum, x-delivery-limit: 5}}}
    - {name: plain, rabbitmq_queue: {name: plain, vhost: shop, max_length: 10}}
    - {name: fleeting, rabbitmq_queue: {name: fleeting, vhost: shop, durable: false, arguments: {x-queue-type: classic}}}
    - {name: binding, rabbitmq_binding: {source: ev, destination: orders, type: queue, routing_key: 'a.*', vhost: shop}}
    - {name: to exchange, rabbitmq_binding: {source: ev, destination: inner, type: exchange, routing_key: b, vhost: shop, arguments: {h: 1}}}
    - name: definitions
      rabbitmq_definitions:
        purge: listed_vhosts
        definitions:
          vhosts: [{name: set}]
          users: [{name: setter, password: s3cret too, tags: []}]
          permissions: [{user: setter, vhost: set, configure: '', write: '.*', read: '.*'}]
          queues: [{name: one, vhost: set}]
"#;

const ABSENT: &str = r#"
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - {name: definitions, rabbitmq_definitions: {purge: listed_vhosts, definitions: {vhosts: [{name: set}], queues: [], permissions: []}}}
    - {name: set, rabbitmq_vhost: {name: set, state: absent}}
    - {name: to exchange, rabbitmq_binding: {source: ev, destination: inner, type: exchange, routing_key: b, vhost: shop, arguments: {h: 1}, state: absent}}
    - {name: binding, rabbitmq_binding: {source: ev, destination: orders, type: queue, routing_key: 'a.*', vhost: shop, state: absent}}
    - {name: queues, rabbitmq_queue: {name: "{{ item }}", vhost: shop, state: absent}, loop: [orders, plain, fleeting]}
    - {name: exchanges, rabbitmq_exchange: {name: "{{ item }}", vhost: shop, state: absent}, loop: [ev, inner]}
    - {name: parameter, rabbitmq_parameter: {component: federation-upstream, name: east, vhost: shop, state: absent}}
    - {name: global parameter, rabbitmq_global_parameter: {name: gp, state: absent}}
    - {name: operator policy, rabbitmq_operator_policy: {name: op, vhost: shop, state: absent}}
    - {name: policies, rabbitmq_policy: {name: "{{ item }}", vhost: shop, state: absent}, loop: [p1, p2]}
    - {name: user limits, rabbitmq_user_limits: {user: nobody, state: absent}}
    - {name: topic permissions, rabbitmq_topic_permissions: {user: nobody, vhost: shop, exchange: amq.topic, state: absent}}
    - {name: permissions, rabbitmq_permissions: {user: nobody, vhost: shop, state: absent}}
    - {name: users, rabbitmq_user: {user: "{{ item }}", state: absent}, loop: [app1, app2, app3, nobody, setter, admin]}
    - {name: vhost limits, rabbitmq_vhost_limits: {vhost: shop, state: absent}}
    - {name: vhost, rabbitmq_vhost: {name: shop, state: absent}}
    - {name: plugin, rabbitmq_plugin: {names: "rabbitmq_federation,rabbitmq_management", state: disabled}}
"#;

/// What `admin` needs to ask the API of the first node.
const API: &str = r#"
- hosts: all[0]
  gather_facts: false
  become: true
  tasks:
    - {name: plugin, rabbitmq_plugin: {names: rabbitmq_management, new_only: true}}
    - {name: admin, rabbitmq_user: {user: admin, password: s3cret, update_password: always, tags: administrator}}
"#;

const STEPS: &str = r#"
- hosts: all[0]
  gather_facts: false
  become: true
  tasks:
    - {name: quorum, rabbitmq_upgrade: {action: await_online_quorum_plus_one, timeout: 60}}
    - {name: drain, rabbitmq_upgrade: {action: drain}}
    - {name: drained, rabbitmq_upgrade: {action: drain}}
    - {name: revive, rabbitmq_upgrade: {action: revive}}
    - {name: after, rabbitmq_upgrade: {action: post_upgrade}}
"#;

const MANY: &str = r#"
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - {name: vhosts, rabbitmq_vhost: {name: "many{{ item }}"}, loop: "{{ range(10) | list }}"}
    - name: users
      rabbitmq_user:
        user: "many{{ item }}"
        password: "s3cret {{ item }}"
        update_password: always
        vhost: "many{{ item % 10 }}"
        read_priv: '.*'
      loop: "{{ range(50) | list }}"
      loop_control: {label: "{{ item }}"}
      no_log: true
    - name: policies
      rabbitmq_policy: {name: "many{{ item }}", vhost: "many{{ item % 10 }}", pattern: ^m, tags: {max-length: 10}}
      loop: "{{ range(30) | list }}"
"#;

pub fn on_a_cluster() {
    let lab = lab(Wanted::default());
    let nodes = lab.nodes().unwrap();
    for node in &nodes[1..] {
        join(&lab, node, &nodes[0]);
    }
    let bench = Bench::new(&lab, &nodes);
    bench.there_and_back();
    bench.messages();
    bench.at_stake();
    bench.anew();
    bench.many();
    bench.steps();
    // Out of the cluster again they cannot be got without losing what they hold: the next test boots new ones.
    lab.down(false, &|_| {}).unwrap();
}

pub fn on_bookworm() {
    let lab = lab(Wanted {
        release: Release::Bookworm,
        ..Wanted::default()
    });
    let nodes = lab.nodes().unwrap();
    let bench = Bench::new(&lab, &nodes[..1]);
    bench.there_and_back();
    bench.messages();
    bench.at_stake();
    bench.many();
    bench.steps();
    lab.down(false, &|_| {}).unwrap();
}

/// The broker's own tool, past Debian's wrapper; it waits for ever for a standard input that stays open.
fn ctl(lab: &Lab, node: &Node, arguments: &str) -> String {
    let tool =
        "cd /var/lib/rabbitmq && HOME=/var/lib/rabbitmq runuser -u rabbitmq -- /usr/lib/rabbitmq/bin/rabbitmqctl -q";
    on(lab, node, "root", &format!("{tool} {arguments} </dev/null"))
}

fn join(lab: &Lab, node: &Node, first: &Node) {
    let cookie = on(lab, first, "root", "cat /var/lib/rabbitmq/.erlang.cookie");
    on(
        lab,
        node,
        "root",
        &format!(
            "systemctl stop rabbitmq-server && printf %s {cookie} >/var/lib/rabbitmq/.erlang.cookie && systemctl start rabbitmq-server"
        ),
    );
    ctl(lab, node, "stop_app");
    ctl(lab, node, &format!("join_cluster rabbit@{}", first.name));
    ctl(lab, node, "start_app");
}

/// A play whose tasks about objects all have a login.
fn with_login(play: &str, user: &str, password: &str) -> String {
    let mut play: Value = serde_yaml::from_str(play).unwrap();
    for task in play[0]["tasks"].as_array_mut().unwrap() {
        for (module, args) in task.as_object_mut().unwrap() {
            let has_login = find(module).is_some_and(|spec| spec.args.iter().any(|arg| arg.name == "login_user"));
            if has_login {
                args["login_user"] = user.into();
                args["login_password"] = password.into();
            }
        }
    }
    play.to_string()
}

/// What a dry run foretold is what was done.
fn same_changes(predicted: &Report, done: &Report) {
    let (predicted, mut done) = (predicted.changes(), done.changes());
    for (place, deltas) in &predicted {
        assert_eq!(done.remove(place).as_ref(), Some(deltas), "{place:?}");
    }
    assert_eq!(done, Default::default());
}

struct Bench<'a> {
    lab: &'a Lab,
    nodes: &'a [Node],
    desk: Desk,
}

impl<'a> Bench<'a> {
    fn new(lab: &'a Lab, nodes: &'a [Node]) -> Bench<'a> {
        Bench {
            lab,
            nodes,
            desk: Desk::new(),
        }
    }

    fn run(&self, command: &str, play: &str, code: i32) -> Report {
        let path = self.desk.file("play.yml", play);
        let limit = self.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(",");
        let arguments = [
            command,
            &path,
            "-i",
            "inventories/lab",
            "--limit",
            &limit,
            "--format",
            "json",
        ];
        let ran = self.desk.run(&arguments).ended(code);
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains("s3cret"), "a password is told: {text}");
            assert!(!text.contains("password_hash"), "a hash is told: {text}");
        }
        ran.report()
    }

    fn vms(&self, report: &Report) -> Vec<u64> {
        let of = |node: &Node| report.0["timing"][&node.name]["vm_starts"].as_u64().unwrap();
        self.nodes.iter().map(of).collect()
    }

    /// What the broker holds, in an order of its own.
    fn holds(&self) -> Value {
        let mut all: Value = serde_json::from_str(&ctl(self.lab, &self.nodes[0], "export_definitions -")).unwrap();
        for list in all
            .as_object_mut()
            .unwrap()
            .values_mut()
            .filter_map(Value::as_array_mut)
        {
            list.sort_by_key(Value::to_string);
        }
        all
    }

    fn first(&self) -> &str {
        &self.nodes[0].name
    }

    fn no_changes(&self, report: &Report) {
        assert_eq!(report.changes(), Default::default());
        for node in self.nodes {
            assert_eq!(report.stat(&node.name, "changed"), 0, "{:#}", report.0);
        }
    }

    /// A dry run foretells what an apply does; a second does nothing; and all can be taken away again.
    fn there_and_back(&self) {
        let before = self.holds();
        let predicted = self.run("diff", PRESENT, 0);
        assert_eq!(self.holds(), before);
        let applied = self.run("apply", PRESENT, 0);
        same_changes(&predicted, &applied);
        for (_, task, host, result) in applied.results() {
            let shared = !["plugin", "tracing"].contains(&task) && host != self.first();
            let wanted = if shared || task == "flags" { "ok" } else { "changed" };
            assert_eq!(applied.status(task, host), wanted, "{task} on {host}: {result:#}");
        }
        for user in ["app1", "app2", "app3"] {
            let password = format!("'s3cret$ `x` {}'", &user[3..]);
            ctl(
                self.lab,
                &self.nodes[0],
                &format!("authenticate_user {user} {password}"),
            );
        }
        ctl(self.lab, &self.nodes[0], "authenticate_user setter 's3cret too'");
        let permissions = ctl(self.lab, &self.nodes[0], "list_user_permissions app1 --formatter json");
        says(&permissions, &[r#""configure":"^$ `a`\\d""#]);

        let again = self.run("apply", PRESENT, 0);
        self.no_changes(&again);
        // Definitions; feature flags; tracing; the internal exchange, which exports do not list. Each node traces for itself.
        assert_eq!(self.vms(&again)[0], 4, "{:#}", again.0["timing"]);
        assert!(self.vms(&again)[1..].iter().all(|n| *n == 2));
        self.no_changes(&self.run("diff", PRESENT, 0));
        self.by_api();

        // Somebody sets another password, and a policy.
        ctl(self.lab, &self.nodes[0], "change_password app2 other");
        ctl(
            self.lab,
            &self.nodes[0],
            "set_policy -p shop p2 ^other '{\"max-length\":11}'",
        );
        let repaired = self.run("apply", PRESENT, 0);
        let changed: Vec<String> = repaired.changes().into_keys().map(|(_, task)| task).collect();
        assert_eq!(changed, ["policies", "users"]);
        ctl(self.lab, &self.nodes[0], "authenticate_user app2 's3cret$ `x` 2'");

        let predicted = self.run("diff", ABSENT, 0);
        let removed = self.run("apply", ABSENT, 0);
        same_changes(&predicted, &removed);
        for (_, task, host, result) in removed.results() {
            let wanted = if task != "plugin" && host != self.first() {
                "ok"
            } else {
                "changed"
            };
            assert_eq!(removed.status(task, host), wanted, "{task} on {host}: {result:#}");
        }
        assert_eq!(self.holds(), before);
        // Once more, but for the set that makes its virtual host.
        let again = ABSENT.replace("{name: definitions,", "{when: false, name: definitions,");
        self.no_changes(&self.run("apply", &again, 0));
    }

    /// Through the API a broker is what it is through its tool: only the feature flags start a VM.
    fn by_api(&self) {
        let seen = self.run("apply", &with_login(PRESENT, "admin", "s3cret"), 0);
        self.no_changes(&seen);
        assert_eq!(self.vms(&seen)[0], 1, "{:#}", seen.0["timing"]);
        assert!(self.vms(&seen)[1..].iter().all(|n| *n == 0));
        assert_eq!(seen.0["timing"][self.first()]["round_trips"], 1);
        let vhost = "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n    - {name: vhost, rabbitmq_vhost: {name: shop}}\n";
        for (user, password, why) in [
            ("admin", "s3cret too", "the password is another"),
            ("setter", "s3cret too", "it has not the tag `administrator`"),
        ] {
            let refused = self.run("apply", &with_login(vhost, user, password), 2);
            let msg = refused.result("vhost", self.first())["msg"].as_str().unwrap();
            says(msg, &[&format!("refuses the login of `{user}`: {why}")]);
        }
    }

    /// A user who is deleted and made anew.
    fn anew(&self) {
        let user = |more: &str| {
            format!(
                "- hosts: {}\n  become: true\n  gather_facts: false\n  tasks:\n    - {{name: user, rabbitmq_user: {{user: anew, {more}}}}}\n",
                self.first()
            )
        };
        self.run("apply", &user("password: s3cret, tags: monitoring, read_priv: .*"), 0);
        let predicted = self.run("diff", &user("password: s3cret too, force: true"), 0);
        let applied = self.run("apply", &user("password: s3cret too, force: true"), 0);
        same_changes(&predicted, &applied);
        let node = &self.nodes[0];
        ctl(self.lab, node, "authenticate_user anew 's3cret too'");
        let users = ctl(self.lab, node, "list_users --formatter json");
        says(&users, &[r#"{"user":"anew","tags":[]}"#]);
        let permissions = ctl(self.lab, node, "list_user_permissions anew --formatter json");
        says(&permissions, &[r#""read":"^$""#]);
        self.run("apply", &user("state: absent"), 0);
    }

    /// The steps around an upgrade.
    fn steps(&self) {
        let done = self.run("apply", STEPS, 0);
        let statuses: Vec<&str> = ["quorum", "drain", "drained", "revive", "after"]
            .iter()
            .map(|task| done.status(task, self.first()))
            .collect();
        assert_eq!(statuses, ["ok", "changed", "ok", "changed", "changed"]);
    }

    /// A queue that was declared otherwise.
    fn at_stake(&self) {
        let declared = |more: &str| {
            format!(
                "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - {{name: queue, rabbitmq_queue: {{name: stake, {more}}}}}\n"
            )
        };
        self.run("apply", &declared("arguments: {x-queue-type: classic}"), 0);
        let refused = self.run(
            "apply",
            &declared("arguments: {x-queue-type: classic, x-max-length: 5}"),
            2,
        );
        let msg = refused.result("queue", self.first())["msg"]
            .as_str()
            .unwrap()
            .to_owned();
        says(
            &msg,
            &[
                "queue `stake` in vhost `/` was declared otherwise",
                "`x-max-length` is nothing, wanted is `5`",
            ],
        );
        for node in &self.nodes[1..] {
            let msg = refused.result("queue", &node.name)["msg"].as_str().unwrap();
            assert!(msg.starts_with(&format!("on {}, which does it", self.first())), "{msg}");
        }
        let anew = self.run(
            "apply",
            &declared("arguments: {x-queue-type: classic, x-max-length: 5}, recreate: true"),
            0,
        );
        assert_eq!(anew.status("queue", self.first()), "changed");
        self.run("apply", &declared("state: absent"), 0);
    }

    /// A message gets to its queue; one that no queue takes is a failure.
    fn messages(&self) {
        let send = |to: &str| {
            format!(
                "- hosts: {}\n  gather_facts: false\n  become: true\n  tasks:\n    \
                 - rabbitmq_user: {{user: sender, password: s3cret, configure_priv: .*, write_priv: .*, read_priv: .*}}\n    \
                 - {{name: send, rabbitmq_publish: {{url: 'amqp://sender:s3cret@localhost', {to}, body: h\u{e9}llo}}}}\n",
                self.first()
            )
        };
        self.run("diff", &send("queue: letters, durable: true"), 0);
        self.run("apply", &send("queue: letters, durable: true"), 0);
        let lost = self.run("apply", &send("exchange: amq.fanout, routing_key: nobody"), 2);
        let msg = lost.result("send", self.first())["msg"].as_str().unwrap().to_owned();
        says(&msg, &["no queue takes it: 312 NO_ROUTE"]);
        let queues = ctl(
            self.lab,
            &self.nodes[0],
            "list_queues name messages message_bytes --no-table-headers",
        );
        assert_eq!(queues.trim(), "letters\t1\t6");
        ctl(self.lab, &self.nodes[0], "delete_queue letters");
        ctl(self.lab, &self.nodes[0], "delete_user sender");
    }

    /// Fifty users, ten virtual hosts, thirty policies.
    fn many(&self) {
        let first_only = |n: u64| {
            let mut vms = vec![0; self.nodes.len()];
            vms[0] = n;
            vms
        };
        let applied = self.run("apply", MANY, 0);
        // One look, and for each task an import and a look.
        assert_eq!(self.vms(&applied), first_only(7));
        self.run("apply", API, 0);
        for (play, vms) in [(MANY.to_owned(), 1), (with_login(MANY, "admin", "s3cret"), 0)] {
            let again = self.run("apply", &play, 0);
            self.no_changes(&again);
            assert_eq!(self.vms(&again), first_only(vms));
            for node in self.nodes {
                assert_eq!(again.0["timing"][&node.name]["round_trips"], 1);
            }
        }
        // Any node will do.
        let last = self.nodes.last().unwrap();
        let users = ctl(self.lab, last, "list_users --formatter json");
        assert_eq!(users.matches("\"user\":\"many").count(), 50);
    }
}
