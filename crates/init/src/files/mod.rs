//! Steps on the VM's files, each of which is about one system call; the host reads and writes through the descriptors
//! that are opened here.
//!
//! Init carries them out as the VM's user, without capabilities and with the VM's root, so the kernel itself keeps
//! every path inside. Two dangers are left. The magic links of `/proc` bypass permissions (and, through init's own
//! descriptors, lead to files that only init may use). So every step uses a descriptor that `openat2(2)` has opened
//! without following them. And nothing may make init wait: with `O_NONBLOCK`, opening a FIFO or a file under a lease
//! returns at once.

mod attributes;
mod change;
pub mod helper;
mod links;
mod open;
mod resolve;
mod several;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Attributes, Change, Failure, FileStep, NewEntry};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use crate::control::Attachments;
use crate::mediate::Ground;
use crate::sys;
use resolve::{open_directory, resolve, split};

pub use resolve::cached_directory;
pub use several::Several;

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
    /// A path.
    Path(Vec<u8>),
    /// What was done of several names.
    Several(Several),
    /// An opened directory, and whether it is new.
    Entered(OwnedFd, bool),
}

/// Carries out one step. `ground` decides which changes of attributes are allowed.
pub fn step(step: &FileStep, attachments: &mut Attachments, ground: &Ground<'_>) -> Result<Outcome, Failure> {
    let (syscall, path) = name(step);
    run(step, attachments, ground).map_err(|errno| Failure {
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
        } => ("stat", path),
        FileStep::Stat {
            path, follow: false, ..
        } => ("lstat", path),
        FileStep::Mkdir { path, .. } => ("mkdir", path),
        FileStep::Symlink { path, .. } => ("symlink", path),
        FileStep::ReadLink { path, .. } => ("readlink", path),
        FileStep::RealPath { path } => ("realpath", path),
        FileStep::Inotify => ("inotify_init1", b"inotify"),
        FileStep::Change {
            path,
            change: Change::Mode(_),
            ..
        } => ("chmod", path),
        FileStep::Change {
            path,
            change: Change::Times { .. },
            ..
        } => ("utime", path),
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
        FileStep::Enter { name, .. } => ("mkdir", name),
        FileStep::OpenFiles { names, .. } => ("open", names.first().map_or(&[], Vec::as_slice)),
        FileStep::Create { entries, .. } => ("open", entries.first().map_or(&[], NewEntry::name)),
        FileStep::RemoveFiles { names, .. } => ("unlink", names.first().map_or(&[], Vec::as_slice)),
    }
}

/// The attached directory to which a step's names are relative.
fn directory_of(step: &FileStep, attachments: &mut Attachments) -> Result<Option<OwnedFd>, Errno> {
    let attached = match step {
        FileStep::Open { directory, .. }
        | FileStep::Stat { directory, .. }
        | FileStep::Mkdir { directory, .. }
        | FileStep::Symlink { directory, .. }
        | FileStep::ReadLink { directory, .. }
        | FileStep::Change { directory, .. }
        | FileStep::Remove { directory, .. } => *directory,
        FileStep::RemoveFiles { directory, .. }
        | FileStep::OpenFiles { directory, .. }
        | FileStep::Enter { directory, .. }
        | FileStep::Create { directory, .. } => Some(*directory),
        FileStep::RealPath { .. } | FileStep::Inotify | FileStep::Rename { .. } => None,
    };
    attached
        .map(|index| attachments.take(index).ok_or(Errno::EBADF))
        .transpose()
}

fn run(step: &FileStep, attachments: &mut Attachments, ground: &Ground<'_>) -> Result<Outcome, Errno> {
    let directory_fd = directory_of(step, attachments)?;
    let base = match &directory_fd {
        Some(fd) => fd.as_fd(),
        None => AT_FDCWD,
    };
    match step {
        FileStep::Open { path, mode, .. } => open::open(base, path, *mode).map(Outcome::Opened),
        FileStep::Stat { path, follow, .. } => {
            let flags = OFlag::O_PATH
                | if *follow {
                    OFlag::empty()
                } else {
                    OFlag::O_NOFOLLOW
                };
            let fd = resolve(base, path, flags)?;
            Ok(Outcome::Attributes(Box::new(attributes::attributes(fd.as_fd())?)))
        }
        FileStep::Mkdir {
            path,
            mode,
            recursive: true,
            ..
        } => resolve::create_directories(base, path, Mode::from_bits_truncate(*mode)).map(|_| Outcome::Done),
        FileStep::Mkdir {
            path,
            mode,
            recursive: false,
            links,
            ..
        } => {
            let Some((parent, name)) = split(path) else {
                return Err(Errno::EEXIST);
            };
            let parent = if *links {
                open_directory(base, parent)?
            } else {
                resolve::open_directory_without_links(base, parent)?
            };
            mkdirat(parent, name, Mode::from_bits_truncate(*mode))?;
            Ok(Outcome::Done)
        }
        FileStep::Symlink { path, target, .. } => {
            let Some((parent, name)) = split(path) else {
                return Err(Errno::EEXIST);
            };
            symlinkat(target.as_slice(), open_directory(base, parent)?, name)?;
            Ok(Outcome::Done)
        }
        FileStep::ReadLink { path, .. } => links::read(base, path).map(Outcome::Path),
        FileStep::RealPath { path } => links::real_path(path).map(Outcome::Path),
        FileStep::Inotify => sys::inotify().map(Outcome::Opened),
        FileStep::Change { path, change, .. } => {
            let found_fd;
            let target = match &directory_fd {
                Some(fd) if path.is_empty() => fd.as_fd(),
                _ => {
                    found_fd = resolve(base, path, OFlag::O_PATH)?;
                    found_fd.as_fd()
                }
            };
            change::change(target, *change, ground).map(|()| Outcome::Done)
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
        FileStep::OpenFiles { names, .. } => Ok(Outcome::Several(several::open(base, names))),
        FileStep::Enter { name, mode, .. } => {
            let (fd, is_new) = several::enter(base, name, Mode::from_bits_truncate(*mode))?;
            Ok(Outcome::Entered(fd, is_new))
        }
        FileStep::Create { entries, .. } => Ok(Outcome::Several(several::create(base, entries, attachments))),
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
