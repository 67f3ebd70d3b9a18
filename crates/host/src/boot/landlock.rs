//! Whether this kernel's Landlock is enough for a VM without namespaces.

use agent_vm_protocol::message::BootStep;
use nix::errno::Errno;

use super::sys;

/// The first version that confines signals (`landlock(7)`): without that, programs of the server's own user could kill
/// the server. It came with Linux 6.12.
const NEEDED_ABI: u32 = 6;

/// Why Landlock cannot confine a VM on this host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LandlockError {
    /// The kernel has none, or does not allow its use.
    #[error("the kernel refused Landlock: {}", .0.desc())]
    Refused(Errno),
    /// Its version is too old.
    #[error("the kernel's Landlock has ABI {0}, and {NEEDED_ABI} is the first that keeps signals inside")]
    TooOld(u32),
    /// Init could not make the Landlock domain.
    #[error("init could not {step}: {}", Errno::from_raw(*errno))]
    SetUp {
        /// The step that failed.
        step: BootStep,
        /// The kernel's error.
        errno: i32,
    },
}

/// The kernel's ABI, if it is sufficient.
pub fn check() -> Result<u32, LandlockError> {
    match sys::landlock_abi() {
        Err(errno) => Err(LandlockError::Refused(errno)),
        Ok(abi) if abi < NEEDED_ABI => Err(LandlockError::TooOld(abi)),
        Ok(abi) => Ok(abi),
    }
}
