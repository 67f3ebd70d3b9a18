//! Names in a root that is being made, and the files put there. No name is resolved through a link in a directory of
//! the root, unless the caller says so.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{symlinkat, write};

/// The permission bits of plain files and of executable files.
pub const FILE: Mode = Mode::from_bits_truncate(0o644);
pub const SCRIPT: Mode = Mode::from_bits_truncate(0o755);

/// A name in a directory of the root that exists.
pub struct RootPlace {
    /// The directory.
    pub parent_fd: OwnedFd,
    /// The last name of the path.
    pub name: CString,
}

impl RootPlace {
    /// Makes the directories on the way to `path`. ELOOP if one of them is a link, unless `links` are followed.
    pub fn of(root_fd: BorrowedFd<'_>, path: &str, links: bool) -> Result<Self, Errno> {
        let path = Path::new(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EINVAL);
        };
        let mut components = path.components();
        if components.next() != Some(Component::RootDir)
            || !components.all(|c| matches!(c, Component::Normal(_)))
        {
            return Err(Errno::EINVAL);
        }
        let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
        let open_directory = |path: &Path| open_directory(root_fd, path, links);
        let parent_fd = match open_directory(parent) {
            Err(Errno::ENOENT) => {
                let mut fd = open_directory(Path::new("/"))?;
                for end in parent.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
                    fd = match open_directory(end) {
                        Err(Errno::ENOENT) => {
                            let name = end.file_name().ok_or(Errno::EINVAL)?;
                            mkdirat(&fd, Path::new(name), Mode::from_bits_truncate(0o755))?;
                            open_directory(end)?
                        }
                        other => other?,
                    };
                }
                fd
            }
            other => other?,
        };
        Ok(Self { parent_fd, name })
    }

    /// The directory with that name, made if it is missing.
    pub fn directory(&self) -> Result<OwnedFd, Errno> {
        directory(self.parent_fd.as_fd(), &self.name)
    }

    /// Makes links in the directory with that name, which is made if it is missing.
    pub fn links(&self, names: &[String], target: &str) -> Result<(), Errno> {
        let directory_fd = self.directory()?;
        names
            .iter()
            .try_for_each(|name| symlinkat(target, &directory_fd, name.as_str()))
    }

    /// Makes a new file with that name.
    pub fn new_file(&self, content: &str, mode: Mode) -> Result<(), Errno> {
        new_file(self.parent_fd.as_fd(), &self.name, content.as_bytes(), mode).map(drop)
    }

    /// The file with that name, made if it is missing.
    pub fn file(&self) -> Result<OwnedFd, Errno> {
        // Opened first: making an existing file fails with EACCES if the directory belongs to somebody else.
        match open_path(self.parent_fd.as_fd(), &self.name) {
            Err(Errno::ENOENT) => {
                self.new_file("", FILE)?;
                open_path(self.parent_fd.as_fd(), &self.name)
            }
            other => other,
        }
    }
}

/// Makes a new file with this content, open for writing.
pub fn new_file(
    parent_fd: BorrowedFd<'_>,
    name: &CStr,
    content: &[u8],
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let fd = openat(parent_fd, name, file_flags(), mode)?;
    let mut rest = content;
    while !rest.is_empty() {
        rest = &rest[write(&fd, rest)?..];
    }
    Ok(fd)
}

/// The directory `name` of `parent_fd`, made if it is missing.
pub fn directory(parent_fd: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    match mkdirat(parent_fd, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => open_path(parent_fd, name),
        Err(errno) => Err(errno),
    }
}

/// The name as a target for a mount, whatever it is, but not a link.
pub fn open_path(parent_fd: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(
        parent_fd,
        name,
        OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// The flags to make a file that does not exist.
pub fn file_flags() -> OFlag {
    OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC
}

fn open_directory(root_fd: BorrowedFd<'_>, path: &Path, links: bool) -> Result<OwnedFd, Errno> {
    let links = if links {
        ResolveFlag::RESOLVE_NO_MAGICLINKS
    } else {
        ResolveFlag::RESOLVE_NO_SYMLINKS
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | links);
    openat2(root_fd, path, how)
}

/// The type of the file that a descriptor refers to.
pub fn kind(fd: BorrowedFd<'_>) -> Result<SFlag, Errno> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT)
}

/// The text as a C string. EINVAL if it contains a NUL.
pub fn c_string(text: &str) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}
