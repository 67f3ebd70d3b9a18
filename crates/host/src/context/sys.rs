//! System calls on a context's socket for which no safe wrapper exists.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Receives bytes and the number of the process that wrote them, as this process sees it; 0 for one that it does not see.
/// Descriptors that come along are closed by the kernel: there is no room for them.
pub fn receive_named(socket_fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, libc::pid_t)> {
    let mut space = [0u64; 4];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all-zero is a valid msghdr: no name, no parts, no control.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    // SAFETY: computes a size. Room for one ucred, and for nothing behind it.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size_of::<libc::ucred>() as u32) } as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    let length = loop {
        // SAFETY: `message` points at a buffer and at control space of at least the lengths that it has.
        let length = unsafe { libc::recvmsg(socket_fd.as_raw_fd(), &raw mut message, flags) };
        if length >= 0 {
            break length as usize;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    let mut writer = 0;
    // SAFETY: the kernel has filled the control space in; the macros stay within `msg_controllen`, and data of this kind is a ucred.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_CREDENTIALS
        {
            writer = libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned().pid;
        }
    }
    Ok((length, writer))
}

/// Sends as many bytes as the socket takes now. EPIPE once nobody holds the other end.
pub fn send(socket_fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    loop {
        // SAFETY: the pointer and the length are those of the slice.
        let length = unsafe { libc::send(socket_fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        if length >= 0 {
            return Ok(length as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
