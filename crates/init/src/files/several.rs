//! Steps on several names of one directory: a tree of small files would spend most of its time on messages otherwise.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Failure, NewEntry, OpenMode, Time};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, ResolveFlag};
use nix::sys::stat::{Mode, UtimensatFlags, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::open::{ALWAYS, open as open_one};
use super::resolve::resolve_with;
use crate::control::Attachments;

/// How long one step goes on: it must be over before its helper is given up, also if it waits for a lock at each name.
const STEP: Duration = Duration::from_secs(1);

/// What was done of several names.
#[derive(Debug, Default)]
pub struct Several {
    /// How many are done.
    pub done: u32,
    /// The files of those that are done, except for links.
    pub fds: Vec<OwnedFd>,
    /// Why the next one is not done.
    pub failure: Option<Failure>,
}

impl Several {
    fn stop(&mut self, errno: Errno, syscall: &str, name: &[u8]) {
        self.failure = Some(Failure {
            errno: errno as i32,
            syscall: syscall.to_owned(),
            path: Some(String::from_utf8_lossy(name).into_owned()),
        });
    }
}

/// Opens files to read.
pub fn open(directory: BorrowedFd<'_>, names: &[Vec<u8>]) -> Several {
    let begun = Instant::now();
    let mut several = Several::default();
    for name in names {
        if begun.elapsed() >= STEP && several.done > 0 {
            break;
        }
        let opened = single(name).and_then(|()| open_one(directory, name, OpenMode::Read { follow: false }));
        match opened {
            Ok(fd) => several.fds.push(fd),
            Err(errno) => {
                several.stop(errno, "open", name);
                break;
            }
        }
        several.done += 1;
    }
    several
}

/// Opens a directory, which is made if it is missing. Also returns whether it was.
pub fn enter(directory: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(OwnedFd, bool), Errno> {
    single(name)?;
    let is_new = match mkdirat(directory, name, mode) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(errno),
    };
    match open_one(directory, name, OpenMode::DirectoryWithoutLinks) {
        Err(Errno::ELOOP) => Err(Errno::ENOTDIR),
        other => Ok((other?, is_new)),
    }
}

/// Makes files and links, each in the place of what is there.
pub fn create(directory: BorrowedFd<'_>, entries: &[NewEntry], attachments: &mut Attachments) -> Several {
    let begun = Instant::now();
    let mut several = Several::default();
    for entry in entries {
        if begun.elapsed() >= STEP && several.done > 0 {
            break;
        }
        let made = match entry {
            NewEntry::File { name } => replacing(directory, name, || {
                let flags = ALWAYS | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
                let links = ResolveFlag::RESOLVE_NO_SYMLINKS;
                // Until the content is there, others have no rights that the original does not give them.
                resolve_with(directory, name, flags, Mode::from_bits_truncate(0o600), links)
            })
            .map(|fd| several.fds.push(fd))
            .map_err(|errno| (errno, "open")),
            NewEntry::Symlink {
                name,
                target,
                modified,
            } => replacing(directory, name, || {
                symlinkat(target.as_slice(), directory, name.as_slice())
            })
            .and_then(|()| touch(directory, name, *modified))
            .map_err(|errno| (errno, "symlink")),
            NewEntry::HardLink {
                name,
                target_directory,
                target,
            } => hard_link(directory, name, attachments.take(*target_directory), target)
                .map_err(|errno| (errno, "link")),
        };
        if let Err((errno, syscall)) = made {
            several.stop(errno, syscall, entry.name());
            break;
        }
        several.done += 1;
    }
    several
}

/// Makes a name. If it exists and is no directory, it is removed first.
fn replacing<T>(
    directory: BorrowedFd<'_>,
    name: &[u8],
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    single(name)?;
    match make() {
        Err(Errno::EEXIST) => {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            make()
        }
        other => other,
    }
}

fn hard_link(
    directory: BorrowedFd<'_>,
    name: &[u8],
    target_directory: Option<OwnedFd>,
    target: &[u8],
) -> Result<(), Errno> {
    let target_directory = target_directory.ok_or(Errno::EBADF)?;
    single(target)?;
    replacing(directory, name, || {
        linkat(
            target_directory.as_fd(),
            target,
            directory,
            name,
            AtFlags::empty(),
        )
    })
}

/// Sets the time of a link itself.
fn touch(directory: BorrowedFd<'_>, name: &[u8], modified: Time) -> Result<(), Errno> {
    let modified = TimeSpec::new(modified.seconds, i64::from(modified.nanoseconds.min(999_999_999)));
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(directory, name, &TimeSpec::UTIME_OMIT, &modified, flags)
}

/// Fails unless it is the name of something in a directory.
fn single(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}
