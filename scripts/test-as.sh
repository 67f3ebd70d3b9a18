#!/usr/bin/env bash
# Runs jest, as root, for a user without rights, and from a copy of the checkout, the only one that this user can see.
#
#   scripts/test-as.sh ordinary [JEST-ARGUMENT]...    a user without an entry in /etc/passwd
#   scripts/test-as.sh delegated [JEST-ARGUMENT]...   another one, in a cgroup v2 directory that is delegated to that user
#   scripts/test-as.sh subordinate [JEST-ARGUMENT]... one with an entry in /etc/passwd, and 65,536 ids in /etc/subuid and
#                                                     /etc/subgid, which this script adds and removes, and in one of these groups
#
# Without arguments, `ordinary` runs all tests, `delegated` runs those that depend on cgroups and the attacks, and
# `subordinate` those that depend on such ids.
# AGENT_VM_TEST_USER=root runs the programs of most tests as root of their VMs, with the ids that AGENT_VM_TEST_IDS names
# (__test__/fixture/test-user.js).
# JEST_OUTPUT names a file to write jest's counts to, as JSON.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# The tests of what differs for a server with a cgroup of its own: families, limits, background processes, ends, and
# attacks on all of these.
delegated_tests=(
    __test__/attacks/ __test__/bombs. __test__/cgroups. __test__/limits- __test__/stats. __test__/doctor. __test__/prebooted.
    __test__/exec __test__/context- __test__/process- __test__/spawn- __test__/shell- __test__/dispose __test__/faults- __test__/server-ends.
    __test__/init- __test__/identity. __test__/isolation. __test__/soak. __test__/snapshots. __test__/snapshots-running. __test__/disk.
)

# The tests of what differs for a server whose user has ids to give.
subordinate_tests=(
    __test__/id-range. __test__/root-range. __test__/root-inside. __test__/attacks/root-range. __test__/attacks/groups.
    __test__/attacks/starting-programs.
)

fail() {
    echo "scripts/test-as.sh: $*" >&2
    exit 1
}

kind=${1:-}
case $kind in
ordinary) uid=1500 ;;
delegated) uid=1501 ;;
subordinate) uid=1502 ;;
*) fail "the first argument must be \"ordinary\", \"delegated\" or \"subordinate\", not \"$kind\"" ;;
esac
shift
[ "$(id -u)" -eq 0 ] || fail "only root can run the tests as another user"

# Of the groups that the VMs of this user have: a file of that group shows whether anything inside has the server's rights.
groups=--clear-groups
[ "$kind" != subordinate ] || groups=--groups=1200000042

work=$(mktemp -d /tmp/agent-vm-test-as.XXXXXX) || exit 1
delegated=
added_user=

# No process of the runner may be left. The directories below are of VMs that a failed test left.
remove_delegated() {
    local attempt
    for attempt in $(seq 100); do
        find "$delegated" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs --no-run-if-empty kill -KILL 2>/dev/null
        find "$delegated" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$delegated" ] || return 0
        sleep 0.1
    done
    echo "scripts/test-as.sh: $delegated cannot be removed" >&2
    return 1
}

clean_up() {
    local status=$?
    [ -z "$delegated" ] || remove_delegated || status=1
    if [ -n "$added_user" ]; then
        # A user with processes is not removed.
        pkill -KILL -u "$uid"
        userdel "$added_user" || status=1
    fi
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# Makes a delegated cgroup v2 directory, as the kernel's documentation describes (admin-guide/cgroup-v2, "Delegation"),
# and in it one for the server. Sets `delegated`.
delegate() {
    local mount controller
    # Fields of a line: 5 is the mount point; the type is after a hyphen, which optional fields precede.
    mount=$(awk '{ for (i = 7; i < NF; i++) if ($i == "-") { if ($(i + 1) == "cgroup2") print $5; break } }' /proc/self/mountinfo | head -n 1)
    [ -n "$mount" ] || fail "cgroup v2 is not mounted; mount it: mount -t cgroup2 none /sys/fs/cgroup/unified"
    # A directory can give its children only the controllers that it has. If processes run in this one, only a root
    # cgroup can.
    for controller in memory cpu pids; do
        if grep -qw "$controller" "$mount/cgroup.controllers" && ! grep -qw "$controller" "$mount/cgroup.subtree_control"; then
            echo "+$controller" >"$mount/cgroup.subtree_control" || fail "the controller $controller of $mount cannot be enabled for directories in it"
        fi
    done
    delegated=$(mktemp -d "$mount/agent-vm-test-as.XXXXXX") || fail "$mount is not writable"
    chmod 755 "$delegated"
    for controller in memory cpu pids; do
        if grep -qw "$controller" "$delegated/cgroup.controllers"; then
            echo "+$controller" >"$delegated/cgroup.subtree_control" || fail "the controller $controller of $delegated cannot be enabled for directories in it"
        fi
    done
    chown "$uid:$uid" "$delegated" "$delegated"/cgroup.{procs,threads,subtree_control} || fail "$delegated cannot be delegated"
    as_user mkdir "$delegated/server" || fail "$delegated is not the user's"
}

# Adds the user with subordinate ids. `useradd` may give them or not, which /etc/login.defs says.
add_subordinate() {
    local table option name=agent-vm-subordinate
    # A run that was killed has left it.
    if [ "$(id -un "$uid" 2>/dev/null)" != "$name" ]; then
        getent passwd "$uid" >/dev/null && fail "uid $uid exists: remove the user $(id -un "$uid")"
        added_user=$name
        useradd --no-create-home --user-group --uid "$uid" "$name" || exit 1
    fi
    added_user=$name
    for table in subuid subgid; do
        option=--add-${table}s
        grep -q "^$added_user:" "/etc/$table" || usermod "$option" 1200000000-1200065535 "$added_user" || exit 1
    done
}

# env -i: the variables of an npm run name root's directories.
as_user() {
    env -i ${AGENT_VM_TEST_USER:+AGENT_VM_TEST_USER="$AGENT_VM_TEST_USER"} \
        ${AGENT_VM_TEST_IDS:+AGENT_VM_TEST_IDS="$AGENT_VM_TEST_IDS"} CI=true LANG=C.UTF-8 HOME="$work/home" TMPDIR="$work/tmp" \
        PATH="${node%/*}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin" \
        setpriv --reuid="$uid" --regid="$uid" "$groups" --inh-caps=-all "$@"
}

# Runs a command as the user, in the server's cgroup if there is one.
in_place() (
    cd "$work/checkout" || exit 1
    if [ -n "$delegated" ]; then
        echo "$BASHPID" >"$delegated/server/cgroup.procs" || fail "a process cannot be moved into $delegated/server"
    fi
    as_user "$@"
)

node=$(readlink -f "$(command -v node)")
chmod 755 "$work"
mkdir "$work/checkout" "$work/home" "$work/tmp"
tar --create --exclude=./target --exclude=./fuzz/target --exclude=./bench/node_modules --exclude=./.git --exclude=./dist-tarballs . | tar --extract --directory "$work/checkout" || exit 1
chmod -R a+rX "$work/checkout"
chown -R "$uid:$uid" "$work/home" "$work/tmp"

if [ "$kind" = subordinate ]; then
    add_subordinate
    [ $# -gt 0 ] || set -- "${subordinate_tests[@]}"
elif [ "$kind" = delegated ]; then
    delegate
    # Otherwise the tests would only show what an ordinary user has without delegation.
    in_place "$node" -e '
        require("./index.js").AgentVm.doctor().then(({ checks }) => {
            const { ok, detail } = checks.find(({ name }) => name === "cgroup");
            if (!ok) throw new Error(`the delegated cgroup is not used: ${detail}`);
        });' || exit 1
    [ $# -gt 0 ] || set -- "${delegated_tests[@]}"
fi

in_place "$node" node_modules/jest/bin/jest.js "$@" --json --outputFile="$work/tmp/jest.json"
status=$?
[ -z "${JEST_OUTPUT:-}" ] || cp "$work/tmp/jest.json" "$JEST_OUTPUT"
exit "$status"
