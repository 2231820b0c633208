#!/usr/bin/env python3
"""Measures rmqplay beside `ssh HOST true`, Ansible and pyinfra on N loopback sshd hosts, all in one run.

Needs root (it starts sshd) and OpenSSH. See README.md beside this file.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENV = ROOT / "target/bench/venv"
PINNED = ["ansible==12.3.0", "pyinfra==3.10.0"]  # ansible 12 is ansible-core 2.19 and its collections
# What pyinfra's SSH client (paramiko) asks for first. OpenSSH asks for a post-quantum exchange, which costs the client more.
PYINFRA_KEX = "curve25519-sha256@libssh.org"
TASKS = 30
KEYS = [
    line.split(":", 1)[1].strip()
    for line in (HERE / "play.yml").read_text().splitlines()
    if line.strip().startswith("name: ") and "." in line.split(":", 1)[1]
]


def install():
    """Ansible and pyinfra, once."""
    stamp = VENV / "stamp"
    if stamp.exists() and stamp.read_text() == " ".join(PINNED):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PINNED], check=True)
    stamp.write_text(" ".join(PINNED))


def kernel():
    """What the kernel has now: the play asks for no other value."""
    return {key: Path("/proc/sys", key.replace(".", "/")).read_text().split()[0] for key in KEYS}


def write(path, text):
    path.write_text(text)
    return path


class Fleet:
    """sshd hosts n1...nN on 127.0.N.M, each with a configuration, keys and a directory of its own."""

    def __init__(self, count):
        # A short path: it holds control sockets.
        self.dir = Path(tempfile.mkdtemp(prefix="rmqb", dir="/tmp"))
        self.names = [f"n{number}" for number in range(1, count + 1)]
        self.servers = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.key(self.dir / "id")
        Path("/run/sshd").mkdir(exist_ok=True)
        known = []
        for number, name in enumerate(self.names, 1):
            place = self.dir / name
            place.mkdir()
            self.key(place / "host_key")
            address = f"127.0.{1 + number // 250}.{number % 250 + 1}"
            public = (place / "host_key.pub").read_text()
            known.append(f"[{address}]:{self.port} {public}")
            config = write(
                place / "sshd_config",
                f"ListenAddress {address}:{self.port}\nHostKey {place}/host_key\n"
                f"AuthorizedKeysFile {self.dir}/id.pub\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
                f"PermitRootLogin yes\nPidFile none\nMaxStartups 200:30:400\nMaxSessions 50\n"
                # What this machine's root runs at login (bash reads ~/.bashrc under sshd) is not to be measured.
                f"SetEnv HOME={place}\nSubsystem sftp internal-sftp\n",
            )
            command = ["/usr/sbin/sshd", "-D", "-f", config, "-E", place / "log"]
            self.servers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        self.known = write(self.dir / "known_hosts", "".join(known))
        options = (
            f"Port {self.port}\nUser root\nIdentityFile {self.dir}/id\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {self.known}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n"
            "BatchMode yes\n"
        )
        self.addresses = {
            name: line.split("]")[0][1:] for name, line in zip(self.names, known, strict=True)
        }
        blocks = "".join(f"Host {n}\nHostName {a}\n" for n, a in self.addresses.items())
        self.config = write(self.dir / "ssh_config", f"{blocks}Host *\n{options}")
        for address in self.addresses.values():
            self.wait_for(address)
        self.write_inventories()

    @staticmethod
    def key(path):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)

    def wait_for(self, address):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                socket.create_connection((address, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit(f"sshd does not listen on {address}: {(self.dir / 'n1/log').read_text()}")

    def write_inventories(self):
        """One for rmqplay and Ansible, unchanged; one for pyinfra. `tool` keeps their directories apart."""
        inventory = {
            "all": {
                "hosts": {name: {} for name in self.names},
                "vars": {
                    "ansible_ssh_common_args": f"-F {self.config}",
                    "place": f"{self.dir}/{{{{ inventory_hostname }}}}/{{{{ tool }}}}",
                    "kernel": kernel(),
                    # Not looked for, which Ansible would do again for each host and run.
                    "ansible_python_interpreter": str(VENV / "bin/python"),
                },
            }
        }
        self.inventory = write(self.dir / "inventory.yml", json.dumps(inventory, indent=1))
        hosts = [
            (
                name,
                {
                    "ssh_hostname": address,
                    "ssh_port": self.port,
                    "ssh_user": "root",
                    "ssh_key": f"{self.dir}/id",
                    "ssh_known_hosts_file": str(self.known),
                    "ssh_strict_host_key_checking": "yes",
                    "ssh_config_file": "/dev/null",
                    "ssh_allow_agent": False,
                    "ssh_look_for_keys": False,
                    "place": f"{self.dir}/{name}/pyinfra",
                    "templates": str(HERE / "templates"),
                    "kernel": {key: int(value) for key, value in kernel().items()},
                    "everyone": self.names,
                },
            )
            for name, address in self.addresses.items()
        ]
        self.pyinfra_inventory = write(self.dir / "inventory.py", f"hosts = {hosts!r}\n")

    def forget(self, tool):
        """Hosts as if `tool` had never been there."""
        for name in self.names:
            shutil.rmtree(self.dir / name / tool, ignore_errors=True)

    def close(self):
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def timed(command, env=None, cwd=None):
    """Seconds, user and system CPU seconds, standard output."""
    before = os.times()
    begin = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=cwd, check=False)
    seconds = time.monotonic() - begin
    after = os.times()
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stdout.decode(errors='replace')[-4000:]}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return seconds, cpu, done.stdout


def fan_out(commands):
    """All at once; seconds until the last has ended."""
    begin = time.monotonic()
    running = [
        subprocess.Popen(c, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for c in commands
    ]
    for process in running:
        said = process.communicate()[1]
        if process.returncode != 0:
            sys.exit(f"{process.args}: {said.decode()}")
    return time.monotonic() - begin


class Tools:
    def __init__(self, fleet, binary):
        self.fleet = fleet
        self.binary = binary
        self.count = len(fleet.names)
        (fleet.dir / "run").mkdir(mode=0o700)
        self.env = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(fleet.dir / "run"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_FORKS": str(self.count),
            "ANSIBLE_HOME": str(fleet.dir / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "PATH": f"{VENV}/bin:{os.environ['PATH']}",
        }

    def ssh(self, *options):
        return [["ssh", "-F", self.fleet.config, *options, name, "true"] for name in self.fleet.names]

    def ssh_cold(self):
        return fan_out(self.ssh())

    def ssh_warm(self):
        return fan_out(self.ssh("-S", f"{self.fleet.dir}/run/%n"))

    def masters(self, up):
        how = ["-M", "-N", "-f"] if up else ["-O", "exit"]
        for name in self.fleet.names:
            command = ["ssh", "-F", self.fleet.config, "-S", f"{self.fleet.dir}/run/%n", *how, name]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rmqplay_command(self, *options):
        play = ["apply", HERE / "play.yml", "-i", self.fleet.inventory, "-e", "tool=rmqplay"]
        return [self.binary, *play, "-f", str(self.count), "--format", "json", *options]

    def rmqplay(self, *options):
        """Seconds, CPU seconds and what the report says."""
        seconds, cpu, said = timed(self.rmqplay_command(*options), self.env)
        return seconds, cpu, json.loads(said)

    @staticmethod
    def end_masters(directory):
        """Ends the masters whose sockets are there."""
        for path in directory.glob("*"):
            if path.is_socket():
                command = ["ssh", "-F", "/dev/null", "-S", path, "-O", "exit", "master"]
                subprocess.run(command, stderr=subprocess.DEVNULL, check=True)

    def end_persistent(self):
        self.end_masters(self.fleet.dir / "run/rmqplay")

    def ansible(self):
        # Without the masters of the run before: cold, as the others.
        self.end_masters(self.fleet.dir / "ansible/cp")
        play = [HERE / "play.yml", "-i", self.fleet.inventory, "-e", "tool=ansible"]
        return timed([VENV / "bin/ansible-playbook", *play], self.env)[0]

    def pyinfra(self, first=False):
        deploy = [self.fleet.pyinfra_inventory, HERE / "deploy.py", "--data", f"first={first}"]
        options = ["-y", "--parallel", str(self.count)]
        return timed([VENV / "bin/pyinfra", *options, *deploy], self.env, self.fleet.dir)[0]

    def peak_memory(self):
        """High-water mark of the controller alone, in bytes: its ssh processes are others."""
        process = subprocess.Popen(self.rmqplay_command("--no-persist"), stdout=subprocess.DEVNULL, env=self.env)
        peak = 0
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            lines = status.read_text().splitlines()
            peak = max([peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))])
            time.sleep(0.002)
        return peak


def counts(report, key):
    return [timing[key] for timing in report["timing"].values()]


def changes(report):
    return [stats["changed"] for stats in report["stats"].values()]


def measure(binary, count, rounds, slow_rounds):
    fleet = Fleet(count)
    try:
        tools = Tools(fleet, binary)
        seen = {}

        def note(name, value):
            seen.setdefault(name, []).append(value)

        tools.rmqplay("--no-persist")
        tools.pyinfra(first=True)
        if slow_rounds:
            note("ansible first", tools.ansible())
        arguments = f"-F {fleet.config} -o KexAlgorithms={PYINFRA_KEX}"
        as_pyinfra = ["-e", json.dumps({"ansible_ssh_common_args": arguments})]
        for number in range(rounds):
            note("ssh cold", tools.ssh_cold())
            tools.end_persistent()
            seconds, cpu, report = tools.rmqplay("--no-persist")
            assert set(changes(report)) == {0}, "not converged"
            note("cold", seconds)
            note("cpu", cpu)
            note("trips", max(counts(report, "round_trips")))
            tools.masters(up=True)
            note("ssh warm", tools.ssh_warm())
            tools.masters(up=False)
            tools.rmqplay()
            seconds, cpu, report = tools.rmqplay()
            note("warm", seconds)
            note("warm cpu", cpu)
            note("trips", max(counts(report, "round_trips")))
            tools.end_persistent()
            fleet.forget("rmqplay")
            seconds, _, report = tools.rmqplay("--no-persist")
            note("first", seconds)
            note("first trips", max(counts(report, "round_trips")))
            note("first changes", min(changes(report)))
            seconds, _, report = tools.rmqplay("--no-persist", *as_pyinfra)
            assert set(changes(report)) == {0}, "not converged"
            note("cold, kex of pyinfra", seconds)
            note("pyinfra", tools.pyinfra())
            if number < slow_rounds:
                note("ansible", tools.ansible())
        seen["memory"] = [tools.peak_memory()]
        return seen
    finally:
        fleet.close()


def simulate(binary, hosts, plays, rounds):
    """CPU seconds (one thread) of `--simulate`, where every host is new; the play once, or a second time, converged."""
    values = "".join(f"      {key}: '{value}'\n" for key, value in kernel().items())
    with tempfile.TemporaryDirectory() as directory:
        inventory = write(
            Path(directory) / "inventory.yml",
            f"all:\n  hosts:\n    n[00001:{hosts:05}]:\n  vars:\n    place: /tmp/bench\n    kernel:\n{values}",
        )
        command = [binary, "apply", *[HERE / "play.yml"] * plays, "--simulate", "-i", inventory]
        return statistics.median(timed(command)[1] for _ in range(rounds))


def row(what, value, target="", met=None):
    verdict = {True: "yes", False: "**no**", None: ""}[met]
    print(f"| {what} | {value} | {target} | {verdict} |", flush=True)


def table(count, seen):
    mid = {name: statistics.median(values) for name, values in seen.items()}
    print(f"\n### {count} host{'s' if count > 1 else ''}\n\n| | measured | target | met |\n| --- | --- | --- | --- |")
    row("`ssh HOST true`, cold", f"{mid['ssh cold']:.3f} s")
    ratio = mid["cold"] / mid["ssh cold"]
    row("rmqplay converged, cold", f"{mid['cold']:.3f} s = {ratio:.2f} x ssh", "≤ 1.25 x", ratio <= 1.25)
    row("`ssh HOST true`, over a master", f"{mid['ssh warm']:.3f} s")
    ratio = mid["warm"] / mid["ssh warm"]
    row("rmqplay converged, warm", f"{mid['warm']:.3f} s = {ratio:.2f} x ssh", "≤ 2 x", ratio <= 2)
    trips = max(seen["trips"])
    row("round trips a host, converged", trips, "1", trips == 1)
    first, changed = max(seen["first trips"]), min(seen["first changes"])
    row("rmqplay first apply, cold", f"{mid['first']:.3f} s")
    row("its round trips a host", f"{first} for {changed} changes", "≤ 1 + changes", first <= 1 + changed)
    if "ansible" in mid:
        ratio = mid["ansible"] / mid["cold"]
        row("ansible-playbook first apply", f"{mid['ansible first']:.1f} s")
        row("ansible-playbook converged", f"{mid['ansible']:.1f} s = {ratio:.0f} x rmqplay", "≥ 10 x", ratio >= 10)
    name = "cold, kex of pyinfra"
    row("rmqplay converged, cold, pyinfra's key exchange", f"{mid[name]:.3f} s")
    ratio = mid["pyinfra"] / mid[name]
    row("pyinfra converged", f"{mid['pyinfra']:.1f} s = {ratio:.1f} x rmqplay, same key exchange", "≥ 4 x", ratio >= 4)
    others = {"with OpenSSH's": "cold", "over kept connections": "warm"}
    others = (f"{mid['pyinfra'] / mid[name]:.1f} x {what}" for what, name in others.items())
    row("", ", ".join(others))
    row("controller CPU a host, cold (with its ssh children)", f"{mid['cpu'] / count * 1000:.1f} ms")
    row("controller CPU a host, warm", f"{mid['warm cpu'] / count * 1000:.1f} ms")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--hosts", default="1,10,50", help="numbers of hosts, ascending")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--slow-rounds", type=int, default=1, help="rounds that run Ansible too")
    options.add_argument("--simulated", default="100,1000,5000", help="hosts of `--simulate`; empty: none")
    options.add_argument("--binary", type=Path, default=ROOT / "target/release/rmqplay")
    options = options.parse_args()
    if not options.binary.exists():
        sys.exit("first: cargo build --release")
    # Its servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    install()
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "")
    ssh = subprocess.run(["ssh", "-V"], stderr=subprocess.PIPE, check=True).stderr.decode().split(",")[0]
    print(f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}, {ssh}, {', '.join(PINNED)}; medians of "
          f"{options.rounds} rounds (Ansible: {options.slow_rounds}), interleaved; load "
          f"{os.getloadavg()[0]:.1f} at the start.", flush=True)
    memory = {}
    for count in map(int, options.hosts.split(",")):
        seen = measure(options.binary, count, options.rounds, options.slow_rounds)
        table(count, seen)
        memory[count] = seen["memory"][0]
    least, most = min(memory), max(memory)
    if most > least:
        each = (memory[most] - memory[least]) / (most - least) / 1e6
        row("controller memory a host, beyond ssh processes", f"{each:.2f} MB", "≤ 4 MB", each <= 4)
    if options.simulated:
        print("\n### `--simulate`, CPU time per host-task\n\n| | first apply | converged | target | met |")
        print("| --- | --- | --- | --- | --- |")
        for hosts in map(int, options.simulated.split(",")):
            once = simulate(options.binary, hosts, 1, 3)
            again = simulate(options.binary, hosts, 2, 3) - once
            first, again = (seconds / hosts / TASKS * 1e6 for seconds in (once, again))
            # The limit is for 1,000 hosts; the others show whether it is linear.
            target, met = "", ""
            if hosts == 1000:
                target, met = "≤ 50 µs", "yes" if max(first, again) <= 50 else "**no**"
            print(f"| {hosts} hosts | {first:.0f} µs | {again:.0f} µs | {target} | {met} |", flush=True)


if __name__ == "__main__":
    main()
