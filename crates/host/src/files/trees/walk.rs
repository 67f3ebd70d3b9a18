//! Walks through a tree, each directory before its content.
//!
//! The names of one directory are read at once, so a walk remembers the names that are left in each directory on the way down. They
//! have a bound together; the number of directories and files of a tree has none.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::vec;

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::entry::{Entry, Found, Kept};
use super::exclude::Exclude;
use super::named;
use super::progress::Progress;
use super::trail::{MAX_DEPTH, Reach, Trail, failed};
use crate::error::Error;
use crate::files::entries::{Amount, EntryKind, MAX_BYTES, MAX_ENTRIES};

/// How many files are open at a time in one step of a transfer.
pub const BATCH: usize = 64;

/// An opened directory, and what is in it.
pub struct Entered {
    pub fd: OwnedFd,
    pub found: FileStat,
    pub level: Level,
}

/// Sorts the names of one directory. With a million names and long paths that takes minutes, so it is work for a thread.
pub struct Sorter {
    exclude: Exclude,
    /// The names on the way to the directory, if they matter.
    way: Vec<Vec<u8>>,
    progress: Progress,
}

impl Sorter {
    /// What will be copied. Ends with the transfer.
    pub fn sort(&self, names: Vec<Found>) -> Result<Level, Error> {
        let amount = Amount {
            names: names.len(),
            bytes: names.iter().map(|found| found.name.len()).sum(),
        };
        let (mut others, mut directories, mut skipped) = (Vec::new(), Vec::new(), 0);
        for found in names {
            self.progress.check()?;
            let is_directory = found.kind == EntryKind::Directory;
            if !self.exclude.is_empty() && self.exclude.matches(&self.way, &found.name, is_directory) {
                continue;
            }
            match found.kind {
                EntryKind::Directory => directories.push(found.name),
                EntryKind::File | EntryKind::Symlink => others.push(found),
                _ => skipped += 1,
            }
        }
        Ok(Level {
            others: others.into_iter(),
            directories: directories.into_iter(),
            skipped,
            amount,
        })
    }
}

/// Where a transfer comes from.
pub trait Source: Reach {
    /// Opens a directory, reads its attributes and its names; `most` of them.
    fn enter(
        &self,
        base: Arc<OwnedFd>,
        way: Vec<u8>,
        most: Amount,
        sorter: Sorter,
    ) -> impl Future<Output = Result<Entered, Error>> + Send;

    /// Opens files, or reads them if they are [small](super::small), and reads links of a directory. What does not exist any more, and
    /// what is no file any more, is missing.
    fn load(
        &self,
        directory: Arc<OwnedFd>,
        names: Vec<Found>,
    ) -> impl Future<Output = Result<Vec<Entry>, Error>> + Send;
}

/// One step of a walk.
pub enum Event {
    /// Into a directory of the current one.
    Enter { name: Vec<u8>, kept: Kept },
    /// Back to the directory above.
    Leave,
    /// Files and links of the current directory.
    Entries(Vec<Entry>),
    /// Devices, sockets and FIFOs of the current directory, which are not copied.
    Skipped(u64),
}

/// What is left in a directory.
pub struct Level {
    others: vec::IntoIter<Found>,
    directories: vec::IntoIter<Vec<u8>>,
    skipped: u64,
    amount: Amount,
}

/// A walk through a tree.
pub struct Walk<'a, S> {
    source: &'a S,
    trail: Trail,
    levels: Vec<Level>,
    exclude: Exclude,
    progress: Progress,
    left: Amount,
    /// The directory that must not be walked through: what is copied would be copied again.
    target: Option<(u64, u64)>,
    /// The path of the top, for errors.
    path: String,
}

impl<'a, S: Source> Walk<'a, S> {
    /// A walk that begins in the directory `top`.
    pub async fn new(
        source: &'a S,
        top: OwnedFd,
        path: String,
        exclude: Exclude,
        target: Option<(u64, u64)>,
        progress: Progress,
    ) -> Result<Self, Error> {
        let mut walk = Self {
            source,
            trail: Trail::new(top),
            levels: Vec::new(),
            exclude,
            progress,
            left: Amount {
                names: MAX_ENTRIES,
                bytes: MAX_BYTES,
            },
            target,
            path,
        };
        let top = Arc::clone(walk.trail.top());
        let sorter = walk.sorter(b"");
        let entered = source.enter(top, b".".to_vec(), walk.left, sorter).await;
        let entered = entered.map_err(|error| walk.trail.at(named(error, b""), &walk.path))?;
        walk.refuse_target(&entered.found, b"")?;
        walk.add(entered.level);
        Ok(walk)
    }

    /// The next step; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(None);
        };
        if level.skipped > 0 {
            return Ok(Some(Event::Skipped(std::mem::take(&mut level.skipped))));
        }
        let batch: Vec<_> = level.others.by_ref().take(BATCH).collect();
        if !batch.is_empty() {
            let directory = self.trail.current(self.source).await;
            let loaded = match directory {
                Ok(directory) => self.source.load(directory, batch).await,
                Err(error) => Err(error),
            };
            let entries = loaded.map_err(|error| self.trail.at(error, &self.path))?;
            return Ok(Some(Event::Entries(entries)));
        }
        while let Some(name) = self.levels.last_mut().and_then(|level| level.directories.next()) {
            if self.trail.depth() >= MAX_DEPTH {
                return Err(Error::LimitExceeded(format!(
                    "{} has directories more than {MAX_DEPTH} deep, the most that one call copies",
                    self.path
                )));
            }
            let sorter = self.sorter(&name);
            let base = self.trail.current(self.source).await;
            let entered = match base {
                Ok(base) => self.source.enter(base, name.clone(), self.left, sorter).await,
                Err(error) => Err(error),
            };
            let entered = match entered {
                // It is gone, or is no directory any more.
                Err(Error::System {
                    errno: libc::ENOENT | libc::ENOTDIR | libc::ELOOP,
                    ..
                }) => continue,
                other => other.map_err(|error| self.trail.at(named(error, &name), &self.path))?,
            };
            self.refuse_target(&entered.found, &name)?;
            self.trail.push(name.clone(), Arc::new(entered.fd));
            self.add(entered.level);
            return Ok(Some(Event::Enter {
                name,
                kept: Kept::of(&entered.found),
            }));
        }
        if let Some(level) = self.levels.pop() {
            self.left.names += level.amount.names;
            self.left.bytes += level.amount.bytes;
        }
        if self.levels.is_empty() {
            return Ok(None);
        }
        self.trail.pop();
        Ok(Some(Event::Leave))
    }

    fn refuse_target(&self, found: &FileStat, name: &[u8]) -> Result<(), Error> {
        if self.target == Some((found.st_dev, found.st_ino)) {
            return Err(self.trail.at(failed(Errno::EINVAL, "cp", name), &self.path));
        }
        Ok(())
    }

    /// For a directory in the current one, or without a name for the top.
    fn sorter(&self, name: &[u8]) -> Sorter {
        let mut way = Vec::new();
        if self.exclude.has_paths() {
            way.extend(self.trail.names().map(<[u8]>::to_vec));
            if !name.is_empty() {
                way.push(name.to_vec());
            }
        }
        Sorter {
            exclude: self.exclude.clone(),
            way,
            progress: self.progress.clone(),
        }
    }

    /// Adds what is in the directory that the walk has entered.
    fn add(&mut self, level: Level) {
        self.left.names -= level.amount.names.min(self.left.names);
        self.left.bytes -= level.amount.bytes.min(self.left.bytes);
        self.levels.push(level);
    }
}
