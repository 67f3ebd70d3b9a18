//! The drawing of one shell's screen, in the order in which its terminal brought output and sizes.
//!
//! The I/O thread, which serves all VMs, only queues. What is queued is drawn on a thread of its own when there is much
//! of it or when somebody asks for the screen, a short while at a time: the screens of one VM take turns, and VMs do.
//! While too much waits, the terminal is not read, so that its program waits for the drawing and nothing is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::backlog::{Backlog, FULL, Step};
use super::emulator::Emulator;
use super::room::ReservedCells;
use super::size::Size;
use super::view::ScreenView;
use crate::error::Error;
use crate::runtime;

/// Drawing begins when this much waits, even if nobody asks.
const MUCH: usize = 16 * 1024;

/// How long one screen is drawn before another one's turn.
const TURN: Duration = Duration::from_millis(1);

/// How long a reader waits for what has arrived before it asked.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// The turns of a VM's screens: one at a time.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    /// Those of a new VM.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The screen of a shell.
pub struct Drawing {
    turns: Turns,
    cells: ReservedCells,
    queue: Mutex<Queue>,
    canvas: Mutex<Drawn>,
    /// The position after the last byte that has arrived.
    arrived: watch::Sender<u64>,
    /// How many steps' worth is drawn: bytes, and one for each resize.
    progress: watch::Sender<u64>,
}

impl std::fmt::Debug for Drawing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Drawing").finish_non_exhaustive()
    }
}

struct Queue {
    backlog: Backlog,
    /// The position after the last queued byte.
    end: u64,
    /// The progress when everything queued is drawn.
    steps: u64,
    exact: bool,
    is_scheduled: bool,
}

struct Drawn {
    emulator: Emulator,
    size: Size,
    /// What is left of the output that is being drawn.
    current: Bytes,
    seq: u64,
    exact: bool,
}

impl Drawing {
    /// An empty screen in the place of `cells`, for output from position `start` on. It is not `exact` if some was dropped
    /// before.
    pub fn new(size: Size, start: u64, exact: bool, turns: Turns, cells: ReservedCells) -> Self {
        Self {
            turns,
            cells,
            queue: Mutex::new(Queue {
                backlog: Backlog::default(),
                end: start,
                steps: 0,
                exact,
                is_scheduled: false,
            }),
            canvas: Mutex::new(Drawn {
                emulator: Emulator::new(size),
                size,
                current: Bytes::new(),
                seq: start,
                exact: true,
            }),
            arrived: watch::Sender::new(start),
            progress: watch::Sender::new(0),
        }
    }

    /// Queues output whose first byte has position `seq`. What is queued already is left out.
    pub fn output(self: &Arc<Self>, data: &Bytes, seq: u64) {
        let end = {
            let mut queue = self.queue.lock();
            let known = queue.end.saturating_sub(seq).min(data.len() as u64) as usize;
            let new = data.slice(known..);
            if seq > queue.end {
                queue.exact = false;
                queue.end = seq;
            }
            queue.end += new.len() as u64;
            queue.steps += new.len() as u64;
            queue.backlog.add_output(new);
            if queue.backlog.bytes() >= MUCH {
                self.schedule(&mut queue);
            }
            queue.end
        };
        self.arrived.send_replace(end);
    }

    /// Reserves what a screen of this size needs, before it is resized.
    pub fn reserve(&self, size: Size) -> Result<(), Error> {
        self.cells.change(size)
    }

    /// Queues a resize.
    pub fn resize(self: &Arc<Self>, size: Size) {
        let mut queue = self.queue.lock();
        if queue.backlog.add_resize(size) {
            queue.steps += 1;
        } else {
            queue.exact = false;
            self.schedule(&mut queue);
        }
    }

    /// Records that a resize is missing, or output before it.
    pub fn not_exact(&self) {
        self.queue.lock().exact = false;
    }

    /// Waits while too much waits to be drawn.
    pub async fn room(&self) {
        if self.queue.lock().backlog.bytes() <= FULL {
            return;
        }
        let mut progress = self.progress.subscribe();
        // An error would mean that `self` is gone.
        drop(
            progress
                .wait_for(|_| self.queue.lock().backlog.bytes() <= FULL)
                .await,
        );
    }

    /// Ends the waits for its output: its shell has dropped it.
    pub fn close(&self) {
        self.arrived.send_replace(u64::MAX);
    }

    /// Waits until a byte after position `after` has arrived, or it is closed.
    pub async fn arrival(&self, after: u64) {
        // As above.
        drop(self.arrived.subscribe().wait_for(|end| *end > after).await);
    }

    /// Waits until everything that has arrived is drawn.
    pub async fn drawn(self: &Arc<Self>) -> Result<(), Error> {
        let steps = {
            let mut queue = self.queue.lock();
            self.schedule(&mut queue);
            queue.steps
        };
        let mut progress = self.progress.subscribe();
        let drawn = progress.wait_for(|drawn| *drawn >= steps);
        match tokio::time::timeout(READ_DEADLINE, drawn).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::System {
                errno: libc::ETIMEDOUT,
                syscall: "readScreen".into(),
                path: None,
            }),
        }
    }

    /// Describes what shows, where drawing is done: a large screen takes a while. The description ends even if nobody waits
    /// for it any longer.
    pub async fn described<T: Send + 'static>(
        self: &Arc<Self>,
        describe: impl FnOnce(ScreenView) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let drawing = Arc::clone(self);
        let runtime = runtime::screens().map_err(|error| Error::system(&error, "epoll_create"))?;
        let describing = runtime.spawn(async move { describe(drawing.view()) });
        // The task is not aborted, and a panic in it is a bug of this file.
        describing.await.map_err(|_| Error::Disposed)
    }

    fn view(&self) -> ScreenView {
        let exact = self.queue.lock().exact;
        let drawn = self.canvas.lock();
        ScreenView {
            view: drawn.emulator.view(),
            exact: exact && drawn.exact,
            next_seq: drawn.seq,
        }
    }

    fn schedule(self: &Arc<Self>, queue: &mut Queue) {
        if queue.is_scheduled {
            return;
        }
        match runtime::screens() {
            Ok(runtime) => {
                queue.is_scheduled = true;
                drop(runtime.spawn(Arc::clone(self).draw()));
            }
            Err(error) => tracing::error!(%error, "no thread draws screens"),
        }
    }

    async fn draw(self: Arc<Self>) {
        loop {
            // The semaphore is never closed.
            let turn = self.turns.0.acquire().await;
            let is_done = self.draw_for_a_turn();
            drop(turn);
            if is_done {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Returns whether everything is drawn; then it is no longer scheduled.
    fn draw_for_a_turn(&self) -> bool {
        let began = Instant::now();
        let mut drawn = self.canvas.lock();
        let mut progress = *self.progress.borrow();
        let is_done = loop {
            if drawn.current.is_empty() {
                let mut queue = self.queue.lock();
                match queue.backlog.next() {
                    Some(Step::Output(data)) => drawn.current = data,
                    Some(Step::Resize(size)) => {
                        drop(queue);
                        drawn.resize(size);
                        progress += 1;
                    }
                    None => {
                        queue.is_scheduled = false;
                        break true;
                    }
                }
            } else {
                progress += drawn.feed() as u64;
            }
            if began.elapsed() >= TURN {
                break false;
            }
        };
        drop(drawn);
        self.progress.send_replace(progress);
        is_done
    }
}

impl Drawn {
    /// Draws a piece of the current output, and returns its length.
    fn feed(&mut self) -> usize {
        let emulator = &mut self.emulator;
        let piece = emulator.piece(&self.current);
        let length = piece.len();
        // A fault of the emulator must not end the server.
        let drawn = catch_unwind(AssertUnwindSafe(|| emulator.draw(piece)));
        self.current.advance(length);
        self.seq += length as u64;
        if drawn.is_err() {
            self.empty();
        }
        length
    }

    fn resize(&mut self, size: Size) {
        self.size = size;
        let emulator = &mut self.emulator;
        if catch_unwind(AssertUnwindSafe(|| emulator.resize(size))).is_err() {
            self.empty();
        }
    }

    /// After a fault: with an empty screen, which is not exact.
    fn empty(&mut self) {
        tracing::warn!("a screen was emptied after a fault of the emulator");
        self.emulator = Emulator::new(self.size);
        self.exact = false;
    }
}
