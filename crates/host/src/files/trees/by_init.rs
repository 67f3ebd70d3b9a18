//! Steps that init carries out in the VM, each on several names of one directory.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use agent_vm_protocol::message::{FileStep, NewEntry, Reply, Time};

use super::entry::{Content, Entry};
use super::inside::Inside;
use super::progress::Progress;
use super::sink_archive::{ArchiveTarget, NewFile};
use super::{attached, named};
use crate::error::Error;
use crate::files::writable;

impl Inside {
    /// Has init open files.
    pub async fn open_files(
        &self,
        directory: &OwnedFd,
        names: Vec<Vec<u8>>,
    ) -> Result<Vec<(Vec<u8>, OwnedFd)>, Error> {
        let mut waiting = VecDeque::from(names);
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
            } = self.several(step, attached(directory)?).await?;
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
        Ok(opened)
    }

    /// Has init make files and links. Returns the files, without their content.
    pub async fn make_files(
        &self,
        directory: &OwnedFd,
        entries: Vec<Entry>,
        progress: &Progress,
    ) -> Result<Vec<(Vec<u8>, Content, OwnedFd)>, Error> {
        let mut waiting = VecDeque::from(entries);
        let mut made = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let step = FileStep::Create {
                directory: 0,
                entries: waiting.iter().map(new_entry).collect(),
            };
            let Several {
                done,
                mut fds,
                failure,
            } = self.several(step, attached(directory)?).await?;
            for Entry { name, content } in waiting.drain(..done.min(waiting.len())) {
                match content {
                    Content::Symlink { .. } => progress.link()?,
                    content => {
                        let fd = fds.next().ok_or_else(Error::missing_descriptor)?;
                        made.push((name, content, fd));
                    }
                }
            }
            match failure {
                Some(error) => return Err(error),
                None if done == 0 => return Err(Error::Disposed),
                None => {}
            }
        }
        Ok(made)
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
        let mut made = self.several(step, attached(directory)?).await?;
        if let Some(error) = made.failure {
            return Err(error);
        }
        let fd = made.fds.next().ok_or_else(Error::missing_descriptor)?;
        let name = name.to_vec();
        let file = self
            .run(move || writable(fd, "", "write").map_err(|error| named(error, &name)))
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
        let mut fds = attached(directory)?;
        fds.append(&mut attached(target_directory)?);
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
