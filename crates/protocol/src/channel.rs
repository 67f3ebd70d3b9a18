//! One end of the control socket: sends and receives whole messages with attached descriptors.
//!
//! The socket is `SOCK_SEQPACKET`: a message arrives completely or not at all, and end-of-file means that the other
//! side is gone, for any reason. Sending and receiving never block; callers wait for readiness by `poll` or `epoll`.
//!
//! A message larger than [`INLINE_BYTES`] is sent in a memory file, whose descriptor is attached first; the sender
//! refuses a message larger than [`MAX_BYTES`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys;

pub use crate::sys::MAX_DESCRIPTORS;

/// The largest message that is sent in the socket itself. The socket's default buffer has room for several of them.
pub const INLINE_BYTES: usize = 32 * 1024;

/// The largest message. The kernel takes at most 6 MiB of arguments and environment (`execve(2)`).
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// For how long sending a message is tried again while the kernel refuses its descriptors.
pub const DESCRIPTORS_DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait before such a message is sent again, because no event reports when the kernel will accept it.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(1);

/// The first byte of a message that follows in the packet.
const INLINE: u8 = 0;
/// The first byte of a message that is in the first attached descriptor.
const IN_FILE: u8 = 1;

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It is larger than [`MAX_BYTES`].
    #[error("a control message of {size} bytes; at most {MAX_BYTES} are possible")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// It has more descriptors than [`MAX_DESCRIPTORS`].
    #[error("{count} descriptors on a control message; at most {MAX_DESCRIPTORS} are possible")]
    TooManyDescriptors {
        /// The number of descriptors.
        count: usize,
    },
    /// It cannot be encoded.
    #[error("a control message does not encode")]
    Encode(#[source] postcard::Error),
    /// The memory file for a large message could not be made.
    #[error("a large control message found no room")]
    File(#[source] io::Error),
}

/// A message that cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[error("a control message does not decode")]
pub struct DecodeError(#[source] postcard::Error);

/// Why a message was not received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The socket failed; `WouldBlock` if there is nothing to receive.
    #[error("the control socket failed")]
    Socket(#[source] io::Error),
    /// The message was longer than allowed, had too many descriptors, or has no known form.
    #[error("a control message arrived incomplete")]
    Truncated,
    /// The memory file of a large message is missing, wrong or unreadable.
    #[error("a large control message cannot be read")]
    File(#[source] io::Error),
    /// It cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// An encoded message with the descriptors to attach.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Frame {
    /// Encodes `message`; `fds` will be attached in that order.
    pub fn new<M: Serialize>(message: &M, mut fds: Vec<OwnedFd>) -> Result<Self, FrameError> {
        if fds.len() > MAX_DESCRIPTORS {
            return Err(FrameError::TooManyDescriptors { count: fds.len() });
        }
        let bytes = postcard::to_extend(message, vec![INLINE]).map_err(FrameError::Encode)?;
        if bytes.len() <= INLINE_BYTES {
            return Ok(Self { bytes, fds });
        }
        if bytes.len() > MAX_BYTES {
            return Err(FrameError::TooLarge { size: bytes.len() });
        }
        let file = sys::memory_file(&bytes[1..]).map_err(FrameError::File)?;
        fds.insert(0, file);
        Ok(Self {
            bytes: vec![IN_FILE],
            fds,
        })
    }

    /// Closes the attached descriptors, so that the message is sent without them. Returns whether there were any. Keeps
    /// the memory file that contains the message.
    pub fn drop_descriptors(&mut self) -> bool {
        let kept = usize::from(self.bytes == [IN_FILE]);
        let any = self.fds.len() > kept;
        self.fds.truncate(kept);
        any
    }
}

/// Whether the kernel refused a message only for now, and no event reports when it will accept it: more descriptors are
/// in transit than the sender may have open (ETOOMANYREFS), or memory is short (ENOBUFS, ENOMEM).
#[must_use]
pub fn passes_unannounced(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// One end of the control socket.
#[derive(Debug)]
pub struct Channel {
    fd: OwnedFd,
}

impl Channel {
    /// A connected pair, both close-on-exec and non-blocking.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = sys::seqpacket_pair()?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// Sends `frame` completely.
    ///
    /// # Errors
    /// `WouldBlock` while the other side has not read enough; `ETOOMANYREFS` while too many descriptors are in transit
    /// (`unix(7)`), which is also temporary; `EPIPE` and `ECONNRESET` once the other side is gone.
    pub fn send(&self, frame: &Frame) -> io::Result<()> {
        sys::send(self.fd.as_fd(), &frame.bytes, &frame.fds)
    }

    /// Like [`send`](Self::send), on a thread that may block: waits at most `patience` while the kernel refuses the
    /// descriptors.
    pub fn send_patiently(&self, frame: &Frame, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            match self.send(frame) {
                Err(error) if passes_unannounced(&error) && Instant::now() < deadline => {
                    std::thread::sleep(DESCRIPTORS_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// Receives a message with its descriptors; `None` once the other side is gone. If this process has no room for all
    /// descriptors, the last ones are missing.
    pub fn receive<M: DeserializeOwned>(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<(M, Vec<OwnedFd>)>, ReceiveError> {
        buffer.resize(INLINE_BYTES + 1, 0);
        let received = sys::receive(self.fd.as_fd(), buffer).map_err(ReceiveError::Socket)?;
        // An honest end attaches no more than that. The kernel has closed descriptors for which there was no room.
        if received.truncated || received.fds.len() > MAX_DESCRIPTORS + 1 {
            return Err(ReceiveError::Truncated);
        }
        let mut fds = received.fds;
        match buffer[..received.length] {
            [] => Ok(None),
            [INLINE, ref body @ ..] => Ok(Some((decode(body)?, fds))),
            [IN_FILE] if !fds.is_empty() => {
                let body = sys::read_memory_file(&fds.remove(0), MAX_BYTES).map_err(ReceiveError::File)?;
                Ok(Some((decode(&body)?, fds)))
            }
            _ => Err(ReceiveError::Truncated),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<OwnedFd> for Channel {
    /// Converts an end that was received as a descriptor; it must be a non-blocking `SOCK_SEQPACKET` socket.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.fd
    }
}

/// Decodes one message; remaining bytes are an error too.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, DecodeError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(DecodeError(postcard::Error::DeserializeBadEncoding)),
        Err(error) => Err(DecodeError(error)),
    }
}
