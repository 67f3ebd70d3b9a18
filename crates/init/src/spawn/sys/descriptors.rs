//! Descriptors for a program's standard streams.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};

/// The program's side of the terminal whose master is `master_fd`, in the VM's own `/dev/pts`, whatever its path.
pub fn terminal_slave(master_fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes integers only and returns a new descriptor.
    let fd = Errno::result(unsafe { libc::ioctl(master_fd.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A connected pair of stream sockets. On the first the kernel names the process that has written what is received (`SCM_CREDENTIALS`).
pub fn named_socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
    setsockopt(&ours, sockopt::PassCred, &true)?;
    Ok((ours, theirs))
}

/// A new descriptor for what `fd` refers to.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller keeps `fd` open during the call; the kernel refuses -1.
    let fd = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel has just made it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Borrows a descriptor three times.
pub fn thrice<F: AsFd>(fd: &F) -> [BorrowedFd<'_>; 3] {
    [fd.as_fd(), fd.as_fd(), fd.as_fd()]
}
