//! Makes files and links in a directory of the host.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::entry::{Content, Entry, Kept};
use super::in_directory::{give, time};
use super::progress::Progress;
use super::temporary::{Temporary, TemporaryNames};
use super::trail::failed;
use super::{TURN, named};
use crate::boot::GuestIds;
use crate::error::Error;
use crate::files::content::{Copying, Keep};
use crate::files::sys::AsGuest;

/// Files that are being made in one directory. Each has a temporary name until it is complete.
pub struct Receiving {
    directory: Arc<OwnedFd>,
    entries: VecDeque<Entry>,
    open: VecDeque<Incomplete>,
    copied: Vec<Incomplete>,
    names: Arc<TemporaryNames>,
    guest: Option<GuestIds>,
    progress: Progress,
}

struct Incomplete {
    copying: Copying,
    kept: Kept,
    name: Vec<u8>,
    temporary: Temporary,
}

impl Receiving {
    /// Entries of a VM whose default user has the ids `guest`, if they differ from the server's.
    pub fn new(
        directory: Arc<OwnedFd>,
        entries: Vec<Entry>,
        names: Arc<TemporaryNames>,
        guest: Option<GuestIds>,
        progress: Progress,
    ) -> Self {
        Self {
            directory,
            entries: entries.into(),
            open: VecDeque::new(),
            copied: Vec::new(),
            names,
            guest,
            progress,
        }
    }

    /// Goes on for a while. Returns whether that was all.
    pub fn go_on(&mut self) -> Result<bool, Error> {
        self.progress.check()?;
        while let Some(Entry { name, content }) = self.entries.pop_front() {
            match content {
                Content::Symlink { target, modified } => self.link(&name, &target, modified)?,
                Content::File { file, size, kept } => {
                    let (temporary, to) = Temporary::file(&self.directory, &self.names)
                        .map_err(|errno| failed(errno, "open", &name))?;
                    self.open.push_back(Incomplete {
                        copying: Copying::new(file, to, size, Keep::Nothing),
                        kept,
                        name,
                        temporary,
                    });
                }
                Content::Bytes { bytes, kept } => self.write(&name, &bytes, kept)?,
            }
        }
        if self.open.is_empty() {
            return Ok(true);
        }
        // The VM's files are read with its user's rights.
        let guest = AsGuest::enter(self.guest).map_err(|error| Error::system(&error, "setfsuid"))?;
        let copied = self.copy();
        guest.restore();
        copied?;
        for done in std::mem::take(&mut self.copied) {
            self.complete(done.copying.into_copy(), done.kept, &done.name, done.temporary)?;
        }
        Ok(self.open.is_empty())
    }

    fn copy(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        // After an error it stays: the VM's user may not remove what has a temporary name.
        while let Some(next) = self.open.front_mut() {
            self.progress.check()?;
            let before = next.copying.position();
            let is_over = next.copying.go_on().map_err(|error| named(error, &next.name))?;
            self.progress.bytes(next.copying.position() - before)?;
            if is_over {
                self.copied.extend(self.open.pop_front());
            }
            if begun.elapsed() > TURN {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, name: &[u8], bytes: &[u8], kept: Kept) -> Result<(), Error> {
        let (temporary, mut to) =
            Temporary::file(&self.directory, &self.names).map_err(|errno| failed(errno, "open", name))?;
        to.write_all(bytes)
            .map_err(|error| named(Error::system(&error, "write"), name))?;
        self.progress.bytes(bytes.len() as u64)?;
        self.complete(to, kept, name, temporary)
    }

    fn complete(&self, file: File, kept: Kept, name: &[u8], temporary: Temporary) -> Result<(), Error> {
        give(file, kept, name)?;
        temporary
            .rename(name)
            .map_err(|errno| failed(errno, "rename", name))?;
        self.progress.file()
    }

    fn link(&self, name: &[u8], target: &[u8], modified: (i64, u32)) -> Result<(), Error> {
        let temporary = Temporary::link(&self.directory, &self.names, target)
            .map_err(|errno| failed(errno, "symlink", name))?;
        let flags = UtimensatFlags::NoFollowSymlink;
        let times = (TimeSpec::UTIME_OMIT, time(modified));
        utimensat(&self.directory, temporary.name(), &times.0, &times.1, flags)
            .map_err(|errno| failed(errno, "utime", name))?;
        temporary
            .rename(name)
            .map_err(|errno| failed(errno, "rename", name))?;
        self.progress.link()
    }
}
