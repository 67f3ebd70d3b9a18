//! Files of the VM. Init opens, names and removes, as the VM's user and in the VM's view; what is read, written and listed
//! goes through the descriptors it hands over, on blocking threads, and never through init.

mod tree;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{Attributes, FileStep, OpenMode, Reply, Request};

use crate::error::Error;
use crate::runtime;
use crate::sys;
use crate::vm::Vm;

pub use tree::{Entry, EntryKind, Walk};

/// The largest file that is read whole: what fits one `Buffer` on every Node.js that is supported.
pub const MAX_FILE: u64 = 2 * 1024 * 1024 * 1024 - 1;

/// The most names that one listing gives.
pub const MAX_ENTRIES: usize = 1_000_000;

impl Vm {
    /// Reads a regular file whole.
    pub async fn read_file(&self, path: String) -> Result<Vec<u8>, Error> {
        let fd = self.open(None, path.clone().into(), OpenMode::Read).await?;
        blocking(move || read_whole(fd, &path)).await
    }

    /// Writes a regular file whole; missing parent folders are made.
    pub async fn write_file(&self, path: String, content: Vec<u8>) -> Result<(), Error> {
        let fd = self
            .open(None, path.clone().into(), OpenMode::Write { parents: true })
            .await?;
        blocking(move || write_whole(fd, &path, &content)).await
    }

    /// Makes a folder.
    pub async fn mkdir(&self, path: String, recursive: bool) -> Result<(), Error> {
        self.step(FileStep::Mkdir { path, recursive }, Vec::new())
            .await
            .map(drop)
    }

    /// The names in a folder, in order of their bytes.
    pub async fn readdir(&self, path: String) -> Result<Vec<String>, Error> {
        let fd = self
            .open(None, path.clone().into(), OpenMode::Directory { follow: true })
            .await?;
        let entries = blocking(move || tree::list(fd.as_fd(), &path)).await?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// A file's attributes; a symbolic link is followed.
    pub async fn stat(&self, path: String) -> Result<Attributes, Error> {
        self.attributes(path, true).await
    }

    async fn attributes(&self, path: String, follow: bool) -> Result<Attributes, Error> {
        match self
            .step(
                FileStep::Stat {
                    directory: None,
                    path,
                    follow,
                },
                Vec::new(),
            )
            .await?
        {
            (Reply::Attributes { attributes, .. }, _) => Ok(attributes),
            _ => Err(Error::Disposed),
        }
    }

    /// Whether a path leads to something.
    pub async fn exists(&self, path: String) -> Result<bool, Error> {
        match self.stat(path).await {
            Ok(_) => Ok(true),
            Err(Error::System {
                errno: libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP | libc::ENAMETOOLONG,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames. EXDEV between folders that lie on different mounts, if nothing else is in the way.
    pub async fn rename(&self, from: String, to: String) -> Result<(), Error> {
        let step = FileStep::Rename {
            from: from.clone(),
            to: to.clone(),
        };
        match self.step(step, Vec::new()).await {
            Err(
                error @ Error::System {
                    errno: libc::EXDEV, ..
                },
            ) => {
                // The kernel says so before it looks for either.
                let in_the_way = self.not_renamable(&from, to).await?;
                Err(in_the_way.map_or(error, |errno| Error::System {
                    errno,
                    syscall: "rename".into(),
                    path: Some(from),
                }))
            }
            other => other.map(drop),
        }
    }

    /// What a rename would fail with, were it on one mount.
    async fn not_renamable(&self, from: &str, to: String) -> Result<Option<i32>, Error> {
        let is_directory = |attributes: Attributes| attributes.mode & libc::S_IFMT == libc::S_IFDIR;
        let from = match self.attributes(from.to_owned(), false).await {
            Ok(attributes) => is_directory(attributes),
            Err(Error::System { errno, .. }) => return Ok(Some(errno)),
            Err(error) => return Err(error),
        };
        match self.attributes(to, false).await.map(is_directory) {
            Ok(true) if !from => Ok(Some(libc::EISDIR)),
            Ok(false) if from => Ok(Some(libc::ENOTDIR)),
            Err(error @ Error::Disposed) => Err(error),
            _ => Ok(None),
        }
    }

    /// Removes a name; a folder with all that is in it if `recursive`, else only if it is empty.
    pub async fn delete(&self, path: String, recursive: bool) -> Result<(), Error> {
        let is_directory = self.attributes(path.clone(), false).await?.mode & libc::S_IFMT == libc::S_IFDIR;
        if is_directory && recursive {
            let fd = self
                .open(None, path.clone().into(), OpenMode::Directory { follow: false })
                .await?;
            self.empty(fd, path.clone()).await?;
        }
        self.step(
            FileStep::Remove {
                directory: None,
                path: path.into(),
                is_directory,
            },
            Vec::new(),
        )
        .await
        .map(drop)
    }

    /// Opens a file of the VM's. `path` is relative to `directory` if there is one.
    async fn open(
        &self,
        directory: Option<OwnedFd>,
        path: Vec<u8>,
        mode: OpenMode,
    ) -> Result<OwnedFd, Error> {
        let step = FileStep::Open {
            directory: directory.as_ref().map(|_| 0),
            path,
            mode,
        };
        let (_, fds) = self.step(step, directory.into_iter().collect()).await?;
        fds.into_iter().next().ok_or_else(crate::exec::missing)
    }

    async fn step(&self, step: FileStep, fds: Vec<OwnedFd>) -> Result<crate::control::Answer, Error> {
        self.ask(|call| Request::File { call, step }, fds).await
    }
}

/// A copy of `content`, to be written later.
#[must_use]
pub fn copied(content: &[u8]) -> Vec<u8> {
    let mut copy = sys::with_room(content.len());
    copy.extend_from_slice(content);
    copy
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
    // The work does not panic, and the runtime is never shut down.
    runtime.spawn_blocking(work).await.map_err(|_| Error::Disposed)?
}

fn failed(error: &io::Error, syscall: &str, path: &str) -> Error {
    Error::System {
        errno: error.raw_os_error().unwrap_or(libc::EIO),
        syscall: syscall.into(),
        path: Some(path.into()),
    }
}

/// The file behind `fd`, if it is one whose reading ends.
fn regular(fd: OwnedFd, path: &str, syscall: &str) -> Result<(File, u64), Error> {
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|error| failed(&error, "fstat", path))?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        let errno = if metadata.is_dir() {
            libc::EISDIR
        } else {
            libc::EINVAL
        };
        Err(Error::System {
            errno,
            syscall: syscall.into(),
            path: Some(path.into()),
        })
    }
}

fn read_whole(fd: OwnedFd, path: &str) -> Result<Vec<u8>, Error> {
    let (file, length) = regular(fd, path, "read")?;
    let too_large = || Error::System {
        errno: libc::EFBIG,
        syscall: "read".into(),
        path: Some(path.into()),
    };
    if length > MAX_FILE {
        return Err(too_large());
    }
    // One more, so that a file that has not grown is read in one call.
    let mut content = sys::with_room(length as usize + 1);
    file.take(MAX_FILE + 1)
        .read_to_end(&mut content)
        .map_err(|error| failed(&error, "read", path))?;
    if content.len() as u64 > MAX_FILE {
        Err(too_large())
    } else {
        Ok(content)
    }
}

fn write_whole(fd: OwnedFd, path: &str, content: &[u8]) -> Result<(), Error> {
    let (mut file, _) = regular(fd, path, "write")?;
    file.write_all(content)
        .map_err(|error| failed(&error, "write", path))
}
