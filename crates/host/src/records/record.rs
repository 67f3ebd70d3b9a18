//! What is remembered of anything whose output is emitted as events.

use std::sync::Arc;

use agent_vm_protocol::message::Call;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::Error;
use crate::events::{ExitStatus, Reason};
use crate::input::Input;
use crate::output_log::{OutputLog, Replay, Stream};

/// What is known of a program when init has started it.
#[derive(Debug)]
pub struct NewRecord {
    /// The number of its start, and of its family.
    pub call: Call,
    /// Its pid in the VM.
    pub pid: u32,
    /// As the caller gave it: a path, or a name on the PATH.
    pub program: String,
    /// As the caller gave them.
    pub arguments: Vec<String>,
    /// Bytes of its output to keep.
    pub replay_bytes: usize,
}

impl NewRecord {
    /// The record, now that its standard input is open.
    pub fn with_input(self, input: Arc<Input>) -> Record {
        Record {
            call: self.call,
            pid: self.pid,
            program: self.program,
            arguments: self.arguments,
            input,
            log: Arc::new(Mutex::new(OutputLog::new(self.replay_bytes))),
            status: watch::Sender::new(None),
        }
    }
}

/// What is remembered of a process or a shell.
#[derive(Debug)]
pub struct Record {
    /// The number of its start, and of its family.
    pub call: Call,
    /// Its pid in the VM.
    pub pid: u32,
    /// As the caller gave it: a path, or a name on the PATH.
    pub program: String,
    /// As the caller gave them.
    pub arguments: Vec<String>,
    /// Its standard input, or the terminal's master for writing.
    pub input: Arc<Input>,
    /// What it wrote.
    pub log: Arc<Mutex<OutputLog>>,
    status: watch::Sender<Option<ExitStatus>>,
}

/// Kept output of a process or a shell.
#[derive(Debug)]
pub struct OutputReplay {
    /// The output.
    pub output: Replay,
    /// How it ended; nothing while it runs. If there is a status, `output` ends with all that the program wrote itself.
    pub exited: Option<ExitStatus>,
}

impl Record {
    /// How it ended, once the event of that is emitted.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Notes how it ended. The event of that is emitted already.
    pub fn set_status(&self, status: ExitStatus) {
        self.status.send_replace(Some(status));
    }

    /// Waits until it has ended and the event of that is emitted.
    ///
    /// # Errors
    /// [`Error::Disposed`] if it ended because the VM did, as every other pending call of that VM.
    pub async fn ended(&self) -> Result<ExitStatus, Error> {
        let mut status = self.status.subscribe();
        let ended = *status
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::Disposed)?;
        ended
            .filter(|status| status.reason != Reason::Disposed)
            .ok_or(Error::Disposed)
    }

    /// Keeps a chunk of its output, and returns the position of the first byte.
    pub fn append(&self, stream: Stream, data: &Bytes) -> u64 {
        self.log.lock().append(stream, data)
    }

    /// What is kept of its output from position `after` on.
    pub fn replay(&self, after: u64) -> OutputReplay {
        // The status first: the log is complete when there is one.
        let exited = self.status();
        OutputReplay {
            output: self.log.lock().read(after),
            exited,
        }
    }
}
