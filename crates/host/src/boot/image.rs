//! The init program in memory, once for the whole server.
//!
//! It is executed from a sealed memory file: all VMs share its pages, nobody can change it, and replacing the file on disk
//! (an update under a running server) harms nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::BootError;

static IMAGE: OnceLock<OwnedFd> = OnceLock::new();

/// The image, read from `path` by the first call that succeeds.
pub fn image(path: &Path) -> Result<BorrowedFd<'static>, BootError> {
    if let Some(fd) = IMAGE.get() {
        return Ok(fd.as_fd());
    }
    let loaded = load(path).map_err(|source| BootError::Image {
        path: PathBuf::from(path),
        source,
    })?;
    Ok(IMAGE.get_or_init(|| loaded).as_fd())
}

fn load(path: &Path) -> io::Result<OwnedFd> {
    let program = fs::read(path)?;
    let fd = memfd_create(
        c"agent-vm-init",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let mut file = File::from(fd);
    file.write_all(&program)?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}
