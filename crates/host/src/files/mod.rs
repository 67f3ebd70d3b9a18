//! The VM's files. Init opens, renames and removes, as the VM's user and in the VM's view. The host reads, writes and
//! lists through the descriptors that init sends, on blocking threads; the data never passes through init.

mod change;
mod content;
mod copy;
mod entries;
mod links;
mod list;
mod opened;
mod places;
mod read;
mod remove;
mod share;
mod sys;
mod trees;
mod write;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{Attributes, FileStep, OpenMode, Reply, Request, is_kernel_interface};
use agent_vm_remove_tree::Named;
use nix::errno::Errno;
use nix::sys::statfs::fstatfs;

use crate::control::ReplyAndFds;
use crate::error::Error;
use crate::shared::Shared;
use crate::vm::Vm;

pub use copy::{CopyRequest, ExistingCopy};
pub use entries::{DirectoryEntry, EntryKind};
pub use list::{OnEntries, WalkRequest};
pub use opened::OpenRequest;
pub use read::{Content, MAX_FILE, ReadRequest};
pub use remove::remove_tree;
pub use share::Share;
pub use trees::{ArchiveRequest, Exclude, LocalArchives, OnProgress, TransferLimits, TransferRequest};
pub use write::WriteRequest;

impl Vm {
    /// Creates a directory with these permissions, less the umask of 022.
    pub async fn mkdir(&self, path: String, mode: u32, recursive: bool) -> Result<(), Error> {
        let step = FileStep::Mkdir {
            directory: None,
            path: path.into(),
            mode,
            recursive,
            links: true,
        };
        self.step(step, Vec::new()).await.map(drop)
    }

    /// The attributes of a file, or of a symbolic link itself if `follow` is false.
    pub async fn stat(&self, path: String, follow: bool) -> Result<Attributes, Error> {
        let step = FileStep::Stat {
            directory: None,
            path: path.into(),
            follow,
        };
        match self.step(step, Vec::new()).await? {
            (Reply::Attributes { attributes, .. }, _) => Ok(attributes),
            _ => Err(Error::Disposed),
        }
    }

    /// Whether the path exists.
    pub async fn exists(&self, path: String) -> Result<bool, Error> {
        match self.stat(path, true).await {
            Ok(_) => Ok(true),
            Err(Error::System {
                errno: libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP | libc::ENAMETOOLONG,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames. Fails with EXDEV between directories on different mounts, if nothing else is wrong.
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
                // The kernel checks the mounts before it looks for either name.
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

    /// The error that the rename would have on a single mount.
    async fn not_renamable(&self, from: &str, to: String) -> Result<Option<i32>, Error> {
        let (Ok((from, from_slashes)), Ok((to, to_slashes))) = (named(from), named(&to)) else {
            return Ok(Some(libc::EBUSY));
        };
        let from = match self.stat(from.to_owned(), false).await {
            Ok(attributes) => is_directory(&attributes),
            Err(Error::System { errno, .. }) => return Ok(Some(errno)),
            Err(error) => return Err(error),
        };
        if (from_slashes || to_slashes) && !from {
            return Ok(Some(libc::ENOTDIR));
        }
        match self
            .stat(to.to_owned(), false)
            .await
            .map(|attributes| is_directory(&attributes))
        {
            Ok(true) if !from => Ok(Some(libc::EISDIR)),
            Ok(false) if from => Ok(Some(libc::ENOTDIR)),
            Err(error @ Error::Disposed) => Err(error),
            _ => Ok(None),
        }
    }

    /// Removes a name; a directory with its content if `recursive`, else only if it is empty. Fails before anything is
    /// removed: with EINVAL for `.` and `..`, and with ENOTDIR for a trailing slash after something that is not a
    /// directory.
    pub async fn delete(&self, path: String, recursive: bool) -> Result<(), Error> {
        let refused = |errno: Errno| failed(&errno.into(), "rmdir", &path);
        let (name, needs_directory) = named(&path).map_err(refused)?;
        let is_directory = is_directory(&self.stat(name.to_owned(), false).await?);
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

    /// Opens a file of the VM. `path` is relative to `directory`, if given.
    async fn open(
        &self,
        directory: Option<OwnedFd>,
        path: Vec<u8>,
        mode: OpenMode,
    ) -> Result<OwnedFd, Error> {
        self.shared().open_file(directory, path, mode).await
    }

    async fn step(&self, step: FileStep, fds: Vec<OwnedFd>) -> Result<ReplyAndFds, Error> {
        self.shared().file_step(step, fds).await
    }
}

/// For tasks, which must not keep the VM alive.
impl Shared {
    /// Like [`Vm::open`].
    pub(crate) async fn open_file(
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
        let (_, fds) = self.file_step(step, directory.into_iter().collect()).await?;
        fds.into_iter().next().ok_or_else(Error::missing_descriptor)
    }

    /// Has init carry out one step.
    pub(crate) async fn file_step(&self, step: FileStep, fds: Vec<OwnedFd>) -> Result<ReplyAndFds, Error> {
        let call = self.control.call();
        self.control.ask(call, Request::File { call, step }, fds).await
    }

    /// Like [`Vm::blocking`].
    pub(crate) async fn as_guest<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let ids = self.guest;
        let work = move || {
            let guest = sys::AsGuest::enter(ids).map_err(|error| Error::system(&error, "setfsuid"))?;
            let result = work();
            guest.restore();
            result
        };
        self.bounds.guest_threads.run(work).await
    }
}

fn is_directory(attributes: &Attributes) -> bool {
    attributes.mode & libc::S_IFMT == libc::S_IFDIR
}

/// A path without its trailing slashes, and whether it had any. EINVAL if its last name is `.` or `..`.
fn named(path: &str) -> Result<(&str, bool), Errno> {
    let named = Named::of(path.as_bytes())?;
    // It ends before a slash, which is one byte, so the slice is valid UTF-8.
    Ok((&path[..named.path.len()], named.needs_directory))
}

/// A copy of `content`, for a later write.
#[must_use]
pub fn copied(content: &[u8]) -> Vec<u8> {
    let mut copy = crate::sys::with_room(content.len());
    copy.extend_from_slice(content);
    copy
}

impl Vm {
    /// Runs `work` on a blocking thread that temporarily has the VM user's rights and not the server's. Who opened a
    /// descriptor is not enough: some files also check the rights of the process that reads or writes.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.shared().as_guest(work).await
    }
}

fn failed(error: &io::Error, syscall: &str, path: &str) -> Error {
    Error::System {
        errno: error.raw_os_error().unwrap_or(libc::EIO),
        syscall: syscall.into(),
        path: Some(path.into()),
    }
}

/// The file behind `fd`, if it is one that the server may write: a regular file, and none of a kernel file system. Init has
/// refused the others already, but what it attaches is its choice.
fn writable(fd: OwnedFd, path: &str, syscall: &str) -> Result<File, Error> {
    let kind = fstatfs(&fd).map_err(|errno| failed(&errno.into(), "fstatfs", path))?;
    if is_kernel_interface(kind.filesystem_type().0) {
        return Err(failed(&Errno::EACCES.into(), "open", path));
    }
    regular(fd, path, syscall).map(|(file, _)| file)
}

/// Returns the file behind `fd`, if it is a file that has an end.
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

#[cfg(test)]
mod tests {
    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    #[test]
    fn a_file_of_the_kernel_and_what_is_no_file_are_not_written() {
        let opened = |path: &str| OwnedFd::from(File::options().write(true).open(path).expect("it is there"));
        let errno = |fd| match writable(fd, "/x", "write") {
            Err(Error::System { errno, .. }) => Some(errno),
            _ => None,
        };
        assert_eq!(errno(opened("/proc/self/oom_score_adj")), Some(libc::EACCES));
        assert_eq!(errno(opened("/dev/null")), Some(libc::EINVAL));
        assert_eq!(errno(nix::unistd::pipe().expect("a pipe").1), Some(libc::EINVAL));
        assert_eq!(
            errno(File::open("/").expect("the root").into()),
            Some(libc::EISDIR)
        );
        let file = memfd_create(c"file", MFdFlags::MFD_CLOEXEC).expect("a file");
        assert!(writable(file, "/x", "write").is_ok());
    }
}
