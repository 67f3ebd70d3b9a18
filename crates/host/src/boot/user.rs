//! The user of a VM.

use nix::unistd::Uid;

/// The user's uid and gid in the VM.
pub const USER_ID: u32 = 1000;

/// Whether this process gives each VM a separate id.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}
