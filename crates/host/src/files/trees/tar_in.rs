//! A tar archive into a tree: ustar, pax and GNU tar's own forms.
//!
//! An archive is hostile. Every name is taken apart, and each part is looked up in a directory that is open and reached without a
//! link, so nothing leaves the top; `..` is refused. Small files are collected, so that init makes several with one message.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::bytes_in::BytesIn;
use super::entry::{Content, Entry, Kept};
use super::exclude::Exclude;
use super::host::give;
use super::named;
use super::progress::Progress;
use super::sink::Sink;
use super::sink_archive::ArchiveTarget;
use super::tar_header::{BLOCK, Extended, MOST_EXTENDED, broken, is_intact, number, padding, refused};
use super::trail::MAX_DEPTH;
use super::walk::BATCH;
use super::workers::Workers;
use crate::error::Error;
use crate::files::content::COPIED;

/// The largest file that is collected, and the most bytes that are.
const SMALL: u64 = 64 * 1024;
const COLLECTED: usize = 1024 * 1024;
/// How many bytes of a larger file are written at a time.
const PIECE: usize = 256 * 1024;
/// The most ranges of data of a file with holes.
const MOST_RANGES: usize = 65_536;

/// One entry, as its headers describe it.
struct Described {
    header: Header,
    kind: EntryType,
    path: Vec<Vec<u8>>,
    link: Vec<u8>,
    /// How many bytes of the archive are its content.
    stored: u64,
    kept: Kept,
    extended: Extended,
}

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
        while let Some(described) = self.describe(is_first).await? {
            is_first = false;
            self.progress.check()?;
            self.take(described).await?;
            self.progress.report();
        }
        self.flush().await?;
        self.sink.end().await?;
        // What follows the end is padding.
        while !self.from.next(usize::MAX).await.is_empty() {}
        Ok(())
    }

    /// Reads the headers of the next entry; `None` at the end.
    async fn describe(&mut self, is_first: bool) -> Result<Option<Described>, Error> {
        let mut extended = Extended::default();
        let mut is_inner = false;
        loop {
            let mut header = Header::new_old();
            if !self.from.fill(header.as_mut_bytes()).await? {
                return if is_inner || is_first {
                    Err(broken())
                } else {
                    Ok(None)
                };
            }
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                return if is_inner { Err(broken()) } else { Ok(None) };
            }
            if !is_intact(&header) {
                return Err(broken());
            }
            let size = header.entry_size().map_err(|_| broken())?;
            let kind = header.entry_type();
            let is_extension = matches!(
                kind,
                EntryType::XHeader
                    | EntryType::XGlobalHeader
                    | EntryType::GNULongName
                    | EntryType::GNULongLink
            );
            if !is_extension {
                return described(header, extended).map(Some);
            }
            if size > MOST_EXTENDED {
                return Err(refused(&format!(
                    "has an extended header of {size} bytes; at most {MOST_EXTENDED} are read"
                )));
            }
            let mut content = self.from.read(size as usize).await?;
            self.from.skip(padding(size)).await?;
            let until_zero = |content: &mut Vec<u8>| {
                let length = content.iter().position(|byte| *byte == 0);
                content.truncate(length.unwrap_or(content.len()));
            };
            match kind {
                EntryType::XHeader => extended.read(&content)?,
                EntryType::GNULongName => {
                    until_zero(&mut content);
                    extended.path = Some(content);
                }
                EntryType::GNULongLink => {
                    until_zero(&mut content);
                    extended.link = Some(content);
                }
                // A comment, in all archives that there are.
                _ => continue,
            }
            is_inner = true;
        }
    }

    async fn take(&mut self, described: Described) -> Result<(), Error> {
        let kind = described.kind;
        let is_directory = kind == EntryType::Directory;
        let Some((name, parents)) = described.path.split_last() else {
            // The top itself.
            return self.leave_out(&described).await;
        };
        if parents.len() > MAX_DEPTH {
            return Err(Error::LimitExceeded(format!(
                "The archive has directories more than {MAX_DEPTH} deep, the most that one call writes"
            )));
        }
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
            self.gnu_ranges(&described.header).await?;
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
        if self.batch.len() >= BATCH || self.batch_bytes >= COLLECTED {
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
            let ranges = self.gnu_ranges(&described.header).await?;
            let size = described.header.as_gnu().and_then(|gnu| gnu.real_size().ok());
            (size.ok_or_else(broken)?, ranges)
        } else if sparse.major == Some(1) {
            let (ranges, length) = self.ranges_before(stored).await?;
            stored -= length;
            (sparse.size.ok_or_else(broken)?, ranges)
        } else if let Some(map) = &sparse.map {
            (sparse.size.ok_or_else(broken)?, ranges_of(map)?)
        } else {
            (stored, vec![(0, stored)])
        };
        check_ranges(&ranges, stored, size)?;
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
        self.workers.run(end).await.map_err(|error| self.sink.at(error))?;
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
                self.workers
                    .run(move || {
                        to.write_all_at(&bytes, position)
                            .map_err(|error| named(Error::system(&error, "write"), &owned))
                    })
                    .await?;
                at += count;
                left -= count;
                self.progress.bytes(count)?;
                self.progress.report();
            }
        }
        Ok(())
    }

    /// The ranges of a file in GNU tar's old form: in its header, and in blocks after it.
    async fn gnu_ranges(&mut self, header: &Header) -> Result<Vec<(u64, u64)>, Error> {
        let gnu = header.as_gnu().ok_or_else(broken)?;
        let mut ranges = Vec::new();
        let range = |each: &tar::GnuSparseHeader| -> Result<(u64, u64), Error> {
            let read = |number: std::io::Result<u64>| number.map_err(|_| broken());
            Ok((read(each.offset())?, read(each.length())?))
        };
        for each in gnu.sparse.iter().filter(|each| !each.is_empty()) {
            ranges.push(range(each)?);
        }
        let mut goes_on = gnu.is_extended();
        while goes_on {
            let mut more = GnuExtSparseHeader::new();
            if !self.from.fill(more.as_mut_bytes()).await? || ranges.len() > MOST_RANGES {
                return Err(broken());
            }
            for each in more.sparse().iter().filter(|each| !each.is_empty()) {
                ranges.push(range(each)?);
            }
            goes_on = more.is_extended();
        }
        Ok(ranges)
    }

    /// The ranges of a file in the form 1.0: decimal numbers before its data. Also returns how many bytes they take.
    async fn ranges_before(&mut self, stored: u64) -> Result<(Vec<(u64, u64)>, u64), Error> {
        let mut text = Vec::new();
        let mut block = [0; BLOCK];
        let mut whole = 0;
        loop {
            if text.len() as u64 + BLOCK as u64 > stored || !self.from.fill(&mut block).await? {
                return Err(broken());
            }
            whole += memchr::memchr_iter(b'\n', &block).count();
            text.extend_from_slice(&block);
            let mut lines = text.split(|byte| *byte == b'\n');
            // Its number of digits has a bound, or the text would not end.
            let count = lines.next().filter(|count| count.len() < 10).and_then(number);
            let count = count.ok_or_else(broken)? as usize;
            if count > MOST_RANGES {
                return Err(refused(&format!(
                    "has a file with more than {MOST_RANGES} ranges of data"
                )));
            }
            if text.len() > 64 * (count + BLOCK) {
                return Err(broken());
            }
            if whole > 2 * count {
                let numbers = lines.take(2 * count).map(number).collect::<Option<Vec<_>>>();
                return Ok((pairs(&numbers.ok_or_else(broken)?), text.len() as u64));
            }
        }
    }
}

fn described(header: Header, mut extended: Extended) -> Result<Described, Error> {
    let path = match (extended.sparse.name.take(), extended.path.take()) {
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => header.path_bytes().into_owned(),
    };
    let link = match extended.link.take() {
        Some(link) => link,
        None => header
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default(),
    };
    let stored = match extended.size {
        Some(size) => size,
        None => header.entry_size().map_err(|_| broken())?,
    };
    // Before POSIX, a slash at the end was a directory's mark.
    let kind = match header.entry_type() {
        EntryType::Regular if path.ends_with(b"/") => EntryType::Directory,
        kind => kind,
    };
    let path = parts(&path)?;
    let mode = header.mode().unwrap_or(0o644) & COPIED;
    let modified = match extended.modified {
        Some(modified) => modified,
        None => (header.mtime().map_err(|_| broken())? as i64, 0),
    };
    Ok(Described {
        // The size of a link is that of the other file, and no content follows.
        stored: if matches!(kind, EntryType::Link | EntryType::Symlink) {
            0
        } else {
            stored
        },
        header,
        kind,
        path,
        link,
        kept: Kept {
            mode,
            modified: Some(modified),
        },
        extended,
    })
}

/// The names on a path. One that begins at the root counts from the top; `..` is refused.
fn parts(path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let shown = String::from_utf8_lossy(path).into_owned();
                return Err(refused(&format!(
                    "has the name {shown:?}, which leads out of the directory"
                )));
            }
            part if part.contains(&0) => return Err(broken()),
            part => parts.push(part.to_vec()),
        }
    }
    Ok(parts)
}

/// Pairs of numbers between commas.
fn ranges_of(map: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
    let numbers = map
        .split(|byte| *byte == b',')
        .map(number)
        .collect::<Option<Vec<_>>>();
    let numbers = numbers.ok_or_else(broken)?;
    if numbers.len() % 2 != 0 || numbers.len() > 2 * MOST_RANGES {
        return Err(broken());
    }
    Ok(pairs(&numbers))
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Fails unless the ranges are in order, within the file, and as long together as what is stored.
fn check_ranges(ranges: &[(u64, u64)], stored: u64, size: u64) -> Result<(), Error> {
    let mut end = 0;
    let mut all = 0_u64;
    for (at, length) in ranges {
        if *at < end {
            return Err(broken());
        }
        end = at.checked_add(*length).ok_or_else(broken)?;
        all += length;
    }
    if end > size || all != stored || i64::try_from(size).is_err() {
        return Err(broken());
    }
    Ok(())
}
