# For every other shell of POSIX. A command comes as the status, the number of its lines, and the lines.
__agent_vm_r=0; __agent_vm_e=$(printf '\nx'); __agent_vm_e=${__agent_vm_e%x};
while {
    __agent_vm_r=${__agent_vm_r:-$?}; __agent_vm_s=;
} >/dev/null 2>&1; do
    while {
        __agent_vm_r=${__agent_vm_r:-$?};
        command export -p;
        command printf "\\0S%s\\0" "$__agent_vm_r";
        IFS= read -r __agent_vm_s && IFS= read -r __agent_vm_n || command exit;
        __agent_vm_c=; __agent_vm_x=;
        while [ "$__agent_vm_n" -gt 0 ]; do
            IFS= read -r __agent_vm_l || command exit;
            __agent_vm_c=$__agent_vm_c$__agent_vm_x$__agent_vm_l; __agent_vm_x=$__agent_vm_e;
            __agent_vm_n=$((__agent_vm_n - 1));
        done;
        __agent_vm_r=;
        [ "$__agent_vm_s" = 0 ];
    } >&0 2>/dev/null; do
        command eval "$__agent_vm_c" </dev/null;
    done;
    { if [ ! "$__agent_vm_s" ]; then command exit; fi; } >/dev/null 2>&1;
    { (exit "$__agent_vm_s"); } >/dev/null 2>&1 || command eval "$__agent_vm_c" </dev/null;
done
