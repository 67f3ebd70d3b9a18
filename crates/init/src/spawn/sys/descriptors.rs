//! Descriptors for a program's standard streams.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// The other side of a terminal whose master is `master_fd`, in the VM's own `/dev/pts` wherever that is mounted.
pub fn terminal_slave(master_fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes integers only and returns a fresh descriptor.
    let fd = Errno::result(unsafe { libc::ioctl(master_fd.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor of its own for what `fd` refers to.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller keeps `fd` open over the call; -1 is refused by the kernel.
    let fd = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lends out a descriptor three times.
pub fn thrice<F: AsFd>(fd: &F) -> [BorrowedFd<'_>; 3] {
    [fd.as_fd(), fd.as_fd(), fd.as_fd()]
}
