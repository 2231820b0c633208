# shellcheck shell=sh disable=SC2034,SC3013
# The target's half of a call. wire.rs puts these functions in front of the calls of one request, all inside
# `{ ...; exit; }` on the standard input of sh, so that a cut transfer runs nothing.
#
# The answer is a sequence of records: a header line that starts with the marker $M (random for each call), then
# what the header announces: words ended by NUL (no variable of a shell can hold one), or bytes of files and
# streams ended by a line with the marker alone. $T is the prefix of temporary files, made when first needed.
# Process starts and new files are what a call costs on the target: everything here that can be a builtin is one, and
# looks make no files but for what a foreign command says.

# Leaves room for what the login shell, the environment or an rc file may have set.
begin() {
  M=$1 P=$2 T='' mask=022 nl='
'
  home=${HOME:-/}
  IFS=' 	
'
  unset ENV CDPATH GREP_OPTIONS POSIXLY_CORRECT QUOTING_STYLE
  export LC_ALL=C PATH="${PATH:-/usr/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  trap cleanup EXIT
  trap 'exit 129' HUP INT TERM PIPE
  # Another user than the one who logged in may not be allowed where that one begins.
  [ -x . ] || cd /
  say begin
}

say() { printf '%s %s\n' "$M" "$*"; }
word() { printf '%s\0' "$1"; }

finish() {
  cleanup
  trap - EXIT
  say end
  exit 0
}

cleanup() {
  [ -z "$T" ] || rm -f -- "$T".*
  T=''
}

# where NAME: sets at to the file that runs NAME. (`command -v` would need a process to catch its answer.)
where() {
  rest=$PATH:
  while [ -n "$rest" ]; do
    at=${rest%%:*}/$1 rest=${rest#*:}
    [ -f "$at" ] && [ -x "$at" ] && return 0
  done
  at=''
  return 1
}

# need NAME...: the host cannot serve the request without these.
need() {
  missing=''
  for name; do where "$name" || missing="$missing $name"; done
  [ -z "$missing" ] && return
  say missing "$missing"
  finish
}

# A tool that is there and does not give the known answer.
broken() {
  say broken "$1"
  finish
}

is_busybox() {
  where busybox || return 1
  box=$at
  where "$1" && [ "$at" -ef "$box" ]
}

# Makes the prefix T, and T.m, the file that separates others: a name nobody can guess, opened with O_EXCL, 0600.
temporaries() {
  umask 077
  set -C
  for room in "${TMPDIR:-/tmp}" /tmp /dev/shm /var/tmp /run "$home"; do
    T=$room/.rmqplay.$M
    { printf '%s\n' "$M" >"$T.m"; } 2>/dev/null && break
    # On a full disk it may be there, empty.
    [ ! -e "$T.m" ] || rm -f -- "$T.m"
    T=''
  done
  set +C
  [ -n "$T" ] && return
  say notemp
  finish
}

# gone PATH: surely nothing there, for want of an entry and not of a permission.
gone() {
  up=$1
  while :; do
    case $up in
    */*[!/]*) up=${up%/*} ;;
    /*) return 0 ;;
    *) up=. ;;
    esac
    [ -n "$up" ] || up=/
    if [ -d "$up" ]; then
      [ -x "$up" ]
      return
    fi
    if [ -e "$up" ] || [ -L "$up" ] || [ "$up" = . ]; then return 0; fi
  done
}

# absent WORDS: does the kernel say that there is nothing?
absent() {
  case $1 in
  *': No such file or directory' | *': Not a directory') ;;
  *) return 1 ;;
  esac
}

# What a tool said, without its name and the path: the kernel's words.
last() { bad="$bad${1##*: }$nl"; }

# ---- stat

F='%f:%u:%g:%s:%Y:%X:%Z:%i:%d:%h:%U:%G:%b:%o:%t:%T'

# stats HOW PATH...: HOW has a letter per path, L to follow a link at its end, - to look at the link itself. Answers a
# flag per path (- absent, + there, l a link, f there by a link that was followed, ! refused), a line per + or l, a line
# per f, a line of words per !, then the links' targets. The root directory comes along as the known answer.
stats() {
  hows=$1
  shift
  stats_at_once "$@" || stats_one_by_one "$@"
  say stat "$flags"
  printf '%s%s%s' "$lines" "$follows" "$bad"
  for path; do
    case $flags in
    l*)
      readlink -n -- "$path" 2>/dev/null
      word ''
      ;;
    esac
    flags=${flags#?}
  done
}

# What is no link is the same followed or not: one process for all of it.
stats_at_once() {
  flags='' bad='' lines='' follows='' how=$hows
  for path; do
    flag=+
    if [ -L "$path" ]; then
      case $how in -*) flag=l ;; *) flag=f ;; esac
    fi
    if [ "$flag" != l ] && [ ! -e "$path" ]; then
      [ "$flag" = + ] && gone "$path" || return
      flag=-
    fi
    flags=$flags$flag how=${how#?}
  done
  case $flags in *[+l]*)
    lines=$(stat_all '[+l]' '' "$@") || return
    case $lines in 4???:*"$nl"*) ;; *) return 1 ;; esac
    lines=${lines#*"$nl"}$nl
    ;;
  esac
  case $flags in *f*)
    follows=$(stat_all f -L "$@") || return
    case $follows in 4???:*"$nl"*) ;; *) return 1 ;; esac
    follows=${follows#*"$nl"}$nl
    ;;
  esac
}

# stat_all FLAGS OPTION PATH...: ends the subshell it is called in with a `stat` of the paths that have one of the flags.
stat_all() {
  wanted=$1 option=$2 rest=$flags
  shift 2
  left=$#
  while [ "$left" -gt 0 ]; do
    # shellcheck disable=SC2254
    case $rest in $wanted*) set -- "$@" "$1" ;; esac
    shift
    rest=${rest#?} left=$((left - 1))
  done
  exec stat ${option:+"$option"} -c "$F" -- / "$@" 2>/dev/null
}

stats_one_by_one() {
  case $(stat -c "$F" -- / 2>/dev/null) in 4???:*) ;; *) broken stat ;; esac
  flags='' bad='' lines='' follows='' how=$hows
  for path; do
    case $how in L*) line=$(stat -L -c "$F" -- "$path" 2>&1) ;; *) line=$(stat -c "$F" -- "$path" 2>&1) ;; esac
    case $?:$line in
    0:a*) flags=${flags}l lines=$lines$line$nl ;;
    0:*) flags=$flags+ lines=$lines$line$nl ;;
    *) if absent "$line"; then flags=$flags-; else flags=$flags! && last "$line"; fi ;;
    esac
    how=${how#?}
  done
}

# ---- read

# reads MAX PATH...: flags as above, words, then the bytes of each + (at most MAX + 1), by one process for all: `head`
# puts a line with the path before each, and the path is said in a way ($P, random slashes and dots) that no content
# can hold; /dev/null is the end of the last. Between two empty words stands what became of a glob: its flags stand in
# brackets (+, and x for what is there and cannot be read), and its names come after the words. (The `read` of dash and busybox asks for one byte at a time, and /proc/sys
# answers only the first: not exact.) If that process fails, `again` says so and each file comes as a record of its own.
reads() {
  max=$(($1 + 1)) flags='' bad='' globbing=']'
  shift
  for path; do
    if [ -z "$path" ]; then
      case $globbing in ']') globbing='[' ;; *) globbing=']' ;; esac
      flags=$flags$globbing
    elif [ "$globbing" = ']' ]; then
      readable "$path"
      flags=$flags$flag
    elif [ -f "$path" ] && [ -r "$path" ]; then
      flags=$flags+
    elif [ -e "$path" ] || [ -L "$path" ]; then
      flags=${flags}x
    else
      # A pattern that matches nothing stays as it is.
      flags=$flags.
    fi
  done
  say read "$flags"
  printf %s "$bad"
  for path; do
    case $flags in
    +*) set -- "$@" "$path" ;;
    [[]*) globbing='[' ;;
    ]*) globbing=']' ;;
    esac
    [ "$globbing" = ']' ] || case $flags in [+x]*) word "$path" ;; esac
    shift
    flags=${flags#?}
  done
  if [ $# -eq 0 ] || headed "$max" "$@"; then
    say ok
  else
    say again
    for path; do reread "$path"; done
  fi
}

# headed MAX PATH...
headed() {
  most=$1
  shift
  for path; do
    case $path in
    /*) set -- "$@" "/$P$path" ;;
    *) set -- "$@" "./$P$path" ;;
    esac
    shift
  done
  head -v -c "$most" -- "$@" "/$P/dev/null" 2>/dev/null </dev/null
}

readable() {
  if [ -f "$1" ] && [ -r "$1" ]; then
    flag=+
  elif [ -f "$1" ]; then
    flag=! bad="${bad}Permission denied$nl"
  elif [ -d "$1" ]; then
    flag=! bad="${bad}Is a directory$nl"
  elif [ -e "$1" ]; then
    flag=! bad="${bad}not a regular file$nl"
  elif [ ! -L "$1" ] && gone "$1"; then
    flag=-
  else
    said=$(head -c 1 -- "$1" 2>&1 >/dev/null)
    if absent "$said"; then flag=-; else flag=! && last "$said"; fi
  fi
}

# One file: the bytes go to a file first, for a record must not begin before it is sure to end well.
reread() {
  bad=''
  [ -n "$T" ] || temporaries
  if said=$( (head -c "$max" -- "$1" >|"$T.r") 2>&1); then
    say file +
    cat -- "$T.r" "$T.m"
  elif absent "$said"; then
    say file -
  else
    last "$said"
    say file !
    printf %s "$bad"
  fi
}

# ---- hash

# hashes TOOL EMPTY PATH...: flags, a line per +, words per !. EMPTY is the hash of nothing, the known answer.
hashes() {
  tool=$1 empty=$2
  shift 2
  if ! where "$tool"; then
    for path; do bad="$bad$tool: not found$nl" flags=$flags!; done
    hashed
    return
  fi
  hashes_at_once "$@" || hashes_one_by_one "$@"
  hashed
}

hashed() {
  say hash "$flags"
  printf '%s%s' "$lines" "$bad"
  flags='' bad='' lines=''
}

hashes_at_once() {
  flags='' bad='' lines='' left=$#
  while [ "$left" -gt 0 ]; do
    if [ -f "$1" ]; then
      flags=$flags+
      set -- "$@" "$1"
    elif [ -e "$1" ] || { [ ! -L "$1" ] && gone "$1"; }; then
      flags=$flags-
    else
      return 1
    fi
    # A name with a line break would take two lines of the answer.
    case $1 in *"$nl"*) return 1 ;; esac
    shift
    left=$((left - 1))
  done
  [ $# -gt 0 ] || return 0
  lines=$("$tool" -- /dev/null "$@" 2>/dev/null) || return 1
  case $lines in "$empty "*) ;; *) return 1 ;; esac
  lines=${lines#*"$nl"}$nl
}

hashes_one_by_one() {
  case $("$tool" </dev/null 2>/dev/null) in "$empty "*) ;; *) broken "$tool" ;; esac
  flags='' bad='' lines=''
  for path; do
    if [ -e "$path" ] && [ ! -f "$path" ]; then
      flags=$flags-
    elif line=$("$tool" -- "$path" 2>&1); then
      # Its name is not wanted, and may hold anything.
      line=${line%% *} flags=$flags+ lines=$lines$line$nl
    elif absent "$line"; then
      flags=$flags-
    else
      flags=$flags!
      last "$line"
    fi
  done
}

# ---- glob

# globbed PATH...: what a pattern became; the shell leaves a pattern that matches nothing as it is.
globbed() {
  if [ $# -eq 1 ] && [ ! -e "$1" ] && [ ! -L "$1" ]; then shift; fi
  say glob $#
  [ $# -eq 0 ] || printf '%s\0' "$@"
}

# ---- exec

# Streams of commands go to files: a daemon that keeps them open keeps nobody waiting.

# limits: finds out how to limit a command's time.
limits() {
  where timeout
  timeout=$at kills_group=yes
  if is_busybox timeout; then
    kills_group=''
    [ -n "$T" ] || temporaries
  fi
}

# run LIMIT COMMAND...: ends the subshell it is called in. LIMIT in seconds, 0: none.
run() {
  limit=$1
  shift
  if [ "$limit" -eq 0 ]; then
    exec "$@"
  elif [ -n "$kills_group" ]; then
    exec "$timeout" -k 2 "$limit" "$@"
  else
    run_watched "$@"
  fi
}

# busybox's timeout ends one process, not its group.
run_watched() {
  exec 3<&0
  setsid "$@" <&3 3<&- &
  child=$!
  # shellcheck disable=SC2016
  setsid sh -c 'sleep "$1"; >"$3"; kill -TERM -- "-$2"; sleep 2; kill -KILL -- "-$2"' \
    sh "$limit" "$child" "$T.late" </dev/null >/dev/null 2>&1 3<&- &
  watch=$!
  wait "$child"
  rc=$?
  # Its group, and itself should it not have made one yet: it must not fire at a process id that is used again.
  kill -KILL -- "-$watch" 2>/dev/null
  kill -KILL "$watch" 2>/dev/null
  [ -e "$T.late" ] || exit "$rc"
  kill -KILL -- "-$child" 2>/dev/null
  rm -f -- "$T.late"
  exit 124
}

# Commands expect another locale and other file modes than we need for parsing and for secrets.
surroundings() {
  umask "$mask"
  if [ -d /usr/lib/locale/C.utf8 ]; then LC_ALL=C.UTF-8; fi
}

# outer LIMIT COMMAND...: sets rc.
outer() {
  (surroundings && run "$@") </dev/null >|"$T.o" 2>|"$T.e"
  rc=$?
}

# Bytes of a stream that travel: of what an op said, of what a look told.
CAP=1048576 LOOK_CAP=16777216

# executed: the record of what ran: status, are there streams, start and end by the clock of /proc/uptime.
executed() {
  if [ -s "$T.o" ] || [ -s "$T.e" ]; then
    say exec "$rc" + "$1" "$2"
    head -q -c $((CAP + 1)) -- "$T.o" "$T.m" "$T.e" "$T.m"
  else
    say exec "$rc" - "$1" "$2"
  fi
}

uptime_now() { read -r now _ </proc/uptime 2>/dev/null || now=0; }

# clock: the time of day that goes with an uptime, so that no command needs a `date` of its own.
clock() {
  uptime_now
  say clock "$(date +%s.%N)" "$now"
  mask=$(umask)
}

probes=0 told=0 records=''

# probe HOW COMMAND...: one of several looks by commands; `probed` answers for all, with one process for their streams.
probe() {
  probes=$((probes + 1))
  uptime_now
  start=$now
  (surroundings && "$@") </dev/null >|"$T.o$probes" 2>|"$T.e$probes"
  rc=$?
  uptime_now
  if [ -s "$T.o$probes" ] || [ -s "$T.e$probes" ]; then
    printf '%s%s exec %s + %s %s\n' "$records" "$M" "$rc" "$start" "$now" >|"$T.h$probes"
    records=''
  else
    records="$records$M exec $rc - $start $now$nl"
  fi
}

# fed BASE64 COMMAND...: gives it something to read, which is in no process's arguments.
fed() {
  input=$1
  shift
  base64 -d <<EOF | "$@"
$input
EOF
}

probed() {
  end=$probes
  set --
  while [ "$probes" -gt "$told" ]; do
    [ ! -e "$T.h$probes" ] || set -- "$T.h$probes" "$T.o$probes" "$T.m" "$T.e$probes" "$T.m" "$@"
    probes=$((probes - 1))
  done
  [ $# -eq 0 ] || head -q -c $((LOOK_CAP + 1)) -- "$@"
  printf %s "$records"
  probes=$end told=$end records=''
}

# tcp LIMIT HOST PORT, by the first of these that the host has.
tcp() {
  # shellcheck disable=SC2016
  if where bash; then
    quiet "$1" "$at" -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$2" "$3"
  elif where nc; then
    quiet "$1" "$at" -z -w "$1" "$2" "$3"
  elif where python3; then
    quiet "$1" "$at" -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])))' "$2" "$3"
  else
    rc='?'
  fi
  say tcp "$rc"
}

quiet() {
  (run "$@") </dev/null >/dev/null 2>&1
  rc=$?
}

# ---- script

# script TEXT ARGUMENT...: runs a look of ours as its own process would, without the process. It cannot hang and starts
# nothing that stays, so what it says goes its way at once, and only what it says on standard error waits.
script() {
  text=$1
  shift
  say script
  { said=$(eval "$text" 2>&1 >&3 3>&-); } 3>&1 </dev/null
  rc=$?
  say exec "$rc"
  printf '%s%s\n' "$said" "$M"
}
