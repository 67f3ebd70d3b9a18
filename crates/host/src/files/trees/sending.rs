//! Writes the content of files that are made in the VM.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::entry::{Content, Kept};
use super::in_directory::give_new;
use super::progress::Progress;
use super::{TURN, named};
use crate::error::Error;
use crate::files::content::{Copying, Keep};
use crate::files::writable;

/// Files whose content is being copied into the VM.
pub struct Sending {
    waiting: VecDeque<(Vec<u8>, Content, OwnedFd)>,
    current: Option<(Vec<u8>, Copying)>,
    progress: Progress,
}

impl Sending {
    /// The names, contents and files.
    pub fn new(files: Vec<(Vec<u8>, Content, OwnedFd)>, progress: Progress) -> Self {
        Self {
            waiting: files.into(),
            current: None,
            progress,
        }
    }

    /// Goes on for a while. Returns whether that was all.
    pub fn go_on(&mut self) -> Result<bool, Error> {
        let begun = Instant::now();
        loop {
            self.progress.check()?;
            let (name, mut copying) = match self.current.take() {
                Some(current) => current,
                None => match self.waiting.pop_front() {
                    None => return Ok(true),
                    Some((name, content, fd)) => {
                        let to = writable(fd, "", "write").map_err(|error| named(error, &name))?;
                        match content {
                            Content::File { file, size, .. } => {
                                (name, Copying::new(file, to, size, Keep::Times))
                            }
                            Content::Bytes { bytes, kept } => {
                                fill(&to, &bytes, kept, &name)?;
                                self.progress.bytes(bytes.len() as u64)?;
                                self.progress.file()?;
                                continue;
                            }
                            // It is made already.
                            Content::Symlink { .. } => continue,
                        }
                    }
                },
            };
            let before = copying.position();
            let is_over = copying.go_on().map_err(|error| named(error, &name))?;
            self.progress.bytes(copying.position() - before)?;
            if is_over {
                self.progress.file()?;
            } else {
                self.current = Some((name, copying));
            }
            if begun.elapsed() > TURN {
                return Ok(self.current.is_none() && self.waiting.is_empty());
            }
        }
    }
}

/// Writes a small file.
pub fn fill(mut to: &File, bytes: &[u8], kept: Kept, name: &[u8]) -> Result<(), Error> {
    to.write_all(bytes)
        .map_err(|error| named(Error::system(&error, "write"), name))?;
    give_new(to, kept, name)
}
