# A status, and then a command, each with a NUL behind it. fish cannot redirect itself, so it opens its output for each command.
function __agent_vm_status; return $argv[1]; end
set -g __agent_vm_o /proc/self/fd/1
set -g __agent_vm_e /proc/self/fd/2
while begin
    set -g __agent_vm_r $status
    for __agent_vm_k in (set --names --export); printf "export %s='%s'\n" $__agent_vm_k (string replace -a -- "'" "'\\''" "$$__agent_vm_k" | string collect --allow-empty); end
    printf "\0S%s\0" $__agent_vm_r
    read -z -g __agent_vm_s; and read -z -g __agent_vm_c; or exit
end >&0 2>/dev/null
    __agent_vm_status $__agent_vm_s
    eval $__agent_vm_c </dev/null >$__agent_vm_o 2>$__agent_vm_e
end
