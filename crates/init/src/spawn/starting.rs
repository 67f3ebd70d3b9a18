//! Programs whose processes exist but may not have executed yet: the kernel needs time for it, or a program inside keeps it
//! waiting, for example by the lock of a directory on the way to the program.

use agent_vm_protocol::message::{Failure, Spawn};
use libc::pid_t;

use super::failure;
use super::report::Report;
use super::sys::Child;

/// A program that runs, or that may start to.
#[derive(Debug)]
pub enum Launched<C> {
    /// It runs, with this pid.
    Running(pid_t),
    /// It may still start to.
    Starting(C),
}

/// A process that may still execute its program. It is a child of init's, and init has not reaped it.
#[derive(Debug)]
pub struct Starting {
    pid: pid_t,
    program: String,
    cwd: String,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// The process uses this process's memory, until it has left.
    Shared(Option<Child>),
    /// The process uses the deputy's memory.
    Reported(Report),
}

impl Starting {
    /// A child of this process, for `request`.
    pub fn shared(child: Child, request: &Spawn) -> Self {
        Self::new(child.pid(), request, Progress::Shared(Some(child)))
    }

    /// A child of the deputy's, with its report.
    pub fn reported(pid: pid_t, report: Report, request: &Spawn) -> Self {
        Self::new(pid, request, Progress::Reported(report))
    }

    fn new(pid: pid_t, request: &Spawn, progress: Progress) -> Self {
        Self {
            pid,
            program: request.program.clone(),
            cwd: request.cwd.clone(),
            progress,
        }
    }

    /// Its pid.
    pub fn pid(&self) -> pid_t {
        self.pid
    }

    /// Whether the program runs, or why it does not, once; `None` while it still may start to, which it cannot if its process
    /// `has_ended`.
    pub fn outcome(&mut self, has_ended: bool) -> Option<Result<(), Failure>> {
        let outcome = match &mut self.progress {
            Progress::Shared(shared) => match shared.take()?.outcome() {
                Ok((outcome, _stack)) => outcome,
                Err(child) => {
                    *shared = Some(child);
                    return None;
                }
            },
            Progress::Reported(report) => report.outcome(has_ended)?,
        };
        Some(outcome.map_err(|error| failure(&error, &self.program, &self.cwd)))
    }

    /// The failure of a start that takes too long.
    pub fn overdue(&self) -> Failure {
        Failure {
            errno: libc::EAGAIN,
            syscall: "execve".into(),
            path: Some(self.program.clone()),
        }
    }
}
