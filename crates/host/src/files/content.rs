//! Copies the content of one file.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek64};

use super::{failed, regular, writable};
use crate::error::Error;
use crate::vm::Vm;

/// What is copied of a mode: all but the set-id bits.
pub const COPIED: u32 = 0o1777;

/// How many bytes are copied before other calls have their turn.
const PIECE: u64 = 8 * 1024 * 1024;

/// The most that is copied of a file that reports a size of 0, as files of /proc do. They may have no end.
const MOST_UNSIZED: u64 = 16 * 1024 * 1024;

/// The largest file that is copied in one read. With a few files of that size at a time, they fit into the cache.
const SMALL: u64 = 128 * 1024;

impl Vm {
    /// Copies the content and the permissions of a regular file, and with `preserve` its times. Holes stay holes.
    pub(super) async fn copy_content(
        &self,
        from_fd: OwnedFd,
        to_fd: OwnedFd,
        preserve: bool,
    ) -> Result<(), Error> {
        let begin = move || {
            let (from, size) = regular(from_fd, "", "read")?;
            let to = writable(to_fd, "", "write")?;
            let keep = if preserve { Keep::Times } else { Keep::Mode };
            let mut copying = Copying::new(from, to, size, keep);
            Ok((!copying.go_on()?).then_some(copying))
        };
        let mut left = self.blocking(begin).await?;
        while let Some(mut copying) = left {
            if self.weak().is_ending() {
                return Err(Error::Disposed);
            }
            let go_on = move || Ok((!copying.go_on()?).then_some(copying));
            left = self.blocking(go_on).await?;
        }
        Ok(())
    }
}

/// What a copy keeps besides the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    Mode,
    /// The mode too.
    Times,
}

/// A file that is being copied.
pub struct Copying {
    from: File,
    to: File,
    size: u64,
    /// Everything before is copied.
    at: u64,
    keep: Keep,
}

impl Copying {
    /// Copies `size` bytes, all that there were when the file was opened.
    pub fn new(from: File, to: File, size: u64, keep: Keep) -> Self {
        let at = 0;
        Self {
            from,
            to,
            size,
            at,
            keep,
        }
    }

    /// How much is copied.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The copy.
    pub fn into_copy(self) -> File {
        self.to
    }

    /// Copies a piece. Returns whether that was the last one.
    pub fn go_on(&mut self) -> Result<bool, Error> {
        if self.size == 0 {
            let copied =
                io::copy(&mut (&self.from).take(MOST_UNSIZED + 1), &mut self.to).map_err(at("write"))?;
            if copied > MOST_UNSIZED {
                return Err(at("read")(Errno::EFBIG.into()));
            }
            self.at = copied;
        } else if !self.copy_small()? {
            self.copy_extents()?;
            if self.at < self.size {
                return Ok(false);
            }
            // A hole at the end. The original may have become shorter.
            let size = self.size.min(self.from.metadata().map_err(at("fstat"))?.len());
            self.to.set_len(size).map_err(at("ftruncate"))?;
        }
        self.finish().map(|()| true)
    }

    /// Copies a small file without holes with two calls. False if it is no such file.
    fn copy_small(&mut self) -> Result<bool, Error> {
        if self.at > 0 || self.size > SMALL {
            return Ok(false);
        }
        let blocks = self.from.metadata().map_err(at("fstat"))?.blocks();
        if blocks * 512 < self.size {
            return Ok(false);
        }
        let mut content = Vec::with_capacity(self.size as usize);
        (&self.from)
            .take(self.size)
            .read_to_end(&mut content)
            .map_err(at("read"))?;
        self.to.write_all(&content).map_err(at("write"))?;
        self.at = self.size;
        Ok(true)
    }

    fn finish(&self) -> Result<(), Error> {
        if self.keep == Keep::Nothing {
            return Ok(());
        }
        let found = self.from.metadata().map_err(at("fstat"))?;
        self.to
            .set_permissions(Permissions::from_mode(found.mode() & COPIED))
            .map_err(at("fchmod"))?;
        if self.keep == Keep::Times {
            let accessed = TimeSpec::new(found.atime(), found.atime_nsec());
            let modified = TimeSpec::new(found.mtime(), found.mtime_nsec());
            futimens(&self.to, &accessed, &modified).map_err(|errno| at("utime")(errno.into()))?;
        }
        Ok(())
    }

    /// Copies up to [`PIECE`] bytes that are in no hole.
    fn copy_extents(&mut self) -> Result<(), Error> {
        let (from, to, size) = (&self.from, &self.to, self.size);
        let mut left = PIECE;
        while self.at < size && left > 0 {
            let start = match lseek64(from, self.at as i64, Whence::SeekData) {
                Ok(start) => (start as u64).min(size),
                // Only a hole is left.
                Err(Errno::ENXIO) => size,
                Err(_) => self.at,
            };
            let end = match lseek64(from, start as i64, Whence::SeekHole) {
                Ok(end) if end as u64 > start => (end as u64).min(size),
                _ => size,
            };
            self.at = start;
            while self.at < end && left > 0 {
                let (mut source, mut target) = (from, to);
                let copied = seek(source, self.at)
                    .and_then(|()| seek(target, self.at))
                    .and_then(|()| {
                        io::copy(
                            &mut Read::by_ref(&mut source).take(left.min(end - self.at)),
                            &mut target,
                        )
                    })
                    .map_err(at("write"))?;
                if copied == 0 {
                    // It has become shorter.
                    self.at = size;
                    return Ok(());
                }
                self.at += copied;
                left -= copied;
            }
        }
        Ok(())
    }
}

fn at(syscall: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| failed(&error, syscall, "")
}

fn seek(mut file: &File, at: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(at)).map(drop)
}
