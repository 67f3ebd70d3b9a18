//! Makes the entries of a root that the host's request lists.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use agent_vm_mount::{attach_mount, attr, clone_mount, restrict_mount};
use agent_vm_protocol::message::{BindSource, BootStep, RootEntry};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::symlinkat;

use super::error::BootError;
use super::place::{FILE, RootPlace, SCRIPT, c_string, kind};
use super::private::Private;
use crate::control::Attachments;

pub fn refused(entry: &RootEntry, errno: Errno) -> BootError {
    let path = entry.path().to_owned();
    let step = if is_asked(entry) {
        BootStep::Mount(path)
    } else {
        BootStep::MakeEntry(path)
    };
    BootError { step, errno }
}

/// Whether the caller named the path.
pub fn is_asked(entry: &RootEntry) -> bool {
    matches!(
        entry,
        RootEntry::Mount { .. } | RootEntry::Private { asked: true, .. }
    )
}

/// Makes an entry in the root.
pub fn make(
    root_fd: BorrowedFd<'_>,
    private: &mut Private,
    entry: &RootEntry,
    attachments: &mut Attachments,
) -> Result<(), Errno> {
    let place = RootPlace::of(root_fd, entry.path(), !is_asked(entry))?;
    match entry {
        RootEntry::Directory { .. } => place.directory().map(drop),
        RootEntry::File { content, .. } => place.new_file(content, FILE),
        RootEntry::Script { content, .. } => place.new_file(content, SCRIPT),
        RootEntry::Symlink { target, .. } => symlinkat(target.as_str(), &place.parent_fd, &*place.name),
        RootEntry::Links { names, target, .. } => place.links(names, target),
        RootEntry::Cover { content, .. } => {
            let mount_fd = private.file(content)?;
            restrict_mount(mount_fd.as_fd(), attr::RDONLY, false)?;
            attach_mount(&mount_fd, &place.file()?)
        }
        RootEntry::Bind {
            source, read_only, ..
        }
        | RootEntry::Mount {
            source, read_only, ..
        } => {
            let mount_fd = source_mount(source, true, attachments)?;
            let attributes = attr::NOSUID | attr::NODEV | if *read_only { attr::RDONLY } else { 0 };
            restrict_mount(mount_fd.as_fd(), attributes, true)?;
            let target_fd = if kind(mount_fd.as_fd())? == SFlag::S_IFDIR {
                place.directory()?
            } else {
                place.file()?
            };
            // An earlier VM may have left anything there.
            if kind(target_fd.as_fd())? == SFlag::S_IFLNK {
                return Err(Errno::ELOOP);
            }
            attach_mount(&mount_fd, &target_fd)
        }
        RootEntry::Private {
            path,
            mode,
            of_user,
            kept,
            ..
        } => {
            let mount_fd = if *kept {
                private.kept_directory(path, *mode, *of_user)?
            } else {
                private.directory(*mode)?
            };
            let target_fd = place.directory()?;
            // A root that the caller brought may contain anything there.
            if kind(target_fd.as_fd())? != SFlag::S_IFDIR {
                return Err(Errno::ENOTDIR);
            }
            attach_mount(&mount_fd, &target_fd)
        }
    }
}

/// The source of a bind as a detached mount; with everything that the host has mounted below it if `recursive`.
pub fn source_mount(
    source: &BindSource,
    recursive: bool,
    attachments: &mut Attachments,
) -> Result<OwnedFd, Errno> {
    match source {
        BindSource::Path(path) => clone_mount(AT_FDCWD, &c_string(path)?, recursive),
        BindSource::Mount(index) => attachments.take(*index).ok_or(Errno::EBADF),
        BindSource::Opened { path, fd } => {
            let seen_fd = attachments.take(*fd).ok_or(Errno::EBADF)?;
            let how = OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
            let found_fd = openat2(AT_FDCWD, OsStr::from_bytes(path), how)?;
            // The descriptor belongs to the host's mounts, of which this namespace has a copy: in the copy it can only
            // be found by path.
            let (seen, found) = (fstat(&seen_fd)?, fstat(&found_fd)?);
            if (seen.st_dev, seen.st_ino) != (found.st_dev, found.st_ino) {
                return Err(Errno::ESTALE);
            }
            clone_mount(found_fd.as_fd(), c"", recursive)
        }
    }
}
