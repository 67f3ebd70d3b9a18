//! Host directories in a VM: opened here with the server's rights and no more, and sent to init as mounts.
//!
//! The owner of a directory is the VM's default user inside. A root server maps the owner to that user with an idmapped
//! mount. Everything else in the directory then belongs to no user of the VM: it is readable as it is for others, and
//! never writable. An ordinary user's server needs no map, because its own id is the VM's user.
//!
//! Set-user-id bits and device nodes have no effect in the VM. The filter (init's `seccomp`) refuses to make either in
//! such a directory, because they would have an effect on the host.

mod error;
mod installed;
mod opened;
mod rights;
mod rootfs;
mod sys;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agent_vm_mount::clone_mount;
use agent_vm_protocol::message::{Attached, BindSource, ProtectedPlace, ReadOnlyPlace, RootEntry};
use nix::errno::Errno;

use super::keeper::Guarded;
use super::options::{Mount, Options};
use super::own_paths::HOME;
use super::user::GuestIds;
use opened::{Access, Opened, Wanted};

pub use error::DirectoryError;
pub use installed::node_entries;
pub use rights::{Lack, ShowsOwners, probe};
pub use rootfs::Rootfs;

/// Opens the directories that `options` names and returns the entries that show them, upper ones first. Adds the
/// descriptors of the entries to `fds`, and the directories with protected places to `guarded`. `ids` are those of
/// the VM's default user on the host, if they are not the server's own.
pub fn entries(
    options: &Options,
    ids: Option<GuestIds>,
    fds: &mut Vec<OwnedFd>,
    guarded: &mut Vec<Guarded>,
) -> Result<Vec<RootEntry>, DirectoryError> {
    let home = options.home.as_ref().map(|host_path| Mount {
        path: HOME.to_owned(),
        host_path: host_path.clone(),
        read_only: false,
        software: false,
        protect: Vec::new(),
    });
    let home = home.iter().map(|mount| (mount, Wanted::Home));
    let others = options.mounts.iter().map(|mount| {
        let wanted = if mount.software {
            Wanted::Software
        } else if !mount.protect.is_empty() {
            Wanted::Directory
        } else {
            Wanted::Anything
        };
        (mount, wanted)
    });
    let mut mounts: Vec<_> = home.chain(others).collect();
    // A mount below another one needs the other one first.
    mounts.sort_by_key(|(mount, _)| depth(&mount.path));
    let mut entries = Vec::with_capacity(mounts.len());
    for (mount, wanted) in mounts {
        let opened = Opened::at(&mount.host_path, wanted)?;
        let access = if mount.software {
            Access::ReadAsOthers
        } else if mount.read_only {
            Access::Read
        } else {
            Access::Write
        };
        if !mount.protect.is_empty() {
            guarded.push(Guarded {
                mount: mount.path.clone(),
                path: mount.host_path.clone(),
                fd: opened.duplicate()?,
                owner: ids.map(|_| opened.owner()),
                places: mount.protect.clone(),
            });
        }
        let source = opened.into_source(ids, access, fds)?;
        entries.push(RootEntry::Mount {
            path: mount.path.clone(),
            source,
            read_only: mount.read_only || mount.software,
            protect: mount.protect.iter().map(read_only).collect(),
        });
    }
    Ok(entries)
}

/// A directory for init to keep, as a mount of only that directory, so that `..` does not leave it. If this process may
/// not clone mounts, init does so in its own mount namespace. `path` has no links; the descriptors to attach are added
/// to `fds`.
pub fn confined(path: &Path, fd: BorrowedFd<'_>, fds: &mut Vec<OwnedFd>) -> io::Result<BindSource> {
    let index = fds.len() as Attached;
    match clone_mount(fd, c"", false) {
        Ok(mount_fd) => {
            fds.push(mount_fd);
            Ok(BindSource::Mount(index))
        }
        Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => Err(errno.into()),
        // Not permitted, or the mount belongs to another mount namespace.
        Err(_) => {
            fds.push(fd.try_clone_to_owned()?);
            let path = path.as_os_str().as_bytes().to_vec();
            Ok(BindSource::Opened { path, fd: index })
        }
    }
}

/// The directory of a VM's own files on the disk; the descriptors that belong to it are added to `fds`. `ids` and `first` are those of
/// the VM's user and of 65,536 leased ones.
pub fn disk_source(
    path: &Path,
    ids: Option<GuestIds>,
    first: Option<u32>,
    fds: &mut Vec<OwnedFd>,
) -> Result<BindSource, DirectoryError> {
    Opened::at(path, Wanted::Software)?.into_source(ids, Access::Disk { first }, fds)
}

fn read_only(place: &ProtectedPlace) -> ReadOnlyPlace {
    ReadOnlyPlace {
        path: place.path.clone(),
        is_placeholder: false,
    }
}

/// How many names a path has.
pub fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

/// Checks that a home exists and is a directory, where it is used without a mount.
pub fn check_home(path: &Path) -> Result<(), DirectoryError> {
    Opened::at(path, Wanted::Home).map(drop)
}
