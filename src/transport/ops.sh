# shellcheck shell=sh disable=SC2154,SC2034,SC3013
# Ops of peer.sh: sent only with a request that has any. Each ends with one record (done, failed, refused) and a
# status; the caller stops at the first that is not 0. Content comes as base64 on the function's standard input.

did() { say 'done'; }

fail() {
  say failed
  word "$1"
  return 1
}

# try COMMAND...: a failure ends the op with the host's own words.
try() { said=$("$@" 2>&1 >/dev/null </dev/null) || fail "$said"; }

# The known answer of base64.
can_decode() {
  # Lets a decoder that ignores what it does not know show itself.
  [ "$(printf 'eHl6\nenk=\n' | base64 -d 2>/dev/null)" = xyzzy ] || broken base64
}

there() { [ -e "$1" ] || [ -L "$1" ]; }

# resolve PATH: sets p, with symlinks at its end followed (also to what is not there), and its directory dir.
resolve() {
  case $1 in
  /*) p=$1 ;;
  *) p=./$1 ;;
  esac
  hops=0
  while [ -L "$p" ]; do
    hops=$((hops + 1))
    [ "$hops" -le 40 ] || fail "$1: Too many levels of symbolic links" || return
    # The dot keeps line breaks at the end of a name.
    to=$(readlink -n -- "$p" && echo .) || fail "$1: cannot read the symbolic link" || return
    case $to in
    /*) p=${to%.} ;;
    *) p=${p%/*}/${to%.} ;;
    esac
  done
  dir=${p%/*}
  [ -n "$dir" ] || dir=/
  [ -d "$p" ] && { fail "$1: Is a directory" || return; }
  [ -d "$dir" ] || fail "$dir: no such directory"
}

# digest: sets found to the hash of the file at p.
digest() {
  if [ -f "$p" ]; then
    found=$(sha256sum <"$p" 2>&1)
    found=${found%% *}
  elif there "$p"; then
    found='not a regular file'
  else
    found=absent
  fi
}

guarded() {
  [ -n "$guard" ] || return 0
  digest
  [ "$found" = "$guard" ] && return
  say refused
  word "$found"
  return 1
}

# op_write PATH MODE OWNER:GROUP GUARD BACKUP [VALIDATE...]; what is '' was not given.
op_write() {
  resolve "$1" || return
  mode=$2 owner=$3 guard=$4 backup=$5
  shift 5
  keep=yes
  replace decoded "$@"
}

# op_copy SOURCE PATH GUARD
op_copy() {
  source=$1 guard=$3 mode='' owner='' backup=''
  resolve "$2" || return
  [ -f "$source" ] || fail "$source: not a regular file" || return
  keep=yes
  replace copied
}

decoded() { base64 -d >|"$new"; }
copied() { cat -- "$source" >|"$new" </dev/null; }

# replace FILLER [VALIDATE...]: fills a new file beside p and puts it in p's place.
replace() {
  # Part of the marker only: a command that checks the file says its name, which must not look like the end of what it says.
  new=$dir/.rmqplay.${M%????????}
  fill=$1
  shift
  if stage "$@" && guarded && backed_up && placed; then
    did
  else
    rm -f -- "$new"
    return 1
  fi
}

stage() {
  said=$( (set -C && true >"$new") 2>&1) || fail "$dir: ${said##*: }" || return
  if [ -z "$keep" ] || [ ! -e "$p" ]; then
    fresh=yes
    [ -n "$mode" ] || mode=0644
  elif is_busybox cp; then
    fresh=''
    try cp -p -- "$p" "$new" || return
  else
    fresh=''
    try cp --attributes-only --preserve=all -- "$p" "$new" || return
  fi
  said=$("$fill" 2>&1) || fail "$said" || return
  if [ -n "$owner" ]; then try chown -- "$owner" "$new" || return; fi
  if [ -n "$mode" ]; then try chmod -- "$mode" "$new" || return; fi
  [ $# -eq 0 ] || validated "$@"
}

# validated COMMAND...: with %s replaced by the new file's path.
validated() {
  left=$#
  while [ "$left" -gt 0 ]; do
    todo=$1 filled=''
    while :; do
      case $todo in
      *%s*) filled=$filled${todo%%%s*}$new todo=${todo#*%s} ;;
      *) break ;;
      esac
    done
    set -- "$@" "$filled$todo"
    shift
    left=$((left - 1))
  done
  outer "$op_limit" "$@"
  [ "$rc" -eq 0 ] && return
  executed 0 0
  fail "validation failed with exit status $rc"
}

backed_up() {
  [ -n "$backup" ] && [ -e "$p" ] || return 0
  if is_busybox cp; then try cp -p -- "$p" "$backup"; else try cp --preserve=all -- "$p" "$backup"; fi || return
  try sync -- "$backup"
}

placed() {
  try sync -- "$new" || return
  if said=$(mv -f -- "$new" "$p" 2>&1); then
    if [ -n "$fresh" ] && [ -e /sys/fs/selinux/enforce ] && where restorecon; then "$at" -- "$p" >/dev/null 2>&1; fi
    try sync -- "$dir"
    return
  fi
  case $said in
  *busy*) in_place ;;
  *) fail "$said" ;;
  esac
}

# A bind mount cannot be replaced, only written.
in_place() {
  said=$( (cat -- "$new" >"$p") 2>&1 </dev/null) || fail "$said" || return
  if [ -n "$owner" ]; then try chown -- "$owner" "$p" || return; fi
  if [ -n "$mode" ]; then try chmod -- "$mode" "$p" || return; fi
  try rm -f -- "$new" && try sync -- "$p"
}

# op_put PATH: /proc and /sys take a value in one write, and their answer is the error of that write.
op_put() {
  if [ ! -e "$1" ]; then
    fail "$1: No such file or directory" || return
  fi
  base64 -d >|"$T.p" && said=$( (cat -- "$T.p" >"$1") 2>&1 </dev/null) || fail "$said" || return
  did
}

# op_mkdir PATH MODE OWNER:GROUP PARENTS
op_mkdir() {
  if [ ! -d "$1" ]; then
    umask 022
    if [ -n "$4" ]; then try mkdir -p -- "$1"; else try mkdir -- "$1"; fi || {
      umask 077
      return 1
    }
    umask 077
  fi
  if [ -n "$3" ]; then try chown -- "$3" "$1" || return; fi
  if [ -n "$2" ]; then try chmod -- "$2" "$1" || return; fi
  did
}

# op_link PATH TARGET HARD FORCE: a forced link replaces what is there in one step.
op_link() {
  there "$1" && [ -z "$4" ] && { fail "$1: File exists" || return; }
  if [ -d "$1" ] && [ ! -L "$1" ]; then try rmdir -- "$1" || return; fi
  case $1 in
  */*) new=${1%/*}/.rmqplay.${M%????????} ;;
  *) new=./.rmqplay.${M%????????} ;;
  esac
  if [ -n "$3" ]; then try ln -- "$2" "$new"; else try ln -s -- "$2" "$new"; fi || return
  # busybox's mv would follow it.
  if [ -L "$1" ] && [ -d "$1" ] && is_busybox mv; then rm -f -- "$1"; fi
  # Two names of one file: rename would leave both.
  if [ -n "$3" ] && [ "$1" -ef "$new" ]; then
    rm -f -- "$new"
  elif ! try mv -f -T -- "$new" "$1"; then
    rm -f -- "$new"
    return 1
  fi
  did
}

# op_remove PATH RECURSIVE
op_remove() {
  case $1 in
  *[!/]*) ;;
  *) fail 'the root directory is not removed' || return ;;
  esac
  if [ -n "$2" ]; then
    try rm -rf -- "$1" || return
  elif [ -d "$1" ] && [ ! -L "$1" ]; then
    try rmdir -- "$1" || return
  else
    try rm -f -- "$1" || return
  fi
  did
}

op_chmod() { try chmod -- "$2" "$1" && did; }

# op_chown PATH OWNER:GROUP FOLLOW
op_chown() {
  if [ -n "$3" ]; then try chown -- "$2" "$1"; else try chown -h -- "$2" "$1"; fi && did
}

# op_touch PATH ATIME MTIME
op_touch() {
  umask 022
  touched "$@"
  rc=$?
  umask 077
  [ "$rc" -eq 0 ] && did
}

touched() {
  if [ -n "$2" ]; then try touch -a -d "@$2" -- "$1"; else try touch -a -- "$1"; fi || return
  if [ -n "$3" ]; then try touch -m -d "@$3" -- "$1"; else try touch -m -- "$1"; fi
}

# op_exec LIMIT CWD OK INPUT N NAME=VALUE... COMMAND...: N assignments; OK is a list of statuses, '' for any.
op_exec() {
  limit=$1 cwd=$2 ok=" $3 " in=/dev/null count=$5
  if [ -n "$4" ]; then
    in=$T.i
    said=$( (base64 -d >|"$in") 2>&1) || fail "$said" || return
  fi
  shift 5
  if [ -n "$cwd" ] && ! (cd "$cwd") 2>/dev/null; then
    fail "$cwd: no such directory, or no permission" || return
  fi
  uptime_now
  start=$now
  (
    surroundings
    while [ "$count" -gt 0 ]; do
      # shellcheck disable=SC2163
      export "$1"
      shift
      count=$((count - 1))
    done
    if [ -n "$cwd" ]; then cd "$cwd" || exit; fi
    run "$limit" "$@"
  ) <"$in" >|"$T.o" 2>|"$T.e"
  rc=$?
  uptime_now
  executed "$start" "$now"
  case $ok in
  '  ' | *" $rc "*) ;;
  *) return 1 ;;
  esac
}
