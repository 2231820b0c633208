#!/bin/sh
# Installs what the tests need, as root on Debian or Ubuntu: packages with apt, and Ansible (the oracle) with the
# python-debian that a module of it wants, pyinfra (for the benchmark) and pika (the client that rolling changes must
# not disturb) into target/oracle with pip. Quick when all of it is there.
set -eu
cd "$(dirname "$0")/.."

ansible='ansible-core==2.19.14'
pyinfra='pyinfra==3.10.0'
pika='pika==1.3.2'
debian='python-debian==1.1.1'
packages='openssh-server openssh-client busybox dash zsh fish sudo systemd-container mmdebstrap debian-archive-keyring
  iproute2 nftables e2fsprogs shellcheck python3-venv gpg gpg-agent openssl'

missing=
for package in $packages; do
  # shellcheck disable=SC2016 # dpkg-query expands ${...} itself
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || state=
  [ "$state" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "tests/setup.sh: run as root, to install:$missing" >&2
    exit 1
  fi
  echo "installing:$missing"
  export DEBIAN_FRONTEND=noninteractive
  # Starting an sshd on this machine is not the tests' business: they start their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  apt-get -qq update
  # shellcheck disable=SC2086 # a list of words
  apt-get -qq install --yes --no-install-recommends $missing
fi

# sshd refuses to start without it; where systemd does not run, nobody makes it.
if [ ! -d /run/sshd ] && [ "$(id -u)" -eq 0 ]; then
  mkdir -m 755 /run/sshd
fi

oracle=target/oracle
# The stamp says what was installed completely; it changes with the versions wanted here.
stamp="$ansible $pyinfra $pika $debian"
if [ "$(cat $oracle/stamp 2>/dev/null)" != "$stamp" ] || ! $oracle/bin/ansible --version >/dev/null 2>&1; then
  echo "installing into $oracle: $stamp"
  rm -rf $oracle
  python=python3
  # ansible-core 2.19 needs Python 3.11.
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "tests/setup.sh: $ansible needs Python 3.11 or newer, this is $("$python" --version)" >&2
    exit 1
  }
  "$python" -m venv $oracle
  $oracle/bin/pip install --quiet --disable-pip-version-check "$ansible" "$pyinfra" "$pika" "$debian"
  echo "$stamp" >$oracle/stamp
fi
