//! A tree as a tar archive, in the pax format: with fractions of seconds, long names and names of any bytes, and with
//! holes as GNU tar writes them (sparse format 1.0).

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};
use tokio::sync::mpsc;

use super::entry::{Content, Entry, Kept};
use super::named;
use super::progress::Progress;
use super::tar_header::{self, BLOCK, Written, padding};
use super::walk::{Event, Source, Walk};
use super::workers::Workers;
use crate::error::Error;

/// About how many bytes of an archive are made at a time.
const PIECE: usize = 256 * 1024;
/// The most ranges of data that a file is written with; what comes after them is written whole.
const MOST_RANGES: usize = 4096;

/// Writes what a walk finds.
pub async fn write(
    workers: &Workers,
    mut walk: Walk<'_, impl Source>,
    to: &mpsc::Sender<Vec<u8>>,
    progress: &Progress,
) -> Result<(), Error> {
    let mut way: Vec<Vec<u8>> = Vec::new();
    let mut piece = Vec::with_capacity(PIECE);
    while let Some(event) = walk.next().await? {
        progress.check()?;
        match event {
            Event::Enter { name, kept } => {
                progress.directory()?;
                way.push(name);
                tar_header::write(&mut piece, &way.join(&b'/'), kept, &Written::Directory);
            }
            Event::Leave => drop(way.pop()),
            Event::Skipped(count) => progress.skip(count),
            Event::Entries(entries) => {
                progress.room_for(&entries)?;
                let mut packing = Packing {
                    prefix: way.join(&b'/'),
                    entries: entries.into(),
                    current: None,
                    progress: progress.clone(),
                };
                loop {
                    let fill = move || {
                        let is_over = packing.fill(&mut piece)?;
                        Ok((packing, piece, is_over))
                    };
                    let (left, made, is_over) = workers.run(fill).await?;
                    packing = left;
                    piece = made;
                    if is_over {
                        break;
                    }
                    send(to, &mut piece).await?;
                }
            }
        }
        if piece.len() >= PIECE {
            send(to, &mut piece).await?;
        }
        progress.report();
    }
    piece.resize(piece.len() + 2 * BLOCK, 0);
    send(to, &mut piece).await
}

async fn send(to: &mpsc::Sender<Vec<u8>>, piece: &mut Vec<u8>) -> Result<(), Error> {
    let full = std::mem::replace(piece, Vec::with_capacity(PIECE));
    // The reader is gone.
    to.send(full).await.map_err(|_| Error::Aborted)
}

/// Entries of one directory that become parts of an archive.
struct Packing {
    prefix: Vec<u8>,
    entries: VecDeque<Entry>,
    current: Option<Packed>,
    progress: Progress,
}

/// A file whose content is being written.
struct Packed {
    name: Vec<u8>,
    file: File,
    /// What is left of its data: positions and lengths.
    ranges: VecDeque<(u64, u64)>,
    /// How many zeros follow it.
    padding: u64,
}

impl Packing {
    /// Appends to a piece until it is full. Returns whether that was all.
    fn fill(&mut self, piece: &mut Vec<u8>) -> Result<bool, Error> {
        while piece.len() < PIECE {
            self.progress.check()?;
            if let Some(packed) = &mut self.current {
                if packed.read(piece)? {
                    self.current = None;
                    self.progress.file()?;
                }
                continue;
            }
            let Some(Entry { name, content }) = self.entries.pop_front() else {
                return Ok(true);
            };
            let mut path = self.prefix.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            match content {
                Content::Symlink { target, modified } => {
                    let kept = Kept {
                        mode: 0o777,
                        modified: Some(modified),
                    };
                    tar_header::write(piece, &path, kept, &Written::Symlink(&target));
                    self.progress.link()?;
                }
                Content::File { file, size, kept } => {
                    self.current = Some(begin(piece, &path, name, file, size, kept));
                    self.progress.bytes(size)?;
                }
                Content::Bytes { bytes, kept } => {
                    let size = bytes.len() as u64;
                    tar_header::write(piece, &path, kept, &Written::File(size));
                    piece.extend_from_slice(&bytes);
                    piece.resize(piece.len() + padding(size) as usize, 0);
                    self.progress.bytes(size)?;
                    self.progress.file()?;
                }
            }
        }
        Ok(false)
    }
}

/// Writes the header of a file, and the map of its data if it has holes.
fn begin(piece: &mut Vec<u8>, path: &[u8], name: Vec<u8>, file: File, size: u64, kept: Kept) -> Packed {
    let ranges = if size > 0 {
        ranges(&file, size)
    } else {
        VecDeque::new()
    };
    let data: u64 = ranges.iter().map(|(_, length)| length).sum();
    if data == size {
        tar_header::write(piece, path, kept, &Written::File(size));
        let padding = padding(size);
        return Packed {
            name,
            file,
            ranges,
            padding,
        };
    }
    // An empty range says how long a file is that ends with a hole.
    let is_cut = ranges.back().is_none_or(|(at, length)| at + length < size);
    let end = is_cut.then_some((size, 0));
    let count = (ranges.len() + usize::from(is_cut)) as u64;
    let lines = ranges.iter().copied().chain(end);
    let lines = std::iter::once(count).chain(lines.flat_map(|(at, length)| [at, length]));
    let mut map: Vec<u8> = lines
        .flat_map(|number| format!("{number}\n").into_bytes())
        .collect();
    map.resize(map.len() + padding(map.len() as u64) as usize, 0);
    let stored = map.len() as u64 + data;
    tar_header::write(piece, path, kept, &Written::Sparse { stored, size });
    piece.append(&mut map);
    let padding = padding(stored);
    Packed {
        name,
        file,
        ranges,
        padding,
    }
}

/// Where a file has data.
fn ranges(file: &File, size: u64) -> VecDeque<(u64, u64)> {
    let mut ranges = VecDeque::new();
    let mut at = 0;
    while at < size {
        let start = match lseek64(file, at as i64, Whence::SeekData) {
            Ok(start) => (start as u64).clamp(at, size),
            // Only a hole is left.
            Err(Errno::ENXIO) => break,
            // The file system cannot tell.
            Err(_) => at,
        };
        if start == size {
            break;
        }
        let end = match lseek64(file, start as i64, Whence::SeekHole) {
            Ok(end) if end as u64 > start && ranges.len() < MOST_RANGES => (end as u64).min(size),
            _ => size,
        };
        ranges.push_back((start, end - start));
        at = end;
    }
    ranges
}

impl Packed {
    /// Appends a part of the content. Returns whether it was the last one.
    fn read(&mut self, piece: &mut Vec<u8>) -> Result<bool, Error> {
        let Some((at, length)) = self.ranges.pop_front() else {
            piece.resize(piece.len() + self.padding as usize, 0);
            return Ok(true);
        };
        let wanted = length.min(PIECE as u64) as usize;
        let from = piece.len();
        piece.resize(from + wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            match self.file.read_at(&mut piece[from + filled..], at + filled as u64) {
                // It has become shorter; the header has told its size, so zeros follow.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(named(Error::system(&error, "read"), &self.name)),
            }
        }
        if length > wanted as u64 {
            self.ranges
                .push_front((at + wanted as u64, length - wanted as u64));
        }
        Ok(false)
    }
}
