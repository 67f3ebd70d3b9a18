//! System calls on AArch64.

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
            "svc 0",
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            in("x8") number,
            options(nostack),
        );
    }
    result
}

/// Makes the system call and, in the child, calls `entry` on the new stack. Returns the kernel's result in the parent.
/// The child starts with empty registers, as on x86-64. Here `clone` takes its last two arguments in the opposite
/// order, and the other one is 0.
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
    // SAFETY: the child returns from `svc` with x0 0 on its own stack and leaves through `entry`; the kernel preserves
    // every other register.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x0, x11",
            "mov x1, xzr",
            "mov x2, xzr",
            "mov x3, xzr",
            "mov x4, xzr",
            "mov x5, xzr",
            "mov x6, xzr",
            "mov x7, xzr",
            "mov x8, xzr",
            "mov x9, xzr",
            "mov x11, xzr",
            "mov x12, xzr",
            "mov x13, xzr",
            "mov x14, xzr",
            "mov x15, xzr",
            "mov x16, xzr",
            "mov x17, xzr",
            "mov x19, xzr",
            "mov x20, xzr",
            "mov x21, xzr",
            "mov x22, xzr",
            "mov x23, xzr",
            "mov x24, xzr",
            "mov x25, xzr",
            "mov x26, xzr",
            "mov x27, xzr",
            "mov x28, xzr",
            "mov x29, xzr",
            "blr x10",
            "brk 1",
            "2:",
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") 0usize,
            in("x4") arguments[3],
            in("x5") sixth,
            in("x8") number,
            in("x10") entry,
            in("x11") argument,
        );
    }
    result
}
