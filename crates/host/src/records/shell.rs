//! The record of a shell.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::record::Record;
use crate::error::Error;
use crate::screen::{Change, Drawing, ReservedCells, Size, SizeHistory, Turns};
use crate::shell_id::ShellId;
use crate::sys;

/// A shell.
#[derive(Debug)]
pub struct Shell {
    /// Its public name.
    pub id: ShellId,
    /// Its record.
    pub record: Record,
    terminal: Mutex<ShellTerminal>,
    closed: Notify,
    /// How often its terminal was resized.
    resizes: watch::Sender<u64>,
    /// Whether it was opened with a screen.
    keeps_screen: bool,
}

/// The sizes of a terminal, its master while the shell runs, and its screen if it has one.
#[derive(Debug)]
struct ShellTerminal {
    sizes: SizeHistory,
    master_fd: Option<Arc<OwnedFd>>,
    screen: Option<Arc<Drawing>>,
}

/// The state of a shell at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellInfo {
    /// Its public name.
    pub id: ShellId,
    /// Its pid in the VM.
    pub pid: u32,
    /// The program, as the caller gave it.
    pub program: String,
    /// The arguments, as the caller gave them.
    pub arguments: Vec<String>,
    /// The number of columns of its terminal.
    pub cols: u16,
    /// The number of rows of its terminal.
    pub rows: u16,
    /// Its exit code; `None` while it runs.
    pub exit_code: Option<i32>,
}

impl Shell {
    /// A shell with this terminal master, this terminal size and, if it was asked for, this screen.
    pub fn new(
        id: ShellId,
        record: Record,
        master_fd: Arc<OwnedFd>,
        (cols, rows): (u16, u16),
        screen: Option<Drawing>,
    ) -> Self {
        Self {
            id,
            record,
            keeps_screen: screen.is_some(),
            terminal: Mutex::new(ShellTerminal {
                sizes: SizeHistory::new(cols, rows),
                master_fd: Some(master_fd),
                screen: screen.map(Arc::new),
            }),
            closed: Notify::new(),
            resizes: watch::Sender::new(0),
        }
    }

    /// Passes output, whose first byte has position `seq`, to the screen, if there is one.
    pub fn draw(&self, data: &Bytes, seq: u64) {
        if let Some(screen) = &self.terminal.lock().screen {
            screen.output(data, seq);
        }
    }

    /// Its screen, if it has one.
    pub fn screen(&self) -> Option<Arc<Drawing>> {
        self.terminal.lock().screen.clone()
    }

    /// Drops its screen, which the kept output can build again.
    pub fn drop_screen(&self) {
        self.terminal.lock().drop_screen();
    }

    /// The size of its terminal.
    pub fn size(&self) -> (u16, u16) {
        self.terminal.lock().sizes.current()
    }

    /// Its screen, or one in the place of `cells` that is built from the kept output.
    pub fn screen_or_build(&self, turns: Turns, cells: ReservedCells) -> Result<Arc<Drawing>, Error> {
        let mut terminal = self.terminal.lock();
        if let Some(screen) = &terminal.screen {
            return Ok(Arc::clone(screen));
        }
        let (cols, rows) = terminal.sizes.current();
        let size = Size::of_screen(cols, rows)?;
        cells.change(size)?;
        let kept = self.record.log.lock().read(0);
        let start = kept.truncated;
        let (changes, complete) = terminal.sizes.since(start);
        let mut changes = changes.peekable();
        // A size that no screen can have is passed over.
        let first = changes
            .next()
            .and_then(|first| Size::of_screen(first.cols, first.rows).ok());
        let exact = start == 0 && complete && first.is_some();
        let screen = Arc::new(Drawing::new(first.unwrap_or(size), start, exact, turns, cells));
        let mut resize = |change: Change| match Size::of_screen(change.cols, change.rows) {
            Ok(size) => screen.resize(size),
            Err(_) => screen.not_exact(),
        };
        for chunk in kept.chunks {
            let (mut data, mut seq) = (chunk.data, chunk.seq);
            let end = seq + data.len() as u64;
            while let Some(change) = changes.next_if(|change| change.seq < end) {
                let before = data.split_to(change.seq.saturating_sub(seq) as usize);
                screen.output(&before, seq);
                seq += before.len() as u64;
                resize(change);
            }
            screen.output(&data, seq);
        }
        changes.for_each(&mut resize);
        terminal.screen = Some(Arc::clone(&screen));
        Ok(screen)
    }

    /// Sets the terminal's size; the kernel sends SIGWINCH to the foreground process group. Refuses a size that its screen
    /// cannot have, if it was opened with a screen.
    pub fn resize(&self, cols: u16, rows: u16) -> Result<(), Error> {
        let mut terminal = self.terminal.lock();
        let Some(master_fd) = terminal.master_fd.clone() else {
            return Err(self.not_found());
        };
        let size = Size::of_screen(cols, rows);
        if let Some(screen) = &terminal.screen
            && let Err(error) = size.clone().and_then(|size| screen.reserve(size))
        {
            if self.keeps_screen {
                return Err(error);
            }
            terminal.drop_screen();
        }
        sys::set_window_size(master_fd.as_fd(), cols, rows)
            .map_err(|error| Error::system(&error, "ioctl"))?;
        let kept = self.record.log.lock().kept();
        let change = Change {
            seq: kept.end,
            cols,
            rows,
        };
        terminal.sizes.add(change, kept.start);
        if let (Some(screen), Ok(size)) = (&terminal.screen, size) {
            screen.resize(size);
        }
        self.resizes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// How often its terminal was resized.
    pub fn resizes(&self) -> u64 {
        *self.resizes.borrow()
    }

    /// Waits until its terminal was resized again, since it was for the time `resizes`.
    pub async fn resized(&self, resizes: u64) {
        // An error would mean that `self` is gone.
        drop(self.resizes.subscribe().wait_for(|count| *count > resizes).await);
    }

    /// Closes the host's writing side of the terminal.
    pub fn release_terminal(&self) {
        self.record.input.fail();
        self.terminal.lock().master_fd = None;
    }

    /// Makes [`closed`](Self::closed) return.
    pub fn close(&self) {
        self.closed.notify_one();
    }

    /// Returns when the terminal must be closed, even if processes still hold its other side.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    /// The error of a call that needs a running shell.
    pub fn not_found(&self) -> Error {
        Error::ShellNotFound(self.id.to_string())
    }

    /// Its state now.
    pub fn info(&self) -> ShellInfo {
        let Record {
            pid,
            program,
            arguments,
            ..
        } = &self.record;
        let exit_code = self.record.status().map(|status| status.code);
        let (cols, rows) = self.size();
        ShellInfo {
            id: self.id,
            pid: *pid,
            program: program.clone(),
            arguments: arguments.clone(),
            cols,
            rows,
            exit_code,
        }
    }
}

impl ShellTerminal {
    fn drop_screen(&mut self) {
        if let Some(screen) = self.screen.take() {
            screen.close();
        }
    }
}
