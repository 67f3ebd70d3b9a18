//! Steps on the VM's files. A helper carries them out, because each may wait for a program's lock.

use agent_vm_protocol::Frame;
use agent_vm_protocol::message::{Call, Failure, FileStep, Reply};
use nix::errno::Errno;

use super::Vm;
use super::helpers::ground;
use crate::control::{Attachments, Control, ControlError};
use crate::deputy::Deputy;
use crate::files::helper::{StepAnswer, Ticket, serve};

impl Vm {
    /// Begins a step. [`advance_files`](Self::advance_files) sends its reply.
    pub(super) fn begin_step(
        &mut self,
        call: Call,
        step: &FileStep,
        attachments: Attachments,
    ) -> Result<(), Failure> {
        let (syscall, path) = crate::files::name(step);
        let ticket = Ticket {
            call,
            syscall,
            path: String::from_utf8_lossy(path).into_owned(),
        };
        match Frame::new(step, attachments.into_fds()) {
            Ok(frame) => {
                self.files.submit(ticket, frame);
                Ok(())
            }
            Err(_) => Err(ticket.failure(Errno::E2BIG)),
        }
    }

    /// Sends the replies of finished steps, and starts the next one.
    pub(super) fn advance_files(&mut self, control: &mut Control) -> Result<(), ControlError> {
        let domain = self.backend.deputy().map(Deputy::domain);
        let ground = ground(&self.backend, &self.own_mounts);
        let change = self.backend.way_to_become(&self.user);
        let finished = self
            .files
            .advance(|channel| serve(channel, domain, change.as_ref(), &ground));
        self.introduce_helpers(control)?;
        for (ticket, answered) in finished {
            let call = ticket.call;
            let (reply, fds) = match answered {
                Ok((StepAnswer::Opened, fds)) if fds.is_empty() => {
                    // Init has no room for the descriptor.
                    let error = ticket.failure(Errno::EMFILE);
                    (Reply::Failed { call, error }, fds)
                }
                Ok((StepAnswer::Opened, fds)) => (Reply::Opened { call }, fds),
                Ok((StepAnswer::Attributes(attributes), fds)) => {
                    (Reply::Attributes { call, attributes }, fds)
                }
                Ok((StepAnswer::Path(path), fds)) => (Reply::Path { call, path }, fds),
                Ok((StepAnswer::Removed(count), fds)) => (Reply::Removed { call, count }, fds),
                Ok((StepAnswer::Several(done, failure), fds)) => {
                    (Reply::Several { call, done, failure }, fds)
                }
                Ok((StepAnswer::Entered(is_new), fds)) => (Reply::Entered { call, is_new }, fds),
                Ok((StepAnswer::Done, fds)) => (Reply::Done { call }, fds),
                Ok((StepAnswer::Failed(error), fds)) => (Reply::Failed { call, error }, fds),
                Err(errno) => {
                    let error = ticket.failure(errno);
                    (Reply::Failed { call, error }, Vec::new())
                }
            };
            control.send(&reply, fds)?;
        }
        Ok(())
    }
}
