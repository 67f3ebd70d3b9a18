//! Reads whole files, within the memory that all reads [share](super::share).

use std::fs::File;
use std::io::{self, Read, Seek};

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

/// The content of a file, and the share of memory that it uses until JavaScript has it.
#[derive(Debug)]
pub struct Content {
    /// All bytes of the file.
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
    /// Reads a regular file of at most `most` bytes. The memory of all reads of all VMs is bounded by
    /// [`READ_AT_A_TIME`](super::share::READ_AT_A_TIME); a larger file is read alone.
    pub async fn read_file(&self, path: String, most: u64) -> Result<Content, Error> {
        let most = most.min(MAX_FILE);
        // The semaphore is never closed.
        let _place = self
            .shared()
            .bounds
            .reads
            .acquire()
            .await
            .map_err(|_| Error::Disposed)?;
        let fd = self.open(None, path.clone().into(), OpenMode::Read).await?;
        let (vm, of) = (self.weak(), path.clone());
        let mut read = self
            .blocking(move || {
                let (file, size) = regular(fd, &of, "read")?;
                if size > most {
                    return Err(too_large(&of, most));
                }
                // One byte more, so that a read meets the end of a file that has not grown.
                let needs = if size == 0 { FIRST } else { size + 1 };
                match Share::try_take(needs) {
                    Some(share) => whole(file, size, share, most, &of, &vm),
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
                .blocking(move || whole(file, needs, share, most, &of, &vm))
                .await?;
        }
    }
}

/// Reads a file from its start. If the file is larger than its share, and no larger share is free, returns the file and
/// the size that it needs.
fn whole(
    mut file: File,
    room: u64,
    mut share: Share,
    most: u64,
    path: &str,
    vm: &WeakVm,
) -> Result<Progress, Error> {
    let failed = |error: io::Error| failed(&error, "read", path);
    file.rewind().map_err(failed)?;
    let mut bytes = sys::with_room(room.min(most) as usize + 1);
    loop {
        if vm.is_ending() {
            return Err(Error::Disposed);
        }
        let length = bytes.len() as u64;
        if length > most {
            return Err(too_large(path, most));
        }
        let allowed = share.bytes().unwrap_or(u64::MAX).min(most + 1);
        if length >= allowed {
            let needs = (2 * length).min(most + 1);
            if share.try_grow(needs) {
                continue;
            }
            return Ok(Progress::Needs(file, needs));
        }
        let piece = PIECE.min(allowed - length);
        if file
            .by_ref()
            .take(piece)
            .read_to_end(&mut bytes)
            .map_err(failed)?
            == 0
        {
            return Ok(Progress::Whole(Content { bytes, share }));
        }
    }
}

fn too_large(path: &str, most: u64) -> Error {
    Error::FileTooLarge {
        path: path.to_owned(),
        most,
    }
}
