//! Reading one pipe or terminal of a process: as fast as the receiver takes it, and at the end exactly what was written.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::{placement, pool, sys, terminal};

/// What a pipe that is always full is grown to: what is read at a time. Writer and reader then take turns, each at what the other
/// has just left in the cache. An unprivileged user may have 512 such pipes (`pipe-user-pages-soft`, `pipe(7)`); for more, the
/// kernel says no and the pipe stays as it is.
const GROWN_PIPE: usize = pool::BUFFER_BYTES;

/// The largest chunk that is handed on. V8 copies it to memory of its own; larger pieces of that would be given back to the
/// kernel when they are freed, and faulted in anew for the next.
const LARGEST_CHUNK: usize = 32 * 1024;

/// Chunks of one stream that the receiver may hold at a time, at least; reading goes on when it has let go of half of them, so
/// that a fast stream costs one wake-up for many chunks.
const NARROWEST: usize = 4;

/// The most, of a pipe.
const WIDEST: usize = 64;

/// The most, of a terminal: what a user still gets to see after an interrupt.
const WIDEST_OF_TERMINAL: usize = 8;

/// A receiver that lets go of half of what it may hold in this time may hold more, others less: chunks that wait for a slow
/// one keep all else waiting behind them.
const QUICK: Duration = Duration::from_millis(2);

/// A pipe's size as the kernel makes it.
const FULL_PIPE: usize = 64 * 1024;

/// What is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A pipe: its end is a read of nothing.
    Pipe,
    /// A terminal's master: its end is EIO.
    Terminal,
}

impl Kind {
    /// How much is read at a time.
    fn largest_read(self) -> usize {
        match self {
            Self::Pipe => pool::BUFFER_BYTES,
            Self::Terminal => terminal::LARGEST_READ,
        }
    }
}

/// One readable descriptor.
#[derive(Debug)]
pub struct Source {
    fd: AsyncFd<OwnedFd>,
    kind: Kind,
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

/// Where what is read goes.
pub trait Sink {
    /// Waits until there is room, before which nothing is read.
    fn make_room(&mut self) -> impl Future<Output = ()> + Send;

    /// Calls `read`, once and without waiting, with a vector to append to and how much to append at most, which is `wanted`
    /// or less. Takes what it has appended.
    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize>;

    /// Waits until all that was taken is done with.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}

impl Source {
    /// Takes a descriptor over, and makes it non-blocking. Must be called within the runtime.
    pub fn new(fd: OwnedFd, kind: Kind) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd())?;
        let fd = sys::watch(fd, Interest::READABLE)?;
        Ok(Self {
            fd,
            kind,
            grown: false,
        })
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }

    /// Reads into `sink`, as fast as that makes room. Returns at end-of-file; or, once `exited` says so, when all that had
    /// been written by then is taken.
    pub async fn pump(&mut self, exited: &mut watch::Receiver<bool>, sink: &mut impl Sink) -> End {
        while !*exited.borrow() {
            let mut ready = tokio::select! {
                biased;
                ready = self.fd.readable() => match ready {
                    Ok(ready) => ready,
                    Err(_) => break,
                },
                // An error says that nobody waits for the exit any more, which ends the watch as well.
                told = async { exited.wait_for(|exited| *exited).await.is_ok() } => {
                    if told {
                        continue;
                    }
                    break;
                }
            };
            sink.make_room().await;
            let (fd, kind, wanted) = (self.fd.get_ref().as_fd(), self.kind, self.kind.largest_read());
            let mut drained = false;
            let mut waits = false;
            let read = |data: &mut Vec<u8>, room: usize| {
                let piece = read_some(fd, kind, data, room)?;
                drained = piece.drained;
                Ok(piece.length)
            };
            match sink.take(wanted, read) {
                Ok(0) => {
                    sink.finish().await;
                    return End::Closed;
                }
                Ok(length) => {
                    if drained {
                        ready.clear_ready();
                        waits = !ready.ready().is_read_closed();
                    }
                    drop(ready);
                    self.grow(length);
                }
                // Closed once, which the runtime never forgets, and opened again by a process that found a way to: waiting
                // again would spin.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && !ready.ready().is_read_closed() =>
                {
                    ready.clear_ready();
                }
                Err(_) => {
                    sink.finish().await;
                    return End::Closed;
                }
            }
            if !waits {
                // A writer that keeps up with us must not have the I/O thread to itself.
                tokio::task::yield_now().await;
            }
        }
        read_rest(self.fd(), self.kind, sink).await
    }

    /// The next chunk, or nothing at end-of-file. Can be cancelled without loss.
    pub async fn read(&mut self) -> Option<Bytes> {
        loop {
            // As above, and before reading: what was read must not wait where it can be cancelled.
            tokio::task::yield_now().await;
            let mut ready = self.fd.readable().await.ok()?;
            let mut drained = false;
            let read = pool::filled(|buffer| {
                let piece = read_some(self.fd.get_ref().as_fd(), self.kind, buffer, LARGEST_CHUNK)?;
                drained = piece.drained;
                Ok(piece.length)
            });
            match read {
                Ok(data) => {
                    if drained {
                        ready.clear_ready();
                    }
                    return (!data.is_empty()).then_some(data);
                }
                // As above.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && !ready.ready().is_read_closed() =>
                {
                    ready.clear_ready();
                }
                Err(_) => return None,
            }
        }
    }

    /// Grows a pipe that was full.
    fn grow(&mut self, length: usize) {
        if self.kind == Kind::Pipe && !self.grown && length >= FULL_PIPE {
            self.grown = true;
            if let Err(error) = sys::set_pipe_size(self.fd(), GROWN_PIPE) {
                tracing::debug!(%error, fd = self.fd().as_raw_fd(), "a full pipe was not grown");
            }
        }
    }
}

/// Reads into `sink` what was written to a non-blocking descriptor whose process has exited, if it has not been read.
pub async fn read_rest(fd: BorrowedFd<'_>, kind: Kind, sink: &mut impl Sink) -> End {
    let mut left = match kind {
        Kind::Pipe => sys::available(fd).unwrap_or(0),
        // The kernel moves what was written to the reader's side lazily; a read that finds nothing has made it do so.
        Kind::Terminal => terminal::BACKLOG,
    };
    let end = loop {
        sink.make_room().await;
        let read = |data: &mut Vec<u8>, room: usize| Ok(read_some(fd, kind, data, room)?.length);
        match sink.take(kind.largest_read(), read) {
            // The last read is for the end-of-file behind it; what it brings instead was written since.
            Ok(length) if length > 0 => match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break End::StillOpen,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break End::StillOpen,
            Ok(_) | Err(_) => break End::Closed,
        }
    };
    sink.finish().await;
    end
}

/// Hands on what is read in chunks of at most [`LARGEST_CHUNK`]; while the receiver holds as many as it may, there is no room.
pub struct Chunks<T, F> {
    take: T,
    window: Window<F>,
}

impl<T: FnMut(Bytes) -> F, F: Future<Output = ()>> Chunks<T, F> {
    /// Each chunk of a `kind` of stream goes to `take`, and is done with when the future is.
    pub fn new(kind: Kind, take: T) -> Self {
        let widest = match kind {
            Kind::Pipe => WIDEST,
            Kind::Terminal => WIDEST_OF_TERMINAL,
        };
        Self {
            take,
            window: Window {
                held: VecDeque::new(),
                width: NARROWEST,
                widest,
            },
        }
    }
}

impl<T: FnMut(Bytes) -> F + Send, F: Future<Output = ()> + Send> Sink for Chunks<T, F> {
    async fn make_room(&mut self) {
        self.window.make_room().await;
    }

    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = wanted.min(self.window.room() * LARGEST_CHUNK);
        let mut data = pool::filled(|buffer| read(buffer, room))?;
        let length = data.len();
        if length >= FULL_PIPE {
            placement::keep_apart();
        }
        while !data.is_empty() {
            let chunk = data.split_to(data.len().min(LARGEST_CHUNK));
            self.window.push((self.take)(chunk));
        }
        Ok(length)
    }

    async fn finish(&mut self) {
        self.window.drain().await;
    }
}

/// The chunks of a stream that the receiver is not done with, in order.
struct Window<F> {
    held: VecDeque<F>,
    width: usize,
    widest: usize,
}

impl<F: Future<Output = ()>> Window<F> {
    fn push(&mut self, taking: F) {
        self.held.push_back(taking);
    }

    /// How many more it may hold.
    fn room(&self) -> usize {
        self.width.saturating_sub(self.held.len())
    }

    /// Waits, if it is full, until about half of it is done with.
    async fn make_room(&mut self) {
        while self.room() == 0 {
            let began = Instant::now();
            // Receivers are done with chunks in their order, so the last of these comes when all of them have.
            let last = self.held.drain(..self.width / 2).next_back();
            if let Some(last) = last {
                last.await;
            }
            self.width = if began.elapsed() < QUICK {
                (self.width * 2).min(self.widest)
            } else {
                (self.width / 2).max(NARROWEST)
            };
        }
    }

    /// Waits until all of it is done with.
    async fn drain(&mut self) {
        if let Some(last) = self.held.drain(..).next_back() {
            last.await;
        }
    }
}

/// What one look at a descriptor brought; no bytes say end-of-file.
pub struct Piece {
    pub length: usize,
    /// Whether there was no more: what comes next will be a new edge to `epoll(7)`.
    pub drained: bool,
}

/// Appends up to `room` bytes to `data`.
fn read_some(fd: BorrowedFd<'_>, kind: Kind, data: &mut Vec<u8>, room: usize) -> io::Result<Piece> {
    if kind == Kind::Terminal {
        return terminal::gather(fd, data, room);
    }
    loop {
        match sys::read(fd, data, room) {
            // It gives all it has at once.
            Ok(length) => {
                let drained = length < room;
                if length >= FULL_PIPE {
                    terminal::much_from(fd.as_raw_fd());
                }
                return Ok(Piece { length, drained });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HELD: usize = 1024 * 1024;

    /// Turns that another task had until `reading`, of a pipe that holds a MiB and whose writer may have gone, was done.
    fn turns_of_another<F: Future<Output = ()>>(gone: bool, reading: impl FnOnce(Source) -> F) -> usize {
        let (read, write) = nix::unistd::pipe().unwrap();
        sys::set_pipe_size(read.as_fd(), HELD).unwrap();
        let mut write = File::from(write);
        write.write_all(&vec![b'x'; HELD]).unwrap();
        let _writer = (!gone).then_some(write);
        let turns = Arc::new(AtomicUsize::new(0));
        let other = Arc::clone(&turns);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::spawn(async move {
                loop {
                    other.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
            reading(Source::new(read, Kind::Pipe).unwrap()).await;
        });
        turns.load(Ordering::Relaxed)
    }

    #[test]
    fn a_pipe_that_is_always_full_leaves_the_thread_to_others_between_reads() {
        for gone in [false, true] {
            let turns = turns_of_another(gone, |mut source| async move {
                let mut left = HELD;
                while left > 0 {
                    left -= source.read().await.unwrap().len();
                }
            });
            assert!(turns >= HELD / LARGEST_CHUNK, "{turns}");
        }
        let turns = turns_of_another(true, |mut source| async move {
            let (_running, mut exited) = watch::channel(false);
            let mut chunks = Chunks::new(Kind::Pipe, async |_: Bytes| ());
            assert_eq!(source.pump(&mut exited, &mut chunks).await, End::Closed);
        });
        assert!(turns >= HELD / pool::BUFFER_BYTES, "{turns}");
    }
}
