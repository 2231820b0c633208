# shellcheck shell=sh disable=SC2154
# Becoming another user with a password. $1 is a token, random for each call, the rest the command that asks for it and
# then runs a shell, which says `TOKEN hello` on standard error and skips what it reads up to `TOKEN go`. The password
# comes in $password, the script for that shell on standard input.

become() {
  token=$1
  shift
  exec 3<&0 4>&1
  umask 077
  for room in "${TMPDIR:-/tmp}" /tmp /dev/shm /var/tmp /run "${HOME:-/}"; do
    pipe=$room/.rmqplay.$token
    mkfifo -- "$pipe" 2>/dev/null && break
    pipe=''
  done
  if [ -z "$pipe" ]; then
    echo 'no room for a named pipe' >&2
    exit 1
  fi
  trap 'rm -f -- "$pipe"' EXIT
  trap 'exit 129' HUP INT TERM PIPE
  "$@" <"$pipe" 2>&1 >&4 3<&- 4>&- | feed
}

# Sends the password, once: at a second prompt the input ends, lest the script be taken for more passwords and an account
# be locked for too many. Sends the script when the shell says hello.
feed() {
  exec 5>"$pipe" 4>&-
  rm -f -- "$pipe"
  printf '%s\n' "$password" >&5
  prompts=0
  while IFS= read -r line; do
    case $line in
    *"$token hello")
      printf '%s go\n' "$token" >&5
      cat <&3 >&5
      exec 5>&-
      ;;
    *"$token prompt")
      prompts=$((prompts + 1))
      [ "$prompts" -lt 2 ] || exec 5>&-
      ;;
    *) printf '%s\n' "$line" >&2 ;;
    esac
  done
}
