#!/usr/bin/env bash
# Runs the attacks with the programs of VMs as root inside, as root, on both kinds of server and with both kinds of ids.
#
#   scripts/root-attacks.sh [--short] [KIND]... [-- JEST-ARGUMENT...]
#
# Each KIND is a server and ids: root-range, root-single, subordinate-range (an ordinary user with subordinate ids),
# ordinary-single. Without any, all four run. Without arguments for jest, all attacks run; with --short, those in which it matters
# who runs inside, and not only what it sends to the server.
# JEST_OUTPUT_DIRECTORY names a directory for the counts of each run, as jest-root-attacks-KIND.json.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

tests=(__test__/attacks/)
if [ "${1:-}" = --short ]; then
    tests=(
        __test__/attacks/{as-root,core-dumps,descriptors-of-init,doors,host-wide,init,kernel-counters,kept-zombies}.
        __test__/attacks/{neighbours,process-limit,set-id,starting-programs,stopped-starts,sys,system-calls,working-directory}.
    )
    shift
fi
kinds=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    kinds+=("$1")
    shift
done
[ $# -eq 0 ] || shift
[ ${#kinds[@]} -gt 0 ] || kinds=(root-range root-single subordinate-range ordinary-single)
[ $# -gt 0 ] || set -- "${tests[@]}"
[ "$(id -u)" -eq 0 ] || {
    echo "scripts/root-attacks.sh: only root can run the tests as other users" >&2
    exit 1
}

export AGENT_VM_TEST_USER=root AGENT_VM_TEST_IDS
failed=()
for kind in "${kinds[@]}"; do
    server=${kind%-*} AGENT_VM_TEST_IDS=${kind##*-}
    output=${JEST_OUTPUT_DIRECTORY:+$JEST_OUTPUT_DIRECTORY/jest-root-attacks-$kind.json}
    echo "=== attacks as root inside: $kind"
    case $kind in
    root-range | root-single) npx jest "$@" ${output:+--json --outputFile="$output"} ;;
    subordinate-range | ordinary-single) JEST_OUTPUT=$output scripts/test-as.sh "$server" "$@" ;;
    *)
        echo "scripts/root-attacks.sh: a kind is root-range, root-single, subordinate-range or ordinary-single, not \"$kind\"" >&2
        exit 1
        ;;
    esac || failed+=("$kind")
done
[ ${#failed[@]} -eq 0 ] || {
    echo "failed: ${failed[*]}"
    exit 1
}
