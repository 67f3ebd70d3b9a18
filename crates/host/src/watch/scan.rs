//! Opens directories, watches them, and then lists them: what appears in between is in the list or reported by the kernel.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{OpenMode, is_kernel_interface};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstat, fstatat};
use nix::sys::statfs::fstatfs;

use super::apply::{OF_DIRECTORY, OF_FILE};
use super::state::{Scan, State};
use super::sys;
use super::tree::ROOT;
use super::watched::WatchId;
use crate::error::Error;
use crate::shared::Shared;

/// How many directories are opened at a time, between which events are read.
const BATCH: usize = 16;

/// How many names of one new directory are reported; what a directory has beyond that counts as an overflow.
const MOST_REPORTED: usize = 65_536;

/// How many reported names are remembered until all events have been read. What is beyond that may be reported twice.
const MOST_REMEMBERED: usize = 262_144;

/// How many names of one directory are read: a process may add names as fast as they are read.
const MOST_READ: usize = 4_000_000;

/// How long a directory may be missing although no event says why.
const MISSING: Duration = Duration::from_secs(10);

/// Directories of one watch that must be opened.
pub struct Batch {
    watch: WatchId,
    real: Vec<u8>,
    first_fd: Option<OwnedFd>,
    is_directory: bool,
    /// With their paths from the root of the watch.
    scans: Vec<(Scan, Vec<u8>)>,
}

/// The same, opened.
pub struct OpenedBatch {
    watch: WatchId,
    root_fd: Result<OwnedFd, Error>,
    opened: Vec<(Scan, Result<OwnedFd, Error>)>,
}

impl Batch {
    /// Opens them, by the VM's rights and in its view. No link is followed.
    pub async fn open(self, shared: &Arc<Shared>) -> OpenedBatch {
        let root_fd = match self.first_fd {
            Some(first_fd) => Ok(first_fd),
            None if self.is_directory => {
                shared
                    .open_file(None, self.real, OpenMode::DirectoryWithoutLinks)
                    .await
            }
            None => {
                shared
                    .open_file(None, self.real, OpenMode::Read { follow: false })
                    .await
            }
        };
        let mut opened = Vec::new();
        if let Ok(root_fd) = &root_fd {
            // All at once, because init takes one after the other.
            let opening: Vec<_> = self
                .scans
                .into_iter()
                .map(|(scan, way)| {
                    (
                        scan,
                        tokio::spawn(open_below(Arc::clone(shared), root_fd.try_clone(), way)),
                    )
                })
                .collect();
            for (scan, opening) in opening {
                // The task does not panic.
                opened.push((scan, opening.await.unwrap_or(Err(Error::Disposed))));
            }
        }
        OpenedBatch {
            watch: self.watch,
            root_fd,
            opened,
        }
    }
}

async fn open_below(
    shared: Arc<Shared>,
    root_fd: std::io::Result<OwnedFd>,
    way: Vec<u8>,
) -> Result<OwnedFd, Error> {
    let root_fd = root_fd.map_err(|error| Error::system(&error, "dup"))?;
    if way.is_empty() {
        return Ok(root_fd);
    }
    shared
        .open_file(Some(root_fd), way, OpenMode::DirectoryWithoutLinks)
        .await
}

/// What a directory contains.
struct Listing {
    /// Names, and whether each is a directory.
    names: Vec<(Vec<u8>, bool)>,
    /// Whether names were left out.
    is_cut: bool,
}

impl State {
    /// The next directories to open.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let watch_id = self.pending.front()?.watch;
        let mut scans = Vec::new();
        // The scans of a watch that has ended are removed with it.
        let watched = self.watches.get_mut(&watch_id)?;
        while scans.len() < BATCH
            && let Some(scan) = self
                .pending
                .front()
                .copied()
                .filter(|scan| scan.watch == watch_id)
        {
            self.pending.pop_front();
            if let Some(directory) = watched.tree.get_mut(scan.place) {
                directory.queued = None;
                scans.push((scan, watched.tree.way(scan.place)));
            } else {
                watched.silent -= usize::from(!scan.report);
            }
        }
        Some(Batch {
            watch: watch_id,
            real: watched.real.clone(),
            first_fd: watched.first_fd.take(),
            is_directory: watched.is_directory,
            scans,
        })
    }

    /// Watches and lists what was opened. Runs on a thread that may block, with the VM user's rights.
    pub fn finish(&mut self, batch: OpenedBatch) {
        let OpenedBatch {
            watch,
            root_fd,
            opened,
        } = batch;
        match root_fd.and_then(|root_fd| identity(&root_fd)) {
            Ok(found) => {
                let Some(watched) = self.watches.get_mut(&watch) else {
                    return;
                };
                if *watched.identity.get_or_insert(found) != found {
                    return self.gone(watch);
                }
            }
            Err(Error::System {
                errno: libc::ENOENT | libc::ENOTDIR | libc::ELOOP,
                ..
            }) => return self.gone(watch),
            Err(error) => return self.fail(watch, error),
        }
        for (scan, opened) in opened {
            let Some(watched) = self.watches.get_mut(&scan.watch) else {
                return;
            };
            watched.silent -= usize::from(!scan.report);
            if watched.tree.get(scan.place).is_none() {
                continue;
            }
            let done = opened.and_then(|fd| self.watch(scan, &fd));
            if let Err(error) = done {
                self.not_watched(scan, error);
            }
        }
    }

    /// Watches a directory and, if it was not watched, lists it.
    fn watch(&mut self, scan: Scan, fd: &OwnedFd) -> Result<(), Error> {
        let Scan { watch: id, place, .. } = scan;
        let Some(watched) = self.watches.get_mut(&id) else {
            return Ok(());
        };
        let kind = fstatfs(fd).map_err(|errno| Error::system(&errno.into(), "fstatfs"))?;
        if is_kernel_interface(kind.filesystem_type().0) {
            // The kernel reports nothing there.
            return Err(Error::system(&Errno::EOPNOTSUPP.into(), "watch"));
        }
        let mask = if watched.is_directory {
            OF_DIRECTORY
        } else {
            OF_FILE
        };
        let number = sys::add(self.inotify_fd.as_fd(), fd.as_fd(), mask)
            .map_err(|error| Error::system(&error, "inotify_add_watch"))?;
        let before = watched.tree.get(place).and_then(|directory| directory.number);
        if let Some(directory) = watched.tree.get_mut(place) {
            directory.number = Some(number);
        }
        self.recent.insert((id, place));
        self.follow(number, id, place);
        if before == Some(number) && !scan.deep {
            return Ok(());
        }
        if let Some(before) = before.filter(|before| *before != number) {
            // It is another directory than before, and what was reported of it may be wrong.
            self.unfollow(before, id, place);
            self.forget_children(id, place, |_| true);
        }
        let Some(watched) = self.watches.get(&id) else {
            return Ok(());
        };
        if before.is_some_and(|before| before != number) {
            watched.removed(place, b"");
        }
        if scan.doubtful || before.is_some_and(|before| before != number) {
            watched.created(place, b"");
        }
        if !watched.recursive && place != ROOT {
            self.forget(id, place);
            return Ok(());
        }
        if !watched.is_directory || (!scan.report && !watched.recursive) {
            return Ok(());
        }
        let listing = list(fd, scan.report, self.most, |name| !watched.excludes(name))?;
        self.take_listing(scan, &listing)
    }

    fn take_listing(&mut self, scan: Scan, listing: &Listing) -> Result<(), Error> {
        let Scan { watch: id, place, .. } = scan;
        if scan.deep {
            let names: HashSet<_> = listing.names.iter().map(|(name, _)| name.as_slice()).collect();
            self.forget_children(id, place, |name| !names.contains(name));
        }
        if let Some(watched) = self.watches.get_mut(&id)
            && scan.report
        {
            if listing.is_cut {
                watched.queue.lose();
            }
            for (name, _) in &listing.names {
                watched.created(place, name);
            }
            if self.reported < MOST_REMEMBERED
                && let Some(directory) = watched.tree.get_mut(place)
            {
                self.reported += listing.names.len();
                directory.reported = Some(listing.names.iter().map(|(name, _)| name.clone()).collect());
                self.listed.push((id, place));
            }
        }
        for (name, _) in listing.names.iter().filter(|(_, is_directory)| *is_directory) {
            let Some(watched) = self.watches.get(&id) else {
                return Ok(());
            };
            if !watched.recursive {
                break;
            }
            match watched.tree.child(place, name) {
                Some(child) if scan.deep => self.scan(id, child, scan.report, true),
                Some(_) => {}
                None => match self.add_place(id, place, name) {
                    Some(child) => self.scan(id, child, scan.report, false),
                    // Those that do not fit are all in this directory.
                    None => return Err(self.too_many()),
                },
            }
        }
        Ok(())
    }

    fn forget_children(&mut self, id: WatchId, place: u64, is_meant: impl Fn(&[u8]) -> bool) {
        let Some(watched) = self.watches.get(&id) else {
            return;
        };
        for child in watched.tree.children(place) {
            let is_meant = self
                .watches
                .get(&id)
                .is_some_and(|watched| is_meant(watched.tree.name(child)));
            if is_meant {
                self.forget(id, child);
            }
        }
    }

    /// Reports why a directory is not watched.
    fn not_watched(&mut self, scan: Scan, error: Error) {
        let Scan { watch: id, place, .. } = scan;
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let errno = error.system_call().map(|(errno, ..)| errno);
        let is_missing = matches!(errno, Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP));
        let since = scan.missing.unwrap_or_else(Instant::now);
        if is_missing && (scan.missing.is_none() || !scan.doubtful && since.elapsed() < MISSING) {
            // An event that has still to be read says that it is gone, or has another path.
            watched.silent += usize::from(!scan.report);
            self.later_since = Some(Instant::now());
            return self.later.push(Scan {
                missing: Some(since),
                ..scan
            });
        }
        if is_missing && scan.doubtful {
            if errno != Some(libc::ENOENT) {
                // It is a link, or another file.
                watched.created(place, b"");
            }
            return self.forget(id, place);
        }
        if scan.doubtful {
            watched.created(place, b"");
            if !watched.recursive {
                return self.forget(id, place);
            }
        }
        let error = match errno {
            Some(libc::ENOSPC) => Error::LimitExceeded(
                "the user of this VM may watch no more files (fs.inotify.max_user_watches): exclude names, watch less, or raise it"
                    .to_owned(),
            ),
            _ => error,
        };
        let begins = watched.ready.is_some();
        if place == ROOT || begins && matches!(error, Error::LimitExceeded(_)) {
            let path = watched.root().to_string();
            let error = match error {
                Error::System { errno, .. } => Error::System {
                    errno,
                    syscall: "watch".into(),
                    path: Some(path),
                },
                other => other,
            };
            if begins {
                return self.fail(id, error);
            }
            return watched.unwatched(ROOT, b"", error.code());
        }
        watched.unwatched(place, b"", error.code());
    }
}

/// The device and inode of a file.
fn identity(fd: &OwnedFd) -> Result<(u64, u64), Error> {
    let found = fstat(fd).map_err(|errno| Error::system(&errno.into(), "fstat"))?;
    Ok((found.st_dev, found.st_ino))
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
    let own_fd = fd.try_clone().map_err(|error| Error::system(&error, "dup"))?;
    let mut directory = Dir::from_fd(own_fd).map_err(failed)?;
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
