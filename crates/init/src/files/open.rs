//! Opens files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_protocol::message::{Existing, OpenMode, WriteMode, is_kernel_interface};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::ftruncate;

use super::resolve::{create_directories, resolve, resolve_with, split};

/// A terminal among the files must not become init's controlling terminal.
pub const ALWAYS: OFlag = OFlag::O_NONBLOCK.union(OFlag::O_NOCTTY);

/// Opens a file for the host.
pub fn open(base: BorrowedFd<'_>, path: &[u8], mode: OpenMode) -> Result<OwnedFd, Errno> {
    let link = |follow| if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    match mode {
        OpenMode::Read { follow } => resolve(base, path, ALWAYS | link(follow) | OFlag::O_RDONLY),
        OpenMode::Directory { follow } => resolve(
            base,
            path,
            ALWAYS | link(follow) | OFlag::O_RDONLY | OFlag::O_DIRECTORY,
        ),
        OpenMode::DirectoryWithoutLinks => resolve_with(
            base,
            path,
            ALWAYS | OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            Mode::empty(),
            ResolveFlag::RESOLVE_NO_SYMLINKS,
        ),
        OpenMode::Write(mode) => to_write(base, path, mode),
    }
}

fn to_write(base: BorrowedFd<'_>, path: &[u8], mode: WriteMode) -> Result<OwnedFd, Errno> {
    let mut flags = ALWAYS | OFlag::O_WRONLY;
    if mode.create.is_some() {
        flags |= OFlag::O_CREAT;
    }
    if mode.append {
        flags |= OFlag::O_APPEND;
    }
    if mode.existing == Existing::Refuse {
        flags |= OFlag::O_EXCL;
    }
    // Never a set-id bit: the filter does not see this call.
    let permissions = Mode::from_bits_truncate(mode.create.unwrap_or(0) & 0o777);
    let open = || resolve_with(base, path, flags, permissions, ResolveFlag::empty());
    let opened = match open() {
        Err(Errno::ENOENT) if mode.parents => {
            if let Some((parent, name)) = split(path) {
                // A file cannot have such a name: refused before any directory is made.
                if matches!(name, b"." | b"..") || name.ends_with(b"/") {
                    return Err(Errno::EISDIR);
                }
                create_directories(base, parent, Mode::from_bits_truncate(0o777))?;
            }
            open()
        }
        other => other,
    };
    let fd = match opened {
        // The kernel checks permissions first, but a read-only mount refuses every user.
        Err(Errno::EACCES) if is_read_only(base, path) => return Err(Errno::EROFS),
        other => other?,
    };
    if is_kernel_interface(fstatfs(&fd)?.filesystem_type().0) {
        return Err(Errno::EACCES);
    }
    if mode.existing == Existing::Empty {
        empty(&fd)?;
    }
    Ok(fd)
}

/// Whether `path` leads to a file on a read-only mount.
fn is_read_only(base: BorrowedFd<'_>, path: &[u8]) -> bool {
    resolve(base, path, OFlag::O_PATH)
        .and_then(|fd| fstatvfs(fd.as_fd()))
        .is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

/// Empties a file that was opened for writing. `O_TRUNC` would do so before the type of the file is known.
fn empty(fd: &OwnedFd) -> Result<(), Errno> {
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    // The host refuses everything that is not a regular file.
    if kind == SFlag::S_IFREG {
        ftruncate(fd, 0)?;
    }
    Ok(())
}
