# The text that bash sources again and again, in one line. Standard input is the control socket. A turn reports the status of the last
# command, prints the environment where it is asked (E), and reads a status and a command: A and its length, or U and a NUL behind it.
# It runs the command with that status as $?. What is not the command's own runs with its output elsewhere, for the sake of `set -x` and of traps. SIGPWR makes every command fail to begin and every function
# return, until the end of the text. In the status 0, the usual one, nothing is forked.
{
    builtin trap '' PWR;
    if [[ $__agent_vm_b$__agent_vm_a ]]; then
        __agent_vm_a=; builtin trap - DEBUG; builtin shopt -u extdebug; builtin set +ET; __agent_vm_r=137;
    fi;
    builtin eval "exec ${BASH_SOURCE[0]##*/}<&-";
    __agent_vm_h='if [[ ! $__agent_vm_a ]]; then __agent_vm_a=1; builtin shopt -s extdebug; builtin set -T; builtin trap "[[ ! \$__agent_vm_a || \$BASH_COMMAND == *__agent_vm_* ]] || [ 1 -eq x ] 2>/dev/null" DEBUG; fi';
    builtin trap "$__agent_vm_h" PWR;
} >/dev/null 2>&1;
while {
    __agent_vm_r=${__agent_vm_r:-$?}; __agent_vm_s=;
} >/dev/null 2>&1; do
    while {
        __agent_vm_r=${__agent_vm_r:-$?};
        builtin printf '\0S%s\0' "$__agent_vm_r";
        while builtin read -r -N 11 __agent_vm_s && [[ $__agent_vm_s = E* ]]; do
            builtin export -p ${__agent_vm_r:+} && builtin printf "\0E\0${__agent_vm_r:+}" || builtin printf "\0N\0${__agent_vm_r:+}";
        done;
        if [[ $__agent_vm_s = A* ]]; then
            builtin read -r -N "${__agent_vm_s:4}" __agent_vm_c;
        else
            [[ $__agent_vm_s ]] && builtin mapfile -d '' -n 1 -t __agent_vm_c;
        fi || builtin exit;
        __agent_vm_s=${__agent_vm_s:1:3}; __agent_vm_r=;
        if [[ $__agent_vm_a ]]; then
            __agent_vm_a=; builtin trap '' PWR; builtin trap - DEBUG; builtin shopt -u extdebug; builtin set +ET; builtin trap "$__agent_vm_h" PWR;
        fi;
        if [[ $- == *e* && $__agent_vm_c != *'<<'* ]]; then
            __agent_vm_c=$__agent_vm_c$'\n\n__agent_vm_r=$?';
        fi;
        [[ $__agent_vm_s = 000 ]];
    } >&0 2>/dev/null; do
        builtin eval "$__agent_vm_c" </dev/null;
    done;
    { if [[ ! $__agent_vm_s ]]; then builtin exit; fi; } >/dev/null 2>&1;
    { (builtin exit "$__agent_vm_s"); } >/dev/null 2>&1 || builtin eval "$__agent_vm_c" </dev/null;
done
