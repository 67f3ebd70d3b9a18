//! The processes in `/proc`, and the threads of a process.

use std::os::fd::AsFd;

use libc::pid_t;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// The names that are numbers in the directory `path` of `/proc`, relative to `directory_fd`, unsorted.
///
/// # Errors
/// ENOENT or ESRCH if the process has ended; EMFILE or ENFILE if no descriptor is free.
pub fn numbers(directory_fd: impl AsFd, path: &str) -> Result<Vec<pid_t>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut directory = Dir::openat(directory_fd, path, flags, Mode::empty())?;
    Ok(directory
        .iter()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
        .collect())
}
