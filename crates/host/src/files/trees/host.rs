//! The host's side of a transfer, with the server's rights. Below the top, each name is one of a directory that is open, and no
//! link is followed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;

use super::entry::{Content, Entry, Found, Kept};
use super::progress::Progress;
use super::sink::Target;
use super::sink_archive::{ArchiveTarget, NewFile};
use super::tar_header::refused;
use super::temporary::{Temporary, TemporaryNames, how};
use super::trail::{Reach, failed};
use super::walk::{Entered, Sorter, Source};
use super::{TURN, named};
use crate::error::Error;
use crate::files::content::{Copying, Keep};
use crate::files::entries::{Amount, Detail, list};
use crate::files::sys::AsGuest;
use crate::guest_threads::GuestThreads;

/// The host's side.
pub struct Host {
    threads: GuestThreads,
    /// The id of the VM's user on the host, if it differs from the server's.
    guest: Option<u32>,
    /// The path of the top, for errors.
    path: Arc<str>,
    temporary: Arc<TemporaryNames>,
}

impl Host {
    pub fn new(threads: GuestThreads, guest: Option<u32>, path: &str) -> io::Result<Self> {
        Ok(Self {
            threads,
            guest,
            path: path.into(),
            temporary: Arc::new(TemporaryNames::new()?),
        })
    }

    /// Opens the top. Links on the way are followed: the caller has named it.
    pub async fn top(&self, create: bool) -> Result<OwnedFd, Error> {
        let path = Arc::clone(&self.path);
        self.run(move || {
            let path = Path::new(&*path);
            if create {
                std::fs::create_dir_all(path).map_err(|error| failed(errno(&error), "mkdir", b""))?;
            }
            let flags = OFlag::O_CLOEXEC | OFlag::O_DIRECTORY | OFlag::O_RDONLY;
            nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| failed(errno, "open", b""))
        })
        .await
        .map_err(|error| super::with_path(error, &self.path))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.threads.run(work).await
    }
}

impl Reach for Host {
    async fn open(&self, base: Arc<OwnedFd>, way: Vec<u8>) -> Result<OwnedFd, Error> {
        self.run(move || open_directory(&base, &way)).await
    }
}

impl Source for Host {
    async fn enter(
        &self,
        base: Arc<OwnedFd>,
        way: Vec<u8>,
        most: Amount,
        sorter: Sorter,
    ) -> Result<Entered, Error> {
        let path = Arc::clone(&self.path);
        self.run(move || {
            let fd = open_directory(&base, &way)?;
            let found = fstat(&fd).map_err(|errno| failed(errno, "fstat", &way))?;
            let level = sorter.sort(names(&fd, &path, most)?)?;
            Ok(Entered { fd, found, level })
        })
        .await
    }

    async fn load(&self, directory: Arc<OwnedFd>, names: Vec<Found>) -> Result<Vec<Entry>, Error> {
        self.run(move || {
            let mut entries = Vec::with_capacity(names.len());
            for Found { name, kind } in names {
                let content = if kind == super::EntryKind::Symlink {
                    read_link(&directory, &name)
                } else {
                    open_file(&directory, &name)
                };
                entries.extend(content?.map(|content| Entry { name, content }));
            }
            Ok(entries)
        })
        .await
    }
}

/// What a directory contains.
pub fn names(fd: &OwnedFd, path: &str, most: Amount) -> Result<Vec<Found>, Error> {
    let names = list(fd.as_fd(), path, Detail::Types, most, &|_| true).map_err(|error| named(error, b""))?;
    let found = names.into_iter().map(|name| Found {
        name: name.bytes,
        kind: name.entry.kind,
    });
    Ok(found.collect())
}

/// A link's content; `None` if it is gone, or is no link any more.
pub fn read_link(directory: &OwnedFd, name: &[u8]) -> Result<Option<Content>, Error> {
    let found = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other.map_err(|errno| failed(errno, "lstat", name))?,
    };
    match readlinkat(directory, name) {
        Ok(target) => Ok(Some(Content::Symlink {
            target: target.as_bytes().to_vec(),
            modified: Kept::of(&found).modified.unwrap_or_default(),
        })),
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
        Err(errno) => Err(failed(errno, "readlink", name)),
    }
}

fn open_file(directory: &OwnedFd, name: &[u8]) -> Result<Option<Content>, Error> {
    match openat2(directory, name, how(OFlag::O_RDONLY, Mode::empty())) {
        Ok(fd) => regular(fd, name),
        // It is gone, or has become a link, or a device without a driver.
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(failed(errno, "open", name)),
    }
}

/// An opened file; `None` if it is no regular file any more.
pub fn regular(fd: OwnedFd, name: &[u8]) -> Result<Option<Content>, Error> {
    let found = fstat(&fd).map_err(|errno| failed(errno, "fstat", name))?;
    let is_file = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    Ok(is_file.then(|| Content::File {
        file: File::from(fd),
        size: found.st_size as u64,
        kept: Kept::of(&found),
    }))
}

fn open_directory(base: &OwnedFd, way: &[u8]) -> Result<OwnedFd, Error> {
    openat2(
        base,
        way,
        how(OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()),
    )
    .map_err(|errno| {
        let errno = match errno {
            // A link is there.
            Errno::ELOOP => Errno::ENOTDIR,
            other => other,
        };
        failed(errno, "open", way)
    })
}

impl Target for Host {
    async fn make_directory(&self, directory: Arc<OwnedFd>, name: Vec<u8>) -> Result<(OwnedFd, bool), Error> {
        self.run(move || {
            // Until the content is there, others have no rights that the original does not give them.
            let is_new = match mkdirat(&directory, name.as_slice(), Mode::S_IRWXU) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(errno) => return Err(failed(errno, "mkdir", &name)),
            };
            Ok((open_directory(&directory, &name)?, is_new))
        })
        .await
    }

    async fn finish(&self, directories: Vec<(Arc<OwnedFd>, Kept)>) -> Result<(), Error> {
        self.run(move || directories.iter().try_for_each(|(fd, kept)| give(fd, *kept, b"")))
            .await
    }

    async fn make(
        &self,
        directory: Arc<OwnedFd>,
        entries: Vec<Entry>,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut receiving = Receiving {
            directory,
            entries: entries.into(),
            open: VecDeque::new(),
            complete: Vec::new(),
            names: Arc::clone(&self.temporary),
            guest: self.guest,
            progress: progress.clone(),
        };
        loop {
            let (left, is_over) = self
                .run(move || receiving.go_on().map(|is_over| (receiving, is_over)))
                .await?;
            if is_over {
                return Ok(());
            }
            receiving = left;
            progress.report();
        }
    }
}

impl ArchiveTarget for Host {
    async fn create(&self, directory: &Arc<OwnedFd>, name: &[u8]) -> Result<NewFile, Error> {
        let (directory, names, name) = (Arc::clone(directory), Arc::clone(&self.temporary), name.to_vec());
        self.run(move || {
            let (temporary, file) =
                Temporary::file(&directory, &names).map_err(|errno| failed(errno, "open", &name))?;
            Ok(NewFile {
                file: Arc::new(file),
                temporary: Some(temporary),
            })
        })
        .await
    }

    /// Refused: the archives that this package makes have no hard links, so there is no need to trust one.
    async fn hard_link(&self, _: &OwnedFd, name: &[u8], _: &OwnedFd, _: &[u8]) -> Result<(), Error> {
        Err(refused(&format!(
            "has the hard link {:?}, which is not made on the host",
            String::from_utf8_lossy(name)
        )))
    }
}

/// Gives a new file or directory its attributes.
pub fn give(fd: impl AsFd, kept: Kept, name: &[u8]) -> Result<(), Error> {
    fchmod(&fd, Mode::from_bits_truncate(kept.mode)).map_err(|errno| failed(errno, "fchmod", name))?;
    let Some(modified) = kept.modified else {
        return Ok(());
    };
    futimens(&fd, &TimeSpec::UTIME_OMIT, &time(modified)).map_err(|errno| failed(errno, "utime", name))
}

fn time((seconds, nanoseconds): (i64, u32)) -> TimeSpec {
    TimeSpec::new(seconds, i64::from(nanoseconds))
}

/// Files that are being made in one directory. Each has a temporary name until it is complete.
struct Receiving {
    directory: Arc<OwnedFd>,
    entries: VecDeque<Entry>,
    open: VecDeque<Incomplete>,
    complete: Vec<Incomplete>,
    names: Arc<TemporaryNames>,
    guest: Option<u32>,
    progress: Progress,
}

struct Incomplete {
    copying: Copying,
    kept: Kept,
    name: Vec<u8>,
    temporary: Temporary,
}

impl Receiving {
    /// Goes on for a while. Returns whether that was all.
    fn go_on(&mut self) -> Result<bool, Error> {
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
                Content::Bytes { bytes, kept } => self.fill(&name, &bytes, kept)?,
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
        for done in self.complete.drain(..) {
            let Incomplete {
                copying,
                kept,
                name,
                temporary,
            } = done;
            give(copying.into_copy(), kept, &name)?;
            temporary
                .rename(&name)
                .map_err(|errno| failed(errno, "rename", &name))?;
            self.progress.file()?;
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
                self.complete.extend(self.open.pop_front());
            }
            if begun.elapsed() > TURN {
                break;
            }
        }
        Ok(())
    }

    /// Makes a small file of an archive.
    fn fill(&self, name: &[u8], bytes: &[u8], kept: Kept) -> Result<(), Error> {
        self.progress.check()?;
        let (temporary, mut to) =
            Temporary::file(&self.directory, &self.names).map_err(|errno| failed(errno, "open", name))?;
        to.write_all(bytes)
            .map_err(|error| named(Error::system(&error, "write"), name))?;
        give(&to, kept, name)?;
        temporary
            .rename(name)
            .map_err(|errno| failed(errno, "rename", name))?;
        self.progress.bytes(bytes.len() as u64)?;
        self.progress.file()
    }

    fn link(&self, name: &[u8], target: &[u8], modified: (i64, u32)) -> Result<(), Error> {
        let temporary = Temporary::link(&self.directory, &self.names, target)
            .map_err(|errno| failed(errno, "symlink", name))?;
        let flags = UtimensatFlags::NoFollowSymlink;
        let times = (TimeSpec::UTIME_OMIT, time(modified));
        utimensat(
            &self.directory,
            temporary.name.as_bytes(),
            &times.0,
            &times.1,
            flags,
        )
        .map_err(|errno| failed(errno, "utime", name))?;
        temporary
            .rename(name)
            .map_err(|errno| failed(errno, "rename", name))?;
        self.progress.link()
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
