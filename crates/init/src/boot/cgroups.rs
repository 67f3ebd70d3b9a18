//! The host's cgroup directories that init makes families' directories in, held so that no path leads out of them.
//!
//! A descriptor of a directory is a way to all that is above it. Init keeps these for as long as the VM lives, so in a VM that has
//! a root of its own they are mounts of the directory alone, which are mounted nowhere when the boot is over: `..` ends there,
//! whoever gets one of them.
//!
//! For that they go the way of the host's root: they are attached below it and detached with it. A mount that was never attached
//! would do as well, but when it goes the kernel waits for all processors, once more for each.

use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{BindSource, Boot, Isolation, MemoryCount};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fstat, fstatat};

use super::root::source_mount;
use super::sys::{self, attr};
use super::{At, BootError};
use crate::control::Attachments;
use crate::family::Cgrouping;

/// Takes what the host attached.
pub fn take(boot: &Boot, attachments: &mut Attachments) -> Result<Cgrouping, BootError> {
    let mut directory = |source: &BindSource| {
        if boot.isolation == Isolation::Namespaces {
            detached(source, attachments).at("clone the mount of a cgroup directory")
        } else {
            attached(source, attachments).at("take a cgroup directory")
        }
    };
    let families_fd = boot.cgroups.families.as_ref().map(&mut directory).transpose()?;
    let (counts_kills, memory_fd) = match &boot.cgroups.memory {
        Some(MemoryCount::InFamilies) => (true, None),
        Some(MemoryCount::Directory(source)) => (false, Some(directory(source)?)),
        None => (false, None),
    };
    Ok(Cgrouping {
        families_fd,
        counts_kills,
        memory_fd,
    })
}

/// Makes sure that nothing is above the directories, once the host's root is gone.
pub fn check(cgrouping: &Cgrouping) -> Result<(), BootError> {
    let step = "leave the host's cgroups behind";
    for directory_fd in directories(cgrouping) {
        let (here, above) = (
            fstat(directory_fd).at(step)?,
            fstatat(directory_fd, "..", AtFlags::empty()).at(step)?,
        );
        if (here.st_dev, here.st_ino) != (above.st_dev, above.st_ino) {
            return Err(Errno::EXDEV).at(step);
        }
    }
    Ok(())
}

/// Those that init keeps.
pub fn directories(cgrouping: &Cgrouping) -> impl Iterator<Item = &OwnedFd> {
    cgrouping.families_fd.iter().chain(&cgrouping.memory_fd)
}

/// The directory as a mount of its own, which is mounted nowhere.
fn detached(source: &BindSource, attachments: &mut Attachments) -> Result<OwnedFd, Errno> {
    let mount_fd = source_mount(source, false, attachments)?;
    sys::restrict_mount(mount_fd.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC, false)?;
    Ok(mount_fd)
}

/// The directory as the host opened it. Programs of a VM without a root of its own have the host's: it names nothing to them that
/// they could not name without it.
fn attached(source: &BindSource, attachments: &mut Attachments) -> Result<OwnedFd, Errno> {
    match source {
        BindSource::Mount(index) | BindSource::Opened { fd: index, .. } => {
            attachments.take(*index).ok_or(Errno::EBADF)
        }
        BindSource::Path(_) => Err(Errno::EINVAL),
    }
}
