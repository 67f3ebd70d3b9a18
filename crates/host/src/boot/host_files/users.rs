//! What other users may do with a file of the host.

use nix::sys::stat::{FileStat, SFlag, stat};
use nix::unistd::geteuid;

/// The permission bits of others.
pub(super) const READ: u32 = 0o4;
pub(super) const SEARCH: u32 = 0o1;

/// The users on whom it depends whether a file shows.
pub(super) struct Users {
    /// The server's user, which is also the VM's user; `None` if the server is root.
    pub own: Option<u32>,
    /// The users who may change what is shown: the owner of the programs, which is root where root is mapped, and the
    /// server's user.
    trusted: [u32; 2],
}

impl Users {
    /// Those of this process as it is now.
    pub fn now() -> Self {
        let uid = geteuid();
        Self {
            own: (!uid.is_root()).then(|| uid.as_raw()),
            trusted: [stat("/usr").map_or(0, |found| found.st_uid), uid.as_raw()],
        }
    }

    /// Whether only root or the server's user can change it.
    pub fn is_closed(&self, found: &FileStat) -> bool {
        self.trusted.contains(&found.st_uid) && found.st_mode & 0o022 == 0
    }

    /// Whether it belongs to the VM's user.
    pub fn is_ours(&self, found: &FileStat) -> bool {
        self.own == Some(found.st_uid)
    }
}

/// The type of a file.
pub(super) fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

/// Whether others have these rights.
pub(super) fn allows(found: &FileStat, wanted: u32) -> bool {
    found.st_mode & wanted == wanted
}
