//! Steps on the VM's files, each of which is about one system call; the host reads and writes through the descriptors
//! that are opened here.
//!
//! Init carries them out as the VM's user, without capabilities and with the VM's root, so the kernel itself keeps
//! every path inside. Two dangers are left. The magic links of `/proc` bypass permissions (and, through init's own
//! descriptors, lead to files that only init may use). So every step uses a descriptor that `openat2(2)` has opened
//! without following them. And nothing may make init wait: with `O_NONBLOCK`, opening a FIFO or a file under a lease
//! returns at once.

mod attributes;
pub mod helper;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Attributes, Failure, FileStep, OpenMode, is_kernel_interface};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, ResolveFlag, readlinkat, renameat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};

use crate::control::Attachments;
use crate::sys::openat2;

/// How long one step goes on removing names: it must be over before its helper is given up, however slow the disk is.
const REMOVING: Duration = Duration::from_secs(1);

/// The result of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It is done; there is no further result.
    Done,
    /// How many of the names do not exist any more.
    Removed(u32),
    /// An opened file or directory.
    Opened(OwnedFd),
    /// The attributes of a file.
    Attributes(Box<Attributes>),
}

/// Carries out one step.
pub fn step(step: &FileStep, attachments: &mut Attachments) -> Result<Outcome, Failure> {
    let (syscall, path) = name(step);
    run(step, attachments).map_err(|errno| Failure {
        errno: errno as i32,
        syscall: syscall.into(),
        path: Some(String::from_utf8_lossy(path).into_owned()),
    })
}

/// The system call that a step is, and its path.
pub fn name(step: &FileStep) -> (&'static str, &[u8]) {
    match step {
        FileStep::Open { path, .. } => ("open", path),
        FileStep::Stat {
            path, follow: true, ..
        } => ("stat", path.as_bytes()),
        FileStep::Stat {
            path, follow: false, ..
        } => ("lstat", path.as_bytes()),
        FileStep::Mkdir { path, .. } => ("mkdir", path.as_bytes()),
        FileStep::Rename { from, .. } => ("rename", from.as_bytes()),
        FileStep::Remove {
            path,
            is_directory: true,
            ..
        } => ("rmdir", path),
        FileStep::Remove {
            path,
            is_directory: false,
            ..
        } => ("unlink", path),
        FileStep::RemoveFiles { names, .. } => ("unlink", names.first().map_or(&[], Vec::as_slice)),
    }
}

fn run(step: &FileStep, attachments: &mut Attachments) -> Result<Outcome, Errno> {
    let directory_fd = match step {
        FileStep::Open { directory, .. }
        | FileStep::Stat { directory, .. }
        | FileStep::Remove { directory, .. } => directory
            .map(|index| attachments.take(index).ok_or(Errno::EBADF))
            .transpose()?,
        FileStep::RemoveFiles { directory, .. } => Some(attachments.take(*directory).ok_or(Errno::EBADF)?),
        FileStep::Mkdir { .. } | FileStep::Rename { .. } => None,
    };
    let base = match &directory_fd {
        Some(fd) => fd.as_fd(),
        None => AT_FDCWD,
    };
    match step {
        FileStep::Open { path, mode, .. } => open(base, path, *mode).map(Outcome::Opened),
        FileStep::Stat { path, follow, .. } => {
            let flags = OFlag::O_PATH
                | if *follow {
                    OFlag::empty()
                } else {
                    OFlag::O_NOFOLLOW
                };
            let fd = resolve(base, path.as_bytes(), flags)?;
            Ok(Outcome::Attributes(Box::new(attributes::attributes(fd.as_fd())?)))
        }
        FileStep::Mkdir {
            path,
            recursive: true,
        } => create_directories(base, path.as_bytes()).map(|_| Outcome::Done),
        FileStep::Mkdir {
            path,
            recursive: false,
        } => {
            let Some((parent, name)) = split(path.as_bytes()) else {
                return Err(Errno::EEXIST);
            };
            mkdirat(
                open_directory(base, parent)?,
                name,
                Mode::from_bits_truncate(0o777),
            )?;
            Ok(Outcome::Done)
        }
        FileStep::Rename { from, to } => {
            let (Some(from), Some(to)) = (split(from.as_bytes()), split(to.as_bytes())) else {
                return Err(Errno::EBUSY);
            };
            let (from_fd, to_fd) = (open_directory(base, from.0)?, open_directory(base, to.0)?);
            renameat2(from_fd, from.1, to_fd, to.1, RenameFlags::empty())?;
            Ok(Outcome::Done)
        }
        FileStep::Remove {
            path, is_directory, ..
        } => {
            let Some((parent, name)) = split(path) else {
                return Err(Errno::EBUSY);
            };
            let flag = if *is_directory {
                UnlinkatFlags::RemoveDir
            } else {
                UnlinkatFlags::NoRemoveDir
            };
            unlinkat(open_directory(base, parent)?, name, flag)?;
            Ok(Outcome::Done)
        }
        FileStep::RemoveFiles { names, .. } => Ok(Outcome::Removed(remove_files(base, names))),
    }
}

/// Removes names that are no directories until one cannot be removed, or for [`REMOVING`]. Returns how many do not exist
/// any more.
fn remove_files(directory_fd: BorrowedFd<'_>, names: &[Vec<u8>]) -> u32 {
    let begun = Instant::now();
    let removed = names.iter().take_while(|name| {
        begun.elapsed() < REMOVING
            && !name.contains(&b'/')
            && matches!(
                unlinkat(directory_fd, name.as_slice(), UnlinkatFlags::NoRemoveDir),
                Ok(()) | Err(Errno::ENOENT)
            )
    });
    removed.count() as u32
}

fn open(base: BorrowedFd<'_>, path: &[u8], mode: OpenMode) -> Result<OwnedFd, Errno> {
    // A terminal among the files must not become init's controlling terminal.
    let always = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    match mode {
        OpenMode::Read => resolve(base, path, always | OFlag::O_RDONLY),
        OpenMode::Directory { follow } => {
            let link = if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
            resolve(base, path, always | link | OFlag::O_RDONLY | OFlag::O_DIRECTORY)
        }
        OpenMode::DirectoryWithoutLinks => resolve_with(
            base,
            path,
            always | OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            ResolveFlag::RESOLVE_NO_SYMLINKS,
        ),
        OpenMode::Write { parents } => {
            let flags = always | OFlag::O_WRONLY | OFlag::O_CREAT;
            let opened = match resolve(base, path, flags) {
                Err(Errno::ENOENT) if parents => {
                    if let Some((parent, name)) = split(path) {
                        // A file cannot have such a name: refused before any directory is made.
                        if matches!(name, b"." | b"..") || name.ends_with(b"/") {
                            return Err(Errno::EISDIR);
                        }
                        create_directories(base, parent)?;
                    }
                    resolve(base, path, flags)
                }
                other => other,
            };
            match opened {
                // The kernel checks permissions first, but a read-only mount refuses every user.
                Err(Errno::EACCES) if is_read_only(base, path) => Err(Errno::EROFS),
                other => emptied(other?),
            }
        }
    }
}

/// Whether `path` leads to a file on a read-only mount.
fn is_read_only(base: BorrowedFd<'_>, path: &[u8]) -> bool {
    resolve(base, path, OFlag::O_PATH)
        .and_then(|fd| fstatvfs(fd.as_fd()))
        .is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

/// Empties a file that was opened for writing. `O_TRUNC` would do so before the type of the file is known.
fn emptied(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if is_kernel_interface(fstatfs(&fd)?.filesystem_type().0) {
        return Err(Errno::EACCES);
    }
    let kind = SFlag::from_bits_truncate(fstat(&fd)?.st_mode) & SFlag::S_IFMT;
    // The host refuses everything that is not a regular file.
    if kind == SFlag::S_IFREG {
        ftruncate(&fd, 0)?;
    }
    Ok(fd)
}

/// Opens `path` without following a magic link.
fn resolve(base: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    resolve_with(base, path, flags, ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn resolve_with(
    base: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlag,
    links: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let mode = if flags.contains(OFlag::O_CREAT) {
        Mode::from_bits_truncate(0o666)
    } else {
        Mode::empty()
    };
    let flags = flags | OFlag::O_CLOEXEC;
    let fd = loop {
        match openat2(
            base,
            path,
            flags,
            mode,
            ResolveFlag::RESOLVE_NO_MAGICLINKS | links,
        ) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    if is_inits(fd.as_fd())? {
        Err(Errno::EACCES)
    } else {
        Ok(fd)
    }
}

/// Whether it is one of the files in `/proc` about init: for init, `/proc/self` is init, and the kernel lets every
/// process read about itself.
fn is_inits(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    if fstatfs(fd)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Ok(false);
    }
    let shown = readlinkat(AT_FDCWD, format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str())?;
    let own = format!("/proc/{}", nix::unistd::getpid());
    let shown = shown.as_encoded_bytes();
    Ok(shown
        .strip_prefix(own.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
}

/// Opens a directory with `O_PATH`, without following a magic link.
pub fn directory(path: &[u8]) -> Result<OwnedFd, Errno> {
    open_directory(AT_FDCWD, path)
}

fn open_directory(base: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    resolve(base, path, OFlag::O_PATH | OFlag::O_DIRECTORY)
}

/// Opens a directory, and makes missing directories on the way.
fn create_directories(base: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    match open_directory(base, path) {
        Err(Errno::ENOENT) => {}
        // The same error as mkdir's if a file is in the way.
        Err(Errno::ENOTDIR) => {
            return Err(if resolve(base, path, OFlag::O_PATH).is_ok() {
                Errno::EEXIST
            } else {
                Errno::ENOTDIR
            });
        }
        other => return other,
    }
    let mut fd = open_directory(base, if path.starts_with(b"/") { b"/" } else { b"." })?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        fd = match open_directory(fd.as_fd(), name) {
            Err(Errno::ENOENT) => {
                match mkdirat(&fd, name, Mode::from_bits_truncate(0o777)) {
                    // Another process was faster, or it is a link without a target, which opening will report.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                open_directory(fd.as_fd(), name)?
            }
            other => other?,
        };
    }
    Ok(fd)
}

/// The directory and the last name of a path, with its trailing slashes, which make the kernel require a directory;
/// `None` for the root.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    match path[..end].iter().rposition(|byte| *byte == b'/') {
        Some(0) => Some((b"/", &path[1..])),
        Some(at) => Some((&path[..at], &path[at + 1..])),
        None => Some((b".", path)),
    }
}
