//! The one call, over `clone(2)` and `clone3(2)`.
#![allow(unsafe_code)]

use std::arch::asm;
use std::ffi::c_void;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::c_int;

/// Bytes of stack that the child has. It makes system calls and formats a few numbers; it calls nothing deep.
const STACK_BYTES: usize = 64 * 1024;

/// How long a caller with [`Options::patience`] waits before it looks at the child, and between two looks from then on.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(1);

/// How often a stopped child is continued before it is killed. Otherwise a process that stops it again each time could hold the
/// caller for ever.
const CONTINUES: u32 = 20;

/// A stack for children, made once and used for one child at a time.
#[derive(Debug)]
pub struct Stack {
    base: *mut c_void,
}

// SAFETY: the mapping is plain memory with no tie to a thread, and `&mut self` guards its one use at a time.
unsafe impl Send for Stack {}

impl Stack {
    /// Maps a stack of 64 KiB.
    pub fn new() -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address that the kernel chooses touches no existing memory.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { base })
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: `base` is a mapping of this length that `new` made and nobody else unmaps; no child runs on it, since
        // `vfork` returns only when the child has left it.
        unsafe { libc::munmap(self.base, STACK_BYTES) };
    }
}

/// Where and how a child starts.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// `CLONE_NEW*` flags: the namespaces that the child gets for itself.
    pub namespaces: c_int,
    /// The signal that the parent is sent when the child ends: `SIGCHLD`, or 0 for none.
    pub exit_signal: c_int,
    /// Whether the child is a sibling of the caller: its parent is the caller's, which is sent the caller's own exit signal
    /// when it ends (`CLONE_PARENT`).
    pub sibling: bool,
    /// A directory of the cgroup v2 hierarchy that the child starts in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether to return a descriptor that refers to the child.
    pub pidfd: bool,
    /// A sixth argument for `clone3(2)`, which has none of that number: for a filter that checks for it.
    pub key: u64,
    /// How long [`vfork`] waits for the child to execute or exit, before it kills the child. Meanwhile it continues a child that
    /// somebody else stops; a child that is stopped again and again is killed, too. Without a patience nothing bounds the wait:
    /// that is right only where nobody else may signal the child, and no file that it opens can hold it up.
    pub patience: Option<Duration>,
}

impl Options<'_> {
    /// `CLONE_*` flags except those for memory, and the exit signal.
    fn flags(&self) -> (c_int, c_int) {
        let mut flags = self.namespaces;
        if self.pidfd {
            flags |= libc::CLONE_PIDFD;
        }
        // `clone3(2)` takes no signal beside it.
        if self.sibling {
            (flags | libc::CLONE_PARENT, 0)
        } else {
            (flags, self.exit_signal)
        }
    }
}

/// A child.
#[derive(Debug)]
pub struct Child {
    /// Its pid in the caller's pid namespace.
    pub pid: libc::pid_t,
    /// Refers to the child whatever becomes of its number; `Some` if asked for.
    pub pidfd: Option<OwnedFd>,
    /// Whether the caller's patience ended, and the child with it. It is not reaped yet.
    pub given_up: bool,
}

/// Starts a child that runs `entry(argument)` on `stack`, in the caller's memory, and returns once it has executed a
/// program, exited, or outlasted the caller's patience. Every signal is blocked meanwhile, so no handler of the caller runs in the child; the child
/// inherits that mask and sets its own before it executes.
///
/// Without a `cgroup` it is `clone(2)` that is called, because container runtimes' seccomp profiles answer `clone3(2)`
/// with ENOSYS.
///
/// # Errors
/// What `clone(2)` lists: EPERM where the host refuses the namespaces, EAGAIN at a process limit, ENOSPC at a namespace
/// limit.
///
/// # Safety
/// `entry` must not return, unwind, allocate, take a lock or touch thread-local state other than `errno`: it shares
/// memory and thread identity with the waiting caller. `argument` must be what `entry` expects and outlive the call.
pub unsafe fn vfork(
    stack: &mut Stack,
    options: &Options<'_>,
    entry: unsafe extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    let (flags, exit_signal) = options.flags();
    // Zero once the child has left this memory: the kernel clears it then, and wakes who waits on it (`CLONE_CHILD_CLEARTID`).
    let borrowed = AtomicU32::new(1);
    let (left, borrowed_at) = match options.patience {
        None => (libc::CLONE_VFORK, 0),
        Some(_) => (libc::CLONE_CHILD_CLEARTID, borrowed.as_ptr() as usize),
    };
    let flags = flags | libc::CLONE_VM | left;

    // SAFETY: both sets are written by the calls before they are read.
    let saved = unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut saved = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), saved.as_mut_ptr());
        saved.assume_init()
    };

    let result = if let Some(cgroup) = options.cgroup {
        let mut arguments = into_cgroup(flags, exit_signal, cgroup);
        arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
        arguments.child_tid = borrowed_at as u64;
        arguments.stack = stack.base as u64;
        arguments.stack_size = STACK_BYTES as u64;
        // SAFETY: `arguments` is complete and outlives the call; the child's stack is ours alone; the rest is the
        // caller's promise.
        unsafe {
            clone_and_call(
                libc::SYS_clone3,
                [
                    ptr::from_mut(&mut arguments) as usize,
                    size_of::<libc::clone_args>(),
                    0,
                    0,
                ],
                options.key,
                entry,
                argument,
            )
        }
    } else {
        let top = stack.base as usize + STACK_BYTES;
        let flags = (flags | exit_signal) as usize;
        // SAFETY: as above; `clone` writes the pidfd where its third argument points.
        unsafe {
            clone_and_call(
                libc::SYS_clone,
                [flags, top, ptr::from_mut(&mut pidfd) as usize, borrowed_at],
                0,
                entry,
                argument,
            )
        }
    };
    let given_up = match options.patience {
        Some(patience) if result > 0 => {
            // SAFETY: the child is the caller's own, or a sibling that its parent has not been shown yet.
            unsafe { wait_until_left(&borrowed, result as usize, !options.sibling, patience) }
        }
        _ => false,
    };

    // SAFETY: restores the mask that was read above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const saved, ptr::null_mut()) };

    if result < 0 {
        return Err(io::Error::from_raw_os_error((-result) as i32));
    }
    // SAFETY: the kernel stored a fresh descriptor there, which nobody else owns.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Child {
        pid: result as libc::pid_t,
        pidfd,
        given_up,
    })
}

/// Waits until `borrowed` is zero; says whether the child had to be killed for that.
///
/// No function of the C library is called: they store `errno`, which is the child's as well.
///
/// # Safety
/// `child` has not been reaped. `own` says whether it is this process's child.
unsafe fn wait_until_left(borrowed: &AtomicU32, child: usize, own: bool, patience: Duration) -> bool {
    let mut waited = Duration::ZERO;
    let mut continued = 0;
    let mut given_up = false;
    while borrowed.load(Ordering::Acquire) != 0 {
        let pause = if waited.is_zero() { FIRST_LOOK } else { LOOK };
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: pause.subsec_nanos().into(),
        };
        // Not a private futex: the kernel's own wake is not.
        // SAFETY: both pointers are to live locals, which the kernel reads during the call.
        let answer = unsafe {
            system_call(
                libc::SYS_futex,
                [
                    borrowed.as_ptr() as usize,
                    libc::FUTEX_WAIT as usize,
                    1,
                    ptr::from_ref(&timeout) as usize,
                    0,
                ],
            )
        };
        if answer != -(libc::ETIMEDOUT as isize) {
            continue;
        }
        waited += pause;
        // SAFETY: the child has not been reaped, so its number is its own.
        unsafe {
            if given_up {
                // It ends as soon as the kernel lets it.
            } else if waited > patience || continued > CONTINUES {
                given_up = true;
                system_call(libc::SYS_kill, [child, libc::SIGKILL as usize, 0, 0, 0]);
            } else if !own || is_stopped(child) {
                // A sibling cannot be waited for. To one that is not stopped it does nothing.
                continued += u32::from(own);
                system_call(libc::SYS_kill, [child, libc::SIGCONT as usize, 0, 0, 0]);
            }
        }
    }
    given_up
}

/// Whether a child of this process is stopped. Leaves the report where it is.
///
/// # Safety
/// As for [`wait_until_left`].
unsafe fn is_stopped(child: usize) -> bool {
    let flags = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `found` has room for what the kernel stores, and all zeros is a valid one, which says that there is none.
    unsafe {
        let answer = system_call(
            libc::SYS_waitid,
            [
                libc::P_PID as usize,
                child,
                found.as_mut_ptr() as usize,
                flags as usize,
                0,
            ],
        );
        answer == 0 && found.assume_init().si_pid() != 0
    }
}

/// A system call that leaves `errno` alone. Returns the kernel's answer: an error is a negative number.
///
/// # Safety
/// As for the call itself.
#[cfg(target_arch = "x86_64")]
unsafe fn system_call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the caller's promise; the registers are as the kernel's calling convention says.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// As on x86-64.
///
/// # Safety
/// As for the call itself.
#[cfg(target_arch = "aarch64")]
unsafe fn system_call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the caller's promise; the registers are as the kernel's calling convention says.
    unsafe {
        asm!(
            "svc 0",
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x8") number,
            options(nostack),
        );
    }
    result
}

/// Copies this process, as `fork(2)` does, and returns the child; in the child, nothing. Signals are left as they are.
///
/// # Errors
/// As for [`vfork`].
///
/// # Safety
/// The process must have one thread: the copy would find a lock that another holds held for good.
pub unsafe fn copy(options: &Options<'_>) -> io::Result<Option<Child>> {
    let mut pidfd: RawFd = -1;
    let (flags, exit_signal) = options.flags();
    let result = if let Some(cgroup) = options.cgroup {
        let mut arguments = into_cgroup(flags, exit_signal, cgroup);
        arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
        // SAFETY: the arguments are complete and outlive the call. Without `CLONE_VM` the child has memory of its own, with a
        // stack like this one, and goes on where this process does.
        unsafe {
            libc::syscall(
                libc::SYS_clone3,
                ptr::from_mut(&mut arguments),
                size_of::<libc::clone_args>(),
                0,
                0,
                0,
                options.key,
            )
        }
    } else {
        let flags = libc::c_long::from(flags | exit_signal);
        // SAFETY: as above. Without a stack of its own (the second argument) the child goes on on this one's copy; the third
        // is where the kernel stores the pidfd on every architecture.
        unsafe { libc::syscall(libc::SYS_clone, flags, 0, ptr::from_mut(&mut pidfd), 0, 0) }
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if result == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel stored a fresh descriptor there, which nobody else owns.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Some(Child {
        pid: result as libc::pid_t,
        pidfd,
        given_up: false,
    }))
}

/// The arguments that only `clone3(2)` takes.
fn into_cgroup(flags: c_int, exit_signal: c_int, cgroup: BorrowedFd<'_>) -> libc::clone_args {
    // SAFETY: all-zero is a valid `clone_args`: every field is an integer for which 0 means "not used".
    let mut arguments: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    // `CLONE_INTO_CGROUP` is bit 33, beyond the width of libc's constant on some targets.
    arguments.flags = u64::from(flags as u32) | 0x2_0000_0000;
    arguments.exit_signal = exit_signal as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    arguments
}

/// Makes the system call and, in the child, calls `entry` on the new stack. Returns the kernel's answer in the parent.
///
/// The child starts with empty registers: until a program that it executes has begun, the kernel shows the registers of the
/// `execve` to every process that may trace that program, and must not show the caller's, such as the sixth argument.
///
/// # Safety
/// The arguments must be right for the call and name a stack of the child's own.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_and_call(
    number: libc::c_long,
    arguments: [usize; 4],
    sixth: u64,
    entry: unsafe extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> isize {
    let result: isize;
    // SAFETY: the child returns from `syscall` with rax 0 on its own stack and leaves through `entry`; the parent's
    // registers are as the kernel's calling convention says.
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

/// As on x86-64; there `clone` takes its last two arguments in the other order, and the other one is 0.
///
/// # Safety
/// The arguments must be right for the call and name a stack of the child's own.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_and_call(
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

#[cfg(all(test, target_arch = "x86_64"))]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    const KEY: u64 = 0x1234_5678_9abc_def0;

    /// Stores the registers that it was called with where `argument` points.
    unsafe extern "C" fn show(argument: *mut c_void) -> ! {
        // SAFETY: the memory has room for twelve numbers; `_exit` ends this process alone.
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
        let top = stack.base as usize + STACK_BYTES;
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
        // SAFETY: takes no memory.
        unsafe { libc::waitpid(pid as libc::pid_t, ptr::null_mut(), 0) };
        assert!(!seen.contains(&u64::MAX) && !seen.contains(&KEY), "{seen:x?}");
        // The compiler may put what it likes into some of them before `show` looks.
        assert!(
            seen.iter().filter(|value| **value == 0).count() >= 10,
            "{seen:x?}"
        );
    }
}
