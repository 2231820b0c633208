//! Bare machines become a cluster by the ways that need somebody else's files: a repository that is signed, a version
//! that is pinned, certificates that are given.

use crate::booted::{fresh, on, ssh};
use crate::desk::{Desk, Ran, says};
use rmqplay::lab::{Lab, Node, Release, Wanted};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// This machine, as the nodes see it.
const HERE: &str = "10.231.0.1";
/// Debian has a newer one, so that it comes only if the pin holds.
const VERSION: &str = "4.0.5-1~here";
const JSON: [&str; 2] = ["--format", "json"];

/// Takes Debian's package apart and puts it together again under another version; prints what stands in `Packages`.
const REPACK: &str = r#"set -e
cd "$(mktemp -d)"
apt-get -qq download rabbitmq-server
dpkg-deb -R rabbitmq-server_*.deb tree
sed -i "s/^Version:.*/Version: $1/" tree/DEBIAN/control
dpkg-deb -Znone -b tree /root/here.deb >/dev/null
dpkg-deb -f /root/here.deb
echo "Filename: pool/here.deb"
echo "Size: $(stat -c %s /root/here.deb)"
echo "SHA256: $(sha256sum </root/here.deb | cut -d ' ' -f 1)""#;

/// A repository, added, read, and taken away.
const REPOSITORY: &str = "
- hosts: mq-1
  gather_facts: false
  tasks:
    - name: a key on the host
      copy: {src: '{{ file }}', dest: /usr/share/keyrings/here.asc}
    - name: the repository
      deb822_repository: {name: Tried here, uris: '{{ uri }}', suites: trixie, components: main, signed_by: '{{ key }}', state: '{{ state }}'}
    - name: lists
      apt: {update_cache: true}
";

/// Runs a command on this machine; what it wrote.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A key that signs, in a GnuPG of its own.
struct Signer(tempfile::TempDir);

impl Signer {
    fn new(name: &str) -> Signer {
        let signer = Signer(tempfile::tempdir().unwrap());
        signer.gpg(&["--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never"]);
        signer
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        let home = self.0.path().to_str().unwrap();
        run(
            "gpg",
            &[&["--homedir", home, "--batch", "--quiet", "--yes"], arguments].concat(),
        )
    }

    fn public(&self) -> String {
        self.gpg(&["--armor", "--export"])
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let home = self.0.path().to_str().unwrap();
        let _ = Command::new("gpgconf")
            .args(["--homedir", home, "--kill", "all"])
            .status();
    }
}

/// As rabbitmq.com has them: a repository for RabbitMQ and one for Erlang, and the key that signs them.
fn publish(root: &Path, signer: &Signer, stanza: &str, deb: &[u8]) {
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("key.asc", signer.public().as_bytes());
    let architecture = run("dpkg", &["--print-architecture"]);
    let architecture = architecture.trim();
    for (name, packages) in [("rabbitmq-server", stanza), ("rabbitmq-erlang", "")] {
        let base = format!("{name}/debian/trixie");
        let list = format!("main/binary-{architecture}/Packages");
        let release = format!(
            "Origin: here\nSuite: trixie\nCodename: trixie\nArchitectures: {architecture}\nComponents: main\nDate: {}SHA256:\n {} {} {list}\n",
            run("date", &["--utc", "--rfc-email"]),
            rmqplay::host::Content::from(packages).sha256(),
            packages.len(),
        );
        write(&format!("{base}/dists/trixie/{list}"), packages.as_bytes());
        write(&format!("{base}/dists/trixie/Release"), release.as_bytes());
        let dists = root.join(&base).join("dists/trixie");
        let (signed, plain) = (dists.join("InRelease"), dists.join("Release"));
        signer.gpg(&[
            "--clearsign",
            "--output",
            signed.to_str().unwrap(),
            plain.to_str().unwrap(),
        ]);
    }
    write("rabbitmq-server/debian/trixie/pool/here.deb", deb);
}

/// Serves files over HTTP until the test program ends.
fn serve(root: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || answer(stream, &root));
        }
    });
    address
}

/// One request a connection.
fn answer(mut stream: TcpStream, root: &Path) -> Option<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&buffer[..n]);
    }
    let request = String::from_utf8(request).ok()?;
    // apt writes `~` as it is, or as `%7e`.
    let path = request.split(' ').nth(1)?.trim_start_matches('/').replace("%7e", "~");
    let file = std::fs::read(root.join(path)).ok();
    let status = if file.is_some() { "200 OK" } else { "404 Not Found" };
    let body = file.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

/// An authority and what it signed, for each node; all on this machine.
fn certificates(desk: &Desk, nodes: &[Node]) -> PathBuf {
    let marker = desk.file("tls", "");
    let dir = Path::new(&marker).with_file_name("certificates");
    std::fs::create_dir(&dir).unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let (ca, ca_key) = (path("ca.pem"), path("ca.key"));
    let own = [
        "req",
        "-x509",
        "-subj",
        "/CN=an authority",
        "-days",
        "2",
        "-out",
        &ca,
        "-keyout",
        &ca_key,
    ];
    run("openssl", &[&own[..], &ec].concat());
    for node in nodes {
        let name = node.name.as_str();
        let (certificate, key) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
        let signed = [
            "req", "-x509", "-subj", &subject, "-addext", &names, "-days", "2", "-CA", &ca, "-CAkey", &ca_key,
        ];
        let usage = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let out = ["-out", &certificate, "-keyout", &key];
        run("openssl", &[&signed[..], &usage, &out, &ec].concat());
    }
    dir
}

struct Stage {
    lab: Lab,
    nodes: Vec<Node>,
    desk: Desk,
    inventory: String,
}

impl Stage {
    fn run(&self, command: &str, playbook: &str, more: &[&str]) -> Ran {
        let arguments = [&[command, playbook, "-i", &self.inventory], more, &JSON].concat();
        self.desk.run(&arguments)
    }

    fn root(&self, node: &Node, command: &str) -> String {
        on(&self.lab, node, "root", command)
    }

    fn installed(&self, node: &Node) -> String {
        self.root(
            node,
            "dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null || echo none",
        )
    }
}

pub fn from_files_of_others() {
    let lab = fresh(Wanted {
        nodes: 2,
        release: Release::Trixie,
        bare: true,
    });
    let (desk, nodes) = (Desk::new(), lab.nodes().unwrap());
    let given = certificates(&desk, &nodes);
    let given = given.to_str().unwrap();
    let hosts: String = nodes
        .iter()
        .map(|n| format!("        {}: {{ansible_host: {}}}\n", n.name, n.address))
        .collect();
    let inventory = desk.file(
        "hosts.yml",
        &format!(
            "
all:
  vars: {{ansible_user: root, ansible_ssh_common_args: -F {}}}
  children:
    rabbitmq:
      hosts:
{hosts}      vars:
        rabbitmq_disk_free_limit_bytes: 200000000
        rabbitmq_settings: {{vm_memory_high_watermark.relative: 0.4}}
        tuning_nofile: 16384
        rabbitmq_cluster_nodes: [rabbit@mq-1, rabbit@mq-2]
        tls_files: {{ca: {given}/ca.pem, certificate: '{given}/{{{{ inventory_hostname }}}}.pem', key: '{given}/{{{{ inventory_hostname }}}}.key'}}
        rabbitmq_tls: {{cacertfile: /etc/rabbitmq/tls/ca.pem, certfile: /etc/rabbitmq/tls/certificate.pem, keyfile: /etc/rabbitmq/tls/key.pem}}
        cluster_plugins: [rabbitmq_prometheus, rabbitmq_shovel]
        objects_feature_flags: true
",
            lab.ssh_config()
        ),
    );
    let stage = Stage {
        lab,
        nodes,
        desk,
        inventory,
    };
    refused(&stage, given);
    let uri = repository(&stage);
    site(&stage, &uri, given);
}

/// What cannot be had or does not fit ends the run before anything is installed.
fn refused(stage: &Stage, given: &str) {
    let ran = stage.run("apply", "playbooks/bootstrap.yml", &["-e", "bootstrap_version=9.9.9"]);
    says(
        &ran.ended(2).stdout,
        &["there is no version `9.9.9` of `rabbitmq-server`, only `4.0."],
    );
    let mixed = format!("{{\"tls_files\": {{\"certificate\": \"{given}/mq-1.pem\", \"key\": \"{given}/mq-2.key\"}}}}");
    for command in ["diff", "apply", "verify"] {
        let ran = stage.run(command, "playbooks/bootstrap.yml", &["-e", &mixed]);
        says(
            &ran.ended(2).stdout,
            &["the private key is not that of the certificate", "mq-2.key"],
        );
    }
    for node in &stage.nodes {
        assert_eq!(stage.installed(node), "none");
        assert_eq!(
            stage.root(node, "test -e /etc/rabbitmq && echo there || echo none"),
            "none"
        );
    }
}

/// A signed repository, by each form of a key; returns where it is.
fn repository(stage: &Stage) -> String {
    let first = &stage.nodes[0];
    let stanza = stage.root(
        first,
        &format!("sh -c '{}' sh '{VERSION}'", REPACK.replace('\'', "'\\''")),
    );
    let deb = ssh(&stage.lab, "root", &first.name, "cat /root/here.deb")
        .output()
        .unwrap()
        .stdout;
    let signer = Signer::new("here");
    let marker = stage.desk.file("served", "");
    let root = Path::new(&marker).with_file_name("repository");
    publish(&root, &signer, &(stanza + "\n"), &deb);
    let uri = format!("http://{}", serve(root));

    let (right, wrong) = (stage.desk.file("right.asc", &signer.public()), Signer::new("another"));
    let wrong = stage.desk.file("wrong.asc", &wrong.public());
    let play = stage.desk.file("repository.yml", REPOSITORY);
    let attempt = |file: &str, key: &str, state: &str| {
        let values = serde_json::json!({
            "uri": format!("{uri}/rabbitmq-server/debian/trixie"), "file": file, "key": key, "state": state,
        });
        stage.run("apply", &play, &["-e", &values.to_string()])
    };
    let text = "{{ lookup('file', file) }}";
    let candidate = "apt-cache policy rabbitmq-server | grep -c 'rabbitmq-server/debian/trixie trixie/main' || true";
    for key in [text, "/usr/share/keyrings/here.asc", &format!("{uri}/key.asc")] {
        let report = attempt(&right, key, "present").ended(0).report();
        assert_eq!(report.status("the repository", "mq-1"), "changed", "{key}");
        assert_eq!(stage.root(first, candidate), "1", "{key}");
        let again = attempt(&right, key, "present").ended(0).report();
        assert_eq!(again.status("the repository", "mq-1"), "ok", "{key}");
    }
    for (key, said) in [
        (text, "OpenPGP signature verification failed"),
        (
            &format!("{uri}/nothing.asc"),
            "nothing.asc` cannot be fetched: 404  Not Found",
        ),
    ] {
        let ran = attempt(&wrong, key, "present").ended(2);
        says(&ran.stdout, &[said]);
    }
    attempt(&right, text, "absent").ended(0);
    let left = stage.root(first, "ls /etc/apt/sources.list.d /etc/apt/keyrings");
    assert!(!left.contains("tried-here"), "{left}");
    uri
}

fn site(stage: &Stage, uri: &str, given: &str) {
    let values = serde_json::json!({
        "bootstrap_source": "rabbitmq.com", "bootstrap_rabbitmq_com": [uri], "bootstrap_version": "4.0.5-1~*",
        "bootstrap_rabbitmq_com_key": format!("{uri}/key.asc"),
    });
    let values = values.to_string();
    // The kernel's settings are another test's.
    let run = |command: &str, more: &[&str]| {
        stage.run(
            command,
            "playbooks/site.yml",
            &[&["-e", &values, "--skip-tags", "tuning"], more].concat(),
        )
    };
    // A node that begins with few feature flags, as one that was upgraded has them.
    for node in &stage.nodes {
        let few = "mkdir -p /etc/rabbitmq && echo FEATURE_FLAGS=quorum_queue >/etc/rabbitmq/rabbitmq-env.conf";
        stage.root(node, few);
    }
    let predicted = run("diff", &[]).ended(0).report();
    let applied = run("apply", &["--diff"]).ended(0);
    let report = applied.report();
    for (section, task, host, result) in report.results() {
        let before = predicted.status(task, host);
        let after = report.status(task, host);
        assert!(
            before == after || before == "unknown",
            "{section} {task} on {host}: {before}, {after}: {result:#}"
        );
    }
    let flags = "objects : every stable feature flag is enabled";
    assert_eq!(report.status(flags, "mq-1"), "changed");
    assert_eq!(report.statuses("cluster : plugins", &["mq-1", "mq-2"]), ["changed"; 2]);
    let flags = stage.root(
        &stage.nodes[1],
        "rabbitmqctl -q list_feature_flags name state stability",
    );
    let off = flags.lines().filter(|l| l.contains("disabled") && l.contains("stable"));
    assert_eq!(off.count(), 0, "{flags}");

    let key = |name: &str| std::fs::read_to_string(format!("{given}/{name}.key")).unwrap();
    for node in &stage.nodes {
        let name = node.name.as_str();
        let secret = key(name);
        assert!(
            !applied.stdout.contains(secret.lines().nth(1).unwrap()),
            "the key of {name} is shown"
        );
        assert_eq!(stage.installed(node), VERSION);
        assert_eq!(stage.root(node, "cat /etc/rabbitmq/tls/key.pem"), secret.trim_end());
        assert_eq!(
            stage.root(node, "stat -c '%a %U %G' /etc/rabbitmq/tls/key.pem"),
            "640 root rabbitmq"
        );
        let enabled = stage.root(node, "rabbitmq-plugins -q list --minimal --enabled");
        says(&enabled, &["rabbitmq_prometheus", "rabbitmq_shovel"]);
        let tls = format!(
            "openssl s_client -connect {}:5671 -servername {name} -verify_hostname {name} -verify_return_error \
             -CAfile {given}/ca.pem </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256",
            node.address
        );
        let own = run_sh(&format!(
            "openssl x509 -noout -fingerprint -sha256 -in {given}/{name}.pem"
        ));
        assert_eq!(run_sh(&tls), own, "{name} shows another certificate");
    }

    let again = run("apply", &[]).ended(0).report();
    assert_eq!(again.changes(), Default::default());
    run("diff", &["--detailed-exitcode"]).ended(0);

    // A cluster that runs is neither upgraded by the way nor given a certificate that does not fit.
    let ran = run("apply", &["-e", "bootstrap_version=4.0.5-6*"]);
    says(
        &ran.ended(2).stdout,
        &["RabbitMQ is installed in another version than rabbitmq-server=4.0.5-6*"],
    );
    let mixed = format!("{{\"tls_files\": {{\"certificate\": \"{given}/mq-1.pem\", \"key\": \"{given}/mq-2.key\"}}}}");
    run("apply", &["-e", &mixed]).ended(2);
    for node in &stage.nodes {
        assert_eq!(stage.installed(node), VERSION);
        assert_eq!(
            stage.root(node, "cat /etc/rabbitmq/tls/key.pem"),
            key(&node.name).trim_end()
        );
    }
}

fn run_sh(script: &str) -> String {
    run("sh", &["-c", script])
}
