#!/bin/sh
# Runs a command as root for a caller who is root. In this machine root and `user` are one id, so no program becomes root by itself.
fail() {
  printf 'sudo: %s\n' "$1" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "no command becomes root by itself: this is an agent-vm machine with a single id. Its owner can run \
this one as root: exec(command, { user: \"root\" })"

require_root() {
  case $1 in
    root | 0 | '#0') ;;
    *) fail "there is no user $1 to become: this is an agent-vm machine with a single id, whose root is the only other user" ;;
  esac
}

shell=
while [ $# -gt 0 ]; do
  case $1 in
    --) shift && break ;;
    -u | --user) require_root "${2-}" && shift ;;
    -u?*) require_root "${1#-u}" ;;
    --user=*) require_root "${1#--user=}" ;;
    -s | --shell) shell=1 ;;
    -i | --login) shell=1 && cd "$HOME" ;;
    -k | -K | -v | --validate | --reset-timestamp) [ $# -gt 1 ] || exit 0 ;;
    -n | -E | -H | -S | -nE | -En | -nH | -EH | --non-interactive | --preserve-env | --preserve-env=* | --set-home | --stdin) ;;
    -*) fail "the option $1 has no meaning in this machine" ;;
    [A-Za-z_]*=*) export "$1" ;;
    *) break ;;
  esac
  shift
done
if [ -n "$shell" ]; then
  [ $# -gt 0 ] || exec "${SHELL:-/bin/sh}"
  exec "${SHELL:-/bin/sh}" -c "$*"
fi
[ $# -gt 0 ] || fail "give it a command"
exec "$@"
