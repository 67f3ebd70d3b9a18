//! One end of the control socket: whole messages, each with the descriptors attached to it.
//!
//! The socket is `SOCK_SEQPACKET`: a message arrives whole or not at all, and end-of-file says that the other side is
//! gone, however it went. Sending and receiving never block; who uses it waits for readiness by `poll` or `epoll`.
//!
//! A message over [`INLINE_BYTES`] travels in a memory file whose descriptor is attached first; one over [`MAX_BYTES`]
//! is refused by the sender.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys;

pub use crate::sys::MAX_DESCRIPTORS;

/// The largest message that travels in the socket itself. The socket's default buffer holds some of these at a time.
pub const INLINE_BYTES: usize = 32 * 1024;

/// The largest message. The kernel takes at most 6 MiB of arguments and environment (`execve(2)`).
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// How long a message is sent again that the kernel refuses for its descriptors, before it is given up.
pub const DESCRIPTORS_DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait before sending such a message again: nothing says when the kernel takes it.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(1);

/// First byte of a message that is here.
const INLINE: u8 = 0;
/// First byte of a message that is in the first attached descriptor.
const IN_FILE: u8 = 1;

/// A message that was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Over [`MAX_BYTES`].
    #[error("a control message of {size} bytes; at most {MAX_BYTES} are possible")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// Over [`MAX_DESCRIPTORS`].
    #[error("{count} descriptors on a control message; at most {MAX_DESCRIPTORS} are possible")]
    TooManyDescriptors {
        /// How many.
        count: usize,
    },
    /// It does not encode.
    #[error("a control message does not encode")]
    Encode(#[source] postcard::Error),
    /// No memory file for a large one.
    #[error("a large control message found no room")]
    File(#[source] io::Error),
}

/// A message that does not decode.
#[derive(Debug, thiserror::Error)]
#[error("a control message does not decode")]
pub struct DecodeError(#[source] postcard::Error);

/// What receiving can meet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The socket failed; `WouldBlock` where there is nothing to receive.
    #[error("the control socket failed")]
    Socket(#[source] io::Error),
    /// The message was longer than a message can be, had more attached, or is of no known form.
    #[error("a control message arrived incomplete")]
    Truncated,
    /// The memory file of a large message is missing, wrong or not readable.
    #[error("a large control message cannot be read")]
    File(#[source] io::Error),
    /// It does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A message ready to send, with the descriptors that go with it.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Frame {
    /// Encodes `message`, to which `fds` will be attached in that order.
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

    /// Closes the descriptors that go with the message, which then goes without them. Returns whether there was one to close; what
    /// carries the message itself is kept.
    pub fn drop_descriptors(&mut self) -> bool {
        let kept = usize::from(self.bytes == [IN_FILE]);
        let any = self.fds.len() > kept;
        self.fds.truncate(kept);
        any
    }
}

/// Whether the kernel refused a message for now, and nothing says when it will take the message: more descriptors are in flight
/// than the sender may have open (ETOOMANYREFS), or memory is short (ENOBUFS, ENOMEM).
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

    /// Sends `frame`, whole.
    ///
    /// # Errors
    /// `WouldBlock` while the other side has not read enough; `ETOOMANYREFS` while too many descriptors are on their way
    /// (`unix(7)`), which also passes; `EPIPE` and `ECONNRESET` once it is gone.
    pub fn send(&self, frame: &Frame) -> io::Result<()> {
        sys::send(self.fd.as_fd(), &frame.bytes, &frame.fds)
    }

    /// As [`send`](Self::send), on a thread that may wait: for at most `patience`, while the kernel refuses the descriptors.
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

    /// Receives a message and what is attached to it, or nothing once the other side is gone. Of the descriptors, the last
    /// are missing where this process has no room for them.
    pub fn receive<M: DeserializeOwned>(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<(M, Vec<OwnedFd>)>, ReceiveError> {
        buffer.resize(INLINE_BYTES + 1, 0);
        let received = sys::receive(self.fd.as_fd(), buffer).map_err(ReceiveError::Socket)?;
        // No honest end attaches more; those past the room for them the kernel has closed.
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
    /// Takes an end that was handed over; it must be a non-blocking `SOCK_SEQPACKET` socket.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.fd
    }
}

/// Decodes one message; what is left over is an error too.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, DecodeError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(DecodeError(postcard::Error::DeserializeBadEncoding)),
        Err(error) => Err(DecodeError(error)),
    }
}
