//! The user of a VM.

use nix::unistd::Uid;

/// The user's uid and gid in the VM.
pub const USER_ID: u32 = 1000;

/// The uid and gid on the host of a VM's default user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestIds {
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
}

impl GuestIds {
    /// The ids of a user whose uid and gid are the same.
    #[must_use]
    pub fn same(id: u32) -> Self {
        Self { uid: id, gid: id }
    }
}

/// Whether this process gives each VM a separate id.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}
