//! Copies files and trees. Init opens and creates every file, as the VM's user and without following links: a directory
//! that a process replaces by a link meanwhile cannot redirect the copy. The host copies the content.
//!
//! The guest decides how wide and deep a tree is, so a copy has the bounds of a listing, and remembers directories as one
//! does. A target that a process fills with what is copied ends at these bounds too.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::{Attributes, Change, Existing, FileStep, OpenMode, Reply, WriteMode};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use tokio::sync::SemaphorePermit;

use super::content::COPIED;
use super::entries::{Amount, Detail, EntryKind, MAX_BYTES, MAX_ENTRIES, Name, list};
use super::is_directory;
use super::places::{MAX_DEPTH, Places};
use crate::control::ReplyAndFds;
use crate::error::Error;
use crate::vm::Vm;

/// The permissions of a directory that its owner can fill.
const FILLABLE: u32 = 0o300;

/// What happens to a file that exists where a copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingCopy {
    /// It is replaced.
    Replace,
    /// It is kept, and nothing is copied there.
    Keep,
    /// EEXIST.
    Refuse,
}

/// A copy of a file or tree.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The file that is copied.
    pub from: String,
    /// The path of the copy.
    pub to: String,
    /// Whether a directory is copied, with everything below it.
    pub recursive: bool,
    /// What happens to files that exist.
    pub existing: ExistingCopy,
    /// Whether files get the times of their originals.
    pub preserve_timestamps: bool,
}

/// A directory that is being copied, and its copy.
struct Pair {
    from_fd: OwnedFd,
    to_fd: OwnedFd,
    place: usize,
}

/// What is still to be done. The deepest comes first.
enum Pending {
    /// A directory that must be copied.
    Copy { base: Arc<Pair>, place: usize },
    /// The copy of a directory is complete, and gets its mode.
    Finish {
        base: Arc<Pair>,
        place: usize,
        mode: u32,
    },
}

/// The two ends of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Original,
    Copy,
}

/// An error, and the file that it is about.
#[derive(Debug)]
struct Failed {
    error: Error,
    side: Side,
}

impl Failed {
    /// An error of the copy itself.
    fn of(errno: Errno) -> Self {
        Self {
            error: failed_copy(errno, ""),
            side: Side::Copy,
        }
    }

    fn errno(&self) -> i32 {
        match self.error {
            Error::System { errno, .. } => errno,
            _ => 0,
        }
    }

    /// The error, with the path of a file that is `below` the copied one.
    fn at(self, request: &CopyRequest, below: &str) -> Error {
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
struct At<'a> {
    side: Side,
    directory: Option<&'a OwnedFd>,
    name: &'a [u8],
}

impl<'a> At<'a> {
    fn original(directory: Option<&'a OwnedFd>, name: &'a [u8]) -> Self {
        let side = Side::Original;
        Self {
            side,
            directory,
            name,
        }
    }

    fn copy(directory: Option<&'a OwnedFd>, name: &'a [u8]) -> Self {
        let side = Side::Copy;
        Self {
            side,
            directory,
            name,
        }
    }

    fn failed(self, error: Error) -> Failed {
        Failed {
            error,
            side: self.side,
        }
    }

    /// The number of the directory in a step.
    fn attached(self) -> Option<u8> {
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
    /// Copies a file, a symbolic link or, with `recursive`, a directory. Links are copied as links.
    pub async fn copy(&self, request: CopyRequest) -> Result<(), Error> {
        let _place = self.copying().await?;
        let found = self.stat(request.from.clone(), false).await?;
        let existing = match self.stat(request.to.clone(), false).await {
            Ok(existing) => Some(existing),
            Err(Error::System {
                errno: libc::ENOENT, ..
            }) => None,
            Err(error) => return Err(error),
        };
        let refused = |errno, path: &str| Err(failed_copy(errno, path));
        if let Some(existing) = &existing {
            if (found.dev, found.ino) == (existing.dev, existing.ino) {
                return refused(Errno::EINVAL, &request.to);
            }
            match (is_directory(&found), is_directory(existing)) {
                (true, false) => return refused(Errno::EISDIR, &request.to),
                (false, true) => return refused(Errno::ENOTDIR, &request.to),
                _ => {}
            }
        }
        if is_directory(&found) && !request.recursive {
            return refused(Errno::EISDIR, &request.from);
        }
        let parent = parent_of(&request.to);
        if is_directory(&found) && self.is_within(&request.from, parent).await? {
            return refused(Errno::EINVAL, &request.to);
        }
        if existing.is_none() {
            // Fails if something else than a directory is there.
            self.mkdir(parent.to_owned(), 0o777, true).await?;
        }
        if is_directory(&found) {
            return self.copy_tree(&request, found).await;
        }
        let from = At::original(None, request.from.as_bytes());
        let to = At::copy(None, request.to.as_bytes());
        self.copy_entry(&request, EntryKind::of(found.mode), from, to)
            .await
            .map_err(|failed| failed.at(&request, ""))
    }

    async fn copying(&self) -> Result<SemaphorePermit<'_>, Error> {
        tokio::select! {
            // The semaphore is never closed.
            place = self.shared().bounds.copies.acquire() => place.map_err(|_| Error::Disposed),
            () = self.ended() => Err(Error::Disposed),
        }
    }

    /// Whether the nearest existing directory on the way to `path` is `directory`, or is below it.
    async fn is_within(&self, directory: &str, mut path: &str) -> Result<bool, Error> {
        let directory = self.realpath(directory.to_owned()).await?;
        let found = loop {
            match self.realpath(path.to_owned()).await {
                Err(Error::System {
                    errno: libc::ENOENT, ..
                }) if path != "/" => path = parent_of(path),
                other => break other?,
            }
        };
        Ok(found
            .strip_prefix(directory.as_slice())
            .is_some_and(|rest| directory == b"/" || rest.is_empty() || rest.starts_with(b"/")))
    }

    async fn copy_tree(&self, request: &CopyRequest, found: Attributes) -> Result<(), Error> {
        let at_top = |failed: Failed| failed.at(request, "");
        let from = At::original(None, request.from.as_bytes());
        let from_fd = self
            .open_at(from, OpenMode::Directory { follow: false })
            .await
            .map_err(at_top)?;
        let to = At::copy(None, request.to.as_bytes());
        let (to_fd, is_new) = self.make_directory(to).await.map_err(at_top)?;
        let copy = self.identity(&to_fd).await?;
        let top = Arc::new(Pair {
            from_fd,
            to_fd,
            place: 0,
        });
        let mut places = Places::new(Vec::new());
        let mut left = Amount {
            names: MAX_ENTRIES,
            bytes: MAX_BYTES,
        };
        let mut pending = Vec::new();
        let late = self
            .give_mode(&top.to_fd, is_new, found.mode)
            .await
            .map_err(at_top)?;
        pending.extend(late.map(|mode| Pending::Finish {
            base: Arc::clone(&top),
            place: 0,
            mode,
        }));
        let mut next = Some((Arc::clone(&top), top));
        while let Some((pair, base)) = next.take() {
            let directories = self.copy_names(request, &places, &pair, &mut left).await?;
            if !directories.is_empty() && places.depth(pair.place) >= MAX_DEPTH {
                return Err(Error::LimitExceeded(format!(
                    "{} has directories more than {MAX_DEPTH} deep, the most that one call copies",
                    request.from
                )));
            }
            for name in directories.into_iter().rev() {
                let place = places.add(pair.place, name);
                let base = Arc::clone(&base);
                pending.push(Pending::Copy { base, place });
            }
            while let Some(waiting) = pending.pop() {
                let (Pending::Copy { base, place } | Pending::Finish { base, place, .. }) = &waiting;
                let (base, place) = (Arc::clone(base), *place);
                let way = places.way(base.place, place);
                let at = |failed: Failed| failed.at(request, &places.path(place));
                if let Pending::Finish { mode, .. } = waiting {
                    self.finish(&base, &way, mode).await.map_err(at)?;
                    continue;
                }
                let (pair, mode, is_new) = self.enter(&base, place, &way, copy).await.map_err(at)?;
                let late = self.give_mode(&pair.to_fd, is_new, mode).await.map_err(at)?;
                pending.extend(late.map(|mode| Pending::Finish {
                    base: Arc::clone(&base),
                    place,
                    mode,
                }));
                let is_far = places.is_far(base.place, place, &way);
                let base = if is_far { Arc::clone(&pair) } else { base };
                next = Some((pair, base));
                break;
            }
        }
        Ok(())
    }

    /// Copies what is in a directory, except for directories: returns their names.
    async fn copy_names(
        &self,
        request: &CopyRequest,
        places: &Places,
        pair: &Arc<Pair>,
        left: &mut Amount,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let below = places.path(pair.place);
        let (listed, most, path) = (Arc::clone(pair), *left, format!("{}{below}", request.from));
        let names = self
            .blocking(move || list(listed.from_fd.as_fd(), &path, Detail::Types, most, &|_| true))
            .await?;
        left.names -= names.len();
        left.bytes -= names.iter().map(|name| name.entry.name.len()).sum::<usize>();
        let mut directories = Vec::new();
        for Name { bytes, entry } in names {
            if entry.kind == EntryKind::Directory {
                directories.push(bytes);
                continue;
            }
            let from = At::original(Some(&pair.from_fd), &bytes);
            let to = At::copy(Some(&pair.to_fd), &bytes);
            self.copy_entry(request, entry.kind, from, to)
                .await
                .map_err(|failed| failed.at(request, &format!("{below}/{}", entry.name)))?;
        }
        Ok(directories)
    }

    /// Opens a directory and its copy, which is made if it is missing. Also returns the mode of the original, and whether
    /// the copy is new.
    async fn enter(
        &self,
        base: &Pair,
        place: usize,
        way: &[u8],
        copy: Identity,
    ) -> Result<(Arc<Pair>, u32, bool), Failed> {
        let from = At::original(Some(&base.from_fd), way);
        let from_fd = self.open_at(from, OpenMode::DirectoryWithoutLinks).await?;
        let original = self
            .identity(&from_fd)
            .await
            .map_err(|error| from.failed(error))?;
        if (original.device, original.inode) == (copy.device, copy.inode) {
            // The copy is within its original, by a mount or because a process has moved it there.
            return Err(Failed::of(Errno::EINVAL));
        }
        let (to_fd, is_new) = self.make_directory(At::copy(Some(&base.to_fd), way)).await?;
        let pair = Pair {
            from_fd,
            to_fd,
            place,
        };
        Ok((Arc::new(pair), original.mode, is_new))
    }

    /// Gives a directory whose copy is complete its mode.
    async fn finish(&self, base: &Pair, way: &[u8], mode: u32) -> Result<(), Failed> {
        let way = if way.is_empty() { b"." } else { way };
        let to = At::copy(Some(&base.to_fd), way);
        let fd = self.open_at(to, OpenMode::DirectoryWithoutLinks).await?;
        self.change_opened(fd, "", Change::Mode(mode))
            .await
            .map_err(|error| to.failed(error))
    }

    /// Makes a directory and opens it, or opens the directory that is there. Also returns whether it is new.
    async fn make_directory(&self, to: At<'_>) -> Result<(OwnedFd, bool), Failed> {
        let step = FileStep::Mkdir {
            directory: to.attached(),
            path: to.name.into(),
            mode: 0o777,
            recursive: false,
            // Those on the way to the copy itself are the caller's. Below it, one has taken the place of a directory.
            links: to.directory.is_none(),
        };
        let is_new = match self.step_at(to, step).await {
            Ok(_) => true,
            Err(failed) if failed.errno() == libc::EEXIST => false,
            Err(failed) => return Err(failed),
        };
        let mode = if to.directory.is_some() {
            OpenMode::DirectoryWithoutLinks
        } else {
            OpenMode::Directory { follow: false }
        };
        match self.open_at(to, mode).await {
            // Something else is there.
            Err(failed) if matches!(failed.errno(), libc::ENOTDIR | libc::ELOOP) => {
                Err(Failed::of(Errno::EISDIR))
            }
            other => Ok((other?, is_new)),
        }
    }

    /// Gives a new directory the mode of its original. If its owner could then not fill it, returns the mode for later.
    async fn give_mode(&self, fd: &OwnedFd, is_new: bool, mode: u32) -> Result<Option<u32>, Failed> {
        let mode = mode & COPIED;
        // As it was made.
        if !is_new || mode == 0o755 {
            return Ok(None);
        }
        if mode & FILLABLE != FILLABLE {
            return Ok(Some(mode));
        }
        let failed = |error| Failed {
            error,
            side: Side::Copy,
        };
        let fd = fd
            .try_clone()
            .map_err(|error| failed(Error::system(&error, "dup")))?;
        self.change_opened(fd, "", Change::Mode(mode))
            .await
            .map_err(failed)?;
        Ok(None)
    }

    /// Copies anything but a directory.
    async fn copy_entry(
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

    async fn identity(&self, fd: &OwnedFd) -> Result<Identity, Error> {
        let fd = fd.try_clone().map_err(|error| Error::system(&error, "dup"))?;
        self.blocking(move || {
            let found = fstat(fd).map_err(|errno| failed_copy(errno, ""))?;
            Ok(Identity {
                device: found.st_dev,
                inode: found.st_ino,
                mode: found.st_mode,
            })
        })
        .await
    }

    async fn step_at(&self, at: At<'_>, step: FileStep) -> Result<ReplyAndFds, Failed> {
        self.step(step, at.fds()?).await.map_err(|error| at.failed(error))
    }

    async fn open_at(&self, at: At<'_>, mode: OpenMode) -> Result<OwnedFd, Failed> {
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

/// Which directory it is, and its mode.
#[derive(Debug, Clone, Copy)]
struct Identity {
    device: u64,
    inode: u64,
    mode: u32,
}

/// The directory that contains a path, by its text.
fn parent_of(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => path[..at].trim_end_matches('/'),
    }
}

fn failed_copy(errno: Errno, path: &str) -> Error {
    Error::System {
        errno: errno as i32,
        syscall: "cp".into(),
        path: Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_a_path_is_a_directory_above_it() {
        for (path, parent) in [
            ("/x/y", "/x"),
            ("/x/y/", "/x"),
            ("/x//y//", "/x"),
            ("/x", "/"),
            ("/", "/"),
            ("//x", "/"),
        ] {
            assert_eq!(parent_of(path), parent, "{path}");
        }
    }
}
