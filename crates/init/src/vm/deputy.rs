//! Steps on files, and what is done when the deputy that makes them was killed.

use agent_vm_protocol::message::{Failure, FileStep, Reply};

use super::Vm;
use super::backend::Backend;
use crate::control::{Attachments, Control, ControlError};
use crate::files::{self, Outcome};
use crate::sys;

impl Vm {
    /// Makes a step on the VM's files.
    pub(super) fn file(&mut self, step: FileStep, mut attachments: Attachments) -> Result<Outcome, Failure> {
        match &mut self.backend {
            Backend::Init(_) => files::step(&step, &mut attachments),
            Backend::Deputy(deputy) => deputy.file(step, attachments),
        }
    }

    /// Makes another deputy in place of one that was killed.
    pub(super) fn replace_deputy(&mut self, control: &mut Control) -> Result<(), ControlError> {
        if let Some(deputy) = self.backend.deputy_mut()
            && let Err(error) = deputy.start()
        {
            // The next errand tries again, and says so if it fails.
            sys::log(&error);
        }
        self.introduce_deputy(control)
    }

    /// Reports a new deputy to the host and to what watches it, if there is one.
    pub(super) fn introduce_deputy(&mut self, control: &mut Control) -> Result<(), ControlError> {
        let Some(deputy) = self.backend.deputy_mut() else {
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
