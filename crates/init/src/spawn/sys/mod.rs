//! Starts a program: prepares what its child needs, and reports how the start ended.
#![allow(unsafe_code)]

mod child;
mod descriptors;

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use agent_vm_vfork::sys::{ChildOptions, Stack, vfork};
use libc::c_char;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cgroup::Cgroup;
use crate::seccomp;
use crate::sys::errno_of;

pub use self::child::Step;
use self::descriptors::Placed;
pub use self::descriptors::{duplicate, named_socket_pair, terminal_slave, thrice};

use self::child::{ChildMemory, child};

/// How long a child may take until it executes its program, after which it is killed. This is much longer than a slow
/// disk or a VM without processor time delays it, and shorter than init waits for its deputy.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often, and with what pause, reaping a child that is about to exit is tried.
const REAP_TRIES: u32 = 200;
const REAP_PAUSE: Duration = Duration::from_micros(50);

/// Everything that a child needs, prepared before it starts.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Paths of the program, which are tried in turn as by `execvp(3)`.
    pub candidates: Vec<CString>,
    /// The arguments, beginning with the program's own name.
    pub arguments: Vec<CString>,
    /// `NAME=value`.
    pub environment: Vec<CString>,
    /// The working directory, opened by the caller: the child resolves no path that a program could have prepared. Like
    /// every descriptor of the caller it is greater than 2, because the first three are always open.
    pub directory_fd: BorrowedFd<'a>,
    /// The soft and the hard limit on open files.
    pub open_files: (u64, u64),
    /// The limit on file locks that marks its family, if any.
    pub mark: Option<u64>,
    /// Whether standard input is the session's terminal.
    pub terminal: bool,
    /// Whether it becomes the parent of its descendants whose own parents end.
    pub subreaper: bool,
    /// Whether the child is a sibling of the caller.
    pub sibling: bool,
    /// The pipe to which the child writes its pid, and the step and error of a failure (two `int`s). It reaches its end
    /// once the child has executed, if the caller has closed its own descriptor.
    pub report_fd: Option<RawFd>,
}

/// A child's failure.
#[derive(Debug)]
pub struct ChildError {
    /// The step that failed; [`Step::None`] if no child could be started.
    pub step: Step,
    /// The kernel's error.
    pub errno: Errno,
}

/// Starts the planned program with `stdio` as its standard descriptors and `more` as others, in `cgroup` if given. Returns
/// its pid once it has executed.
pub fn start(
    stack: &mut Stack,
    plan: &Plan<'_>,
    stdio: [BorrowedFd<'_>; 3],
    more: &[(u8, BorrowedFd<'_>)],
    cgroup: Cgroup<'_>,
) -> Result<libc::pid_t, ChildError> {
    let placed =
        Placed::new(plan.directory_fd.as_raw_fd(), plan.report_fd, more).map_err(|errno| ChildError {
            step: Step::Descriptors,
            errno,
        })?;
    let candidates = pointers(&plan.candidates);
    let arguments = pointers(&plan.arguments);
    let environment = pointers(&plan.environment);
    // The arguments for a file without an interpreter: the shell, the file (filled in by the child), then the other
    // arguments.
    let mut script_arguments = vec![c"/bin/sh".as_ptr(), ptr::null()];
    script_arguments.extend(arguments.iter().skip(1));

    let mut shared = ChildMemory {
        candidates: candidates.as_ptr(),
        arguments: arguments.as_ptr(),
        script_arguments: script_arguments.as_mut_ptr(),
        environment: environment.as_ptr(),
        directory: placed.directory,
        join: cgroup.join.map_or(-1, |fd| fd.as_raw_fd()),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        more: placed.more,
        open_files: libc::rlimit {
            rlim_cur: plan.open_files.0,
            rlim_max: plan.open_files.1,
        },
        mark: plan.mark,
        terminal: plan.terminal,
        subreaper: plan.subreaper,
        report_fd: placed.report,
        step: Step::None,
        errno: 0,
    };
    let options = ChildOptions {
        exit_signal: libc::SIGCHLD,
        sibling: plan.sibling,
        cgroup: cgroup.into,
        key: seccomp::key(),
        // Programs may signal the child, and they choose the files that it executes.
        patience: Some(PATIENCE),
        ..ChildOptions::default()
    };
    let pointer = &raw mut shared;
    // SAFETY: `child` only makes system calls and never returns; `shared` and everything that it points to live until
    // after the call, which returns once the child has left this memory.
    let result = unsafe { vfork(stack, &options, child, pointer.cast()) };
    let started = result.map_err(|error| ChildError {
        step: Step::None,
        errno: errno_of(&error),
    })?;
    // SAFETY: the child that wrote here has left; the pointer is to a live local variable.
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

/// Reaps a child that has exited or is about to, so that it is not taken for a program that ended. A child that does
/// not end within [`REAP_TRIES`] is left to the code that reaps all other processes and ignores it, as a parent ignores
/// an unknown sibling: a program that traces the child can keep it from ending.
fn reap(child: libc::pid_t) {
    for _ in 0..REAP_TRIES {
        match waitpid(Pid::from_raw(child), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(REAP_PAUSE),
            Err(Errno::EINTR) => {}
            _ => return,
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use libc::c_int;

    use super::*;

    /// Starts a program in `directory_fd`.
    fn start_in(directory_fd: &OwnedFd, stack: &mut Stack, stdio: &File) -> Result<libc::pid_t, ChildError> {
        let plan = Plan {
            candidates: vec![c"/bin/true".to_owned()],
            arguments: vec![c"true".to_owned()],
            environment: Vec::new(),
            directory_fd: directory_fd.as_fd(),
            open_files: (100, 100),
            mark: None,
            terminal: false,
            subreaper: false,
            sibling: false,
            report_fd: None,
        };
        start(stack, &plan, thrice(stdio), &[], Cgroup::default())
    }

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    /// The step and the error of a failed start.
    fn failure(result: Result<libc::pid_t, ChildError>) -> Option<(Step, Errno)> {
        result.err().map(|error| (error.step, error.errno))
    }

    #[test]
    fn a_program_starts_in_a_directory_that_is_there() {
        let (mut stack, stdio) = (Stack::new().unwrap(), File::open("/dev/null").unwrap());
        let pid = start_in(&open(Path::new("/")), &mut stack, &stdio).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    }

    #[test]
    fn a_working_directory_that_was_removed_is_refused() {
        let (mut stack, stdio) = (Stack::new().unwrap(), File::open("/dev/null").unwrap());
        let directory = std::env::temp_dir().join(format!("agent-vm-removed-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let directory_fd = open(&directory);
        std::fs::remove_dir(&directory).unwrap();
        let refused = failure(start_in(&directory_fd, &mut stack, &stdio));
        assert_eq!(refused, Some((Step::Reach, Errno::ENOENT)));
    }

    #[test]
    fn a_working_directory_outside_of_the_root_is_refused() {
        let (mut stack, stdio) = (Stack::new().unwrap(), File::open("/dev/null").unwrap());
        let outside = open(Path::new("/"));
        // SAFETY: the copy has one thread, uses only what was made before it, and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: these take a C string and integers. Only root may change the root without a user namespace.
            let entered = unsafe {
                (libc::geteuid() == 0 || libc::unshare(libc::CLONE_NEWUSER) == 0)
                    && libc::chroot(c"/usr".as_ptr()) == 0
            };
            let refused = failure(start_in(&outside, &mut stack, &stdio));
            let passed = entered && refused == Some((Step::Reach, Errno::EACCES));
            // SAFETY: ends only this process.
            unsafe { libc::_exit(c_int::from(!passed)) };
        }
        let ended = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
        assert!(
            matches!(ended, nix::sys::wait::WaitStatus::Exited(_, 0)),
            "{ended:?}"
        );
    }
}
