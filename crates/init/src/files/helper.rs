//! The helper that carries out steps on files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_protocol::Channel;
use agent_vm_protocol::message::{Attributes, Call, Failure, FileStep, Spawn};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::resolve::directory_for_init;
use crate::control::Attachments;
use crate::helper::{self, Helper};
use crate::landlock_domain::LandlockDomain;
use crate::mediate::Ground;
use crate::spawn::UserChange;
use crate::sys;

/// Carries out the steps, one after another.
pub type FileHelper = Helper<Ticket, StepAnswer>;

/// Opens working directories for which init might have to wait, one after another.
pub type DirectoryHelper = Helper<Box<Spawn>, DirectoryAnswer>;

/// How the opening of a working directory ended.
#[derive(Debug, Serialize, Deserialize)]
pub enum DirectoryAnswer {
    /// Attached: the directory.
    Opened,
    /// The kernel's error.
    Failed(i32),
}

/// Identifies a step.
#[derive(Debug)]
pub struct Ticket {
    /// The host's number for the call.
    pub call: Call,
    /// The system call.
    pub syscall: &'static str,
    /// The path.
    pub path: String,
}

impl Ticket {
    /// The failure of the step.
    pub fn failure(&self, errno: Errno) -> Failure {
        Failure {
            errno: errno as i32,
            syscall: self.syscall.to_owned(),
            path: Some(self.path.clone()),
        }
    }
}

/// The result of a step.
#[derive(Debug, Serialize, Deserialize)]
pub enum StepAnswer {
    /// Attached: the opened file.
    Opened,
    /// The attributes, as in `statx(2)`.
    Attributes(Attributes),
    /// A path.
    Path(Vec<u8>),
    /// How many names were removed.
    Removed(u32),
    /// How many names are done, and why the next one is not. Attached: their files.
    Several(u32, Option<Failure>),
    /// Whether the directory is new. Attached: the directory.
    Entered(bool),
    /// The step is done.
    Done,
    /// The step failed.
    Failed(Failure),
}

/// Runs in the helper's process, with the programs' rights to files if init has more; as another user if `change` says so.
pub fn serve(
    channel: &Channel,
    domain: Option<&LandlockDomain>,
    change: Option<&UserChange<'_>>,
    ground: &Ground<'_>,
) {
    let mut kept = vec![channel.as_fd()];
    kept.extend(ground.fds());
    kept.extend(change.map(|change| change.inner_fd));
    if enter(domain, &kept) {
        if let Some(Err(errno)) = change.map(UserChange::make) {
            // As somebody else it must not do anything, so each errand then fails.
            sys::log(&errno);
            return;
        }
        helper::serve(channel, |wanted: FileStep, fds| step(&wanted, fds, ground));
    }
}

/// Opens working directories in another helper's process.
pub fn serve_directories(channel: &Channel, domain: Option<&LandlockDomain>) {
    if enter(domain, &[channel.as_fd()]) {
        helper::serve(channel, |path: String, _| {
            match directory_for_init(path.as_bytes()) {
                Ok(fd) => (DirectoryAnswer::Opened, vec![fd]),
                Err(errno) => (DirectoryAnswer::Failed(errno as i32), Vec::new()),
            }
        });
    }
}

/// Gives up the rights that programs do not have, and all descriptors but `kept`. False if the helper must not go on.
fn enter(domain: Option<&LandlockDomain>, kept: &[BorrowedFd<'_>]) -> bool {
    if let Some(Err(error)) = domain.map(LandlockDomain::enter) {
        // Outside of the domain it must not do anything, so each errand then fails.
        sys::log(&error);
        return false;
    }
    let closed = helper::close_all_but(kept);
    closed.inspect_err(|errno| sys::log(errno)).is_ok()
}

fn step(step: &FileStep, fds: Vec<OwnedFd>, ground: &Ground<'_>) -> (StepAnswer, Vec<OwnedFd>) {
    match super::step(step, &mut Attachments::new(fds), ground) {
        Ok(Outcome::Opened(fd)) => (StepAnswer::Opened, vec![fd]),
        Ok(Outcome::Attributes(attributes)) => (StepAnswer::Attributes(*attributes), Vec::new()),
        Ok(Outcome::Path(path)) => (StepAnswer::Path(path), Vec::new()),
        Ok(Outcome::Removed(count)) => (StepAnswer::Removed(count), Vec::new()),
        Ok(Outcome::Several(several)) => (StepAnswer::Several(several.done, several.failure), several.fds),
        Ok(Outcome::Entered(fd, is_new)) => (StepAnswer::Entered(is_new), vec![fd]),
        Ok(Outcome::Done) => (StepAnswer::Done, Vec::new()),
        Err(error) => (StepAnswer::Failed(error), Vec::new()),
    }
}
