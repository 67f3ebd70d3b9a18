//! What the kernel's overlays read in layers (`Documentation/filesystems/overlayfs.rst`).

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, makedev};
use xattr::FileExt;

/// Says of a directory that nothing of older layers shows through it.
pub const OPAQUE: &str = "user.overlay.opaque";

/// The value of [`OPAQUE`] that says so.
pub const IS_OPAQUE: &[u8] = b"y";

/// Attributes of the overlay's own; a program's attributes of that name are under [`ESCAPED`].
const OWN: &[u8] = b"user.overlay.";
const ESCAPED: &[u8] = b"user.overlay.overlay.";

/// Attributes that files of a VM can have.
const KEPT: [&[u8]; 2] = [b"user.", b"system.posix_acl_"];

/// Whether it says that an older layer's file of that name is removed.
pub fn is_whiteout(found: &FileStat) -> bool {
    kind(found) == SFlag::S_IFCHR && found.st_rdev == makedev(0, 0)
}

/// The type of a file.
pub fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

/// Whether nothing of older layers shows through the directory.
pub fn is_opaque(directory: &File) -> Result<bool, Errno> {
    let found = directory
        .get_xattr(OPAQUE)
        .map_err(|error| crate::sys::errno_of(&error))?;
    Ok(found.as_deref() == Some(IS_OPAQUE))
}

/// Copies the attributes that a VM can have set.
pub fn copy_attributes(from: &File, to: &File) -> Result<(), Errno> {
    let failed = |error: std::io::Error| crate::sys::errno_of(&error);
    for name in from.list_xattr().map_err(failed)? {
        let text = name.as_bytes();
        let is_own = text.starts_with(OWN) && !text.starts_with(ESCAPED);
        if is_own || !KEPT.iter().any(|kept| text.starts_with(kept)) {
            continue;
        }
        if let Some(value) = from.get_xattr(&name).map_err(failed)? {
            to.set_xattr(&name, &value).map_err(failed)?;
        }
    }
    Ok(())
}

/// The names in a directory.
pub fn names(directory_fd: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut directory = Dir::openat(directory_fd.as_fd(), c".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
