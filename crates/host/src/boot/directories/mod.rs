//! The host's own directories in a VM: opened here, with the server's rights and no more, and handed to init as mounts.
//!
//! The owner of a directory is the VM's user inside. A root server maps the one onto the other with an idmapped mount,
//! and everything else in the directory belongs to nobody there: readable as it is for others, never written. An
//! ordinary user's server needs no map, its own id being the VM's user.
//!
//! Set-user-id bits and device nodes have no effect inside, and neither can be made there: that the filter refuses
//! (init's `seccomp`), since it would be the host where they have one.

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
use agent_vm_protocol::message::{Attached, BindSource, RootEntry};
use nix::errno::Errno;

use super::options::{Mount, Options};
use super::user::HOME;
use opened::{Access, Opened, Wanted};

pub use error::DirectoryError;
pub use installed::node_entries;
pub use rights::{Lack, Shown, probe};
pub use rootfs::Rootfs;

/// Opens what `options` asks for and gives the entries that show it, those further up first. The descriptors that they
/// name are added to `fds`. `id` is the host id of the VM's user where that is not the server's own.
pub fn entries(
    options: &Options,
    id: Option<u32>,
    fds: &mut Vec<OwnedFd>,
) -> Result<Vec<RootEntry>, DirectoryError> {
    let home = options.home.as_ref().map(|host_path| Mount {
        path: HOME.to_owned(),
        host_path: host_path.clone(),
        read_only: false,
        software: false,
    });
    let home = home.iter().map(|mount| (mount, Wanted::Home));
    let others = options.mounts.iter().map(|mount| {
        let wanted = if mount.software {
            Wanted::Software
        } else {
            Wanted::Anything
        };
        (mount, wanted)
    });
    let mut mounts: Vec<_> = home.chain(others).collect();
    // A mount below another stands on it.
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
        let source = opened.into_source(id, access, fds)?;
        entries.push(RootEntry::Mount {
            path: mount.path.clone(),
            source,
            read_only: mount.read_only || mount.software,
        });
    }
    Ok(entries)
}

/// A directory that init keeps, as a mount of that directory alone, in which `..` ends there. Where this process may clone no
/// mounts, init does so in its own mount namespace. `path` has no links; the descriptors to attach are added to `fds`.
pub fn confined(path: &Path, fd: BorrowedFd<'_>, fds: &mut Vec<OwnedFd>) -> io::Result<BindSource> {
    let index = fds.len() as Attached;
    match clone_mount(fd, c"", false) {
        Ok(mount_fd) => {
            fds.push(mount_fd);
            Ok(BindSource::Mount(index))
        }
        Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => Err(errno.into()),
        // No right to, or the mount is one of another mount namespace's.
        Err(_) => {
            fds.push(fd.try_clone_to_owned()?);
            let path = path.as_os_str().as_bytes().to_vec();
            Ok(BindSource::Opened { path, fd: index })
        }
    }
}

/// How many names a path has.
pub fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

/// Checks that a home exists and is one, where it is used as it is.
pub fn check_home(path: &Path) -> Result<(), DirectoryError> {
    Opened::at(path, Wanted::Home).map(drop)
}
