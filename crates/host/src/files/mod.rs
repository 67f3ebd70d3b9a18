//! Files of the VM. Init opens, names and removes, as the VM's user and in the VM's view; what is read, written and listed
//! goes through the descriptors it hands over, on blocking threads, and never through init.

mod list;
mod read;
mod remove;
mod share;
mod sys;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{Attributes, FileStep, OpenMode, Reply, Request, is_kernel_interface};
use agent_vm_remove_tree::Named;
use nix::errno::Errno;
use nix::sys::statfs::fstatfs;

use crate::control::Answer;
use crate::error::Error;
use crate::runtime;
use crate::vm::Vm;

pub use list::{Entry, EntryKind, OnEntries, Walk};
pub use read::{Content, MAX_FILE};
pub use remove::remove_tree;
pub use share::Share;

impl Vm {
    /// Writes a regular file whole; missing parent directories are made.
    pub async fn write_file(&self, path: String, content: Vec<u8>) -> Result<(), Error> {
        let fd = self
            .open(None, path.clone().into(), OpenMode::Write { parents: true })
            .await?;
        self.blocking(move || write_whole(fd, &path, &content)).await
    }

    /// Makes a directory.
    pub async fn mkdir(&self, path: String, recursive: bool) -> Result<(), Error> {
        self.step(FileStep::Mkdir { path, recursive }, Vec::new())
            .await
            .map(drop)
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

    /// Renames. EXDEV between directories on different mounts, if nothing else is wrong.
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
        let (Ok((from, from_slashes)), Ok((to, to_slashes))) = (named(from), named(&to)) else {
            return Ok(Some(libc::EBUSY));
        };
        let from = match self.attributes(from.to_owned(), false).await {
            Ok(attributes) => is_directory(&attributes),
            Err(Error::System { errno, .. }) => return Ok(Some(errno)),
            Err(error) => return Err(error),
        };
        if (from_slashes || to_slashes) && !from {
            return Ok(Some(libc::ENOTDIR));
        }
        match self
            .attributes(to.to_owned(), false)
            .await
            .map(|attributes| is_directory(&attributes))
        {
            Ok(true) if !from => Ok(Some(libc::EISDIR)),
            Ok(false) if from => Ok(Some(libc::ENOTDIR)),
            Err(error @ Error::Disposed) => Err(error),
            _ => Ok(None),
        }
    }

    /// Removes a name; a directory with all that is in it if `recursive`, else only if it is empty. EINVAL for `.` and `..`, and
    /// ENOTDIR for slashes behind the name of something that is no directory, before anything is removed.
    pub async fn delete(&self, path: String, recursive: bool) -> Result<(), Error> {
        let refused = |errno: Errno| failed(&errno.into(), "rmdir", &path);
        let (name, needs_directory) = named(&path).map_err(refused)?;
        let is_directory = is_directory(&self.attributes(name.to_owned(), false).await?);
        if needs_directory && !is_directory {
            return Err(refused(Errno::ENOTDIR));
        }
        if is_directory && recursive {
            return self.remove_tree(path).await;
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
        fds.into_iter().next().ok_or_else(Error::missing_descriptor)
    }

    async fn step(&self, step: FileStep, fds: Vec<OwnedFd>) -> Result<Answer, Error> {
        self.ask(|call| Request::File { call, step }, fds).await
    }
}

fn is_directory(attributes: &Attributes) -> bool {
    attributes.mode & libc::S_IFMT == libc::S_IFDIR
}

/// A path without the slashes behind its last name, and whether there are any. EINVAL where that name is `.` or `..`.
fn named(path: &str) -> Result<(&str, bool), Errno> {
    let named = Named::of(path.as_bytes())?;
    // It ends before a slash, which is one byte.
    Ok((&path[..named.path.len()], named.needs_directory))
}

/// A copy of `content`, to be written later.
#[must_use]
pub fn copied(content: &[u8]) -> Vec<u8> {
    let mut copy = crate::sys::with_room(content.len());
    copy.extend_from_slice(content);
    copy
}

impl Vm {
    /// Runs `work` where it may take its time, on a thread that has the VM's rights meanwhile and none of the server's: a
    /// descriptor that the VM's user opened is one thing, who reads and writes through it another.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        let id = self.shared().guest_id;
        let (sender, done) = tokio::sync::oneshot::channel();
        drop(runtime.spawn_blocking(move || {
            // An error of sending says that nobody waits any more.
            match sys::AsGuest::enter(id) {
                Ok(guest) => {
                    drop(sender.send(work()));
                    guest.restore();
                }
                Err(error) => drop(sender.send(Err(Error::system(&error, "setfsuid")))),
            }
        }));
        // The work does not panic, and the runtime is never shut down.
        done.await.map_err(|_| Error::Disposed)?
    }
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

fn write_whole(fd: OwnedFd, path: &str, content: &[u8]) -> Result<(), Error> {
    let kind = fstatfs(&fd).map_err(|errno| failed(&errno.into(), "fstatfs", path))?;
    if is_kernel_interface(kind.filesystem_type().0) {
        // Init has refused it already.
        return Err(failed(&io::Error::from_raw_os_error(libc::EACCES), "open", path));
    }
    let (mut file, _) = regular(fd, path, "write")?;
    file.write_all(content)
        .map_err(|error| failed(&error, "write", path))
}
