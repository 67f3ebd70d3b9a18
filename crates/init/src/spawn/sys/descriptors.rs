//! Descriptors for a program's streams.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use agent_vm_protocol::message::PIPE_NUMBERS;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};

use super::child::MORE;

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

/// A new descriptor for what `fd` refers to, above all numbers that a program's pipes may have.
fn duplicate_above(fd: RawFd) -> Result<OwnedFd, Errno> {
    let lowest = RawFd::from(*PIPE_NUMBERS.end()) + 1;
    // SAFETY: the caller keeps `fd` open during the call; the kernel refuses -1.
    let fd = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the kernel has just made it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The descriptors that a child needs after it has put its other pipes in their places: so these have none of the places.
#[derive(Debug)]
pub struct Placed {
    /// By number, the descriptors to put there; -1 for none.
    pub more: [RawFd; MORE],
    /// The working directory.
    pub directory: RawFd,
    /// The pipe of the report; -1 for none.
    pub report: RawFd,
    /// The namespace that it enters; -1 for none.
    pub inner: RawFd,
    /// Copies that stay open until the child has executed.
    copies: Vec<OwnedFd>,
}

impl Placed {
    /// Without other pipes, `directory`, `report` and `inner` are used as they are. The caller keeps them open.
    pub fn new(
        directory: RawFd,
        report: Option<RawFd>,
        inner: Option<RawFd>,
        more: &[(u8, BorrowedFd<'_>)],
    ) -> Result<Self, Errno> {
        let mut placed = Self {
            more: [-1; MORE],
            directory,
            report: report.unwrap_or(-1),
            inner: inner.unwrap_or(-1),
            copies: Vec::new(),
        };
        if more.is_empty() {
            return Ok(placed);
        }
        for (number, fd) in more {
            let copy = placed.copy(fd.as_raw_fd())?;
            if let Some(place) = placed.more.get_mut(usize::from(*number)) {
                *place = copy;
            }
        }
        placed.directory = placed.copy(directory)?;
        if let Some(report) = report {
            placed.report = placed.copy(report)?;
        }
        if let Some(inner) = inner {
            placed.inner = placed.copy(inner)?;
        }
        Ok(placed)
    }

    fn copy(&mut self, fd: RawFd) -> Result<RawFd, Errno> {
        let copy = duplicate_above(fd)?;
        let number = copy.as_raw_fd();
        self.copies.push(copy);
        Ok(number)
    }
}

/// Borrows a descriptor three times.
pub fn thrice<F: AsFd>(fd: &F) -> [BorrowedFd<'_>; 3] {
    [fd.as_fd(), fd.as_fd(), fd.as_fd()]
}
