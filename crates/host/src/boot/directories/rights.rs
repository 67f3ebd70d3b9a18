//! Whether a root server may show host directories and, if not, what it lacks.
//!
//! The kernel requires two rights (`open_tree(2)`, `mount_setattr(2)`). To copy a mount, the server needs
//! `CAP_SYS_ADMIN` in the user namespace that owns its mount namespace. To map a file system's owners, it needs
//! `CAP_SYS_ADMIN` in the user namespace that owns the file system.

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use agent_vm_mount::{attr, clone_mount, restrict_and_map};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::sys;
use crate::boot::user::is_root;

/// What a root server lacks to show host directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// `CAP_SYS_ADMIN`, as in a container with Docker's default capabilities.
    Capability,
    /// Its own file systems: it is root of a user namespace, and they belong to the one outside.
    FileSystems,
    /// The kernel would allow it, but something else refuses.
    Policy,
}

impl Lack {
    /// What was lacking when `open_tree` was refused.
    pub(super) fn now() -> Self {
        if !is_in_first_namespace() {
            Self::FileSystems
        } else if has_capability() {
            Self::Policy
        } else {
            Self::Capability
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Capability => "the server is root without CAP_SYS_ADMIN",
            Self::FileSystems => {
                "the server is root of a user namespace that the file systems of the host do not belong to"
            }
            Self::Policy => "a policy of the host or the container refuses open_tree to the server",
        })
    }
}

/// The directories whose owner a server can show as the VM's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowsOwners {
    /// Those that it owns itself: it is an ordinary user.
    Own,
    /// Those on file systems that can map owners, including the root's.
    Mapped,
    /// Those on file systems other than the root's, which cannot map owners.
    NotOfTheRoot,
}

/// Tries it with `/`.
pub fn probe() -> Result<ShowsOwners, Lack> {
    /// The id to which the probe maps an owner: the kernel's overflow id.
    const NOBODY: u32 = 65_534;
    if !is_root() {
        return Ok(ShowsOwners::Own);
    }
    let root = open(Path::new("/"), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let Ok(mount_fd) = root.and_then(|root| clone_mount(root.as_fd(), c"", false)) else {
        return Err(Lack::now());
    };
    if !is_in_first_namespace() {
        return Err(Lack::FileSystems);
    }
    let map = format!("0 {NOBODY} 1\n");
    let mapped = sys::user_namespace(&map, &map).and_then(|namespace_fd| {
        restrict_and_map(mount_fd.as_fd(), attr::NODEV, namespace_fd.as_fd()).map_err(Into::into)
    });
    Ok(mapped.map_or(ShowsOwners::NotOfTheRoot, |()| ShowsOwners::Mapped))
}

/// Whether this process is in the initial user namespace of the host, which has a fixed inode number
/// (`PROC_USER_INIT_INO` in the kernel's `proc_ns.h`).
pub(super) fn is_in_first_namespace() -> bool {
    fs::read_link("/proc/self/ns/user").is_ok_and(|name| name == Path::new("user:[4026531837]"))
}

/// Whether this thread has `CAP_SYS_ADMIN`.
fn has_capability() -> bool {
    const SYS_ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << SYS_ADMIN) != 0)
}
