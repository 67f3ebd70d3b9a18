//! Starts programs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Failure, Reply, Spawn};
use libc::pid_t;
use nix::errno::Errno;

use super::Vm;
use super::backend::Backend;
use super::held_starts::Start;
use super::queued_starts::{OpenedStart, size};
use super::waiting_starts::{EndedStart, no_room, stopped};
use crate::control::{Control, ControlError};
use crate::deputy::Deputy;
use crate::files;
use crate::files::helper::{DirectoryAnswer, serve_directories};
use crate::spawn::{Cgroup, Starting, directory_failed, opens_directory, patience};
use crate::sys;

/// A family that has begun to start.
struct NewStart {
    pid: pid_t,
    /// The host's ends of its standard descriptors.
    fds: Vec<OwnedFd>,
    /// Its process, if that may not have executed yet.
    starting: Option<Starting>,
}

/// Reports that a program does not start.
fn refuse(control: &mut Control, call: Call, error: Failure) -> Result<(), ControlError> {
    control.send(&Reply::Failed { call, error }, Vec::new())
}

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
        let patience = request.patience_ms.map(|ms| Duration::from_millis(ms.into()));
        let expires = patience.map(|patience| Instant::now() + patience);
        let cwd = if opens_directory(&request) {
            request.cwd.as_bytes()
        } else {
            // The program's user opens its own from there.
            b"/"
        };
        let directory_fd = match files::cached_directory(cwd) {
            Ok(Some(directory_fd)) => Ok(directory_fd),
            Ok(None) => match self.directories.submit(request, expires) {
                Ok(()) => return Ok(()),
                Err((request, errno)) => {
                    return refuse(control, request.call, directory_failed(errno, &request.cwd));
                }
            },
            Err(errno) => Err(errno),
        };
        self.go_on_starting(control, request, directory_fd, expires)
    }

    /// Starts the programs whose working directories a helper has opened, reports the ones that run by now, and has the
    /// next directory opened.
    pub(super) fn advance_starts(&mut self, control: &mut Control) -> Result<(), ControlError> {
        let domain = self.backend.deputy().map(Deputy::domain);
        let opened = self
            .directories
            .advance(|channel| serve_directories(channel, domain));
        self.introduce_helpers(control)?;
        for OpenedStart {
            request,
            expires,
            answered,
        } in opened
        {
            let directory_fd = match answered {
                // Without a descriptor, init has no room for it.
                Ok((DirectoryAnswer::Opened, mut fds)) => fds.pop().ok_or(Errno::EMFILE),
                Ok((DirectoryAnswer::Failed(errno), _)) => Err(Errno::from_raw(errno)),
                Err(errno) => Err(errno),
            };
            self.go_on_starting(control, request, directory_fd, expires)?;
        }
        for call in self.directories.expired() {
            refuse(control, call, stopped(Errno::ETIMEDOUT))?;
        }
        let is_paused = self.families.are_frozen();
        let (running, failed) = self.waiting_starts.advance(is_paused);
        for start in running {
            start.report(control)?;
        }
        for (call, error) in failed {
            refuse(control, call, error)?;
        }
        while !is_paused && let Some(next) = self.waiting_starts.next(self.env_bytes) {
            self.finish_start(control, &next.request, next.directory_fd.as_fd(), next.expires)?;
        }
        Ok(())
    }

    /// Gives a start up, if its program does not run yet.
    pub(super) fn stop_start(&mut self, control: &mut Control, call: Call) -> Result<(), ControlError> {
        let failure = if self.directories.stop(call) {
            Some(stopped(Errno::ECANCELED))
        } else {
            self.waiting_starts.stop(call)
        };
        failure.map_or(Ok(()), |error| refuse(control, call, error))
    }

    /// Settles the start whose process was just reaped, if it was still waiting. Returns whether the end of its program
    /// must be reported.
    pub(super) fn settle_start(&mut self, control: &mut Control, pid: pid_t) -> Result<bool, ControlError> {
        let (call, error, was_killed) = match self.waiting_starts.ended(pid) {
            None => return Ok(true),
            Some(EndedStart::Ran(start)) => {
                start.report(control)?;
                return Ok(true);
            }
            Some(EndedStart::Failed {
                call,
                error,
                was_killed,
            }) => (call, error, was_killed),
        };
        if let Err(errno) = self.families.leader_ended(call, &self.table) {
            // Its end matters most.
            sys::log(&errno);
        }
        match error {
            _ if was_killed => self.jobs.kill_rest(call, error, &self.families),
            Some(error) => refuse(control, call, error)?,
            None => {}
        }
        Ok(false)
    }

    /// Starts a program in its working directory, if there is one and if not too many other starts wait.
    fn go_on_starting(
        &mut self,
        control: &mut Control,
        request: Box<Spawn>,
        directory_fd: Result<OwnedFd, Errno>,
        expires: Option<Instant>,
    ) -> Result<(), ControlError> {
        let call = request.call;
        let directory_fd = match directory_fd {
            Ok(directory_fd) => directory_fd,
            Err(errno) => return refuse(control, call, directory_failed(errno, &request.cwd)),
        };
        let bytes = size(&request) + self.env_bytes;
        if !self.waiting_starts.has_queue() && self.waiting_starts.has_room(bytes) {
            return self.finish_start(control, &request, directory_fd.as_fd(), expires);
        }
        if self.waiting_starts.queue(request, directory_fd, expires) {
            Ok(())
        } else {
            refuse(control, call, no_room())
        }
    }

    /// Starts a program, and replies if it runs.
    fn finish_start(
        &mut self,
        control: &mut Control,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
        expires: Option<Instant>,
    ) -> Result<(), ControlError> {
        let (call, begun) = (request.call, Instant::now());
        let spawned = self.spawn(request, directory_fd);
        self.introduce_helpers(control)?;
        let NewStart { pid, fds, starting } = match spawned {
            Ok(spawned) => spawned,
            Err(error) => return refuse(control, call, error),
        };
        let start = Start { call, pid, fds };
        match starting {
            Some(starting) => {
                let bytes = size(request) + self.env_bytes;
                self.waiting_starts.add(start, starting, bytes, expires);
                Ok(())
            }
            None if request.brief => self.held_starts.hold(start, begun, control),
            None => start.report(control),
        }
    }

    /// Starts a program as a new family.
    fn spawn(&mut self, request: &Spawn, directory_fd: BorrowedFd<'_>) -> Result<NewStart, Failure> {
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
    ) -> Result<Option<NewStart>, Failure> {
        let cgroups = self.families.take_cgroups().map_err(place_failed)?;
        let mark = self.families.mark(request.call);
        let cgroup = Cgroup::of(&cgroups);
        let patience = patience(self.waiting_starts.any_pending());
        let started = match &mut self.backend {
            Backend::Init(spawner) => spawner.start(request, directory_fd, cgroup, mark, patience),
            Backend::Deputy(deputy) => deputy.spawn(request, directory_fd, cgroup, mark),
        };
        match started {
            Ok(started) => {
                let (pid, report) = (started.pid, request.report_background);
                self.families
                    .enter(request.call, pid, started.terminal_fd, cgroups, report);
                Ok(Some(NewStart {
                    pid,
                    fds: started.host_fds,
                    starting: started.starting,
                }))
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
