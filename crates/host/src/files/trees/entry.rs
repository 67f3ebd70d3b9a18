//! What a tree is made of, between its source and its sink.

use std::fs::File;

use nix::sys::stat::FileStat;

use crate::files::content::COPIED;
use crate::files::entries::EntryKind;

/// What a transfer keeps of a file or directory.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The permissions and the sticky bit, never a set-id bit.
    pub mode: u32,
    /// The time of the last change, in seconds and nanoseconds, if it is known.
    pub modified: Option<(i64, u32)>,
}

impl Kept {
    pub fn of(found: &FileStat) -> Self {
        Self {
            mode: found.st_mode & COPIED,
            modified: Some((found.st_mtime, found.st_mtime_nsec as u32)),
        }
    }
}

/// What a directory contains.
#[derive(Debug, Clone)]
pub struct Found {
    pub name: Vec<u8>,
    pub kind: EntryKind,
}

/// A file that is opened, or a link that is read.
pub struct Entry {
    pub name: Vec<u8>,
    pub content: Content,
}

pub enum Content {
    File {
        file: File,
        size: u64,
        kept: Kept,
    },
    /// The whole content of a small file of an archive.
    Bytes {
        bytes: Vec<u8>,
        kept: Kept,
    },
    Symlink {
        target: Vec<u8>,
        modified: (i64, u32),
    },
}
