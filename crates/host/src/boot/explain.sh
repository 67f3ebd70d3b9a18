#!/bin/sh
# Explains what this machine is, in place of a command that it lacks or that cannot work in it. A program of that name that the
# machine does have runs for what it can do.
name=${0##*/}
real=
set -f
IFS=:
for directory in $PATH; do
  file=${directory:-.}/$name
  if [ -f "$file" ] && [ -x "$file" ] && ! [ "$file" -ef "$0" ]; then
    real=$file
    break
  fi
done
unset IFS
set +f

explain() {
  printf '%s: %s\n' "$name" "$1" >&2
  [ -n "$real" ] && exit 1
  exit 127
}

if [ -n "$real" ]; then
  case ${1-} in
    --version | -V | --help | -h) exec "$real" "$@" ;;
  esac
fi

case $name in
  node)
    # A program of that name that the host has is no Node.js: the server looked.
    real=
    explain "there is no Node.js: this is an agent-vm machine, whose server runs on another runtime and found no Node.js on its \
PATH. The owner of this machine can install Node.js where its server runs, or mount a directory that has it"
    ;;
  apt | apt-get | aptitude | dnf | yum | zypper | apk | pacman | snap)
    changes=
    for word do
      case $word in
        install | reinstall | remove | purge | autoremove | autopurge | update | upgrade | *-upgrade | build-dep | satisfy | \
        clean | autoclean | edit-sources | download | source | add | del | fix | refresh | downgrade | in | rm | up | dup | \
        -[SRU]*) changes=1 ;;
      esac
    done
    [ -n "$real" ] && [ -z "$changes" ] && exec "$real" "$@"
    explain "cannot install system packages: this is an agent-vm machine, without root and with a read-only /usr. Use npm, pip or \
cargo, or put a program into ~/.local/bin; the owner of this machine can add programs to it, or \
make one with rootfs and user: 'root'"
    ;;
  sudo | su | doas)
    explain "no command can become root: this is an agent-vm machine, whose only user is ${USER:-user}. Run the command without \
$name; all below $HOME and /tmp is yours. Its owner can make one with user: 'root'"
    ;;
  docker | docker-compose | podman)
    if [ -n "$real" ]; then
      # A daemon elsewhere, or one whose socket was shown to this machine.
      [ -n "${DOCKER_HOST-}${DOCKER_CONTEXT-}${CONTAINER_HOST-}" ] && exec "$real" "$@"
      case $0 in /opt/node/explain/*) [ -S /var/run/docker.sock ] && exec "$real" "$@" ;; esac
      [ -d "${DOCKER_CONFIG:-${HOME-}/.docker}/contexts" ] && exec "$real" "$@"
      case ${1-} in -H* | --host* | -c | --context* | context | --remote* | --url* | -v | version | help) exec "$real" "$@" ;; esac
    fi
    explain "cannot run containers: this is an agent-vm machine, isolated itself and without a container daemon. Run the program \
directly in it; the owner of this machine can give it the root of an image (rootfs)"
    ;;
  systemctl | service)
    case $0 in /opt/node/explain/*) [ -n "$real" ] && [ -n "${1-}" ] && [ -x "/etc/init.d/$1" ] && exec "$real" "$@" ;; esac
    explain "there are no system services: this is an agent-vm machine, without systemd. Start the program itself in the background, \
as in: redis-server &"
    ;;
esac
explain "cannot work here: this is an agent-vm machine"
