//! The copy of a tree, from the call to its last directory.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::{Attributes, Change, FileStep, OpenMode};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use tokio::sync::SemaphorePermit;

use super::entry::{At, Failed, Side, failed_copy};
use super::request::CopyRequest;
use crate::error::Error;
use crate::files::content::COPIED;
use crate::files::entries::{Amount, Detail, EntryKind, MAX_BYTES, MAX_ENTRIES, Name, list};
use crate::files::is_directory;
use crate::files::places::{MAX_DEPTH, Places};
use crate::vm::Vm;

/// The permissions of a directory that its owner can fill.
const FILLABLE: u32 = 0o300;

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
    let parent = path.rfind('/').map_or("", |at| &path[..at]);
    match parent.trim_end_matches('/') {
        "" => "/",
        parent => parent,
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
