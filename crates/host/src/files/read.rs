//! Reads files or parts of them, within the memory that all reads [share](super::share).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::share::Share;
use super::{failed, regular};
use crate::error::Error;
use crate::sys;
use crate::vm::{Vm, WeakVm};
use agent_vm_protocol::message::OpenMode;

/// The largest file that is read: the size of the largest `Buffer` on every supported Node.js.
pub const MAX_FILE: u64 = 2 * 1024 * 1024 * 1024 - 1;

/// The first share for a file that reports a size of 0, as most files of /proc and /sys do.
const FIRST: u64 = 64 * 1024;

/// How many bytes are read between two checks whether the VM still runs.
const PIECE: u64 = 8 * 1024 * 1024;

/// A read of a file.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// The path of the file.
    pub path: String,
    /// The position of the first byte.
    pub offset: u64,
    /// How many bytes are read, if the file has that many; without it, all that follow.
    pub length: Option<u64>,
    /// The most bytes that are read: more is an error.
    pub most: u64,
}

/// The bytes of a file that a read asks for.
#[derive(Debug, Clone, Copy)]
struct Range {
    offset: u64,
    length: u64,
    most: u64,
}

/// The content of a file, and the share of memory that it uses until JavaScript has it.
#[derive(Debug)]
pub struct Content {
    /// The bytes that were asked for.
    pub bytes: Vec<u8>,
    /// Dropped when JavaScript owns the bytes.
    pub share: Share,
}

enum Progress {
    Whole(Content),
    /// The read needs a share of this many bytes.
    Needs(File, u64),
}

impl Vm {
    /// Reads a regular file. The memory of all reads of all VMs is bounded by
    /// [`READ_AT_A_TIME`](super::share::READ_AT_A_TIME); a larger file is read alone.
    pub async fn read_file(&self, request: ReadRequest) -> Result<Content, Error> {
        let ReadRequest {
            path,
            offset,
            length,
            most,
        } = request;
        let range = Range {
            offset,
            length: length.unwrap_or(u64::MAX),
            most: most.min(MAX_FILE),
        };
        // The semaphore is never closed.
        let _place = self
            .shared()
            .bounds
            .reads
            .acquire()
            .await
            .map_err(|_| Error::Disposed)?;
        let fd = self
            .open(None, path.clone().into(), OpenMode::Read { follow: true })
            .await?;
        let (vm, of) = (self.weak(), path.clone());
        let mut read = self
            .blocking(move || {
                let (file, size) = regular(fd, &of, "read")?;
                let wanted = size.saturating_sub(offset).min(range.length);
                if wanted > range.most {
                    return Err(too_large(&of, range.most));
                }
                // One byte more, so that a read meets the end of a file that has not grown.
                let needs = if size == 0 {
                    FIRST.min(range.length)
                } else {
                    wanted
                } + 1;
                match Share::try_take(needs) {
                    Some(share) => whole(file, wanted, share, range, &of, &vm),
                    None => Ok(Progress::Needs(file, needs)),
                }
            })
            .await?;
        loop {
            let (file, needs) = match read {
                Progress::Whole(content) => return Ok(content),
                Progress::Needs(file, needs) => (file, needs),
            };
            let share = Share::take(self, needs).await?;
            let (vm, of) = (self.weak(), path.clone());
            read = self
                .blocking(move || whole(file, needs, share, range, &of, &vm))
                .await?;
        }
    }
}

/// Reads a range of a file. If the range is larger than its share, and no larger share is free, returns the file and the
/// size that it needs.
fn whole(
    file: File,
    room: u64,
    mut share: Share,
    range: Range,
    path: &str,
    vm: &WeakVm,
) -> Result<Progress, Error> {
    let Range {
        offset, length, most, ..
    } = range;
    let mut bytes = sys::with_room(room.min(most).min(length) as usize + 1);
    loop {
        if vm.is_ending() {
            return Err(Error::Disposed);
        }
        let read = bytes.len() as u64;
        if read > most {
            return Err(too_large(path, most));
        }
        let allowed = share.bytes().unwrap_or(u64::MAX).min(most + 1);
        if read >= allowed && read < length {
            let needs = (2 * read).min(most + 1);
            if share.try_grow(needs) {
                continue;
            }
            return Ok(Progress::Needs(file, needs));
        }
        let piece = PIECE.min(allowed.saturating_sub(read)).min(length - read);
        let at = offset.saturating_add(read);
        let got = At { file: &file, at }
            .take(piece)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error, "read", path))?;
        if got == 0 {
            return Ok(Progress::Whole(Content { bytes, share }));
        }
    }
}

/// A position in a file. Reading there leaves the file's own position alone, and finds the end of a file that is shorter.
pub(super) struct At<'a> {
    pub file: &'a File,
    pub at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn too_large(path: &str, most: u64) -> Error {
    Error::FileTooLarge {
        path: path.to_owned(),
        most,
    }
}
