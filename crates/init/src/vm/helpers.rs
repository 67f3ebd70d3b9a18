//! The processes that work for init: its deputy, if it has one, and its helpers.

use agent_vm_protocol::message::Reply;

use super::Vm;
use super::backend::Backend;
use crate::control::{Control, ControlError};
use crate::mediate::{Ground, OwnMounts};
use crate::sys;

impl Vm {
    /// Starts another deputy after one was killed.
    pub(super) fn replace_deputy(&mut self, control: &mut Control) -> Result<(), ControlError> {
        if let Backend::Deputy(deputy) = &mut self.backend
            && let Err(error) = deputy.start()
        {
            // The next errand tries again, and reports the error if it fails.
            sys::log(&error);
        }
        self.introduce_helpers(control)
    }

    /// Answers calls that the kernel asks about.
    pub(super) fn mediate(&mut self, control: &mut Control) -> Result<(), ControlError> {
        if self.mediator.has_sources() {
            let ground = ground(&self.backend, &self.own_mounts);
            self.mediator.advance(self.table.proc_fd(), &ground);
            self.introduce_helpers(control)?;
        }
        Ok(())
    }

    /// Reports new processes to the host and to what watches them, if there are any.
    pub(super) fn introduce_helpers(&mut self, control: &mut Control) -> Result<(), ControlError> {
        let mut pids: Vec<_> = {
            let of_files = self.files.pids().chain(self.directories.pids());
            of_files.chain(self.mediator.pids()).collect()
        };
        if let Backend::Deputy(deputy) = &mut self.backend {
            self.mediator.add_sources(deputy.take_listeners());
            pids.extend(deputy.pid());
        }
        if !self.table.set_helpers(&pids) {
            return Ok(());
        }
        let pids = pids.into_iter().map(|pid| pid as u32).collect();
        control.send(&Reply::Helpers { pids }, Vec::new())
    }
}

/// Where the files are whose attributes the helpers may change.
pub(super) fn ground<'a>(backend: &'a Backend, own_mounts: &'a OwnMounts) -> Ground<'a> {
    match backend {
        Backend::Init(spawner) => Ground::Root {
            own: own_mounts,
            users_fd: spawner.users_fd(),
        },
        Backend::Deputy(deputy) => Ground::Directory {
            directory_fd: deputy.domain().directory(),
            replaced: deputy.domain().replaced(),
        },
    }
}
