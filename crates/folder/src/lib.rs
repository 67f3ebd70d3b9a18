//! Removing a folder that a hostile process has filled, when that is gone: by the host, and by init for a host that is gone
//! itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};

/// Removes a folder of this user's with all that is in it, also below folders whose modes would keep their owner out. One
/// that is not there is no error. Follows no link.
///
/// # Errors
/// What the kernel answers: EBUSY where something is mounted, EPERM where something is another user's.
pub fn remove_all(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path).or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return Ok(());
        }
        open_up(AT_FDCWD, path)?;
        fs::remove_dir_all(path)
    })
}

/// Makes a folder, and all below it, searchable and writable for its owner. Nothing may change it
/// meanwhile.
fn open_up(parent: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    fchmodat(parent, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut folder = Dir::openat(parent, name, flags, Mode::empty())?;
    let mut below = Vec::new();
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            below.push(name.to_owned());
        }
    }
    for name in below {
        open_up(
            folder.as_fd(),
            Path::new(name.to_str().map_err(io::Error::other)?),
        )?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_that_nobody_may_search_are_removed_too() {
        let path = std::env::temp_dir().join(format!("agent-vm-folder-{}", std::process::id()));
        fs::create_dir_all(path.join("closed/below")).unwrap();
        fs::write(path.join("closed/below/file"), "x").unwrap();
        for name in ["closed/below", "closed"] {
            fs::set_permissions(path.join(name), PermissionsExt::from_mode(0o0)).unwrap();
        }
        remove_all(&path).unwrap();
        assert!(!path.exists());
        remove_all(&path).unwrap();
    }
}
