//! The record of a shell.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::record::Record;
use crate::error::Error;
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
}

/// The size of a terminal, and its master while the shell runs.
#[derive(Debug)]
struct ShellTerminal {
    cols: u16,
    rows: u16,
    master_fd: Option<Arc<OwnedFd>>,
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
    /// A shell with this terminal master and this terminal size.
    pub fn new(id: ShellId, record: Record, master_fd: Arc<OwnedFd>, (cols, rows): (u16, u16)) -> Self {
        Self {
            id,
            record,
            terminal: Mutex::new(ShellTerminal {
                cols,
                rows,
                master_fd: Some(master_fd),
            }),
            closed: Notify::new(),
        }
    }

    /// Sets the terminal's size; the kernel sends SIGWINCH to the foreground process group.
    pub fn resize(&self, cols: u16, rows: u16) -> Result<(), Error> {
        let mut terminal = self.terminal.lock();
        let Some(master_fd) = &terminal.master_fd else {
            return Err(self.not_found());
        };
        sys::set_window_size(master_fd.as_fd(), cols, rows)
            .map_err(|error| Error::system(&error, "ioctl"))?;
        (terminal.cols, terminal.rows) = (cols, rows);
        Ok(())
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
        let terminal = self.terminal.lock();
        ShellInfo {
            id: self.id,
            pid: *pid,
            program: program.clone(),
            arguments: arguments.clone(),
            cols: terminal.cols,
            rows: terminal.rows,
            exit_code,
        }
    }
}
