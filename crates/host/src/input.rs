//! Writes to a process's standard input or a shell's terminal: in order, completely, and without blocking anything
//! else.
//!
//! A write goes to the kernel at once, on the calling thread. Bytes that the kernel does not accept are queued, and a
//! task on the I/O thread writes them when there is room.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};

use crate::error::Error;
use crate::sys;

/// The maximum number of queued bytes for one process or shell. A write that would exceed it is refused, unless nothing
/// is queued: a single write may have any size, because its caller holds all of it in memory anyway.
pub const MAX_QUEUED: usize = 64 * 1024 * 1024;

/// The result of a write.
#[derive(Debug)]
pub enum Written {
    /// The kernel has accepted all of it.
    Whole,
    /// The rest is queued. Resolves when the kernel has accepted all of it; an error means that the reader has gone.
    Queued(oneshot::Receiver<()>),
    /// No process can read it any more.
    Closed,
}

/// The writing side of a pipe or terminal.
#[derive(Debug)]
pub struct Input {
    /// How many writes there were.
    writes: AtomicU64,
    state: Mutex<InputState>,
    closed: Notify,
}

#[derive(Debug)]
struct InputState {
    fd: Option<Arc<OwnedFd>>,
    queue: VecDeque<QueuedWrite>,
    queued_bytes: usize,
    /// Whether to close the descriptor after writing the queue.
    ends: bool,
}

#[derive(Debug)]
struct QueuedWrite {
    data: Vec<u8>,
    written: usize,
    done: oneshot::Sender<()>,
}

impl Input {
    /// Takes over a descriptor and makes it non-blocking.
    pub fn new(fd: impl Into<Arc<OwnedFd>>) -> io::Result<Arc<Self>> {
        let fd = fd.into();
        sys::set_nonblocking(fd.as_fd())?;
        Ok(Arc::new(Self::over(Some(fd))))
    }

    /// An input that is closed from the start.
    pub fn closed() -> Arc<Self> {
        Arc::new(Self::over(None))
    }

    fn over(fd: Option<Arc<OwnedFd>>) -> Self {
        let state = InputState {
            fd,
            queue: VecDeque::new(),
            queued_bytes: 0,
            ends: false,
        };
        Self {
            writes: AtomicU64::new(0),
            state: Mutex::new(state),
            closed: Notify::new(),
        }
    }

    /// How many writes there were so far.
    pub fn written(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Writes `data` after everything that was written before. `runtime` runs the task that writes the queue.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if more than [`MAX_QUEUED`] bytes would be queued after others; then none of `data` is
    /// written.
    pub fn write(self: &Arc<Self>, data: &[u8], runtime: &tokio::runtime::Handle) -> Result<Written, Error> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        let Some(fd) = state.fd.clone() else {
            return Ok(Written::Closed);
        };
        if state.ends {
            return Ok(Written::Closed);
        }
        if state.queued_bytes + data.len() > MAX_QUEUED && !state.queue.is_empty() {
            let held = state.queued_bytes;
            return Err(Error::LimitExceeded(format!(
                "{held} bytes wait to be read already, and at most {MAX_QUEUED} may; await earlier writes first"
            )));
        }
        let mut written = 0;
        if state.queue.is_empty() {
            // Only once: a reader as fast as this writer would keep the calling thread busy until the end.
            match sys::write(fd.as_fd(), data) {
                Ok(count) => written = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    state.fail();
                    return Ok(Written::Closed);
                }
            }
            if written == data.len() {
                return Ok(Written::Whole);
            }
        }
        let (done, receiver) = oneshot::channel();
        let is_first = state.queue.is_empty();
        state.queued_bytes += data.len() - written;
        state.queue.push_back(QueuedWrite {
            data: data[written..].to_vec(),
            written: 0,
            done,
        });
        drop(state);
        if is_first {
            let this = Arc::clone(self);
            runtime.spawn(async move { this.write_queued(fd).await });
        }
        Ok(Written::Queued(receiver))
    }

    async fn write_queued(&self, fd: Arc<OwnedFd>) {
        let number = fd.as_raw_fd();
        let Ok(fd) = sys::watch(fd, Interest::WRITABLE) else {
            tracing::warn!(number, "a queued write cannot be watched");
            return self.fail();
        };
        let closed = self.closed.notified();
        tokio::pin!(closed);
        // No notification is missed from here on; an earlier one has set the flag that is checked next.
        closed.as_mut().enable();
        if self.state.lock().fd.is_none() {
            return;
        }
        loop {
            let ready = tokio::select! {
                ready = fd.writable() => ready,
                () = &mut closed => return,
            };
            let Ok(mut ready) = ready else { return self.fail() };
            match self.write_some(&fd) {
                // A reader as fast as this writer must not keep the I/O thread from other work.
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => return,
                // The other side is closed, which the runtime never forgets: waiting again would spin. A terminal whose
                // buffer is full returns the same error, but is not marked as closed.
                Err(_) if ready.ready().is_write_closed() => return self.fail(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.fail(),
            }
        }
    }

    /// Writes from the head of the queue; returns whether anything is left.
    fn write_some(&self, fd: &AsyncFd<Arc<OwnedFd>>) -> io::Result<bool> {
        let mut state = self.state.lock();
        if state.fd.is_none() {
            return Ok(false);
        }
        if let Some(first) = state.queue.front_mut() {
            let count = sys::write(fd.get_ref().as_fd(), &first.data[first.written..])?;
            first.written += count;
            let finished = first.written == first.data.len();
            state.queued_bytes -= count;
            if finished && let Some(first) = state.queue.pop_front() {
                // The caller may have stopped waiting.
                let _unheard = first.done.send(());
            }
        }
        if state.queue.is_empty() {
            if state.ends {
                state.fail();
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Closes the descriptor after the queue was written.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.ends = true;
        if state.queue.is_empty() {
            state.fail();
        }
    }

    /// Closes the descriptor now and drops the queue, which no process can read.
    pub fn fail(&self) {
        self.state.lock().fail();
        self.closed.notify_waiters();
    }
}

impl InputState {
    fn fail(&mut self) {
        self.fd = None;
        self.queue.clear();
        self.queued_bytes = 0;
    }
}
