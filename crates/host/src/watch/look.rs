//! Opens directories, watches them, and lists them.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::{FileStep, OpenMode, Reply, is_kernel_interface};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstat, fstatat};
use nix::sys::statfs::fstatfs;

use super::apply::{OF_DIRECTORY, OF_FILE};
use super::inotify::Inotify;
use super::job::{Batch, Found, Job, Listing, Outcome};
use super::watched::{Kind, WatchId};
use crate::error::Error;
use crate::shared::Shared;

/// How many names of one new directory are reported; what a directory has beyond that counts as an overflow.
const MOST_REPORTED: usize = 65_536;

/// After how many names no further directory of a batch is listed.
const MOST_HELD: usize = 65_536;

/// How many names of one directory are read: a process may add names as fast as they are read.
const MOST_READ: usize = 4_000_000;

/// The same, opened.
pub struct OpenedBatch {
    watch: WatchId,
    kind: Kind,
    root_fd: Result<OwnedFd, Error>,
    jobs: Vec<(Job, Result<Opened, Error>)>,
    renames: u64,
}

enum Opened {
    Directory(OwnedFd),
    /// What is at a name.
    Name(Option<bool>),
}

impl Batch {
    /// Opens them, by the VM's rights and in its view. No link is followed.
    pub async fn open(self, shared: &Arc<Shared>) -> OpenedBatch {
        let mode = if self.kind.is_directory {
            OpenMode::DirectoryWithoutLinks
        } else {
            OpenMode::Read { follow: false }
        };
        let root_fd = match self.first_fd {
            Some(first_fd) => Ok(first_fd),
            None => shared.open_file(None, self.real, mode).await,
        };
        let mut jobs = Vec::new();
        if let Ok(root_fd) = &root_fd {
            // All at once, because init takes one after the other.
            let opening: Vec<_> = self
                .jobs
                .into_iter()
                .map(|(job, way)| {
                    let opening = open_below(Arc::clone(shared), root_fd.try_clone(), job.clone(), way);
                    (job, tokio::spawn(opening))
                })
                .collect();
            for (job, opening) in opening {
                // The task does not panic.
                jobs.push((job, opening.await.unwrap_or(Err(Error::Disposed))));
            }
        }
        OpenedBatch {
            watch: self.watch,
            kind: self.kind,
            root_fd,
            jobs,
            renames: self.renames,
        }
    }
}

async fn open_below(
    shared: Arc<Shared>,
    root_fd: std::io::Result<OwnedFd>,
    job: Job,
    way: Vec<u8>,
) -> Result<Opened, Error> {
    let root_fd = root_fd.map_err(|error| Error::system(&error, "dup"))?;
    if let Job::Look(_) = job {
        let step = FileStep::Stat {
            directory: Some(0),
            path: way,
            follow: false,
        };
        return match shared.file_step(step, vec![root_fd]).await {
            Ok((Reply::Attributes { attributes, .. }, _)) => Ok(Opened::Name(Some(
                attributes.mode & libc::S_IFMT == libc::S_IFDIR,
            ))),
            Ok(_) => Err(Error::Disposed),
            Err(Error::System {
                errno: libc::ENOENT | libc::ENOTDIR | libc::ELOOP,
                ..
            }) => Ok(Opened::Name(None)),
            Err(error) => Err(error),
        };
    }
    if way.is_empty() {
        return Ok(Opened::Directory(root_fd));
    }
    let opened = shared
        .open_file(Some(root_fd), way, OpenMode::DirectoryWithoutLinks)
        .await;
    opened.map(Opened::Directory)
}

/// What a job has come to when all directories of the batch are watched.
enum Watched {
    Directory(i32, OwnedFd),
    Other(Outcome),
}

impl OpenedBatch {
    /// Watches and lists what was opened. Runs on a thread that may block, with the VM user's rights.
    pub fn look(self, inotify: &Inotify, most_directories: usize) -> Result<Found, Error> {
        let kind = &self.kind;
        let root = self.root_fd.and_then(|root_fd| identity(&root_fd));
        let watched: Vec<_> = self
            .jobs
            .into_iter()
            .map(|(job, opened)| {
                let watched = opened.and_then(|opened| watch(inotify, kind, opened));
                (
                    job,
                    watched.unwrap_or_else(|error| Watched::Other(Outcome::Failed(error))),
                )
            })
            .collect();
        let from = inotify.end()?;
        let mut held = 0;
        let mut jobs = Vec::new();
        for (job, watched) in watched {
            let outcome = match watched {
                Watched::Other(outcome) => outcome,
                Watched::Directory(number, _) if held >= MOST_HELD => Outcome::Scanned {
                    number,
                    listing: None,
                },
                Watched::Directory(number, _) if !kind.recursive => Outcome::Scanned {
                    number,
                    listing: Some(Ok(Listing::default())),
                },
                Watched::Directory(number, fd) => {
                    let all = matches!(&job, Job::Scan(scan) if scan.report);
                    let listing = list(&fd, all, most_directories, |name| !kind.excludes(name));
                    held += listing.as_ref().map_or(0, |listing| listing.names.len());
                    Outcome::Scanned {
                        number,
                        listing: Some(listing),
                    }
                }
            };
            jobs.push((job, outcome));
        }
        Ok(Found {
            watch: self.watch,
            root,
            jobs,
            from,
            until: inotify.end()?,
            renames: self.renames,
        })
    }
}

/// Watches a directory, and waits until nothing goes on in it that began before it was watched.
fn watch(inotify: &Inotify, kind: &Kind, opened: Opened) -> Result<Watched, Error> {
    let fd = match opened {
        Opened::Directory(fd) => fd,
        Opened::Name(found) => return Ok(Watched::Other(Outcome::Looked(found))),
    };
    let system = fstatfs(&fd).map_err(|errno| Error::system(&errno.into(), "fstatfs"))?;
    if is_kernel_interface(system.filesystem_type().0) {
        // The kernel reports nothing there.
        return Err(Error::system(&Errno::EOPNOTSUPP.into(), "watch"));
    }
    let mask = if kind.is_directory { OF_DIRECTORY } else { OF_FILE };
    let number = inotify
        .add(fd.as_fd(), mask)
        .map_err(|error| Error::system(&error, "inotify_add_watch"))?;
    if kind.is_directory
        && let Err(error) = wait_for_changes(&fd)
    {
        return Ok(Watched::Other(Outcome::Scanned {
            number,
            listing: Some(Err(error)),
        }));
    }
    Ok(Watched::Directory(number, fd))
}

/// A change of names has the lock of the directory until its events are queued; to read a name takes that lock.
fn wait_for_changes(fd: &OwnedFd) -> Result<(), Error> {
    let mut directory = directory(fd)?;
    match directory.iter().next() {
        Some(Err(errno)) => Err(Error::system(&errno.into(), "readdir")),
        _ => Ok(()),
    }
}

/// The device and inode of a file.
fn identity(fd: &OwnedFd) -> Result<(u64, u64), Error> {
    let found = fstat(fd).map_err(|errno| Error::system(&errno.into(), "fstat"))?;
    Ok((found.st_dev, found.st_ino))
}

/// A directory, to read its names from the first one.
fn directory(fd: &OwnedFd) -> Result<Dir, Error> {
    let own_fd = fd.try_clone().map_err(|error| Error::system(&error, "dup"))?;
    Dir::from_fd(own_fd).map_err(|errno| Error::system(&errno.into(), "readdir"))
}

/// The names in a directory: all that are wanted, or only those of directories. Of these, one more than the most that may be
/// watched: that one is too many already, and the VM decides how many there are.
fn list(
    fd: &OwnedFd,
    all: bool,
    most_directories: usize,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Listing, Error> {
    let failed = |errno: Errno| Error::system(&errno.into(), "readdir");
    let mut directory = directory(fd)?;
    let mut listing = Listing {
        names: Vec::new(),
        is_cut: false,
    };
    let (mut others, mut directories) = (0, 0);
    for (number, entry) in directory.iter().enumerate() {
        if number >= MOST_READ {
            return Err(Error::LimitExceeded("a directory has too many names".to_owned()));
        }
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." || !is_wanted(name.to_bytes()) {
            continue;
        }
        let is_directory = match entry.file_type() {
            Some(kind) => kind == Type::Directory,
            None => is_directory(fd, name),
        };
        if is_directory {
            directories += 1;
            if directories > most_directories + 1 {
                listing.is_cut = true;
                continue;
            }
        } else {
            if !all {
                continue;
            }
            others += 1;
            if others > MOST_REPORTED {
                listing.is_cut = true;
                continue;
            }
        }
        listing.names.push((name.to_bytes().to_vec(), is_directory));
    }
    Ok(listing)
}

fn is_directory(fd: &OwnedFd, name: &CStr) -> bool {
    fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_a_bound_for_directories() {
        let top = std::env::temp_dir().join(format!("agent-vm-listing-{}", std::process::id()));
        for number in 0..5 {
            std::fs::create_dir_all(top.join(number.to_string())).expect("a directory in it");
        }
        let fd = OwnedFd::from(std::fs::File::open(&top).expect("it is there"));
        for (most, found) in [(1, 2), (3, 4), (4, 5), (5, 5)] {
            let listing = list(&fd, true, most, |_| true).expect("it can be read");
            assert_eq!((listing.names.len(), listing.is_cut), (found, found < 5));
        }
        std::fs::remove_dir_all(&top).expect("it can be removed");
    }
}
