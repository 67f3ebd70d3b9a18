//! Who starts programs and opens files, and what is made of it when that is somebody else who was killed.

use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{Failure, FileStep, Reply, Spawn};
use libc::pid_t;
use nix::errno::Errno;

use super::Vm;
use crate::control::{Attachments, Control, ControlError};
use crate::deputy::Deputy;
use crate::family::MARKER;
use crate::files::{self, Outcome};
use crate::spawn::{Cgroup, Spawner};
use crate::sys;

/// Who starts programs and opens files.
#[derive(Debug)]
pub(super) enum Hands {
    /// Init itself.
    Own(Spawner),
    /// Its deputy.
    Deputy(Box<Deputy>),
}

impl Hands {
    pub(super) fn deputy(&self) -> Option<&Deputy> {
        match self {
            Self::Own(_) => None,
            Self::Deputy(deputy) => Some(deputy),
        }
    }

    pub(super) fn deputy_mut(&mut self) -> Option<&mut Deputy> {
        match self {
            Self::Own(_) => None,
            Self::Deputy(deputy) => Some(deputy),
        }
    }
}

/// Why there is no place for a family.
fn place_failed(errno: Errno) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: Failure::PLACE.into(),
        path: None,
    }
}

impl Vm {
    /// Starts a program as a family of its own.
    pub(super) fn spawn(&mut self, request: &Spawn) -> Result<(pid_t, Vec<OwnedFd>), Failure> {
        match self.try_spawn(request)? {
            Some(started) => Ok(started),
            // Somebody on the host has removed idle directories of this VM's. Whoever keeps doing so is not waited for.
            None => self
                .try_spawn(request)?
                .ok_or_else(|| place_failed(Errno::EAGAIN)),
        }
    }

    /// Nothing if the place for it was removed on the host before it started.
    fn try_spawn(&mut self, request: &Spawn) -> Result<Option<(pid_t, Vec<OwnedFd>)>, Failure> {
        let place = self.families.place().map_err(place_failed)?;
        let mark = self.families.mark(request.call);
        let marker = mark.as_deref().map(|mark| (MARKER, mark));
        let cgroup = Cgroup::of(&place);
        let started = match &mut self.hands {
            Hands::Own(spawner) => spawner.start(request, cgroup, marker),
            Hands::Deputy(deputy) => deputy.spawn(request, cgroup, marker),
        };
        match started {
            Ok(started) => {
                let (pid, report) = (started.pid, request.report_background);
                self.families
                    .enter(request.call, pid, started.terminal_fd, place, report);
                Ok(Some((pid, started.host_fds)))
            }
            Err(error) => {
                let removed = place.was_removed();
                self.families.abandon(place).map_err(place_failed)?;
                if !removed {
                    return Err(error);
                }
                self.families.forget_removed();
                Ok(None)
            }
        }
    }

    /// Makes a step on the VM's files.
    pub(super) fn file(&mut self, step: FileStep, mut attachments: Attachments) -> Result<Outcome, Failure> {
        match &mut self.hands {
            Hands::Own(_) => files::step(&step, &mut attachments),
            Hands::Deputy(deputy) => deputy.file(step, attachments),
        }
    }

    /// Makes another deputy in place of one that was killed.
    pub(super) fn replace_deputy(&mut self, control: &mut Control) -> Result<(), ControlError> {
        if let Some(deputy) = self.hands.deputy_mut()
            && let Err(error) = deputy.start()
        {
            // The next errand tries again, and says so if it fails.
            sys::log(&error);
        }
        self.introduce_deputy(control)
    }

    /// Tells who needs to know that there is another deputy, if there is.
    pub(super) fn introduce_deputy(&mut self, control: &mut Control) -> Result<(), ControlError> {
        let Some(deputy) = self.hands.deputy_mut() else {
            return Ok(());
        };
        self.listeners.extend(deputy.take_listeners());
        match deputy.pid() {
            Some(pid) if self.table.set_deputy(Some(pid)) => {
                control.send(&Reply::Deputy { pid: pid as u32 }, Vec::new())
            }
            _ => Ok(()),
        }
    }
}
