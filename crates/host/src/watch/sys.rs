//! inotify's system calls.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Watches the file that `target_fd` refers to, and returns the number of the watch: always the same for one file. The kernel
/// resolves nothing but this process's own descriptor, so no path of a VM is involved.
pub fn add(inotify_fd: BorrowedFd<'_>, target_fd: BorrowedFd<'_>, mask: u32) -> io::Result<i32> {
    let name = CString::new(format!("/proc/self/fd/{}", target_fd.as_raw_fd()))?;
    // SAFETY: the path ends with a NUL; the rest are integers.
    let number = unsafe { libc::inotify_add_watch(inotify_fd.as_raw_fd(), name.as_ptr(), mask) };
    if number < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(number)
    }
}

/// Ends a watch. One that the kernel has ended already stays as it is.
pub fn remove(inotify_fd: BorrowedFd<'_>, number: i32) {
    // SAFETY: passes integers only.
    unsafe { libc::inotify_rm_watch(inotify_fd.as_raw_fd(), number) };
}
