//! The files in families' cgroup directories, in both versions.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use agent_vm_protocol::message::CgroupSetting;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use crate::sys::errno_of;

/// Makes a directory in `base_fd`, named by `number`, with `settings`; returns its name and the directory itself.
pub fn make(base_fd: &OwnedFd, number: u64, settings: &[CgroupSetting]) -> Result<(String, OwnedFd), Errno> {
    let name = format!("family-{number}");
    mkdirat(base_fd, name.as_str(), Mode::from_bits_truncate(0o755))?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let fd = openat(base_fd, name.as_str(), flags, Mode::empty())?;
    set(&fd, settings)?;
    Ok((name, fd))
}

/// The number in the line `oom_kill` of a cgroup's file.
pub fn counted(directory_fd: &OwnedFd, file: &str) -> Result<u64, Errno> {
    let mut text = String::new();
    File::from(openat(
        directory_fd,
        file,
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?)
    .read_to_string(&mut text)
    .map_err(|error| errno_of(&error))?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count
        .and_then(|count| count.trim().parse().ok())
        .ok_or(Errno::ENODATA)
}

/// Writes settings to files of a family's directory.
fn set(directory_fd: &OwnedFd, settings: &[CgroupSetting]) -> Result<(), Errno> {
    for CgroupSetting { file, value } in settings {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file_fd = openat(directory_fd, file.as_str(), flags, Mode::empty())?;
        File::from(file_fd)
            .write_all(value.as_bytes())
            .map_err(|error| errno_of(&error))?;
    }
    Ok(())
}

/// Whether the kernel reports that a directory, or the one that a descriptor refers to, was removed.
pub fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

/// The result, or `gone` if the directory was removed.
pub fn unless_gone<T>(result: Result<T, Errno>, gone: T) -> Result<T, Errno> {
    match result {
        Err(errno) if is_gone(errno) => Ok(gone),
        other => other,
    }
}
