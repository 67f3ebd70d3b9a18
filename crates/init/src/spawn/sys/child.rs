//! The child itself. It shares init's memory, so all functions here only make system calls.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_char, c_int};
use nix::errno::Errno;

use crate::family::sys::set_lock_limits;
use crate::sys::close_all_but;

/// The step at which a child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// It did not fail.
    None,
    /// `write(2)` to a cgroup's `tasks`.
    Join,
    /// `setsid(2)`.
    Session,
    /// `ioctl(2)` with TIOCSCTTY.
    Terminal,
    /// `prctl(2)` with `PR_SET_CHILD_SUBREAPER`.
    Subreaper,
    /// `dup2(2)` of the standard descriptors.
    Descriptors,
    /// `setrlimit(2)`.
    Limit,
    /// The same, of the limit that marks the family.
    Mark,
    /// `fchdir(2)`.
    Directory,
    /// `close_range(2)`.
    Close,
    /// `getcwd(2)`: the working directory is outside of the program's root, or was removed.
    Reach,
    /// `execve(2)`.
    Execute,
}

/// One more than the highest number of a pipe beside the standard descriptors.
pub const MORE: usize = 10;

/// The memory that the child reads and writes; it points into a [`Plan`](super::Plan).
pub struct ChildMemory {
    pub candidates: *const *const c_char,
    pub arguments: *const *const c_char,
    pub script_arguments: *mut *const c_char,
    pub environment: *const *const c_char,
    pub directory: RawFd,
    /// -1 for none.
    pub join: RawFd,
    pub stdio: [RawFd; 3],
    /// By number, the pipes to put there; -1 for none. All are above these numbers, as are `directory` and `report_fd` if there are
    /// any.
    pub more: [RawFd; MORE],
    pub open_files: libc::rlimit,
    pub mark: Option<u64>,
    pub terminal: bool,
    pub subreaper: bool,
    pub report_fd: RawFd,
    pub step: Step,
    pub errno: c_int,
}

/// Runs in the child.
///
/// # Safety
/// `argument` must be a [`ChildMemory`] whose pointers are valid.
pub unsafe extern "C" fn child(argument: *mut c_void) -> ! {
    // SAFETY: the caller guarantees it; the parent is suspended, so nothing else uses the memory.
    let shared = unsafe { &mut *argument.cast::<ChildMemory>() };
    // SAFETY: takes no arguments.
    report(shared.report_fd, unsafe { libc::getpid() });
    // SAFETY: as above.
    let step = unsafe { run(shared) };
    shared.errno = Errno::last_raw();
    shared.step = step;
    report(shared.report_fd, shared.errno);
    // SAFETY: ends only this process, without running any of the parent's code.
    unsafe { libc::_exit(127) }
}

/// Writes one number to the pipe, if its other end is open.
fn report(fd: RawFd, number: c_int) {
    if fd >= 0 {
        // SAFETY: the length is that of the number. A pipe accepts it whole; if the other end is closed, the number is
        // not needed.
        unsafe { libc::write(fd, (&raw const number).cast(), size_of::<c_int>()) };
    }
}

/// Returns only on failure, with the step; `errno` contains the error.
///
/// # Safety
/// The same as for [`child`].
unsafe fn run(shared: &mut ChildMemory) -> Step {
    // SAFETY: all of these calls take integers, or pointers into `shared`, whose targets outlive the calls.
    unsafe {
        if shared.join >= 0 && libc::write(shared.join, c"0".as_ptr().cast(), 1) < 0 {
            return Step::Join;
        }
        if libc::setsid() < 0 {
            return Step::Session;
        }
        if shared.terminal && libc::ioctl(shared.stdio[0], libc::TIOCSCTTY, 0) < 0 {
            return Step::Terminal;
        }
        if shared.subreaper && libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 {
            return Step::Subreaper;
        }
        for (number, fd) in shared.stdio.iter().enumerate() {
            if libc::dup2(*fd, number as c_int) < 0 {
                return Step::Descriptors;
            }
        }
        let mut kept = [-1; MORE + 2];
        for (number, fd) in shared.more.iter().enumerate() {
            if *fd >= 0 {
                if libc::dup2(*fd, number as c_int) < 0 {
                    return Step::Descriptors;
                }
                kept[number] = number as c_int;
            }
        }
        kept[MORE] = shared.directory;
        kept[MORE + 1] = shared.report_fd;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const shared.open_files) < 0 {
            return Step::Limit;
        }
        if let Some(mark) = shared.mark
            && set_lock_limits(mark, mark).is_err()
        {
            return Step::Mark;
        }
        // From here on the child has no descriptor of init to which a path could lead. Beside the program's own pipes two
        // descriptors stay open: the working directory until the next step, and the report's pipe until the program
        // runs. A pipe is not a directory and cannot be executed, so no path leads through it.
        if close_all_but(&mut kept).is_err() {
            return Step::Close;
        }
        if libc::fchdir(shared.directory) < 0 {
            return Step::Directory;
        }
        if libc::close(shared.directory) < 0 {
            return Step::Close;
        }
        if !is_reachable() {
            return Step::Reach;
        }
        // Init's signal dispositions are all the default, and `execve` keeps them; only the mask must be reset.
        let none = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        execute(shared);
    }
    Step::Execute
}

/// Whether the working directory exists and is below the root. Otherwise `errno` is EACCES for a directory elsewhere,
/// whose path begins with "(unreachable)" (`getcwd(2)`), ENOENT for a removed one, and ENAMETOOLONG for one that is
/// deeper than the kernel can report.
fn is_reachable() -> bool {
    let mut path = MaybeUninit::<[u8; libc::PATH_MAX as usize]>::uninit();
    // SAFETY: the kernel writes at most as many bytes as the buffer has. Not the C library's function, which handles
    // such paths differently.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), libc::PATH_MAX as usize) };
    if length < 1 {
        return false;
    }
    // SAFETY: the kernel has written at least one byte.
    let first = unsafe { path.as_ptr().cast::<u8>().read() };
    if first != b'/' {
        Errno::set_raw(libc::EACCES);
    }
    first == b'/'
}

/// Tries each candidate as `execvp(3)` does: skips paths that do not exist, remembers files that may not be executed,
/// and runs a file without an interpreter by the shell.
///
/// # Safety
/// The same as for [`child`].
unsafe fn execute(shared: &mut ChildMemory) {
    let mut refused = false;
    let mut next = shared.candidates;
    // SAFETY: the lists end with a null pointer, and everything that they point to outlives the call.
    unsafe {
        while !(*next).is_null() {
            libc::execve(*next, shared.arguments, shared.environment);
            match Errno::last_raw() {
                libc::ENOEXEC => {
                    *shared.script_arguments.add(1) = *next;
                    libc::execve(
                        *shared.script_arguments,
                        shared.script_arguments,
                        shared.environment,
                    );
                    return;
                }
                libc::EACCES => refused = true,
                libc::ENOENT | libc::ENOTDIR => {}
                _ => return,
            }
            next = next.add(1);
        }
    }
    Errno::set_raw(if refused { libc::EACCES } else { libc::ENOENT });
}
