//! Reads one descriptor from the first byte to the last.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::chunks::LARGEST_CHUNK;
use super::kind::StreamKind;
use super::read::{FULL_PIPE, read_some};
use super::rest::{StreamEnd, read_rest};
use super::sink::Sink;
use crate::{pool, sys};

/// The size to which a pipe that is always full is grown: the size of one read. Writer and reader then take turns, each
/// using memory that the other has just left in the cache. An unprivileged user may have 512 such pipes
/// (`pipe-user-pages-soft`, `pipe(7)`); beyond that the kernel refuses, and the pipe keeps its size.
const GROWN_PIPE: usize = pool::BUFFER_BYTES;

/// A readable descriptor.
#[derive(Debug)]
pub struct Source {
    fd: AsyncFd<OwnedFd>,
    kind: StreamKind,
    grown: bool,
}

impl Source {
    /// Takes over a descriptor and makes it non-blocking. Must be called within the runtime.
    pub fn new(fd: OwnedFd, kind: StreamKind) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd())?;
        let fd = sys::watch(fd, Interest::READABLE)?;
        Ok(Self {
            fd,
            kind,
            grown: false,
        })
    }

    /// The kind of its descriptor.
    pub fn kind(&self) -> StreamKind {
        self.kind
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }

    /// Reads into `sink` as fast as the sink makes room. Returns at end-of-file or, after `exited` has become true,
    /// when everything written until then was taken.
    pub async fn pump(&mut self, exited: &mut watch::Receiver<bool>, sink: &mut impl Sink) -> StreamEnd {
        while !*exited.borrow() {
            let mut ready = tokio::select! {
                biased;
                ready = self.fd.readable() => match ready {
                    Ok(ready) => ready,
                    Err(_) => break,
                },
                // An error means that nothing waits for the exit any more, which also ends the watch.
                has_exited = async { exited.wait_for(|exited| *exited).await.is_ok() } => {
                    if has_exited {
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
                    return StreamEnd::Closed;
                }
                Ok(length) => {
                    if drained {
                        ready.clear_ready();
                        waits = !ready.ready().is_read_closed();
                    }
                    drop(ready);
                    self.grow(length);
                }
                // The terminal was closed, which the runtime never forgets, and a process has found a way to open it
                // again: waiting again would spin.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && !ready.ready().is_read_closed() =>
                {
                    ready.clear_ready();
                }
                Err(_) => {
                    sink.finish().await;
                    return StreamEnd::Closed;
                }
            }
            if !waits {
                // A writer as fast as this reader must not keep the I/O thread from other work.
                tokio::task::yield_now().await;
            }
        }
        read_rest(self.fd(), self.kind, sink).await
    }

    /// The next chunk, or `None` at end-of-file. Cancelling it loses no data.
    pub async fn read(&mut self) -> Option<Bytes> {
        loop {
            // Yields for the same reason as above. It yields before reading, because a cancelled wait after the read
            // would lose data.
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
                // As above: waiting again would spin.
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
        if self.kind == StreamKind::Pipe && !self.grown && length >= FULL_PIPE {
            self.grown = true;
            if let Err(error) = sys::set_pipe_size(self.fd(), GROWN_PIPE) {
                tracing::debug!(%error, fd = self.fd().as_raw_fd(), "a full pipe was not grown");
            }
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
    use crate::stream::Chunks;

    const HELD: usize = 1024 * 1024;

    /// Counts how often another task ran until `reading` ended. The pipe holds a MiB, and its writer may have gone.
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
            reading(Source::new(read, StreamKind::Pipe).unwrap()).await;
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
            let mut chunks = Chunks::new(StreamKind::Pipe, async |_: Bytes| ());
            assert_eq!(source.pump(&mut exited, &mut chunks).await, StreamEnd::Closed);
        });
        assert!(turns >= HELD / pool::BUFFER_BYTES, "{turns}");
    }
}
