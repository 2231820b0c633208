# shellcheck shell=sh disable=SC2154
# What host/facts.rs reads: files as they are, by one process for all, then the answers of a few commands.

facts() {
  set -- /etc/os-release /usr/lib/os-release /etc/debian_version /etc/redhat-release /etc/alpine-release \
    /etc/hosts /etc/passwd /etc/machine-id /etc/selinux/config /etc/lsb-release /etc/localtime /etc/resolv.conf \
    /etc/ssh/ssh_host_*_key.pub /proc/sys/crypto/fips_enabled \
    /proc/sys/kernel/hostname /proc/sys/kernel/osrelease /proc/sys/kernel/version /proc/sys/kernel/ostype \
    /proc/sys/kernel/arch /proc/meminfo /proc/cpuinfo /proc/uptime /proc/loadavg /proc/mounts /proc/cmdline \
    /run/systemd/container /proc/1/comm /proc/1/environ /proc/1/cgroup /proc/modules "/proc/$$/status" "/proc/$$/environ" "/proc/$$/mountinfo" \
    /sys/class/net/*/address /sys/class/net/*/mtu /sys/class/net/*/operstate /sys/class/net/*/type \
    /sys/class/net/*/speed /sys/class/net/*/flags /sys/class/net/*/bridge/bridge_id /sys/class/net/*/bonding/mode \
    /sys/block/*/size /sys/block/*/removable /sys/block/*/device/vendor /sys/block/*/device/model \
    /sys/block/*/device/serial /sys/block/*/queue/rotational /sys/block/*/queue/scheduler \
    /sys/block/*/queue/read_ahead_kb /sys/block/*/queue/logical_block_size /sys/block/*/queue/hw_sector_size \
    /sys/block/*/*/partition /sys/block/*/*/start /sys/block/*/*/size /sys/block/*/dm/name \
    /sys/class/dmi/id/*_name /sys/class/dmi/id/*_vendor /sys/class/dmi/id/*_version /sys/class/dmi/id/*_date \
    /sys/class/dmi/id/*_serial /sys/class/dmi/id/*_asset_tag /sys/class/dmi/id/product_uuid \
    /sys/fs/selinux/enforce /sys/fs/selinux/policyvers /etc/ansible/facts.d/*.fact
  parts "$@"
  part exists existing
  part id id
  part date date '+%s.%N|%Z|%z|%Y-%m-%d|%H|%M|%S|%A|%w|%u|%W|%V|%j'
  [ -f /proc/sys/kernel/arch ] || part machine uname -m
  where ip && {
    part addr ip -o addr show
    part route4 ip -4 route get 8.8.8.8
    part route6 ip -6 route get 2404:6800:400a:800::1012
  }
  where hostname && part fqdn within 3 hostname -f
  part statfs mounted
  for path in /etc/ansible/facts.d/*.fact; do
    if [ -f "$path" ] && [ -x "$path" ]; then program "$path"; fi
  done
  say enough
}

# parts PATH...: the bytes of those that can be read, each after its path.
parts() {
  left=$#
  while [ "$left" -gt 0 ]; do
    # What a fact that is a program says is the fact, not its text.
    case $1 in *.fact) [ ! -x "$1" ] ;; esac && [ -f "$1" ] && [ -r "$1" ] && set -- "$@" "$1"
    shift
    left=$((left - 1))
  done
  say facts
  headed 8388608 "$@"
}

# part NAME COMMAND...
part() {
  say part "$1"
  shift
  "$@" 2>/dev/null </dev/null
  printf '%s\n' "$M"
}

within() { (run "$@"); }

# program PATH: what it says, and its status unless that is 0.
program() {
  status=0
  part "$1" graded 10 "$1"
  [ "$status" -eq 0 ] || part "$1 status" printf '%s' "$status"
}

graded() { within "$@" || status=$?; }

# Paths whose being there tells a package manager, a service manager or a kind of virtual machine.
existing() {
  for path in /usr/bin/apt-get /usr/bin/dnf /usr/bin/dnf-3 /usr/bin/dnf5 /usr/bin/yum /usr/bin/zypper \
    /usr/bin/pacman /sbin/apk /usr/bin/apk /usr/bin/emerge /usr/sbin/swupd /opt/local/bin/port \
    /run/systemd/system /dev/.run/systemd /dev/.systemd /sbin/openrc /sbin/runit-init /sbin/upstart /etc/init.d \
    /.dockerenv /.dockerinit /run/.containerenv /proc/xen /proc/xen/capabilities /proc/vz /proc/bc \
    /proc/device-tree /dev/kvm /sys/firmware/efi /sys/fs/selinux/enforce /sys/kernel/security/apparmor /usr/bin/lsb_release /sys/fs/cgroup/cgroup.controllers \
    /sys/block/* /sys/block/*/holders/* /etc/ansible/facts.d/*.fact; do
    if [ -e "$path" ]; then printf '%s\n' "$path"; fi
  done
}

# Sizes of the file systems on devices and servers; a server that does not answer must not hold the rest.
mounted() {
  set --
  while read -r device point _; do
    case $device in
    /* | *:/*) case $point in *\\*) ;; *) set -- "$@" "$point" ;; esac ;;
    esac
  done </proc/mounts
  [ $# -eq 0 ] || within 5 stat -f -c '%s %S %b %f %a %c %d %n' -- "$@"
}
