//! Why a boot fails: each step names itself.

use std::borrow::Cow;

use nix::errno::Errno;

/// A step of the boot that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {errno}")]
pub struct BootError {
    /// The step, in words.
    pub step: Cow<'static, str>,
    /// The kernel's answer.
    pub errno: Errno,
    /// The path inside of the mount that it was about, if it was about one that was asked for.
    pub path: Option<String>,
}

impl BootError {
    /// `step` was refused with `errno`.
    pub fn of(step: &'static str, errno: Errno) -> Self {
        Self {
            step: step.into(),
            errno,
            path: None,
        }
    }

    /// `step` failed with `error`.
    pub fn new(step: &'static str, error: &std::io::Error) -> Self {
        Self::of(step, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

/// Names the step that a system call belongs to.
pub trait At<T> {
    /// `step` is what the call was a part of.
    fn at(self, step: impl Into<Cow<'static, str>>) -> Result<T, BootError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: impl Into<Cow<'static, str>>) -> Result<T, BootError> {
        self.map_err(|errno| BootError {
            step: step.into(),
            errno,
            path: None,
        })
    }
}
