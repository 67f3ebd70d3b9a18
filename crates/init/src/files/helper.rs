//! The helper that does steps on files.

use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::Channel;
use agent_vm_protocol::message::{Attributes, Call, Failure, FileStep};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::control::Attachments;
use crate::helper::{self, Helper};
use crate::landlock_domain::LandlockDomain;
use crate::sys;

/// Does the steps, one after another.
pub type FileHelper = Helper<Ticket, Answer>;

/// Whose step it is.
#[derive(Debug)]
pub struct Ticket {
    /// The host's number for it.
    pub call: Call,
    /// The system call that the step is.
    pub syscall: &'static str,
    /// The path that it is about.
    pub path: String,
}

impl Ticket {
    /// Why the step was not done.
    pub fn failure(&self, errno: Errno) -> Failure {
        Failure {
            errno: errno as i32,
            syscall: self.syscall.to_owned(),
            path: Some(self.path.clone()),
        }
    }
}

/// What came of a step.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Attached: what was opened.
    Opened,
    /// As `statx(2)` gives them.
    Attributes(Attributes),
    /// Done.
    Done,
    /// Not done.
    Failed(Failure),
}

/// The helper's process: with programs' rights to files, where those are not init's.
pub fn serve(channel: &Channel, domain: Option<&LandlockDomain>) {
    if let Some(Err(error)) = domain.map(LandlockDomain::enter) {
        // Outside of the domain it must not do anything: each step then fails.
        sys::log(&error);
        return;
    }
    helper::close_all_but(&[channel.as_fd()]);
    helper::serve(channel, |wanted: FileStep, fds| step(&wanted, fds));
}

fn step(step: &FileStep, fds: Vec<OwnedFd>) -> (Answer, Vec<OwnedFd>) {
    match super::step(step, &mut Attachments::new(fds)) {
        Ok(Outcome::Opened(fd)) => (Answer::Opened, vec![fd]),
        Ok(Outcome::Attributes(attributes)) => (Answer::Attributes(*attributes), Vec::new()),
        Ok(Outcome::Done) => (Answer::Done, Vec::new()),
        Err(error) => (Answer::Failed(error), Vec::new()),
    }
}
