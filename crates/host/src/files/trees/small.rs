//! Small files, which the source of a transfer reads while the target is still busy with the files before.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::sys::stat::{FileStat, SFlag, fstat};

use super::entry::{Content, Kept};
use super::named;
use super::trail::failed;
use crate::error::Error;

/// The largest file that is read at once, and the most bytes of all that wait together.
pub const SMALL: u64 = 64 * 1024;
pub const MOST_SMALL: usize = 1024 * 1024;

/// How much may still be read at once.
pub struct Small(usize);

impl Small {
    pub fn new() -> Self {
        Self(MOST_SMALL)
    }

    /// The content of a file if it is small and has no holes. The file's position stays at its start.
    fn read(&mut self, file: &File, found: &FileStat) -> io::Result<Option<Vec<u8>>> {
        let size = found.st_size as u64;
        if size == 0 {
            // A file of the kernel may have content nevertheless.
            let is_empty = found.st_blocks == 0 && file.read_at(&mut [0], 0)? == 0;
            return Ok(is_empty.then(Vec::new));
        }
        let has_holes = (found.st_blocks as u64) * 512 < size;
        if size > SMALL || has_holes || size as usize > self.0 {
            return Ok(None);
        }
        let bytes = start(file, size as usize)?;
        self.0 -= bytes.len();
        Ok(Some(bytes))
    }
}

/// The first bytes of a file; fewer if it has become shorter.
fn start(file: &File, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// An opened file; `None` if it is no regular file any more.
pub fn opened(fd: OwnedFd, name: &[u8], small: &mut Small) -> Result<Option<Content>, Error> {
    let found = fstat(&fd).map_err(|errno| failed(errno, "fstat", name))?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Ok(None);
    }
    let (file, kept) = (File::from(fd), Kept::of(&found));
    let read = small.read(&file, &found);
    let read = read.map_err(|error| named(Error::system(&error, "read"), name))?;
    Ok(Some(match read {
        Some(bytes) => Content::Bytes { bytes, kept },
        None => Content::File {
            file,
            size: found.st_size as u64,
            kept,
        },
    }))
}
