//! System calls on pipes and terminals that no safe wrapper has.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::Channel;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Owns a descriptor.
///
/// # Safety
/// For as long as the value lives, its descriptor stays open and `as_raw_fd` returns the same number.
pub unsafe trait OwnsFd: AsFd + AsRawFd {}
// SAFETY: an `OwnedFd` closes its descriptor only when it is dropped.
unsafe impl OwnsFd for OwnedFd {}
// SAFETY: as the `OwnedFd` in it, which nothing can replace.
unsafe impl OwnsFd for Arc<OwnedFd> {}
// SAFETY: a channel has one socket, and closes it only when it is dropped.
unsafe impl OwnsFd for Channel {}

/// Registers a descriptor with the runtime's `epoll`. Must be called within the runtime.
pub fn watch<T: OwnsFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: `OwnsFd` promises that the descriptor stays open and the same while `fd` lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}

/// Sets `O_NONBLOCK`.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: FIONBIO reads one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw const on) }).map(drop)
}

/// Whether it is a pipe's end.
pub fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    fstat(fd).is_ok_and(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO)
}

/// Bytes that a read would find now.
pub fn available(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Reads at most `room` bytes behind what `data` holds, which must have that much capacity left.
pub fn read(fd: BorrowedFd<'_>, data: &mut Vec<u8>, room: usize) -> io::Result<usize> {
    let spare = data.spare_capacity_mut();
    let room = room.min(spare.len());
    // SAFETY: the spare capacity has room for so many bytes.
    let length = unsafe { libc::read(fd.as_raw_fd(), spare.as_mut_ptr().cast(), room) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written so many behind what was there.
    unsafe { data.set_len(data.len() + length as usize) };
    Ok(length as usize)
}

/// Writes what the kernel takes now.
pub fn write(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the buffer is as long as said.
        let length = unsafe { libc::write(fd.as_raw_fd(), data.as_ptr().cast(), data.len()) };
        if length >= 0 {
            return Ok(length as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Asks for a pipe of at least `bytes`.
pub fn set_pipe_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as libc::c_int) }).map(drop)
}

/// Tells a terminal its size; the kernel sends SIGWINCH to its foreground group if that is new.
pub fn set_window_size(fd: BorrowedFd<'_>, cols: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads one winsize.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// An empty vector with room for `bytes`, in huge pages where the kernel has them and the room is large: to fault in 64 MiB
/// page by page takes longer than to fill it. It is a wish, and what it cannot be is as it was.
#[must_use]
pub fn with_room(bytes: usize) -> Vec<u8> {
    let mut room = Vec::with_capacity(bytes);
    prefer_huge_pages(&mut room);
    room
}

fn prefer_huge_pages(data: &mut Vec<u8>) {
    let start = data.as_mut_ptr().addr().next_multiple_of(HUGE_PAGE) - data.as_mut_ptr().addr();
    let length = data.capacity().saturating_sub(start) / HUGE_PAGE * HUGE_PAGE;
    if length > 0 {
        // SAFETY: the range is within the vector's own memory, and the advice does not change its content.
        let _refused =
            unsafe { libc::madvise(data.as_mut_ptr().add(start).cast(), length, libc::MADV_HUGEPAGE) };
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
