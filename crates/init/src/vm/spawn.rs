//! Starts programs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use agent_vm_protocol::message::{Failure, Reply, Spawn};
use libc::pid_t;
use nix::errno::Errno;

use super::Vm;
use super::backend::Backend;
use super::held_starts::Start;
use crate::control::{Control, ControlError};
use crate::deputy::Deputy;
use crate::files;
use crate::files::helper::{DirectoryAnswer, serve_directories};
use crate::spawn::{Cgroup, directory_failed};

/// Why a family could not get its cgroups.
fn place_failed(errno: Errno) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: Failure::PLACE.into(),
        path: None,
    }
}

impl Vm {
    /// Starts a program and replies, or has its working directory opened first: a program of the VM can hold the lock of
    /// a directory, for which init must not wait.
    pub(super) fn begin_start(
        &mut self,
        control: &mut Control,
        request: Box<Spawn>,
    ) -> Result<(), ControlError> {
        match files::cached_directory(request.cwd.as_bytes()) {
            Ok(Some(directory_fd)) => self.finish_start(control, &request, Ok(directory_fd)),
            Ok(None) => match self.directories.submit(request) {
                Ok(()) => Ok(()),
                Err((request, errno)) => self.finish_start(control, &request, Err(errno)),
            },
            Err(errno) => self.finish_start(control, &request, Err(errno)),
        }
    }

    /// Starts the programs whose working directories a helper has opened, and has the next one opened.
    pub(super) fn advance_starts(&mut self, control: &mut Control) -> Result<(), ControlError> {
        let domain = self.backend.deputy().map(Deputy::domain);
        let finished = self
            .directories
            .advance(|channel| serve_directories(channel, domain));
        self.introduce_helpers(control)?;
        for (request, answered) in finished {
            let directory_fd = match answered {
                // Without a descriptor, init has no room for it.
                Ok((DirectoryAnswer::Opened, mut fds)) => fds.pop().ok_or(Errno::EMFILE),
                Ok((DirectoryAnswer::Failed(errno), _)) => Err(Errno::from_raw(errno)),
                Err(errno) => Err(errno),
            };
            self.finish_start(control, &request, directory_fd)?;
        }
        Ok(())
    }

    /// Starts a program in its working directory, and replies.
    fn finish_start(
        &mut self,
        control: &mut Control,
        request: &Spawn,
        directory_fd: Result<OwnedFd, Errno>,
    ) -> Result<(), ControlError> {
        let (call, begun) = (request.call, Instant::now());
        let spawned = directory_fd
            .map_err(|errno| directory_failed(errno, &request.cwd))
            .and_then(|directory_fd| self.spawn(request, directory_fd.as_fd()));
        self.introduce_helpers(control)?;
        match spawned {
            Ok((pid, fds)) => {
                let start = Start { call, pid, fds };
                if request.brief {
                    self.held_starts.hold(start, begun, control)
                } else {
                    start.report(control)
                }
            }
            Err(error) => control.send(&Reply::Failed { call, error }, Vec::new()),
        }
    }

    /// Starts a program as a new family.
    fn spawn(
        &mut self,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
    ) -> Result<(pid_t, Vec<OwnedFd>), Failure> {
        if self.families.are_frozen() {
            return Err(Failure {
                errno: Errno::EAGAIN as i32,
                syscall: Failure::PAUSED.into(),
                path: None,
            });
        }
        match self.try_spawn(request, directory_fd)? {
            Some(started) => Ok(started),
            // A process on the host has removed idle directories of this VM. Init does not wait until that process
            // stops doing so.
            None => self
                .try_spawn(request, directory_fd)?
                .ok_or_else(|| place_failed(Errno::EAGAIN)),
        }
    }

    /// Returns `None` if the family's directory was removed on the host before the program started.
    fn try_spawn(
        &mut self,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
    ) -> Result<Option<(pid_t, Vec<OwnedFd>)>, Failure> {
        let cgroups = self.families.take_cgroups().map_err(place_failed)?;
        let mark = self.families.mark(request.call);
        let cgroup = Cgroup::of(&cgroups);
        let started = match &mut self.backend {
            Backend::Init(spawner) => spawner.start(request, directory_fd, cgroup, mark),
            Backend::Deputy(deputy) => deputy.spawn(request, directory_fd, cgroup, mark),
        };
        match started {
            Ok(started) => {
                let (pid, report) = (started.pid, request.report_background);
                self.families
                    .enter(request.call, pid, started.terminal_fd, cgroups, report);
                Ok(Some((pid, started.host_fds)))
            }
            Err(error) => {
                let removed = cgroups.was_removed();
                self.families.give_back_cgroups(cgroups).map_err(place_failed)?;
                if !removed {
                    return Err(error);
                }
                self.families.forget_removed();
                Ok(None)
            }
        }
    }
}
