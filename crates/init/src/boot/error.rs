//! Why a boot failed, with the step.

use agent_vm_protocol::message::BootStep;
use nix::errno::Errno;

use crate::sys::errno_of;

/// A step of the boot that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {errno}")]
pub struct BootError {
    /// The step that failed.
    pub step: BootStep,
    /// The kernel's error.
    pub errno: Errno,
}

impl BootError {
    /// An error: the kernel refused `step` with `errno`.
    pub fn of(step: BootStep, errno: Errno) -> Self {
        Self { step, errno }
    }

    /// An error: `step` failed with `error`.
    pub fn new(step: BootStep, error: &std::io::Error) -> Self {
        Self::of(step, errno_of(error))
    }
}

/// Attaches the step to a system call's error.
pub trait At<T> {
    /// `step` is the step that the call belongs to.
    fn at(self, step: BootStep) -> Result<T, BootError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: BootStep) -> Result<T, BootError> {
        self.map_err(|errno| BootError { step, errno })
    }
}
