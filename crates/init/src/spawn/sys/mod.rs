//! Starts a program: prepares what its child needs, and reports how the start ended.
#![allow(unsafe_code)]

mod child;
mod descriptors;
mod held_up;
mod inner;
mod inner_user;
mod step;
mod words;

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use agent_vm_protocol::message::{ProgramUser, UserNumbers};
use agent_vm_vfork::sys::{Borrower, ChildOptions, Stack, copy};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cgroup::Cgroup;
use crate::seccomp;
use crate::sys::errno_of;

use self::descriptors::Placed;
pub use self::descriptors::{duplicate, named_socket_pair, terminal_slave, thrice};
pub use self::held_up::{is_stopped, kill, resume};
pub use self::step::Step;

use self::child::{ChildMemory, child};
use self::inner::InnerRoot;
use self::inner_user::InnerUser;
use self::words::Words;

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
    /// The inner user namespace, in which it is root; `None` for the caller's user and namespace.
    pub inner_fd: Option<BorrowedFd<'a>>,
    /// The user of the inner namespace that it becomes, if the namespace has a range of ids.
    pub user: Option<UserNumbers>,
    /// The capabilities of root in such a namespace.
    pub of_root: u32,
    /// The working directory, if that user must open it; it is resolved in `directory_fd`.
    pub cwd: Option<CString>,
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

/// A child that may not have executed yet.
#[derive(Debug)]
pub struct Child(Borrower<ChildMemory>);

/// Begins to start the planned program with `stdio` as its standard descriptors and `more` as others, in `cgroup` if given.
pub fn start(
    stack: Stack,
    plan: Plan<'_>,
    stdio: [BorrowedFd<'_>; 3],
    more: &[(u8, BorrowedFd<'_>)],
    cgroup: Cgroup<'_>,
) -> Result<Child, ChildError> {
    let options = options(&plan, cgroup);
    let (memory, _placed) = prepare(plan, stdio, more, cgroup)?;
    // SAFETY: `child` only makes system calls that leave `errno` alone, and never returns; the pointers in `memory` are to what it
    // has itself.
    unsafe { Borrower::start(stack, memory, &options, child) }
        .map(Child)
        .map_err(|error| failed(Step::None)(errno_of(&error)))
}

/// As [`start`], in a copy of this process's memory. Returns the child's pid; only the plan's report tells how it went.
pub fn start_copy(
    plan: Plan<'_>,
    stdio: [BorrowedFd<'_>; 3],
    more: &[(u8, BorrowedFd<'_>)],
    cgroup: Cgroup<'_>,
) -> Result<libc::pid_t, ChildError> {
    let options = options(&plan, cgroup);
    let (mut memory, _placed) = prepare(plan, stdio, more, cgroup)?;
    // SAFETY: init has one thread.
    match unsafe { copy(&options) } {
        Ok(Some(made)) => Ok(made.pid),
        // SAFETY: in the copy, `memory` is its own, and `child` never returns.
        Ok(None) => unsafe { child((&raw mut memory).cast()) },
        Err(error) => Err(failed(Step::None)(errno_of(&error))),
    }
}

/// Makes this process what a program of `user` is, in the inner user namespace `inner_fd`, whose root has the capabilities `of_root`.
/// It must have no descriptor that `user` may not have.
pub fn become_user(inner_fd: BorrowedFd<'_>, user: &ProgramUser, of_root: u32) -> Result<(), Errno> {
    let fd = inner_fd.as_raw_fd();
    let became = match user {
        ProgramUser::User => return Ok(()),
        ProgramUser::Root => InnerRoot::single(fd).enter(),
        ProgramUser::Numbers(user) => InnerUser::new(fd, user.clone(), of_root).enter_alone(),
    };
    became.map_err(|(_, errno)| Errno::from_raw(errno))
}

fn failed(step: Step) -> impl FnOnce(Errno) -> ChildError {
    move |errno| ChildError { step, errno }
}

fn options<'a>(plan: &Plan<'_>, cgroup: Cgroup<'a>) -> ChildOptions<'a> {
    ChildOptions {
        exit_signal: libc::SIGCHLD,
        sibling: plan.sibling,
        cgroup: cgroup.into,
        key: seccomp::key(),
        ..ChildOptions::default()
    }
}

/// What the child uses, and the descriptors that must stay open until it is made.
fn prepare(
    plan: Plan<'_>,
    stdio: [BorrowedFd<'_>; 3],
    more: &[(u8, BorrowedFd<'_>)],
    cgroup: Cgroup<'_>,
) -> Result<(ChildMemory, Placed), ChildError> {
    let inner = plan.inner_fd.map(|fd| fd.as_raw_fd());
    let placed = Placed::new(plan.directory_fd.as_raw_fd(), plan.report_fd, inner, more)
        .map_err(failed(Step::Descriptors))?;
    let memory = ChildMemory {
        words: Words::new(plan.candidates, plan.arguments, plan.environment),
        directory: placed.directory,
        join: cgroup.join.map_or(-1, |fd| fd.as_raw_fd()),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        more: placed.more,
        open_files: libc::rlimit {
            rlim_cur: plan.open_files.0,
            rlim_max: plan.open_files.1,
        },
        mark: plan.mark,
        root: (inner.is_some() && plan.user.is_none()).then(|| InnerRoot::single(placed.inner)),
        user: plan
            .user
            .map(|user| InnerUser::new(placed.inner, user, plan.of_root)),
        cwd: plan.cwd,
        terminal: plan.terminal,
        subreaper: plan.subreaper,
        report_fd: placed.report,
        step: Step::None,
        errno: 0,
    };
    Ok((memory, placed))
}

impl Child {
    /// Its pid.
    pub fn pid(&self) -> libc::pid_t {
        self.0.pid()
    }

    /// Waits at most that long until it has executed or ended.
    pub fn wait(&self, patience: Duration) -> bool {
        self.0.wait(patience)
    }

    /// Whether it has executed or why not, and the stack that it used; the child itself if it still may execute. One that
    /// was killed before counts as a program that was killed.
    pub fn outcome(self) -> Result<(Result<(), ChildError>, Stack), Self> {
        let (memory, stack) = self.0.take_back().map_err(Self)?;
        let outcome = match memory.step {
            Step::None => Ok(()),
            step => Err(ChildError {
                step,
                errno: Errno::from_raw(memory.errno),
            }),
        };
        Ok((outcome, stack))
    }
}

/// Reaps a child that has exited or is about to, so that it is not taken for a program that ended. A child that does
/// not end within [`REAP_TRIES`] is left to the code that reaps all other processes and ignores it, as a parent ignores
/// an unknown sibling: a program that traces the child can keep it from ending.
pub fn reap(child: libc::pid_t) {
    for _ in 0..REAP_TRIES {
        match waitpid(Pid::from_raw(child), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(REAP_PAUSE),
            Err(Errno::EINTR) => {}
            _ => return,
        }
    }
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
    fn start_in(directory_fd: &OwnedFd, stdio: &File) -> Result<libc::pid_t, ChildError> {
        let plan = Plan {
            candidates: vec![c"/bin/true".to_owned()],
            arguments: vec![c"true".to_owned()],
            environment: Vec::new(),
            directory_fd: directory_fd.as_fd(),
            open_files: (100, 100),
            mark: None,
            inner_fd: None,
            user: None,
            of_root: 0,
            cwd: None,
            terminal: false,
            subreaper: false,
            sibling: false,
            report_fd: None,
        };
        let child = start(Stack::new().unwrap(), plan, thrice(stdio), &[], Cgroup::default())?;
        assert!(child.wait(Duration::from_secs(60)));
        let pid = child.pid();
        child.outcome().unwrap().0.map(|()| pid)
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
        let stdio = File::open("/dev/null").unwrap();
        let pid = start_in(&open(Path::new("/")), &stdio).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    }

    #[test]
    fn a_working_directory_that_was_removed_is_refused() {
        let stdio = File::open("/dev/null").unwrap();
        let directory = std::env::temp_dir().join(format!("agent-vm-removed-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let directory_fd = open(&directory);
        std::fs::remove_dir(&directory).unwrap();
        let refused = failure(start_in(&directory_fd, &stdio));
        assert_eq!(refused, Some((Step::Reach, Errno::ENOENT)));
    }

    #[test]
    fn a_working_directory_outside_of_the_root_is_refused() {
        let stdio = File::open("/dev/null").unwrap();
        let outside = open(Path::new("/"));
        // SAFETY: the copy has one thread, uses only what was made before it, and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: these take a C string and integers. Only root may change the root without a user namespace.
            let entered = unsafe {
                (libc::geteuid() == 0 || libc::unshare(libc::CLONE_NEWUSER) == 0)
                    && libc::chroot(c"/usr".as_ptr()) == 0
            };
            let refused = failure(start_in(&outside, &stdio));
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
