//! Reading one pipe or terminal of a process: as fast as the receiver takes it, and at the end exactly what was written.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::sys;

/// The smallest buffer to read into.
const SMALLEST_READ: usize = 4 * 1024;

/// The largest. What is read, copied to the log and handed on stays in a core's own cache; larger pieces do not.
const LARGEST_READ: usize = 256 * 1024;

/// What a pipe that is always full is grown to: room for the writer while the reader holds a piece. An unprivileged user may
/// have 128 such pipes (`pipe-user-pages-soft`, `pipe(7)`); for more, the kernel says no and the pipe stays as it is.
const GROWN_PIPE: usize = 512 * 1024;

/// Chunks of one stream that the receiver may hold at a time; reading goes on when it has let go of half of them, so that a
/// fast stream costs one wake-up for several chunks.
const WINDOW: usize = 4;

/// The largest from a terminal: about what the kernel holds of one. A program that keeps up with its reader would otherwise
/// have the I/O thread to itself for milliseconds.
const LARGEST_TERMINAL_READ: usize = 64 * 1024;

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

    /// Reads and gives each chunk to `take`; while [`WINDOW`] of them are not done with, nothing is read. Returns at
    /// end-of-file; or, once `exited` says so, when all that had been written by then is taken.
    pub async fn pump<F>(
        &mut self,
        exited: &mut watch::Receiver<bool>,
        mut take: impl FnMut(Vec<u8>) -> F,
    ) -> End
    where
        F: Future<Output = ()>,
    {
        let mut taking = Window::default();
        while !*exited.borrow() {
            taking.make_room().await;
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
            // A writer that keeps up with us must not have the I/O thread to itself.
            tokio::task::yield_now().await;
            let Some(data) = chunk else {
                taking.drain().await;
                return End::Closed;
            };
            taking.push(take(data));
        }
        let mut left = match self.kind {
            Kind::Pipe => sys::available(self.fd()).unwrap_or(0),
            // The kernel moves what was written to the reader's side lazily; a read that finds nothing has made it do so.
            Kind::Terminal => TERMINAL_BACKLOG,
        };
        let mut end = End::StillOpen;
        while left > 0 {
            taking.make_room().await;
            match read_some(self.fd(), self.kind, self.capacity) {
                Ok(Piece { data, .. }) if !data.is_empty() => {
                    self.adapt(data.len());
                    left = left.saturating_sub(data.len());
                    taking.push(take(data));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    end = End::Closed;
                    break;
                }
            }
        }
        taking.drain().await;
        end
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
                // Closed once, which the runtime never forgets, and opened again by a process that found a way to: waiting
                // again would spin.
                Err(_) if ready.ready().is_read_closed() => return None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(_) => return None,
            }
        }
    }

    /// Reads as much at a time as comes: a full buffer asks for a larger one, a nearly empty one for a smaller.
    fn adapt(&mut self, length: usize) {
        if length == self.capacity {
            let largest = match self.kind {
                Kind::Pipe => LARGEST_READ,
                Kind::Terminal => LARGEST_TERMINAL_READ,
            };
            self.capacity = (self.capacity * 4).min(largest);
        } else if length * 8 < self.capacity {
            self.capacity = (self.capacity / 2).max(SMALLEST_READ);
        }
        if self.kind == Kind::Pipe && !self.grown && length >= FULL_PIPE {
            self.grown = true;
            if let Err(error) = sys::set_pipe_size(self.fd(), GROWN_PIPE) {
                tracing::debug!(%error, fd = self.fd().as_raw_fd(), "a full pipe was not grown");
            }
        }
    }
}

/// The chunks of a stream that the receiver is not done with, in order.
struct Window<F>(VecDeque<F>);

impl<F> Default for Window<F> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<F: Future<Output = ()>> Window<F> {
    fn push(&mut self, taking: F) {
        self.0.push_back(taking);
    }

    /// Waits, if it is full, until half of it is done with.
    async fn make_room(&mut self) {
        if self.0.len() < WINDOW {
            return;
        }
        // Receivers are done with chunks in their order, so the last of these comes when all of them have.
        let last = self.0.drain(..WINDOW / 2).next_back();
        if let Some(last) = last {
            last.await;
        }
    }

    /// Waits until all of it is done with.
    async fn drain(&mut self) {
        if let Some(last) = self.0.drain(..).next_back() {
            last.await;
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
