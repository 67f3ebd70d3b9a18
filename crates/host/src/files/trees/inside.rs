//! The VM's side of a transfer: init opens and makes every file, as the VM's user.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use agent_vm_protocol::message::{FileStep, NewEntry, OpenMode, Reply, Time, is_kernel_interface};
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;

use super::entry::{Content, Entry, Found, Kept};
use super::host::{give, names, read_link, regular};
use super::progress::Progress;
use super::sink::Target;
use super::sink_archive::{ArchiveTarget, NewFile};
use super::trail::{Reach, failed};
use super::walk::{Entered, Sorter, Source};
use super::{EntryKind, TURN, named};
use crate::error::Error;
use crate::files::content::{Copying, Keep};
use crate::files::entries::Amount;
use crate::files::writable;
use crate::vm::Vm;

/// The VM's side.
pub struct Inside {
    vm: Vm,
    /// The path of the top, for errors.
    path: Arc<str>,
}

impl Inside {
    pub fn new(vm: Vm, path: &str) -> Self {
        Self {
            vm,
            path: path.into(),
        }
    }

    /// Opens the top. Links on the way are followed, in the VM.
    pub async fn top(&self, create: bool) -> Result<OwnedFd, Error> {
        if create {
            self.vm.mkdir(self.path.to_string(), 0o777, true).await?;
        }
        let mode = OpenMode::Directory { follow: true };
        self.vm.open(None, self.path.as_bytes().into(), mode).await
    }

    /// Carries out a step on several names.
    async fn several(&self, step: FileStep, fds: Vec<OwnedFd>) -> Result<Several, Error> {
        match self.vm.step(step, fds).await? {
            (Reply::Several { done, failure, .. }, fds) => Ok(Several {
                done: done as usize,
                fds: fds.into_iter(),
                failure: failure.map(Error::from),
            }),
            _ => Err(Error::Disposed),
        }
    }
}

impl ArchiveTarget for Inside {
    async fn create(&self, directory: &Arc<OwnedFd>, name: &[u8]) -> Result<NewFile, Error> {
        let entries = vec![NewEntry::File { name: name.to_vec() }];
        let step = FileStep::Create {
            directory: 0,
            entries,
        };
        let mut made = self.several(step, clone(directory)?).await?;
        if let Some(error) = made.failure {
            return Err(error);
        }
        let fd = made.fds.next().ok_or_else(Error::missing_descriptor)?;
        let name = name.to_vec();
        let file = self
            .vm
            .blocking(move || writable(fd, "", "write").map_err(|error| named(error, &name)))
            .await?;
        Ok(NewFile {
            file: Arc::new(file),
            temporary: None,
        })
    }

    async fn hard_link(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        target_directory: &OwnedFd,
        target: &[u8],
    ) -> Result<(), Error> {
        let mut fds = clone(directory)?;
        fds.append(&mut clone(target_directory)?);
        let step = FileStep::Create {
            directory: 0,
            entries: vec![NewEntry::HardLink {
                name: name.to_vec(),
                target_directory: 1,
                target: target.to_vec(),
            }],
        };
        match self.several(step, fds).await?.failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

struct Several {
    done: usize,
    fds: std::vec::IntoIter<OwnedFd>,
    failure: Option<Error>,
}

fn clone(directory: &OwnedFd) -> Result<Vec<OwnedFd>, Error> {
    let fd = directory
        .try_clone()
        .map_err(|error| Error::system(&error, "dup"))?;
    Ok(vec![fd])
}

impl Reach for Inside {
    async fn open(&self, base: Arc<OwnedFd>, way: Vec<u8>) -> Result<OwnedFd, Error> {
        let base = clone(&base)?.pop();
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
        let fd = self.open(base, way.clone()).await?;
        let path = Arc::clone(&self.path);
        self.vm
            .blocking(move || {
                let found = fstat(&fd).map_err(|errno| failed(errno, "fstat", &way))?;
                let level = sorter.sort(names(&fd, &path, most)?)?;
                Ok(Entered { fd, found, level })
            })
            .await
    }

    async fn load(&self, directory: Arc<OwnedFd>, names: Vec<Found>) -> Result<Vec<Entry>, Error> {
        let (files, links): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|found| found.kind == EntryKind::File);
        let mut waiting: VecDeque<_> = files.into_iter().map(|found| found.name).collect();
        let mut opened = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let step = FileStep::OpenFiles {
                directory: 0,
                names: waiting.iter().cloned().collect(),
            };
            let Several {
                done,
                mut fds,
                failure,
            } = self.several(step, clone(&directory)?).await?;
            for name in waiting.drain(..done.min(waiting.len())) {
                let fd = fds.next().ok_or_else(Error::missing_descriptor)?;
                opened.push((name, fd));
            }
            match failure {
                // It is gone, or has become a link, or a device without a driver.
                Some(Error::System {
                    errno: libc::ENOENT | libc::ELOOP | libc::ENXIO,
                    ..
                }) => drop(waiting.pop_front()),
                Some(error) => return Err(error),
                None if done == 0 => return Err(Error::Disposed),
                None => {}
            }
        }
        self.vm
            .blocking(move || {
                let mut entries = Vec::with_capacity(opened.len() + links.len());
                for (name, fd) in opened {
                    entries.extend(regular(fd, &name)?.map(|content| Entry { name, content }));
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
        let step = FileStep::Enter {
            directory: 0,
            name,
            // Until the content is there, others have no rights that the original does not give them.
            mode: 0o700,
        };
        match self.vm.step(step, clone(&directory)?).await? {
            (Reply::Entered { is_new, .. }, fds) => {
                let fd = fds.into_iter().next().ok_or_else(Error::missing_descriptor)?;
                Ok((fd, is_new))
            }
            _ => Err(Error::Disposed),
        }
    }

    async fn finish(&self, directories: Vec<(Arc<OwnedFd>, Kept)>) -> Result<(), Error> {
        self.vm
            .blocking(move || directories.iter().try_for_each(|(fd, kept)| give(fd, *kept, b"")))
            .await
    }

    async fn make(
        &self,
        directory: Arc<OwnedFd>,
        entries: Vec<Entry>,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut waiting = VecDeque::from(entries);
        let mut sending = VecDeque::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let step = FileStep::Create {
                directory: 0,
                entries: waiting.iter().map(new_entry).collect(),
            };
            let Several {
                done,
                mut fds,
                failure,
            } = self.several(step, clone(&directory)?).await?;
            for Entry { name, content } in waiting.drain(..done.min(waiting.len())) {
                match content {
                    Content::Symlink { .. } => progress.link()?,
                    content => {
                        let fd = fds.next().ok_or_else(Error::missing_descriptor)?;
                        sending.push_back((name, content, fd));
                    }
                }
            }
            match failure {
                Some(error) => return Err(error),
                None if done == 0 => return Err(Error::Disposed),
                None => {}
            }
        }
        let mut sending = Sending {
            waiting: sending,
            current: None,
            progress: progress.clone(),
        };
        loop {
            let (left, is_over) = self
                .vm
                .blocking(move || sending.go_on().map(|is_over| (sending, is_over)))
                .await?;
            if is_over {
                return Ok(());
            }
            sending = left;
            progress.report();
        }
    }
}

fn new_entry(entry: &Entry) -> NewEntry {
    let name = entry.name.clone();
    match &entry.content {
        Content::File { .. } | Content::Bytes { .. } => NewEntry::File { name },
        Content::Symlink { target, modified } => NewEntry::Symlink {
            name,
            target: target.clone(),
            modified: Time {
                seconds: modified.0,
                nanoseconds: modified.1,
            },
        },
    }
}

/// Files whose content is being copied into the VM.
struct Sending {
    waiting: VecDeque<(Vec<u8>, Content, OwnedFd)>,
    current: Option<(Vec<u8>, Copying)>,
    progress: Progress,
}

impl Sending {
    /// Goes on for a while. Returns whether that was all.
    fn go_on(&mut self) -> Result<bool, Error> {
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
fn fill(mut to: &File, bytes: &[u8], kept: Kept, name: &[u8]) -> Result<(), Error> {
    to.write_all(bytes)
        .map_err(|error| named(Error::system(&error, "write"), name))?;
    give(to, kept, name)
}
