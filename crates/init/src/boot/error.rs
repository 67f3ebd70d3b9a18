//! Why a boot fails: each step names itself.

use agent_vm_protocol::message::BootStep;
use nix::errno::Errno;

/// A step of the boot that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {errno}")]
pub struct BootError {
    /// The step.
    pub step: BootStep,
    /// The kernel's answer.
    pub errno: Errno,
}

impl BootError {
    /// `step` was refused with `errno`.
    pub fn of(step: BootStep, errno: Errno) -> Self {
        Self { step, errno }
    }

    /// `step` failed with `error`.
    pub fn new(step: BootStep, error: &std::io::Error) -> Self {
        Self::of(step, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

/// Names the step that a system call belongs to.
pub trait At<T> {
    /// `step` is what the call was a part of.
    fn at(self, step: BootStep) -> Result<T, BootError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: BootStep) -> Result<T, BootError> {
        self.map_err(|errno| BootError { step, errno })
    }
}
