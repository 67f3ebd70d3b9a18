# As for bash, except that SIGPWR ends zsh.
__agent_vm_r=0;
while {
    __agent_vm_r=${__agent_vm_r:-$?}; __agent_vm_s=;
} >/dev/null 2>&1; do
    while {
        __agent_vm_r=${__agent_vm_r:-$?};
        for __agent_vm_k in ${(k)parameters[(R)*export*]}; do
            __agent_vm_l+="export ${__agent_vm_k}=${(qq)${(P)__agent_vm_k}}"$'\n';
        done;
        builtin print -rn -- "$__agent_vm_l"; __agent_vm_l=;
        builtin printf "\0S%s\0" "$__agent_vm_r";
        IFS= builtin read -r -d "" __agent_vm_s && IFS= builtin read -r -d "" __agent_vm_c || builtin exit;
        __agent_vm_r=;
        [[ $__agent_vm_s = 0 ]];
    } >&0 2>/dev/null; do
        builtin eval "$__agent_vm_c" </dev/null;
    done;
    { if [[ ! $__agent_vm_s ]]; then builtin exit; fi; } >/dev/null 2>&1;
    { (builtin exit $__agent_vm_s) } >/dev/null 2>&1 || builtin eval "$__agent_vm_c" </dev/null;
done
