//! Starts children by `clone(2)` and `clone3(2)`.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod borrower;
mod machine;
mod stack;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::ffi::c_void;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::c_int;

pub use self::borrower::Borrower;
pub use self::machine::system_call;
pub use self::stack::Stack;

use self::machine::clone_and_call;
use self::stack::STACK_BYTES;

/// Where and how a child starts.
#[derive(Debug, Default)]
pub struct ChildOptions<'a> {
    /// `CLONE_NEW*` flags: the new namespaces of the child.
    pub namespaces: c_int,
    /// The signal that the parent gets when the child ends: `SIGCHLD`, or 0 for none.
    pub exit_signal: c_int,
    /// Whether the child is a sibling of the caller: its parent is the caller's parent, which gets the caller's own
    /// exit signal when the child ends (`CLONE_PARENT`).
    pub sibling: bool,
    /// A directory of the cgroup v2 hierarchy in which the child starts (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether to return a descriptor that refers to the child.
    pub pidfd: bool,
    /// A sixth argument for `clone3(2)`, which ignores it: a filter can check it.
    pub key: u64,
}

impl ChildOptions<'_> {
    /// `CLONE_*` flags except those for memory, and the exit signal.
    fn flags(&self) -> (c_int, c_int) {
        let mut flags = self.namespaces;
        if self.pidfd {
            flags |= libc::CLONE_PIDFD;
        }
        // `clone3(2)` takes no signal together with this flag.
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
    /// Refers to the child even if its pid is reused; `Some` if requested.
    pub pidfd: Option<OwnedFd>,
}

/// Starts a child that runs `entry(argument)` on `stack`, in the caller's memory. Returns once the child has executed a
/// program or has exited, however long that takes: right only if no other process may signal the child, and no file that
/// it opens can block it. Otherwise a [`Borrower`] is right. All signals are blocked meanwhile, so that no handler of the
/// caller runs in the child; the child inherits that mask and sets its own before it executes.
///
/// Without a `cgroup` this calls `clone(2)`, because seccomp profiles of container runtimes refuse `clone3(2)` with
/// ENOSYS.
///
/// # Errors
/// The errors of `clone(2)`: EPERM if the host refuses the namespaces, EAGAIN at a process limit, ENOSPC at a namespace
/// limit.
///
/// # Safety
/// `entry` must not return, unwind, allocate, take a lock or touch thread-local state other than `errno`: it shares
/// memory and thread identity with the waiting caller. `argument` must be what `entry` expects and outlive the call.
pub unsafe fn vfork(
    stack: &mut Stack,
    options: &ChildOptions<'_>,
    entry: unsafe extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    // SAFETY: the caller guarantees it. The call returns once the child has left the memory.
    let result = unsafe {
        clone_sharing(
            stack,
            options,
            libc::CLONE_VFORK,
            &raw mut pidfd,
            0,
            entry,
            argument,
        )
    };
    let pid = result?;
    // SAFETY: the kernel has stored a new descriptor there, which nothing else owns.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Child { pid, pidfd })
}

/// Starts a child that runs `entry(argument)` on `stack`, in the caller's memory, with `flags` besides those of `options`. The kernel
/// stores zero at `left_at` (`CLONE_CHILD_CLEARTID`) if `flags` has it do so. Returns the child's pid.
///
/// # Safety
/// As for [`vfork`]. Without `CLONE_VFORK`, stack and argument must outlive the child's use of them.
unsafe fn clone_sharing(
    stack: &mut Stack,
    options: &ChildOptions<'_>,
    flags: c_int,
    pidfd: *mut RawFd,
    left_at: usize,
    entry: unsafe extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> io::Result<libc::pid_t> {
    let (more_flags, exit_signal) = options.flags();
    let flags = flags | more_flags | libc::CLONE_VM;

    // SAFETY: the calls write both sets before they are read.
    let saved = unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut saved = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), saved.as_mut_ptr());
        saved.assume_init()
    };

    let result = if let Some(cgroup) = options.cgroup {
        let mut arguments = into_cgroup(flags, exit_signal, cgroup);
        arguments.pidfd = pidfd as u64;
        arguments.child_tid = left_at as u64;
        arguments.stack = stack.base() as u64;
        arguments.stack_size = STACK_BYTES as u64;
        // SAFETY: `arguments` is complete and outlives the call; no other child uses the stack; the caller guarantees
        // the rest.
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
        let flags = (flags | exit_signal) as usize;
        // SAFETY: as above; `clone` writes the pidfd to its third argument.
        unsafe {
            clone_and_call(
                libc::SYS_clone,
                [flags, stack.top(), pidfd as usize, left_at],
                0,
                entry,
                argument,
            )
        }
    };

    // SAFETY: restores the mask that was read above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const saved, ptr::null_mut()) };

    if result < 0 {
        return Err(io::Error::from_raw_os_error((-result) as i32));
    }
    Ok(result as libc::pid_t)
}

/// Copies this process, as `fork(2)` does, and returns the child; returns `None` in the child. Signals are not changed.
///
/// # Errors
/// The same as for [`vfork`].
///
/// # Safety
/// The process must have one thread: in the copy, locks of other threads would be held for ever.
pub unsafe fn copy(options: &ChildOptions<'_>) -> io::Result<Option<Child>> {
    let mut pidfd: RawFd = -1;
    let (flags, exit_signal) = options.flags();
    let result = if let Some(cgroup) = options.cgroup {
        let mut arguments = into_cgroup(flags, exit_signal, cgroup);
        arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
        // SAFETY: the arguments are complete and outlive the call. Without `CLONE_VM` the child has its own memory with
        // a copy of this stack, and continues where this process does.
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
        // SAFETY: as above. Without a new stack (the second argument) the child continues on a copy of this one; the
        // third argument is where the kernel stores the pidfd on every architecture.
        unsafe { libc::syscall(libc::SYS_clone, flags, 0, ptr::from_mut(&mut pidfd), 0, 0) }
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if result == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has stored a new descriptor there, which nothing else owns.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Some(Child {
        pid: result as libc::pid_t,
        pidfd,
    }))
}

/// The arguments of `clone3(2)`.
fn into_cgroup(flags: c_int, exit_signal: c_int, cgroup: BorrowedFd<'_>) -> libc::clone_args {
    // SAFETY: all-zero is a valid `clone_args`: every field is an integer for which 0 means "not used".
    let mut arguments: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    // `CLONE_INTO_CGROUP` is bit 33, beyond the width of libc's constant on some targets.
    arguments.flags = u64::from(flags as u32) | 0x2_0000_0000;
    arguments.exit_signal = exit_signal as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    arguments
}
