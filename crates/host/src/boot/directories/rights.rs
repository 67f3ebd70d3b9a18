//! Whether a root server may show directories at all, and what it lacks where it may not.
//!
//! The kernel asks for two rights (`open_tree(2)`, `mount_setattr(2)`): `CAP_SYS_ADMIN` in the user namespace that the
//! server's mounts belong to, for a copy of a mount, and the same in that of the file system, for a map of its owners.

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use agent_vm_mount::{attr, clone_mount, restrict_and_map};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::sys;
use crate::boot::user::is_root;

/// What a root server lacks to show directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// `CAP_SYS_ADMIN`, as in a container with Docker's default capabilities.
    Capability,
    /// File systems of its own: it is root of a user namespace, and they belong to the one outside.
    FileSystems,
    /// Nothing of the kernel's, yet something else refuses.
    Policy,
}

impl Lack {
    /// What a refused `open_tree` lacked.
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

/// Of which directories a server can show the owner as the VM's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Of all that it owns: it is an ordinary user.
    Own,
    /// Of those on file systems that can map owners, as the root's can.
    Mapped,
    /// Of those on other file systems than the root's, which cannot map owners.
    NotOfTheRoot,
}

/// Tries it on `/`.
pub fn probe() -> Result<Shown, Lack> {
    /// An owner is mapped onto this id for as long as the probe takes: the kernel's overflow id.
    const NOBODY: u32 = 65_534;
    if !is_root() {
        return Ok(Shown::Own);
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
    Ok(mapped.map_or(Shown::NotOfTheRoot, |()| Shown::Mapped))
}

/// Whether this process is in the user namespace that the host was started with, which has a number of its own
/// (`PROC_USER_INIT_INO` of the kernel's `proc_ns.h`).
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
