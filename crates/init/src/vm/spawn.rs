//! Starts programs.

use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{Failure, Spawn};
use libc::pid_t;
use nix::errno::Errno;

use super::Vm;
use super::backend::Backend;
use crate::spawn::Cgroup;

/// Why a family could not get its cgroups.
fn place_failed(errno: Errno) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: Failure::PLACE.into(),
        path: None,
    }
}

impl Vm {
    /// Starts a program as a new family.
    pub(super) fn spawn(&mut self, request: &Spawn) -> Result<(pid_t, Vec<OwnedFd>), Failure> {
        if self.families.are_frozen() {
            return Err(Failure {
                errno: Errno::EAGAIN as i32,
                syscall: Failure::PAUSED.into(),
                path: None,
            });
        }
        match self.try_spawn(request)? {
            Some(started) => Ok(started),
            // A process on the host has removed idle directories of this VM. Init does not wait until that process
            // stops doing so.
            None => self
                .try_spawn(request)?
                .ok_or_else(|| place_failed(Errno::EAGAIN)),
        }
    }

    /// Returns `None` if the family's directory was removed on the host before the program started.
    fn try_spawn(&mut self, request: &Spawn) -> Result<Option<(pid_t, Vec<OwnedFd>)>, Failure> {
        let cgroups = self.families.take_cgroups().map_err(place_failed)?;
        let mark = self.families.mark(request.call);
        let cgroup = Cgroup::of(&cgroups);
        let started = match &mut self.backend {
            Backend::Init(spawner) => spawner.start(request, cgroup, mark),
            Backend::Deputy(deputy) => deputy.spawn(request, cgroup, mark),
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
