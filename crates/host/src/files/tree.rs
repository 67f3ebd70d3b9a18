//! Folders with what is below them. Every folder is opened by init, as the VM's user and without following links, from
//! the descriptor of the one above: a folder that is swapped for a link meanwhile leads nowhere.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::{FileStep, OpenMode};
use nix::dir::{Dir, Type};
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};

use super::{MAX_ENTRIES, blocking};
use crate::error::Error;
use crate::vm::Vm;

/// What a name in a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    File,
}

/// A name in a folder.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name; bytes that are not UTF-8 replaced. In a walk, the whole path.
    pub name: String,
    /// The name as it is.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
}

/// What to list of a tree.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Where it begins.
    pub path: String,
    /// Folders below folders that are listed; 0 for the first alone.
    pub max_depth: Option<u32>,
    /// Names that are left out, with all below them.
    pub exclude: HashSet<String>,
}

/// A folder that waits to be listed. Those of one folder share its descriptor, and the deepest are listed first, so that
/// no more descriptors are open than the tree is deep.
struct Pending {
    above: Option<Arc<OwnedFd>>,
    name: Vec<u8>,
    path: String,
    depth: u32,
}

/// A folder that is being emptied.
struct Level {
    fd: Arc<OwnedFd>,
    name: Vec<u8>,
    path: String,
    left: std::vec::IntoIter<Entry>,
}

impl Vm {
    /// Lists a tree, a folder before what is in it. At most [`MAX_ENTRIES`]; a folder that may not be read, or is gone when
    /// its turn comes, is listed without what is in it.
    pub async fn walk(&self, walk: Walk) -> Result<Vec<Entry>, Error> {
        let mut found = Vec::new();
        let mut pending = vec![Pending {
            above: None,
            name: walk.path.clone().into(),
            path: walk.path.clone(),
            depth: 0,
        }];
        while let Some(next) = pending.pop() {
            let is_first = next.above.is_none();
            let fd = match self.open_folder(next.above.as_deref(), next.name, is_first).await {
                Ok(fd) => Arc::new(fd),
                Err(Error::System {
                    errno: libc::EACCES | libc::ENOENT | libc::ENOTDIR | libc::ELOOP,
                    ..
                }) if !is_first => {
                    continue;
                }
                Err(error) => return Err(at(error, &next.path)),
            };
            let first_below = pending.len();
            for entry in listed(&fd, &next.path).await? {
                if walk.exclude.contains(&entry.name) {
                    continue;
                }
                let path = below(&next.path, &entry.name);
                if entry.kind == EntryKind::Directory && walk.max_depth.is_none_or(|most| next.depth < most) {
                    let (name, path) = (entry.bytes.clone(), path.clone());
                    pending.push(Pending {
                        above: Some(Arc::clone(&fd)),
                        name,
                        path,
                        depth: next.depth + 1,
                    });
                }
                found.push(Entry { name: path, ..entry });
                if found.len() > MAX_ENTRIES {
                    return Err(too_many(&walk.path));
                }
            }
            pending[first_below..].reverse();
        }
        Ok(found)
    }

    /// Removes all that is in a folder, the deepest first.
    pub(super) async fn empty(&self, folder: OwnedFd, path: String) -> Result<(), Error> {
        let mut levels = vec![Level::open(folder, Vec::new(), path).await?];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.left.next() else {
                let Some(done) = levels.pop() else { break };
                if let Some(above) = levels.last() {
                    self.remove_in(&above.fd, done.name, &done.path, true).await?;
                }
                continue;
            };
            let path = below(&level.path, &entry.name);
            if entry.kind == EntryKind::Directory {
                let opened = self
                    .open_folder(Some(&level.fd), entry.bytes.clone(), false)
                    .await;
                let folder = opened.map_err(|error| at(error, &path))?;
                levels.push(Level::open(folder, entry.bytes, path).await?);
            } else {
                let fd = Arc::clone(&level.fd);
                self.remove_in(&fd, entry.bytes, &path, false).await?;
            }
        }
        Ok(())
    }

    async fn open_folder(
        &self,
        above: Option<&OwnedFd>,
        name: Vec<u8>,
        follow: bool,
    ) -> Result<OwnedFd, Error> {
        let above = above
            .map(OwnedFd::try_clone)
            .transpose()
            .map_err(|error| Error::system(&error, "dup"))?;
        self.open(above, name, OpenMode::Directory { follow }).await
    }

    async fn remove_in(
        &self,
        directory: &OwnedFd,
        name: Vec<u8>,
        path: &str,
        is_directory: bool,
    ) -> Result<(), Error> {
        let shared = directory
            .try_clone()
            .map_err(|error| Error::system(&error, "dup"))?;
        let step = FileStep::Remove {
            directory: Some(0),
            path: name,
            is_directory,
        };
        match self.step(step, vec![shared]).await {
            // Somebody inside was faster.
            Err(Error::System {
                errno: libc::ENOENT, ..
            }) => Ok(()),
            other => other.map(drop).map_err(|error| at(error, path)),
        }
    }
}

impl Level {
    async fn open(folder: OwnedFd, name: Vec<u8>, path: String) -> Result<Self, Error> {
        let fd = Arc::new(folder);
        let left = listed(&fd, &path).await?.into_iter();
        Ok(Self { fd, name, path, left })
    }
}

async fn listed(fd: &Arc<OwnedFd>, path: &str) -> Result<Vec<Entry>, Error> {
    let (fd, path) = (Arc::clone(fd), path.to_owned());
    blocking(move || list(fd.as_fd(), &path)).await
}

fn below(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// The error of a step on a name, told of its whole path.
fn at(error: Error, path: &str) -> Error {
    match error {
        Error::System { errno, syscall, .. } => Error::System {
            errno,
            syscall,
            path: Some(path.to_owned()),
        },
        other => other,
    }
}

fn too_many(path: &str) -> Error {
    Error::LimitExceeded(format!(
        "{path} holds more than {MAX_ENTRIES} names, the most that one call lists"
    ))
}

/// What is in a folder, in order of names. Attributes are of the name itself, never of what a link leads to.
pub fn list(fd: BorrowedFd<'_>, path: &str) -> Result<Vec<Entry>, Error> {
    let failed = |errno: nix::Error, syscall: &str| Error::System {
        errno: errno as i32,
        syscall: syscall.into(),
        path: Some(path.to_owned()),
    };
    // A descriptor of its own: listing moves its position, which clones of one share.
    let own = nix::fcntl::openat(
        fd,
        ".",
        nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )
    .map_err(|errno| failed(errno, "open"))?;
    let mut directory = Dir::from_fd(own).map_err(|errno| failed(errno, "opendir"))?;
    let mut entries = Vec::new();
    for entry in directory.iter() {
        let entry = entry.map_err(|errno| failed(errno, "readdir"))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let mode = stat.as_ref().map_or(SFlag::empty(), |stat| {
            SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT)
        });
        let kind = match (mode, entry.file_type()) {
            (SFlag::S_IFDIR, _) | (_, Some(Type::Directory)) => EntryKind::Directory,
            (SFlag::S_IFLNK, _) | (_, Some(Type::Symlink)) => EntryKind::Symlink,
            _ => EntryKind::File,
        };
        let size = stat.map_or(0, |stat| stat.st_size as u64);
        entries.push(Entry {
            name: name.to_string_lossy().into_owned(),
            bytes: name.to_bytes().to_vec(),
            kind,
            size,
        });
        if entries.len() > MAX_ENTRIES {
            return Err(too_many(path));
        }
    }
    entries.sort_unstable_by(|one, other| one.bytes.cmp(&other.bytes));
    Ok(entries)
}
