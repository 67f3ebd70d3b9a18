//! The host's side of a transfer, with the server's rights. Below the top, each name is one of a directory that is open, and no
//! link is followed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat2};
use nix::sys::stat::{Mode, fstat, mkdirat};

use super::entry::{Content, Entry, Found, Kept};
use super::in_directory::{give, how, names, open_directory, read_link};
use super::progress::Progress;
use super::receiving::Receiving;
use super::sink::Target;
use super::sink_archive::{ArchiveTarget, NewFile};
use super::small::{Small, opened};
use super::tar_header::refused;
use super::temporary::{Temporary, TemporaryNames};
use super::trail::{Reach, failed};
use super::walk::{Entered, Sorter, Source};
use super::workers::Workers;
use crate::boot::GuestIds;
use crate::error::Error;
use crate::files::entries::Amount;
use crate::guest_threads::GuestThreads;

/// The host's side.
pub struct Host {
    workers: Workers,
    /// The id of the VM's user on the host, if it differs from the server's.
    guest: Option<GuestIds>,
    /// The path of the top, for errors.
    path: Arc<str>,
    temporary: Arc<TemporaryNames>,
}

impl Host {
    pub fn new(threads: GuestThreads, guest: Option<GuestIds>, path: &str) -> io::Result<Self> {
        Ok(Self {
            workers: Workers::Own(threads),
            guest,
            path: path.into(),
            temporary: Arc::new(TemporaryNames::new()?),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.workers.run(work).await
    }
}

impl Reach for Host {
    fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Links on the way are followed: the caller has named it.
    async fn top(&self, create: bool) -> Result<OwnedFd, Error> {
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

    fn path(&self) -> &str {
        &self.path
    }

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
            let mut small = Small::new();
            for Found { name, kind } in names {
                let content = if kind == super::EntryKind::Symlink {
                    read_link(&directory, &name)
                } else {
                    open_file(&directory, &name, &mut small)
                };
                entries.extend(content?.map(|content| Entry { name, content }));
            }
            Ok(entries)
        })
        .await
    }
}

fn open_file(directory: &OwnedFd, name: &[u8], small: &mut Small) -> Result<Option<Content>, Error> {
    match openat2(directory, name, how(OFlag::O_RDONLY, Mode::empty())) {
        Ok(fd) => opened(fd, name, small),
        // It is gone, or has become a link, or a device without a driver.
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(failed(errno, "open", name)),
    }
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
        let names = Arc::clone(&self.temporary);
        let mut receiving = Receiving::new(directory, entries, names, self.guest, progress.clone());
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

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
