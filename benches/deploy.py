"""The tasks of play.yml as pyinfra has them: its operations where there is one, else lines of a file."""

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import files, server

place = host.data.place
kernel = host.data.kernel

files.directory(name="directory", path=place, mode="755")

for key in (
    "vm.swappiness",
    "vm.dirty_ratio",
    "vm.dirty_background_ratio",
    "vm.overcommit_memory",
    "vm.max_map_count",
    "fs.file-max",
    "net.core.somaxconn",
    "net.core.netdev_max_backlog",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_max_syn_backlog",
):
    server.sysctl(
        name=f"kernel {key}",
        key=key,
        value=kernel[key],
        persist=True,
        persist_file=f"{place}/sysctl.conf",
    )

# `server.security_limit` knows /etc/security/limits.conf only.
for item, value in (("nofile", "65536"), ("nproc", "32768"), ("memlock", "unlimited"), ("core", "0")):
    for kind in ("soft", "hard"):
        files.line(
            name=f"limit {kind} {item}",
            path=f"{place}/limits.conf",
            line=f"^rabbitmq {kind} {item} ",
            replace=f"rabbitmq {kind} {item} {value}",
        )

for name in ("rabbitmq.conf", "advanced.config", "rabbitmq-env.conf"):
    files.template(
        name=f"template {name}",
        src=f"{host.data.templates}/{name}.j2",
        dest=f"{place}/{name}",
        mode="644",
        inventory_hostname=host.name,
        groups={"all": host.data.everyone},
        kernel=kernel,
    )

files.line(name="line of the editor", path=f"{place}/profile", line="export EDITOR=vi")
files.line(
    name="line of the proxy",
    path=f"{place}/profile",
    line="^export no_proxy=",
    replace="export no_proxy=localhost",
)

if host.get_fact(File, path=f"{place}/once") is None:
    server.shell(name="command with creates", commands=[f"touch {place}/once"])

# A stat with its assert; on the first run the file is not there yet when pyinfra looks.
if not host.data.first:
    assert host.get_fact(File, path=f"{place}/rabbitmq.conf")

files.file(name="mode", path=f"{place}/profile", mode="640")
