//! The VM's side of a transfer: every file is opened and made as the VM's user.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use agent_vm_protocol::message::{FileStep, OpenMode, Reply, is_kernel_interface};
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;

use super::direct::{self, Unfinished};
use super::entry::{Entry, Found, Kept};
use super::in_directory::{give, names, read_link};
use super::progress::Progress;
use super::sending::Sending;
use super::sink::Target;
use super::small::{Small, opened};
use super::trail::{Reach, failed};
use super::walk::{Entered, Sorter, Source};
use super::workers::Workers;
use super::{EntryKind, attached};
use crate::error::Error;
use crate::files::entries::Amount;
use crate::vm::Vm;

/// The VM's side.
pub struct Inside {
    pub vm: Vm,
    workers: Workers,
    /// The path of the top, for errors.
    path: Arc<str>,
    /// Whether the host may try what init would do.
    is_direct: bool,
}

impl Inside {
    pub fn new(vm: Vm, path: &str) -> Self {
        Self {
            path: path.into(),
            is_direct: direct::is_possible(&vm),
            workers: Workers::Guest(vm.clone()),
            vm,
        }
    }

    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.workers.run(work).await
    }

    /// Opens a directory without init, if possible.
    async fn open_directly(&self, base: &Arc<OwnedFd>, name: &[u8]) -> Result<Option<OwnedFd>, Error> {
        if !self.is_direct {
            return Ok(None);
        }
        let (base, name) = (Arc::clone(base), name.to_vec());
        self.run(move || Ok(direct::directory(&base, &name))).await
    }
}

impl Reach for Inside {
    fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Links on the way are followed, in the VM.
    async fn top(&self, create: bool) -> Result<OwnedFd, Error> {
        if create {
            self.vm.mkdir(self.path.to_string(), 0o777, true).await?;
        }
        let mode = OpenMode::Directory { follow: true };
        self.vm.open(None, self.path.as_bytes().into(), mode).await
    }

    fn path(&self) -> &str {
        &self.path
    }

    async fn open(&self, base: Arc<OwnedFd>, way: Vec<u8>) -> Result<OwnedFd, Error> {
        let base = attached(&base)?.pop();
        self.vm.open(base, way, OpenMode::DirectoryWithoutLinks).await
    }
}

impl Source for Inside {
    async fn enter(
        &self,
        base: Arc<OwnedFd>,
        way: Vec<u8>,
        most: Amount,
        sorter: Sorter,
    ) -> Result<Entered, Error> {
        let fd = match self.open_directly(&base, &way).await? {
            Some(fd) => fd,
            None => self.open(base, way.clone()).await?,
        };
        let path = Arc::clone(&self.path);
        self.run(move || {
            let found = fstat(&fd).map_err(|errno| failed(errno, "fstat", &way))?;
            let level = sorter.sort(names(&fd, &path, most)?)?;
            Ok(Entered { fd, found, level })
        })
        .await
    }

    async fn load(&self, directory: Arc<OwnedFd>, names: Vec<Found>) -> Result<Vec<Entry>, Error> {
        let (files, links): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|found| found.kind == EntryKind::File);
        let mut files: Vec<_> = files.into_iter().map(|found| found.name).collect();
        let (mut entries, mut small) = (Vec::with_capacity(files.len() + links.len()), Small::new());
        if self.is_direct {
            let base = Arc::clone(&directory);
            (files, entries, small) = self
                .run(move || {
                    let left = direct::load(&base, files, &mut entries, &mut small)?;
                    Ok((left, entries, small))
                })
                .await?;
        }
        let from_init = self.open_files(&directory, files).await?;
        self.run(move || {
            for (name, fd) in from_init {
                entries.extend(opened(fd, &name, &mut small)?.map(|content| Entry { name, content }));
            }
            if !links.is_empty() {
                let kind = fstatfs(&directory).map_err(|errno| failed(errno, "fstatfs", b""))?;
                // Most of its links are no files' names.
                if is_kernel_interface(kind.filesystem_type().0) {
                    return Ok(entries);
                }
            }
            for Found { name, .. } in links {
                entries.extend(read_link(&directory, &name)?.map(|content| Entry { name, content }));
            }
            Ok(entries)
        })
        .await
    }
}

impl Target for Inside {
    async fn make_directory(&self, directory: Arc<OwnedFd>, name: Vec<u8>) -> Result<(OwnedFd, bool), Error> {
        let mut was_made = false;
        if self.is_direct {
            let (base, name) = (Arc::clone(&directory), name.clone());
            let (is_new, fd) = self.run(move || Ok(direct::make_directory(&base, &name))).await?;
            was_made = is_new;
            if let Some(fd) = fd {
                return Ok((fd, is_new));
            }
        }
        let step = FileStep::Enter {
            directory: 0,
            name,
            // Until the content is there, others have no rights that the original does not give them.
            mode: 0o700,
        };
        match self.vm.step(step, attached(&directory)?).await? {
            (Reply::Entered { is_new, .. }, fds) => {
                let fd = fds.into_iter().next().ok_or_else(Error::missing_descriptor)?;
                Ok((fd, is_new || was_made))
            }
            _ => Err(Error::Disposed),
        }
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
        let (mut waiting, mut left) = (Vec::new(), entries);
        if self.is_direct {
            let (base, counting) = (Arc::clone(&directory), progress.clone());
            Unfinished { empty: waiting, left } =
                self.run(move || direct::make(&base, left, &counting)).await?;
        }
        waiting.append(&mut self.make_files(&directory, left, progress).await?);
        if waiting.is_empty() {
            return Ok(());
        }
        let mut sending = Sending::new(waiting, progress.clone());
        loop {
            let (left, is_over) = self
                .run(move || sending.go_on().map(|is_over| (sending, is_over)))
                .await?;
            if is_over {
                return Ok(());
            }
            sending = left;
            progress.report();
        }
    }
}
