//! The VM's user.

use nix::unistd::Uid;

/// The VM user's uid and gid inside.
pub const USER_ID: u32 = 1000;

/// The VM user's home inside, in a VM with a root of its own.
pub const HOME: &str = "/home/user";

/// Whether this process gives each VM an id of its own.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}
