//! A tar archive into a tree: ustar, pax and GNU tar's own forms.
//!
//! An archive is hostile. Every name is taken apart, and each part is looked up in a directory that is open and reached without a
//! link, so nothing leaves the top; `..` is refused. Small files are collected, so that init makes several with one message.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tar::EntryType;

use super::bytes_in::BytesIn;
use super::entry::{Content, Entry};
use super::exclude::Exclude;
use super::in_directory::give;
use super::named;
use super::progress::Progress;
use super::sink::Sink;
use super::sink_archive::ArchiveTarget;
use super::small::{MOST_SMALL, SMALL};
use super::tar_entry::{self, Described, parts};
use super::tar_header::{broken, padding};
use super::tar_ranges;
use super::walk::BATCH;
use super::workers::{Workers, give_turn};
use crate::error::Error;

/// How many bytes of a larger file are written at a time.
const PIECE: usize = 256 * 1024;

/// Writes an archive.
pub struct Unpacking<'a, T> {
    workers: Workers,
    from: BytesIn,
    sink: Sink<'a, T>,
    exclude: Exclude,
    progress: &'a Progress,
    batch: Vec<Entry>,
    batch_bytes: usize,
}

impl<'a, T: ArchiveTarget> Unpacking<'a, T> {
    pub fn new(
        workers: Workers,
        from: BytesIn,
        sink: Sink<'a, T>,
        exclude: Exclude,
        progress: &'a Progress,
    ) -> Self {
        Self {
            workers,
            from,
            sink,
            exclude,
            progress,
            batch: Vec::new(),
            batch_bytes: 0,
        }
    }

    /// Writes all entries.
    pub async fn run(mut self) -> Result<(), Error> {
        let mut is_first = true;
        while let Some(described) = tar_entry::next(&mut self.from, is_first).await? {
            is_first = false;
            self.progress.check()?;
            self.take(described).await?;
            self.progress.report();
            give_turn().await;
        }
        self.flush().await?;
        self.sink.end().await?;
        // What follows the end is padding.
        while !self.from.next(usize::MAX).await.is_empty() {}
        Ok(())
    }

    async fn take(&mut self, described: Described) -> Result<(), Error> {
        let kind = described.kind;
        let is_directory = kind == EntryType::Directory;
        let Some((name, parents)) = described.path.split_last() else {
            // The top itself.
            return self.leave_out(&described).await;
        };
        if self.is_excluded(&described.path, is_directory) {
            return self.leave_out(&described).await;
        }
        match kind {
            EntryType::Directory => {
                self.flush().await?;
                self.progress.directory()?;
                self.sink
                    .go_to(&described.path, parents.len(), self.progress)
                    .await?;
                self.sink.describe(described.kept);
                self.leave_out(&described).await
            }
            EntryType::Symlink => {
                if described.link.is_empty() || described.link.contains(&0) {
                    return Err(broken());
                }
                self.enter(parents).await?;
                let content = Content::Symlink {
                    target: described.link.clone(),
                    modified: described.kept.modified.unwrap_or_default(),
                };
                self.collect(name, content, 0).await?;
                self.leave_out(&described).await
            }
            EntryType::Link => {
                self.flush().await?;
                self.hard_link(&described.path, &described.link).await?;
                self.leave_out(&described).await
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.enter(parents).await?;
                self.file(name, &described).await
            }
            _ => {
                self.progress.skip(1);
                self.leave_out(&described).await
            }
        }
    }

    /// Whether it, or a directory above it, is left out.
    fn is_excluded(&self, path: &[Vec<u8>], is_directory: bool) -> bool {
        // What it has gone into is not left out.
        let common = self.sink.common(path).min(path.len() - 1);
        (common..path.len()).any(|at| {
            let is_directory = is_directory || at + 1 < path.len();
            self.exclude.matches(&path[..at], &path[at], is_directory)
        })
    }

    async fn leave_out(&mut self, described: &Described) -> Result<(), Error> {
        if described.kind == EntryType::GNUSparse {
            tar_ranges::in_header(&mut self.from, &described.header).await?;
        }
        self.from.skip(described.stored).await?;
        self.from.skip(padding(described.stored)).await
    }

    /// Goes to the directory of the next files. Those of another one are made first.
    async fn enter(&mut self, parents: &[Vec<u8>]) -> Result<(), Error> {
        if !self.sink.is_at(parents) {
            self.flush().await?;
            self.sink.go_to(parents, parents.len(), self.progress).await?;
        }
        Ok(())
    }

    async fn collect(&mut self, name: &[u8], content: Content, bytes: usize) -> Result<(), Error> {
        let name = name.to_vec();
        self.batch.push(Entry { name, content });
        self.batch_bytes += bytes;
        if self.batch.len() >= BATCH || self.batch_bytes >= MOST_SMALL {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.sink.make(batch, self.progress).await
    }

    async fn hard_link(&mut self, path: &[Vec<u8>], target: &[u8]) -> Result<(), Error> {
        let target = parts(target)?;
        let (Some((name, parents)), Some((target_name, target_parents))) =
            (path.split_last(), target.split_last())
        else {
            return Err(broken());
        };
        if path == target {
            return Ok(());
        }
        self.sink.go_to(parents, parents.len(), self.progress).await?;
        self.sink.hard_link(name, target_parents, target_name).await?;
        self.progress.file()
    }

    async fn file(&mut self, name: &[u8], described: &Described) -> Result<(), Error> {
        let (mut stored, sparse) = (described.stored, &described.extended.sparse);
        let (size, ranges) = if described.kind == EntryType::GNUSparse {
            let ranges = tar_ranges::in_header(&mut self.from, &described.header).await?;
            let size = described.header.as_gnu().and_then(|gnu| gnu.real_size().ok());
            (size.ok_or_else(broken)?, ranges)
        } else if sparse.major == Some(1) {
            let (ranges, length) = tar_ranges::in_content(&mut self.from, stored).await?;
            stored -= length;
            (sparse.size.ok_or_else(broken)?, ranges)
        } else if let Some(map) = &sparse.map {
            (sparse.size.ok_or_else(broken)?, tar_ranges::in_map(map)?)
        } else {
            (stored, vec![(0, stored)])
        };
        tar_ranges::check(&ranges, stored, size)?;
        self.progress.room(size)?;
        let after = padding(described.stored);
        if size <= SMALL && ranges.len() == 1 && stored == size {
            let bytes = self.from.read(size as usize).await?;
            self.from.skip(after).await?;
            let content = Content::Bytes {
                bytes,
                kept: described.kept,
            };
            return self.collect(name, content, size as usize).await;
        }
        self.flush().await?;
        let made = self.sink.create(name).await?;
        let file = Arc::clone(&made.file);
        let written = self.content(&file, name, &ranges).await;
        written.map_err(|error| self.sink.at(error))?;
        self.from.skip(after).await?;
        let (kept, owned) = (described.kept, name.to_vec());
        let end = move || {
            let set = file.set_len(size);
            set.map_err(|error| named(Error::system(&error, "ftruncate"), &owned))?;
            give(&*file, kept, &owned)?;
            made.complete(&owned)
        };
        let ended = self.workers.run(end).await;
        ended.map_err(|error| self.sink.at(error))?;
        self.progress.file()
    }

    async fn content(&mut self, file: &Arc<File>, name: &[u8], ranges: &[(u64, u64)]) -> Result<(), Error> {
        for (at, length) in ranges {
            let (mut at, mut left) = (*at, *length);
            while left > 0 {
                self.progress.check()?;
                let bytes = self.from.read(left.min(PIECE as u64) as usize).await?;
                let count = bytes.len() as u64;
                let (to, position, owned) = (Arc::clone(file), at, name.to_vec());
                let write = move || {
                    to.write_all_at(&bytes, position)
                        .map_err(|error| named(Error::system(&error, "write"), &owned))
                };
                self.workers.run(write).await?;
                at += count;
                left -= count;
                self.progress.bytes(count)?;
                self.progress.report();
            }
        }
        Ok(())
    }
}
