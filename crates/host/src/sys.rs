//! System calls on pipes and terminals for which no safe wrapper exists.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::Channel;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A type that owns a descriptor.
///
/// # Safety
/// For as long as the value lives, its descriptor stays open and `as_raw_fd` returns the same number.
pub unsafe trait OwnsFd: AsFd + AsRawFd {}
// SAFETY: an `OwnedFd` closes its descriptor only when it is dropped.
unsafe impl OwnsFd for OwnedFd {}
// SAFETY: the same as for the `OwnedFd` in it, which nothing can replace.
unsafe impl OwnsFd for Arc<OwnedFd> {}
// SAFETY: a channel has one socket, and closes it only when it is dropped.
unsafe impl OwnsFd for Channel {}

/// Registers a descriptor with the runtime's `epoll`. Must be called within the runtime.
pub fn watch<T: OwnsFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: `OwnsFd` promises that the descriptor stays open and unchanged while `fd` lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}

/// Kills the process that a pidfd refers to, or a directory of `/proc`. One that has ended or may not be killed stays as it is.
pub fn kill(process: BorrowedFd<'_>) {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed; the rest are integers.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            libc::SIGKILL,
            none,
            0,
        )
    };
}

/// Sets `O_NONBLOCK`.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: FIONBIO reads one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw const on) }).map(drop)
}

/// The major and the minor number of the device that a path leads to, links included; zeros if it leads to something else. From
/// what the kernel knows: it does not ask a file system's server (FUSE, NFS), which may not answer.
pub fn cached_device(directory_fd: BorrowedFd<'_>, path: &CStr) -> io::Result<(u32, u32)> {
    // SAFETY: all-zero is a valid statx.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the path ends with a NUL, and `found` has room for one statx. The C library of old systems has no function for it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            directory_fd.as_raw_fd(),
            path.as_ptr(),
            flags,
            libc::STATX_TYPE,
            &raw mut found,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((found.stx_rdev_major, found.stx_rdev_minor))
}

/// Whether it is a pipe's end.
pub fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    fstat(fd).is_ok_and(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO)
}

/// The number of bytes that a read would return now.
pub fn available(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Reads at most `room` bytes to the end of `data`, which must have that much spare capacity.
pub fn read(fd: BorrowedFd<'_>, data: &mut Vec<u8>, room: usize) -> io::Result<usize> {
    let spare = data.spare_capacity_mut();
    let room = room.min(spare.len());
    // SAFETY: the spare capacity has room for `room` bytes.
    let length = unsafe { libc::read(fd.as_raw_fd(), spare.as_mut_ptr().cast(), room) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written `length` bytes after the existing data.
    unsafe { data.set_len(data.len() + length as usize) };
    Ok(length as usize)
}

/// Writes as many bytes as the kernel accepts now.
pub fn write(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and the length are those of the slice.
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

/// Asks for a pipe with room for at least `bytes`.
pub fn set_pipe_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    // SAFETY: passes no pointers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as libc::c_int) }).map(drop)
}

/// Sets a terminal's size; the kernel sends SIGWINCH to its foreground process group if the size is new.
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

/// An empty vector with room for `bytes`, in huge pages if the kernel has them and the room is large: page faults for
/// 64 MiB take longer than filling it. If the kernel refuses huge pages, the vector uses normal ones.
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
        // SAFETY: the range is the vector's own memory, and the advice does not change its content.
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
