//! The record of a process or shell: everything whose output is emitted as events.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_vm_protocol::message::Call;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::flow::{Flow, NO_FLOW};
use crate::error::Error;
use crate::events::{ExitStatus, Reason};
use crate::input::Input;
use crate::output_log::{OutputLog, Replay, Stream};

/// The data of a program when init has started it.
#[derive(Debug)]
pub struct NewRecord {
    /// The number of the call that started it, and of its family.
    pub call: Call,
    /// Its pid in the VM.
    pub pid: u32,
    /// The program as the caller gave it: a path, or a name on the PATH.
    pub program: String,
    /// The arguments, as the caller gave them.
    pub arguments: Vec<String>,
    /// How many bytes of its output to keep.
    pub replay_bytes: usize,
}

impl NewRecord {
    /// The record, once its standard input is open.
    pub fn with_input(self, input: Arc<Input>) -> Record {
        self.with_pipes(input, BTreeMap::new())
    }

    /// The same, with the inputs among its other pipes, and `None` for the outputs.
    pub fn with_pipes(self, input: Arc<Input>, pipes: BTreeMap<u8, Option<Arc<Input>>>) -> Record {
        let descriptor = |input: Option<Arc<Input>>| match input {
            Some(input) => Descriptor::Input(input),
            None => Descriptor::Output {
                log: Arc::new(Mutex::new(OutputLog::new(self.replay_bytes))),
                flow: Flow::new(),
            },
        };
        let descriptors = pipes
            .into_iter()
            .map(|(number, input)| (number, descriptor(input)))
            .collect();
        Record {
            call: self.call,
            pid: self.pid,
            program: self.program,
            arguments: self.arguments,
            input,
            log: Arc::new(Mutex::new(OutputLog::new(self.replay_bytes))),
            stdout: Flow::new(),
            stderr: Flow::new(),
            descriptors,
            status: watch::Sender::new(None),
        }
    }
}

/// A pipe of a program beside its standard streams.
#[derive(Debug)]
pub enum Descriptor {
    /// The program reads from it.
    Input(Arc<Input>),
    /// The program writes to it.
    Output {
        /// What is kept of it.
        log: Arc<Mutex<OutputLog>>,
        /// Whether it is read, and has ended.
        flow: Flow,
    },
}

/// The record of a process or a shell.
#[derive(Debug)]
pub struct Record {
    /// The number of the call that started it, and of its family.
    pub call: Call,
    /// Its pid in the VM.
    pub pid: u32,
    /// The program as the caller gave it: a path, or a name on the PATH.
    pub program: String,
    /// The arguments, as the caller gave them.
    pub arguments: Vec<String>,
    /// Its standard input, or the writing side of its terminal's master.
    pub input: Arc<Input>,
    /// Its kept output.
    pub log: Arc<Mutex<OutputLog>>,
    stdout: Flow,
    stderr: Flow,
    descriptors: BTreeMap<u8, Descriptor>,
    status: watch::Sender<Option<ExitStatus>>,
}

/// Kept output of a process or a shell.
#[derive(Debug)]
pub struct OutputReplay {
    /// The kept output.
    pub output: Replay,
    /// How it ended; `None` while it runs. If it has ended, `output` is complete up to everything that the program
    /// wrote itself.
    pub exited: Option<ExitStatus>,
}

impl Record {
    /// How it ended; `None` until its exit event was emitted.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Sets how it ended, after its exit event was emitted.
    pub fn set_status(&self, status: ExitStatus) {
        self.status.send_replace(Some(status));
    }

    /// Waits until it has ended and its exit event was emitted.
    ///
    /// # Errors
    /// [`Error::Disposed`] if it ended because the VM ended, like every other pending call of the VM.
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

    /// The flow of one of its streams; a terminal's output is [`Stream::Stdout`].
    pub fn flow(&self, stream: Stream) -> &Flow {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
            Stream::Descriptor(number) => match self.descriptors.get(&number) {
                Some(Descriptor::Output { flow, .. }) => flow,
                _ => &NO_FLOW,
            },
        }
    }

    /// Keeps a chunk of its output, and returns the position of the chunk's first byte.
    pub fn append(&self, stream: Stream, data: &Bytes) -> u64 {
        self.log(stream).lock().append(stream, data)
    }

    /// What is kept of a stream: together with the other of the standard streams, and of each other pipe by itself.
    pub fn log(&self, stream: Stream) -> &Arc<Mutex<OutputLog>> {
        match stream {
            Stream::Stdout | Stream::Stderr => &self.log,
            Stream::Descriptor(number) => match self.descriptors.get(&number) {
                Some(Descriptor::Output { log, .. }) => log,
                _ => &self.log,
            },
        }
    }

    /// All that is kept.
    pub fn logs(&self) -> impl Iterator<Item = &Arc<Mutex<OutputLog>>> {
        let others = self
            .descriptors
            .values()
            .filter_map(|descriptor| match descriptor {
                Descriptor::Input(_) => None,
                Descriptor::Output { log, .. } => Some(log),
            });
        [&self.log].into_iter().chain(others)
    }

    /// A pipe beside the standard streams.
    pub fn descriptor(&self, number: u8) -> Option<&Descriptor> {
        self.descriptors.get(&number)
    }

    /// Closes all inputs: the program has ended.
    pub fn fail_inputs(&self) {
        self.input.fail();
        for descriptor in self.descriptors.values() {
            if let Descriptor::Input(input) = descriptor {
                input.fail();
            }
        }
    }

    /// The kept output from position `after` on.
    pub fn replay(&self, after: u64) -> OutputReplay {
        // The status is read first: if there is one, the log is complete.
        let exited = self.status();
        OutputReplay {
            output: self.log.lock().read(after),
            exited,
        }
    }
}
