//! The child between `vfork` and `execve`: it shares init's memory, so it only makes system calls.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use agent_vm_vfork::sys::{Options, Stack, vfork};
use libc::{c_char, c_int};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cgroup::Cgroup;
use crate::seccomp;

/// How long a child may take until it executes its program: much longer than a slow disk or a VM that is out of processor time
/// holds it up, since it is killed then, and less than init gives its deputy.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often, and how far apart, it is tried to reap a child that is about to exit.
const REAP_TRIES: u32 = 200;
const REAP_PAUSE: Duration = Duration::from_micros(50);

/// The step at which a child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// It did not.
    None,
    /// `write(2)` to a cgroup's `tasks`.
    Join,
    /// `setsid(2)`.
    Session,
    /// `ioctl(2)` with TIOCSCTTY.
    Terminal,
    /// `dup2(2)` of the standard descriptors.
    Descriptors,
    /// `setrlimit(2)`.
    Limit,
    /// `fchdir(2)`.
    Directory,
    /// `close_range(2)`.
    Close,
    /// `getcwd(2)`: the working directory is outside of the program's root, or was removed.
    Reach,
    /// `execve(2)`.
    Execute,
}

/// All that a child needs, made before it starts.
#[derive(Debug)]
pub struct Plan {
    /// Program paths, tried in turn as `execvp(3)` does.
    pub candidates: Vec<CString>,
    /// Arguments, the program's own name first.
    pub arguments: Vec<CString>,
    /// `NAME=value`.
    pub environment: Vec<CString>,
    /// The working directory, opened by the caller: the child resolves no path that a program could have prepared. As every
    /// descriptor that the caller makes, it is over 2, which are open from its start on.
    pub directory_fd: OwnedFd,
    /// The limits on open files, soft and hard.
    pub open_files: (u64, u64),
    /// Whether standard input is the session's terminal.
    pub terminal: bool,
    /// Whether its parent is the caller's.
    pub sibling: bool,
    /// Where the child itself tells its pid, and what it failed at (two `int`s). It reaches its end once the child has
    /// executed, if the caller's own descriptor is closed.
    pub report_fd: Option<RawFd>,
}

/// A child's own failure.
#[derive(Debug)]
pub struct ChildError {
    /// Where it happened; [`Step::None`] if no child could be started at all.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
}

/// What the child reads and writes; it points into a [`Plan`].
struct Shared {
    candidates: *const *const c_char,
    arguments: *const *const c_char,
    script_arguments: *mut *const c_char,
    environment: *const *const c_char,
    directory: RawFd,
    /// -1 for none.
    join: RawFd,
    stdio: [RawFd; 3],
    open_files: libc::rlimit,
    terminal: bool,
    report_fd: RawFd,
    step: Step,
    errno: c_int,
}

/// Starts the planned program with `stdio` as its standard descriptors, in `cgroup` if there is one. Returns its pid once
/// it has executed.
pub fn start(
    stack: &mut Stack,
    plan: &Plan,
    stdio: [BorrowedFd<'_>; 3],
    cgroup: Cgroup<'_>,
) -> Result<libc::pid_t, ChildError> {
    let candidates = pointers(&plan.candidates);
    let arguments = pointers(&plan.arguments);
    let environment = pointers(&plan.environment);
    // For a file without an interpreter: the shell, the file (filled in by the child), the arguments after the first.
    let mut script_arguments = vec![c"/bin/sh".as_ptr(), ptr::null()];
    script_arguments.extend(arguments.iter().skip(1));

    let mut shared = Shared {
        candidates: candidates.as_ptr(),
        arguments: arguments.as_ptr(),
        script_arguments: script_arguments.as_mut_ptr(),
        environment: environment.as_ptr(),
        directory: plan.directory_fd.as_raw_fd(),
        join: cgroup.join.map_or(-1, |fd| fd.as_raw_fd()),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        open_files: libc::rlimit {
            rlim_cur: plan.open_files.0,
            rlim_max: plan.open_files.1,
        },
        terminal: plan.terminal,
        report_fd: plan.report_fd.unwrap_or(-1),
        step: Step::None,
        errno: 0,
    };
    let options = Options {
        exit_signal: libc::SIGCHLD,
        sibling: plan.sibling,
        cgroup: cgroup.into,
        key: seccomp::key(),
        // Programs may signal the child, and choose the files that it executes.
        patience: Some(PATIENCE),
        ..Options::default()
    };
    let pointer = &raw mut shared;
    // SAFETY: `child` makes system calls only and never returns; `shared` and all it points to live until after the call,
    // which returns once the child has left this memory.
    let result = unsafe { vfork(stack, &options, child, pointer.cast()) };
    let started = result.map_err(|error| ChildError {
        step: Step::None,
        errno: errno_of(&error),
    })?;
    // SAFETY: the child that wrote here has left; the pointer is to a live local.
    let (step, errno) = unsafe { (ptr::read_volatile(&raw const (*pointer).step), (*pointer).errno) };
    let (step, errno) = match step {
        Step::None if started.given_up => (Step::Execute, libc::EAGAIN),
        Step::None => return Ok(started.pid),
        step => (step, errno),
    };
    if !plan.sibling {
        reap(started.pid);
    }
    Err(ChildError {
        step,
        errno: Errno::from_raw(errno),
    })
}

/// Reaps a child that has exited or is about to, so that nobody sees it among those that ended. One that does not end within
/// [`REAP_TRIES`] is left to the code that reaps all other processes, which does not know it, as a parent does not know a sibling: a
/// program that traces it can keep it.
fn reap(child: libc::pid_t) {
    for _ in 0..REAP_TRIES {
        match waitpid(Pid::from_raw(child), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(REAP_PAUSE),
            Err(Errno::EINTR) => {}
            _ => return,
        }
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Runs in the child.
///
/// # Safety
/// `argument` is a [`Shared`] whose pointers are good.
unsafe extern "C" fn child(argument: *mut c_void) -> ! {
    // SAFETY: the caller's promise; the parent is suspended, so nobody else uses it.
    let shared = unsafe { &mut *argument.cast::<Shared>() };
    // SAFETY: takes nothing.
    report(shared.report_fd, unsafe { libc::getpid() });
    // SAFETY: as above.
    let step = unsafe { run(shared) };
    shared.errno = Errno::last_raw();
    shared.step = step;
    report(shared.report_fd, shared.errno);
    // SAFETY: ends this process alone, without running anything that belongs to the parent.
    unsafe { libc::_exit(127) }
}

/// Writes one number to the pipe, if its other end is open.
fn report(fd: RawFd, number: c_int) {
    if fd >= 0 {
        // SAFETY: the length is that of the number. A pipe takes it whole; if the other end is closed, nobody needs it.
        unsafe { libc::write(fd, (&raw const number).cast(), size_of::<c_int>()) };
    }
}

/// Returns only on failure, with the step; `errno` says why.
///
/// # Safety
/// As for [`child`].
unsafe fn run(shared: &mut Shared) -> Step {
    // SAFETY: all of these take integers or pointers into `shared`, whose targets outlive the call.
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
        for (number, fd) in shared.stdio.iter().enumerate() {
            if libc::dup2(*fd, number as c_int) < 0 {
                return Step::Descriptors;
            }
        }
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const shared.open_files) < 0 {
            return Step::Limit;
        }
        // From here on the child holds nothing of init's that a path could lead to. Two descriptors stay: the working
        // directory, until the next step, and the pipe for the report, until the program runs. A pipe is no directory and
        // cannot be executed, so no path leads through it.
        if close_all_but([shared.directory, shared.report_fd]) < 0 {
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
        // Init has every disposition at its default, and `execve` keeps them; only the mask is init's own.
        let none = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        execute(shared);
    }
    Step::Execute
}

/// Closes every descriptor but the standard ones and these, of which -1 is none; negative on failure.
///
/// # Safety
/// Only in a vfork child that uses no other descriptor afterwards.
unsafe fn close_all_but(kept: [RawFd; 2]) -> c_int {
    let (low, high) = (kept[0].min(kept[1]), kept[0].max(kept[1]));
    let mut first = 3;
    for fd in [low, high] {
        if fd >= first {
            // SAFETY: the caller's promise. An empty range, which the kernel refuses, is left out.
            if fd > first && unsafe { close_range(first, fd - 1) } < 0 {
                return -1;
            }
            first = fd + 1;
        }
    }
    // SAFETY: as above; the kernel takes the last number there is from -1.
    unsafe { close_range(first, -1) }
}

/// # Safety
/// As for [`close_all_but`].
unsafe fn close_range(first: RawFd, last: RawFd) -> c_int {
    // SAFETY: takes integers only; the caller's promise covers what they name.
    unsafe { libc::syscall(libc::SYS_close_range, first as u32, last as u32, 0) as c_int }
}

/// Whether the working directory is there and below the root; `errno` says why not: EACCES for one that is elsewhere, whose path
/// the kernel begins with "(unreachable)" (`getcwd(2)`), ENOENT for one that was removed, ENAMETOOLONG for one that is deeper
/// than the kernel can tell.
fn is_reachable() -> bool {
    let mut path = MaybeUninit::<[u8; libc::PATH_MAX as usize]>::uninit();
    // SAFETY: the kernel writes at most as many bytes as the buffer has. Not the C library's function, which has its own
    // opinion on such paths.
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

/// Tries each candidate, as `execvp(3)` does: one that is not there or not a directory's is passed over, one that may not be
/// executed is remembered, and a file without an interpreter is run by the shell.
///
/// # Safety
/// As for [`child`].
unsafe fn execute(shared: &mut Shared) {
    let mut refused = false;
    let mut next = shared.candidates;
    // SAFETY: the lists end with a null pointer, and what they point to outlives the call.
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

/// The other side of a terminal whose master is `master_fd`, in the VM's own `/dev/pts` wherever that is mounted.
pub fn terminal_slave(master_fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes integers only and returns a fresh descriptor.
    let fd = Errno::result(unsafe { libc::ioctl(master_fd.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor of its own for what `fd` refers to.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller keeps `fd` open over the call; -1 is refused by the kernel.
    let fd = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lends out a descriptor three times.
pub fn thrice<F: AsFd>(fd: &F) -> [BorrowedFd<'_>; 3] {
    [fd.as_fd(), fd.as_fd(), fd.as_fd()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;

    /// Starts a program in `directory_fd`.
    fn start_in(directory_fd: OwnedFd, stack: &mut Stack, stdio: &File) -> Result<libc::pid_t, ChildError> {
        let plan = Plan {
            candidates: vec![c"/bin/true".to_owned()],
            arguments: vec![c"true".to_owned()],
            environment: Vec::new(),
            directory_fd,
            open_files: (100, 100),
            terminal: false,
            sibling: false,
            report_fd: None,
        };
        start(stack, &plan, thrice(stdio), Cgroup::default())
    }

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    /// What the program's start failed at.
    fn failure(result: Result<libc::pid_t, ChildError>) -> Option<(Step, Errno)> {
        result.err().map(|error| (error.step, error.errno))
    }

    #[test]
    fn a_program_starts_in_a_directory_that_is_there() {
        let (mut stack, stdio) = (Stack::new().unwrap(), File::open("/dev/null").unwrap());
        let pid = start_in(open(Path::new("/")), &mut stack, &stdio).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    }

    #[test]
    fn a_working_directory_that_was_removed_is_refused() {
        let (mut stack, stdio) = (Stack::new().unwrap(), File::open("/dev/null").unwrap());
        let directory = std::env::temp_dir().join(format!("agent-vm-removed-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let directory_fd = open(&directory);
        std::fs::remove_dir(&directory).unwrap();
        let refused = failure(start_in(directory_fd, &mut stack, &stdio));
        assert_eq!(refused, Some((Step::Reach, Errno::ENOENT)));
    }

    #[test]
    fn a_working_directory_outside_of_the_root_is_refused() {
        let (mut stack, stdio) = (Stack::new().unwrap(), File::open("/dev/null").unwrap());
        let outside = open(Path::new("/"));
        // SAFETY: the copy has one thread, uses what was made before it, and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: these take a C string and integers. Only root may change the root without a user namespace.
            let entered = unsafe {
                (libc::geteuid() == 0 || libc::unshare(libc::CLONE_NEWUSER) == 0)
                    && libc::chroot(c"/usr".as_ptr()) == 0
            };
            let refused = failure(start_in(outside, &mut stack, &stdio));
            let passed = entered && refused == Some((Step::Reach, Errno::EACCES));
            // SAFETY: ends this process alone.
            unsafe { libc::_exit(c_int::from(!passed)) };
        }
        let ended = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
        assert!(
            matches!(ended, nix::sys::wait::WaitStatus::Exited(_, 0)),
            "{ended:?}"
        );
    }
}
