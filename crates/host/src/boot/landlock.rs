//! Whether this kernel's Landlock is enough for a VM without namespaces.

use agent_vm_protocol::message::BootStep;
use nix::errno::Errno;

use super::sys;

/// The first that keeps signals inside (`landlock(7)`): without that, programs of the server's own user could kill the
/// server. It came with Linux 6.12.
const NEEDED_ABI: u32 = 6;

/// Why Landlock cannot wall a VM off here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LandlockError {
    /// There is none, or it may not be used.
    #[error("the kernel refused Landlock: {}", .0.desc())]
    Refused(Errno),
    /// There is too little of it.
    #[error("the kernel's Landlock has ABI {0}, and {NEEDED_ABI} is the first that keeps signals inside")]
    TooOld(u32),
    /// Init could not make the walls.
    #[error("init could not {step}: {}", Errno::from_raw(*errno))]
    SetUp {
        /// The step.
        step: BootStep,
        /// What the kernel answered.
        errno: i32,
    },
}

/// The kernel's ABI, if it is enough.
pub fn check() -> Result<u32, LandlockError> {
    match sys::landlock_abi() {
        Err(errno) => Err(LandlockError::Refused(errno)),
        Ok(abi) if abi < NEEDED_ABI => Err(LandlockError::TooOld(abi)),
        Ok(abi) => Ok(abi),
    }
}
