//! Symbolic links, and paths without them.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::resolve::{path_of, resolve, resolve_with};

/// What a symbolic link contains. EINVAL if the file is no link.
pub fn read(base: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let fd = resolve(base, path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    if SFlag::from_bits_truncate(fstat(&fd)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
        return Err(Errno::EINVAL);
    }
    Ok(readlinkat(&fd, "")?.into_encoded_bytes())
}

/// The absolute path of a file, without symbolic links, `.` and `..`.
pub fn real_path(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let fd = resolve(AT_FDCWD, path, OFlag::O_PATH)?;
    let found = path_of(fd.as_fd())?;
    // The file may have been deleted or moved meanwhile: the kernel then shows a path that leads elsewhere or nowhere.
    let there = resolve_with(
        AT_FDCWD,
        &found,
        OFlag::O_PATH,
        Mode::empty(),
        ResolveFlag::RESOLVE_NO_SYMLINKS,
    )
    .map_err(|_| Errno::ENOENT)?;
    let (opened, there) = (fstat(&fd)?, fstat(&there)?);
    if (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino) {
        Ok(found)
    } else {
        Err(Errno::ENOENT)
    }
}
