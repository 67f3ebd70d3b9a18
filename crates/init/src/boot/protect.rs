//! Places in writable mounts that stay read-only.
//!
//! A place is mounted over itself, read-only. The kernel then refuses (EBUSY) to move, replace or remove it, because it is
//! a mount point of this mount namespace. But it would let a program move a directory above it, and make another one at
//! that name. So each directory between the mount and the place is mounted over itself as well.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use agent_vm_mount::{attach_mount, attr, clone_mount, restrict_mount};
use agent_vm_protocol::message::{BootStep, ReadOnlyPlace, RootEntry};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::error::{At, BootError};
use super::place::{c_string, kind, open_path};
use super::private::Private;

mod ways;

/// A place that is protected, or a directory above one.
struct Pin {
    /// The path in the root.
    path: String,
    /// The mount at it.
    mount_fd: OwnedFd,
    /// Whether it is a place, and so read-only.
    is_place: bool,
}

/// The paths in the root of all places that are protected.
pub type Places = Vec<PathBuf>;

/// Protects what the entries of the root name. All of them are made.
pub fn protect(
    root_fd: BorrowedFd<'_>,
    private: &mut Private,
    entries: &[RootEntry],
) -> Result<Places, BootError> {
    let mut pins = Vec::new();
    for entry in entries {
        if let RootEntry::Mount { path, protect, .. } = entry
            && !protect.is_empty()
        {
            pin(root_fd, private, path, protect, &mut pins)?;
        }
    }
    // On the host somebody may have moved something between two of the steps above.
    for pin in &pins {
        check(root_fd, pin).at(BootStep::Protect(pin.path.clone()))?;
    }
    let places = pins.into_iter().filter(|pin| pin.is_place);
    Ok(places.map(|pin| PathBuf::from(pin.path)).collect())
}

/// Protects places in one mount.
fn pin(
    root_fd: BorrowedFd<'_>,
    private: &mut Private,
    mount: &str,
    places: &[ReadOnlyPlace],
    pins: &mut Vec<Pin>,
) -> Result<(), BootError> {
    let base_fd = find(root_fd, mount).at(BootStep::Protect(mount.to_owned()))?;
    // By path below the mount: the directories above places.
    let mut directories: BTreeMap<&str, usize> = BTreeMap::new();
    for ReadOnlyPlace {
        path: place,
        is_placeholder,
    } in places
    {
        let mut above: Option<usize> = None;
        for (end, _) in place.match_indices('/').chain([(place.len(), "")]) {
            let below = &place[..end];
            if let Some(&pinned) = directories.get(below) {
                above = Some(pinned);
                continue;
            }
            let parent_fd = above.map_or(base_fd.as_fd(), |pinned| pins[pinned].mount_fd.as_fd());
            let name = below.rsplit('/').next().unwrap_or(below);
            let is_place = end == place.len();
            let path = format!("{mount}/{below}");
            let mut mount_fd = cover(parent_fd, name, is_place).at(BootStep::Protect(path.clone()))?;
            if is_place && *is_placeholder {
                mount_fd = hide(private, mount_fd.as_fd()).at(BootStep::Protect(path.clone()))?;
            }
            above = Some(pins.len());
            directories.insert(below, pins.len());
            pins.push(Pin {
                path,
                mount_fd,
                is_place,
            });
        }
    }
    Ok(())
}

/// Mounts a name over itself; read-only, with what is mounted below it, if it is a place.
fn cover(parent_fd: BorrowedFd<'_>, name: &str, is_place: bool) -> Result<OwnedFd, Errno> {
    let target_fd = open_path(parent_fd, &c_string(name)?)?;
    match kind(target_fd.as_fd())? {
        SFlag::S_IFDIR => {}
        SFlag::S_IFREG if is_place => {}
        SFlag::S_IFLNK => return Err(Errno::ELOOP),
        _ => return Err(Errno::ENOTDIR),
    }
    let mount_fd = clone_mount(target_fd.as_fd(), c"", true)?;
    if is_place {
        restrict_mount(mount_fd.as_fd(), attr::RDONLY, true)?;
    }
    attach_mount(&mount_fd, &target_fd)?;
    Ok(mount_fd)
}

/// Covers a placeholder with an empty file or directory of the VM. Programs that can open the placeholder could hold its
/// lock, for which keepers would wait.
fn hide(private: &mut Private, placeholder_fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mount_fd = match kind(placeholder_fd)? {
        SFlag::S_IFDIR => private.directory(0o755)?,
        _ => private.file("")?,
    };
    restrict_mount(mount_fd.as_fd(), attr::RDONLY, false)?;
    attach_mount(&mount_fd, placeholder_fd)?;
    Ok(mount_fd)
}

/// Checks that a path leads to the mount that was made for it.
fn check(root_fd: BorrowedFd<'_>, pin: &Pin) -> Result<(), Errno> {
    let found_fd = find(root_fd, &pin.path)?;
    let (found, made) = (fstat(&found_fd)?, fstat(&pin.mount_fd)?);
    let is_same = (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino)
        && ways::number(found_fd.as_fd())? == ways::number(pin.mount_fd.as_fd())?;
    let is_closed = fstatvfs(&found_fd)?.flags().contains(FsFlags::ST_RDONLY);
    if is_same && (is_closed || !pin.is_place) {
        Ok(())
    } else {
        Err(Errno::ESTALE)
    }
}

/// Opens a path in the root without following links.
fn find(root_fd: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(root_fd, path, how)
}

/// Refuses a VM in which another mount shows a place writable. `proc_fd` is its `/proc`, and its root is this process's.
pub fn refuse_other_ways(places: &[PathBuf], proc_fd: BorrowedFd<'_>) -> Result<(), BootError> {
    if places.is_empty() {
        return Ok(());
    }
    let mut listed = Vec::new();
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(proc_fd, c"self/mountinfo", flags, Mode::empty())
        .and_then(|fd| {
            File::from(fd)
                .read_to_end(&mut listed)
                .map_err(|error| crate::sys::errno_of(&error))
        })
        .at(BootStep::ReadMounts)?;
    let mounts = ways::parse(&listed)
        .ok_or(Errno::EINVAL)
        .at(BootStep::ReadMounts)?;
    for place in places {
        if ways::is_open_elsewhere(&mounts, place) {
            let path = place.to_string_lossy().into_owned();
            return Err(Errno::EBUSY).at(BootStep::ProtectElsewhere(path));
        }
    }
    Ok(())
}
