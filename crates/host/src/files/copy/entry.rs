//! The copy of a single file or symbolic link, and what all steps of a copy share.

use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{Attributes, Existing, FileStep, OpenMode, Reply, WriteMode};
use nix::errno::Errno;

use super::request::{CopyRequest, ExistingCopy};
use crate::control::ReplyAndFds;
use crate::error::Error;
use crate::files::entries::EntryKind;
use crate::files::is_directory;
use crate::vm::Vm;

/// The two ends of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Original,
    Copy,
}

/// An error, and the file that it is about.
#[derive(Debug)]
pub(super) struct Failed {
    pub error: Error,
    pub side: Side,
}

impl Failed {
    /// An error of the copy itself.
    pub(super) fn of(errno: Errno) -> Self {
        Self {
            error: failed_copy(errno, ""),
            side: Side::Copy,
        }
    }

    pub(super) fn errno(&self) -> i32 {
        match self.error {
            Error::System { errno, .. } => errno,
            _ => 0,
        }
    }

    /// The error, with the path of a file that is `below` the copied one.
    pub(super) fn at(self, request: &CopyRequest, below: &str) -> Error {
        let top = match self.side {
            Side::Original => &request.from,
            Side::Copy => &request.to,
        };
        match self.error {
            Error::System { errno, syscall, .. } => {
                let path = if below.is_empty() {
                    top.clone()
                } else {
                    format!("{}{below}", top.trim_end_matches('/'))
                };
                Error::System {
                    errno,
                    syscall,
                    path: Some(path),
                }
            }
            other => other,
        }
    }
}

/// A name in a directory, or a path.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    side: Side,
    pub directory: Option<&'a OwnedFd>,
    pub name: &'a [u8],
}

impl<'a> At<'a> {
    pub(super) fn original(directory: Option<&'a OwnedFd>, name: &'a [u8]) -> Self {
        let side = Side::Original;
        Self {
            side,
            directory,
            name,
        }
    }

    pub(super) fn copy(directory: Option<&'a OwnedFd>, name: &'a [u8]) -> Self {
        let side = Side::Copy;
        Self {
            side,
            directory,
            name,
        }
    }

    pub(super) fn failed(self, error: Error) -> Failed {
        Failed {
            error,
            side: self.side,
        }
    }

    /// The number of the directory in a step.
    pub(super) fn attached(self) -> Option<u8> {
        self.directory.map(|_| 0)
    }

    /// The descriptors to attach to a step.
    fn fds(self) -> Result<Vec<OwnedFd>, Failed> {
        let fd = self.directory.map(OwnedFd::try_clone).transpose();
        let fd = fd.map_err(|error| self.failed(Error::system(&error, "dup")))?;
        Ok(fd.into_iter().collect())
    }
}

impl Vm {
    /// Copies anything but a directory.
    pub(super) async fn copy_entry(
        &self,
        request: &CopyRequest,
        kind: EntryKind,
        from: At<'_>,
        to: At<'_>,
    ) -> Result<(), Failed> {
        match kind {
            EntryKind::Symlink => self.copy_link(request, from, to).await,
            EntryKind::File => self.copy_file(request, from, to).await,
            _ => Err(from.failed(failed_copy(Errno::EINVAL, ""))),
        }
    }

    async fn copy_link(&self, request: &CopyRequest, from: At<'_>, to: At<'_>) -> Result<(), Failed> {
        let step = FileStep::ReadLink {
            directory: from.attached(),
            path: from.name.into(),
        };
        let (Reply::Path { path: target, .. }, _) = self.step_at(from, step).await? else {
            return Err(from.failed(Error::Disposed));
        };
        let make = FileStep::Symlink {
            directory: to.attached(),
            path: to.name.into(),
            target,
        };
        match self.step_at(to, make.clone()).await {
            Err(failed) if failed.errno() == libc::EEXIST => {
                let existing = self.attributes_at(to).await?;
                // A link replaces a link only.
                let is_link = EntryKind::of(existing.mode) == EntryKind::Symlink;
                if request.existing == ExistingCopy::Replace && !is_link && !is_directory(&existing) {
                    return Err(failed);
                }
                if self.make_way(request, from, to, &existing).await? {
                    self.step_at(to, make).await?;
                }
                Ok(())
            }
            other => other.map(drop),
        }
    }

    async fn copy_file(&self, request: &CopyRequest, from: At<'_>, to: At<'_>) -> Result<(), Failed> {
        let from_fd = self.open_at(from, OpenMode::Read { follow: false }).await?;
        let mode = OpenMode::Write(WriteMode {
            parents: false,
            // Until the content is there, others have no rights that the original does not give them.
            create: Some(0o600),
            existing: Existing::Refuse,
            append: false,
        });
        let to_fd = match self.open_at(to, mode).await {
            Err(failed) if failed.errno() == libc::EEXIST => {
                let existing = self.attributes_at(to).await?;
                if !self.make_way(request, from, to, &existing).await? {
                    return Ok(());
                }
                self.open_at(to, mode).await?
            }
            other => other?,
        };
        self.copy_content(from_fd, to_fd, request.preserve_timestamps)
            .await
            .map_err(|error| {
                let is_read = matches!(&error, Error::System { syscall, .. } if syscall == "read");
                let side = if is_read { Side::Original } else { Side::Copy };
                Failed { error, side }
            })
    }

    /// Removes what is in the way of a copy; false if that is kept, and nothing is copied.
    async fn make_way(
        &self,
        request: &CopyRequest,
        from: At<'_>,
        to: At<'_>,
        existing: &Attributes,
    ) -> Result<bool, Failed> {
        if is_directory(existing) {
            return Err(Failed::of(Errno::ENOTDIR));
        }
        let original = self.attributes_at(from).await?;
        if (original.dev, original.ino) == (existing.dev, existing.ino) {
            return Err(Failed::of(Errno::EINVAL));
        }
        match request.existing {
            ExistingCopy::Replace => {}
            ExistingCopy::Keep => return Ok(false),
            ExistingCopy::Refuse => return Err(Failed::of(Errno::EEXIST)),
        }
        let step = FileStep::Remove {
            directory: to.attached(),
            path: to.name.into(),
            is_directory: false,
        };
        self.step_at(to, step).await?;
        Ok(true)
    }

    pub(super) async fn step_at(&self, at: At<'_>, step: FileStep) -> Result<ReplyAndFds, Failed> {
        self.step(step, at.fds()?).await.map_err(|error| at.failed(error))
    }

    pub(super) async fn open_at(&self, at: At<'_>, mode: OpenMode) -> Result<OwnedFd, Failed> {
        let directory = at.fds()?.pop();
        let opened = self.open(directory, at.name.into(), mode).await;
        opened.map_err(|error| at.failed(error))
    }

    async fn attributes_at(&self, at: At<'_>) -> Result<Attributes, Failed> {
        let step = FileStep::Stat {
            directory: at.attached(),
            path: at.name.into(),
            follow: false,
        };
        match self.step_at(at, step).await? {
            (Reply::Attributes { attributes, .. }, _) => Ok(attributes),
            _ => Err(at.failed(Error::Disposed)),
        }
    }
}

pub(super) fn failed_copy(errno: Errno, path: &str) -> Error {
    Error::System {
        errno: errno as i32,
        syscall: "cp".into(),
        path: Some(path.to_owned()),
    }
}
