//! System calls on x86-64.

use std::arch::asm;
use std::ffi::c_void;

/// Makes a system call without changing `errno`. Returns the kernel's result: an error is a negative number.
///
/// # Safety
/// The same as for the system call itself.
#[must_use]
pub unsafe fn system_call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller guarantees the call; the registers follow the kernel's calling convention.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes the system call and, in the child, calls `entry` on the new stack. Returns the kernel's result in the parent.
///
/// The child starts with empty registers: until a program that it executes has begun, the kernel shows the registers of
/// the `execve` to every process that may trace that program, and they must not contain the caller's, such as the sixth
/// argument.
///
/// # Safety
/// The arguments must be right for the call and name the child's own stack.
pub unsafe fn clone_and_call(
    number: libc::c_long,
    arguments: [usize; 4],
    sixth: u64,
    entry: unsafe extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> isize {
    let result: isize;
    // SAFETY: the child returns from `syscall` with rax 0 on its own stack and leaves through `entry`; the parent's
    // registers follow the kernel's calling convention.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r13",
            "mov rax, r12",
            "xor ebx, ebx",
            "xor ecx, ecx",
            "xor edx, edx",
            "xor esi, esi",
            "xor ebp, ebp",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "call rax",
            "ud2",
            "2:",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") 0usize,
            in("r9") sixth,
            in("r12") entry,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::ptr;

    use super::super::stack::Stack;
    use super::*;

    const KEY: u64 = 0x1234_5678_9abc_def0;

    /// Stores the registers with which it was called at `argument`.
    unsafe extern "C" fn show(argument: *mut c_void) -> ! {
        // SAFETY: the memory has room for twelve numbers; `_exit` ends only this process.
        unsafe {
            asm!(
                "mov [rdi], rbx", "mov [rdi + 8], rcx", "mov [rdi + 16], rdx", "mov [rdi + 24], rsi",
                "mov [rdi + 32], r8", "mov [rdi + 40], r9", "mov [rdi + 48], r10", "mov [rdi + 56], r11",
                "mov [rdi + 64], r12", "mov [rdi + 72], r13", "mov [rdi + 80], r14", "mov [rdi + 88], r15",
                in("rdi") argument,
                options(nostack)
            );
            libc::_exit(0)
        }
    }

    #[test]
    fn a_child_knows_nothing_of_what_its_parent_had_in_its_registers() {
        let stack = Stack::new().unwrap();
        let mut seen = [u64::MAX; 12];
        let flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as usize;
        let top = stack.top();
        // SAFETY: the child writes twelve numbers and ends before the call returns.
        let pid = unsafe {
            clone_and_call(
                libc::SYS_clone,
                [flags, top, 0, 0],
                KEY,
                show,
                seen.as_mut_ptr().cast(),
            )
        };
        assert!(pid > 0);
        // SAFETY: passes no pointers.
        unsafe { libc::waitpid(pid as libc::pid_t, ptr::null_mut(), 0) };
        assert!(!seen.contains(&u64::MAX) && !seen.contains(&KEY), "{seen:x?}");
        // The compiler may use some of the registers before `show` reads them.
        assert!(
            seen.iter().filter(|value| **value == 0).count() >= 10,
            "{seen:x?}"
        );
    }
}
