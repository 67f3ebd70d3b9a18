//! Reading one pipe or terminal of a process: as fast as the receiver takes it, and at the end exactly what was written.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::sys;

/// The smallest buffer to read into.
const SMALLEST_READ: usize = 4 * 1024;

/// The largest, and what a pipe that is always full is grown to. An unprivileged user may have 64 such pipes
/// (`pipe-user-pages-soft`, `pipe(7)`); for more, the kernel says no and the pipe stays as it is.
const LARGEST_READ: usize = 1024 * 1024;

/// A pipe's size as the kernel makes it.
const FULL_PIPE: usize = 64 * 1024;

/// The most that a terminal can hold back when its last writer is gone: the line discipline's 4 KiB and the 64 KiB buffer
/// below it, generously rounded up (`tty_buffer.c`).
const TERMINAL_BACKLOG: usize = 256 * 1024;

/// What is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A pipe: its end is a read of nothing.
    Pipe,
    /// A terminal's master: its end is EIO.
    Terminal,
}

/// One readable descriptor.
#[derive(Debug)]
pub struct Source {
    fd: AsyncFd<OwnedFd>,
    kind: Kind,
    capacity: usize,
    grown: bool,
}

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nobody can write any more.
    Closed,
    /// The process has exited and what it wrote is read; others still hold the other end.
    StillOpen,
}

impl Source {
    /// Takes a descriptor over, and makes it non-blocking. Must be called within the runtime.
    pub fn new(fd: OwnedFd, kind: Kind) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd())?;
        let fd = sys::watch(fd, Interest::READABLE)?;
        Ok(Self {
            fd,
            kind,
            capacity: SMALLEST_READ,
            grown: false,
        })
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }

    /// Reads and gives each chunk to `take`, waiting for it to be done with one before it gives the next, which is read
    /// meanwhile. Returns at end-of-file; or, once `exited` says so, when all that had been written by then is taken.
    pub async fn pump<F>(
        &mut self,
        exited: &mut watch::Receiver<bool>,
        mut take: impl FnMut(Vec<u8>) -> F,
    ) -> End
    where
        F: Future<Output = ()>,
    {
        let mut taking: Option<F> = None;
        while !*exited.borrow() {
            let chunk = tokio::select! {
                biased;
                chunk = self.read() => chunk,
                // An error says that nobody waits for the exit any more, which ends the watch as well.
                told = async { exited.wait_for(|exited| *exited).await.is_ok() } => {
                    if told {
                        continue;
                    }
                    break;
                }
            };
            if let Some(taking) = taking.take() {
                taking.await;
            }
            match chunk {
                Some(data) => taking = Some(take(data)),
                None => return End::Closed,
            }
        }
        if let Some(taking) = taking {
            taking.await;
        }
        let mut left = match self.kind {
            Kind::Pipe => sys::available(self.fd()).unwrap_or(0),
            // The kernel moves what was written to the reader's side lazily; a read that finds nothing has made it do so.
            Kind::Terminal => TERMINAL_BACKLOG,
        };
        while left > 0 {
            match read_some(self.fd(), self.kind, self.capacity) {
                Ok(piece) if piece.data.is_empty() => return End::Closed,
                Ok(Piece { data, .. }) => {
                    self.adapt(data.len());
                    left = left.saturating_sub(data.len());
                    take(data).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return End::StillOpen,
                Err(_) => return End::Closed,
            }
        }
        End::StillOpen
    }

    /// The next chunk, or nothing at end-of-file. Can be cancelled without loss.
    pub async fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut ready = self.fd.readable().await.ok()?;
            match read_some(self.fd.get_ref().as_fd(), self.kind, self.capacity) {
                Ok(Piece { data, drained }) => {
                    if drained {
                        ready.clear_ready();
                    }
                    self.adapt(data.len());
                    return (!data.is_empty()).then_some(data);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(_) => return None,
            }
        }
    }

    /// Reads as much at a time as comes: a full buffer asks for a larger one, a nearly empty one for a smaller.
    fn adapt(&mut self, length: usize) {
        if length == self.capacity {
            self.capacity = (self.capacity * 4).min(LARGEST_READ);
        } else if length * 8 < self.capacity {
            self.capacity = (self.capacity / 2).max(SMALLEST_READ);
        }
        if self.kind == Kind::Pipe && !self.grown && length >= FULL_PIPE {
            self.grown = true;
            if let Err(error) = sys::set_pipe_size(self.fd(), LARGEST_READ) {
                tracing::debug!(%error, fd = self.fd().as_raw_fd(), "a full pipe was not grown");
            }
        }
    }
}

/// What one look at a descriptor brought; no data says end-of-file.
struct Piece {
    data: Vec<u8>,
    /// Whether there was no more: what comes next will be a new edge to `epoll(7)`.
    drained: bool,
}

/// Reads up to `capacity` bytes.
fn read_some(fd: BorrowedFd<'_>, kind: Kind, capacity: usize) -> io::Result<Piece> {
    let mut data = Vec::with_capacity(capacity);
    let drained = loop {
        let room = capacity - data.len();
        match sys::read(fd, &mut data, room) {
            // A pipe gives all it has at once; a terminal a line or 4 KiB at a time, and a chunk for each of those would
            // cost more than its bytes.
            Ok(length) if kind == Kind::Pipe => break length < room,
            Ok(0) => break true,
            Ok(_) if data.len() == capacity => break false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Met again by the next read, which then finds nothing before it.
            Err(error) if kind == Kind::Terminal && error.raw_os_error() == Some(libc::EIO) => break false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !data.is_empty() => break true,
            Err(error) => return Err(error),
        }
    };
    if data.len() < capacity / 2 {
        data.shrink_to_fit();
    }
    Ok(Piece { data, drained })
}
