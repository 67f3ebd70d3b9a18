//! The host's cgroup directories in which init makes families' directories, kept so that no path leads out of them.
//!
//! A descriptor of a directory gives access to everything above it. Init keeps these descriptors while the VM lives. So
//! in a VM with a root of its own they are mounts of only the directory, which are detached when the boot is over: then
//! `..` does not leave the directory, even for a process that gets one of them.
//!
//! For that they are attached below the host's root and detached together with it. A mount that was never attached
//! would work as well, but closing each such mount makes the kernel wait for all processors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use agent_vm_mount::{attach_mount, attr, restrict_mount};
use agent_vm_protocol::message::{BindSource, Boot, BootStep, Isolation, MemoryCount, ShownCgroup};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{fstat, fstatat};

use super::entry::source_mount;
use super::error::{At, BootError};
use crate::control::Attachments;
use crate::family::Cgrouping;

/// Takes the directories that the host attached.
pub fn take(boot: &Boot, attachments: &mut Attachments) -> Result<Cgrouping, BootError> {
    let mut directory = |source: &BindSource| {
        if boot.isolation == Isolation::Namespaces {
            detached(source, attachments).at(BootStep::CloneCgroupMount)
        } else {
            attached(source, attachments).at(BootStep::TakeCgroupDirectory)
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
        family_settings: boot.cgroups.family_settings.clone(),
        counts_kills,
        memory_fd,
        memory_settings: boot.cgroups.memory_settings.clone(),
    })
}

/// Shows programs the VM's own directories, each as a read-only mount of only that directory.
pub fn show(
    root_fd: BorrowedFd<'_>,
    shown: &[ShownCgroup],
    attachments: &mut Attachments,
) -> Result<(), BootError> {
    for directory in shown {
        let mount_fd = source_mount(&directory.source, false, attachments).at(BootStep::ShowCgroups)?;
        let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
        restrict_mount(mount_fd.as_fd(), attributes, false).at(BootStep::ShowCgroups)?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let place_fd =
            openat2(root_fd, &Path::new("sys").join(&directory.path), how).at(BootStep::ShowCgroups)?;
        attach_mount(&mount_fd, &place_fd).at(BootStep::ShowCgroups)?;
    }
    Ok(())
}

/// Makes sure that `..` does not leave the directories, once the host's root is gone.
pub fn check(cgrouping: &Cgrouping) -> Result<(), BootError> {
    for directory_fd in directories(cgrouping) {
        let (here, above) = (
            fstat(directory_fd).at(BootStep::LeaveCgroups)?,
            fstatat(directory_fd, "..", AtFlags::empty()).at(BootStep::LeaveCgroups)?,
        );
        if (here.st_dev, here.st_ino) != (above.st_dev, above.st_ino) {
            return Err(Errno::EXDEV).at(BootStep::LeaveCgroups);
        }
    }
    Ok(())
}

/// The directories that init keeps.
pub fn directories(cgrouping: &Cgrouping) -> impl Iterator<Item = &OwnedFd> {
    cgrouping.families_fd.iter().chain(&cgrouping.memory_fd)
}

/// The directory as a separate, detached mount.
fn detached(source: &BindSource, attachments: &mut Attachments) -> Result<OwnedFd, Errno> {
    let mount_fd = source_mount(source, false, attachments)?;
    restrict_mount(mount_fd.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC, false)?;
    Ok(mount_fd)
}

/// The directory as the host opened it. Programs of a VM without a root of its own see the host's root, so the
/// descriptor gives them no further access.
fn attached(source: &BindSource, attachments: &mut Attachments) -> Result<OwnedFd, Errno> {
    match source {
        BindSource::Mount(index) | BindSource::Opened { fd: index, .. } => {
            attachments.take(*index).ok_or(Errno::EBADF)
        }
        BindSource::Path(_) => Err(Errno::EINVAL),
    }
}
