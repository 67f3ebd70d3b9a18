//! The system calls of the channel.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

/// The maximum number of descriptors that a message can carry, not counting its memory file. The kernel's own limit is
/// 253.
pub const MAX_DESCRIPTORS: usize = 128;

/// A connected pair of sockets that keep message boundaries.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Sends one message with descriptors attached.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None) {
            Ok(_) => return Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A message as it was received.
pub struct Received {
    /// The number of its bytes in the buffer; 0 at end of file.
    pub length: usize,
    /// The attached descriptors.
    pub fds: Vec<OwnedFd>,
    /// Whether the message was longer than the buffer.
    pub truncated: bool,
}

/// Receives one message and its descriptors.
///
/// If this process has no room for all descriptors, the kernel passes those that fit and closes the rest; the receiver
/// finds out which are missing. (In this case nix returns none, and those that fitted would leak.)
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // One more than a message may carry, for the memory file of a large message. In words of eight bytes, the alignment
    // of a header.
    let mut space = [0u64; (MAX_DESCRIPTORS + 1) * size_of::<RawFd>() / 8 + 4];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all-zero is a valid msghdr: no name, no parts, no control.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&space) as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    let length = loop {
        // SAFETY: `message` points to a buffer and to control space of the lengths that it contains.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        if length >= 0 {
            break length as usize;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the control space; the macros stay within `msg_controllen`. This call has made
    // every descriptor in it for this process, so nothing else owns it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header);
                let length = (*header).cmsg_len as usize - (data as usize - header as usize);
                for raw in std::slice::from_raw_parts(data, length).chunks_exact(size_of::<RawFd>()) {
                    fds.extend(
                        raw.try_into()
                            .map(|raw| OwnedFd::from_raw_fd(RawFd::from_ne_bytes(raw))),
                    );
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(Received {
        length,
        fds,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
    })
}

/// A memory file that contains `bytes`.
pub fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"agent-vm-message", MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Reads a whole memory file from its start. Fails if it has more than `limit` bytes, or if it is any other kind of
/// file, which might block.
pub fn read_memory_file(fd: &OwnedFd, limit: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    // Only memory files have seals (`F_GET_SEALS(2const)`).
    fcntl(fd, FcntlArg::F_GET_SEALS)?;
    let file = File::from(fd.try_clone()?);
    let size = file.metadata()?.len();
    if size > limit as u64 {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut body = vec![0; size as usize];
    file.read_exact_at(&mut body, 0)?;
    Ok(body)
}
