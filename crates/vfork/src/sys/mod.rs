//! The one call, over `clone(2)` and `clone3(2)`.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod machine;
mod stack;
mod wait;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::ffi::c_void;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use libc::c_int;

pub use self::stack::Stack;

use self::machine::clone_and_call;
use self::stack::STACK_BYTES;
use self::wait::wait_until_left;

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
        arguments.stack = stack.base() as u64;
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
        let flags = (flags | exit_signal) as usize;
        // SAFETY: as above; `clone` writes the pidfd where its third argument points.
        unsafe {
            clone_and_call(
                libc::SYS_clone,
                [
                    flags,
                    stack.top(),
                    ptr::from_mut(&mut pidfd) as usize,
                    borrowed_at,
                ],
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
