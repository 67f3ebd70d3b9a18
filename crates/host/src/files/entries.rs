//! The content of one directory, with the bounds on a listing.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use nix::dir::{Dir, Type};
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};

use crate::error::Error;

/// The maximum number of names in one listing.
pub const MAX_ENTRIES: usize = 1_000_000;

/// The maximum total length of the names or paths in one listing, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The maximum number of names read from one directory, including excluded ones: a process may add names as fast as
/// they are read.
const MAX_NAMES_READ: usize = 4 * MAX_ENTRIES;

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A regular file. In a listing without types, anything.
    File,
    /// A FIFO, which is also called a named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

/// A directory entry.
#[derive(Debug, Clone)]
pub struct DirectoryEntry {
    /// The name, or in a walk the whole path. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Its type.
    pub kind: EntryKind,
    /// Its size in bytes, in a walk.
    pub size: u64,
}

/// What a listing finds out about each name.
#[derive(Debug, Clone, Copy)]
pub enum Detail<'a> {
    /// Nothing.
    Names,
    /// Its type.
    Types,
    /// Its type and size; the path of the directory is put before the name.
    Attributes(&'a str),
}

/// A number of names and their total bytes.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    pub names: usize,
    pub bytes: usize,
}

/// Fails with `LIMIT_EXCEEDED` if there is more than the bounds allow.
pub fn check(found: Amount, names: usize, bytes: usize, path: &str) -> Result<(), Error> {
    let bound = if found.names > names {
        format!("{MAX_ENTRIES} names")
    } else if found.bytes > bytes {
        format!("{} MiB of names and paths", MAX_BYTES / 1024 / 1024)
    } else {
        return Ok(());
    };
    Err(Error::LimitExceeded(format!(
        "{path} holds more than {bound}, the most that one call lists; list what is in it by itself, give a maxDepth, or \
         exclude names"
    )))
}

/// A name in bytes, and as text.
pub struct Name {
    pub bytes: Vec<u8>,
    pub entry: DirectoryEntry,
}

/// The content of a directory, sorted by name. The details are the entry's own: a link is not followed.
pub fn list(
    fd: BorrowedFd<'_>,
    path: &str,
    detail: Detail<'_>,
    most: Amount,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Name>, Error> {
    let failed = |errno: nix::Error, syscall: &str| Error::System {
        errno: errno as i32,
        syscall: syscall.into(),
        path: Some(path.to_owned()),
    };
    // Both descriptors share one read position, and nothing else reads from it.
    let own = fd
        .try_clone_to_owned()
        .map_err(|error| Error::system(&error, "dup"))?;
    let mut directory = Dir::from_fd(own).map_err(|errno| failed(errno, "opendir"))?;
    let mut names = Vec::new();
    let mut found = Amount { names: 0, bytes: 0 };
    for (number, entry) in directory.iter().enumerate() {
        if number >= MAX_NAMES_READ {
            return Err(Error::LimitExceeded(format!(
                "{path} has more than {MAX_NAMES_READ} names, the most that one call reads of a directory"
            )));
        }
        let entry = entry.map_err(|errno| failed(errno, "readdir"))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let shown = name.to_string_lossy();
        if !is_wanted(&shown) {
            continue;
        }
        found.names += 1;
        found.bytes += shown.len();
        if let Detail::Attributes(prefix) = detail {
            found.bytes += prefix.len() + 1;
        }
        check(found, most.names, most.bytes, path)?;
        let (kind, size) = match (detail, entry.file_type().map(EntryKind::from)) {
            (Detail::Names, _) => (EntryKind::File, 0),
            (Detail::Types, Some(kind)) => (kind, 0),
            (_, listed) => kind_and_size(fd, name, listed),
        };
        names.push(Name {
            bytes: name.to_bytes().to_vec(),
            entry: DirectoryEntry {
                name: shown.into_owned(),
                kind,
                size,
            },
        });
    }
    names.sort_unstable_by(|one, other| one.bytes.cmp(&other.bytes));
    if let Detail::Attributes(prefix) = detail {
        let prefix = prefix.trim_end_matches('/');
        for name in &mut names {
            name.entry.name = format!("{prefix}/{}", name.entry.name);
        }
    }
    Ok(names)
}

fn kind_and_size(fd: BorrowedFd<'_>, name: &CStr, listed: Option<EntryKind>) -> (EntryKind, u64) {
    match fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(found) => (EntryKind::of(found.st_mode), found.st_size as u64),
        // It is gone, or the directory may only be listed.
        Err(_) => (listed.unwrap_or(EntryKind::File), 0),
    }
}

impl EntryKind {
    /// The type in a file's mode (`inode(7)`).
    pub(super) fn of(mode: u32) -> Self {
        match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Self::Directory,
            SFlag::S_IFLNK => Self::Symlink,
            SFlag::S_IFIFO => Self::Fifo,
            SFlag::S_IFSOCK => Self::Socket,
            SFlag::S_IFCHR => Self::CharacterDevice,
            SFlag::S_IFBLK => Self::BlockDevice,
            _ => Self::File,
        }
    }
}

impl From<Type> for EntryKind {
    fn from(listed: Type) -> Self {
        match listed {
            Type::Directory => Self::Directory,
            Type::Symlink => Self::Symlink,
            Type::Fifo => Self::Fifo,
            Type::Socket => Self::Socket,
            Type::CharacterDevice => Self::CharacterDevice,
            Type::BlockDevice => Self::BlockDevice,
            Type::File => Self::File,
        }
    }
}
