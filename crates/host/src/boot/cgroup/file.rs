//! The files of a cgroup through which the kernel takes settings.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The file through which a process joins the cgroup of version 1 at `directory`.
pub(super) fn tasks(directory: &Path) -> io::Result<OwnedFd> {
    let file = fs::OpenOptions::new().write(true).open(directory.join("tasks"))?;
    Ok(file.into())
}

/// Writes a value to a file of the cgroup at `directory`.
pub(super) fn set(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(directory.join(file))
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
}

/// The same for a file that some kernels lack.
pub(super) fn set_if_there(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    match set(directory, file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
