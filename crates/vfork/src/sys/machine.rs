//! The system calls of the target's processor.

#[cfg(target_arch = "aarch64")]
pub use super::aarch64::{clone_and_call, system_call};
#[cfg(target_arch = "x86_64")]
pub use super::x86_64::{clone_and_call, system_call};
