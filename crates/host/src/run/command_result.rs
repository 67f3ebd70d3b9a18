//! What becomes of a command, and who gets it.

use bytes::Bytes;

use super::background::BackgroundProcess;
use super::printed::Printed;
use crate::credit::Credit;
use crate::error::Error;
use crate::events::ExitStatus;
use crate::output_log::Stream;

/// Receives output as it arrives. The next chunk of that stream is read when the [`Credit`] is dropped.
pub type OnOutput = Box<dyn Fn(Stream, Bytes, Credit) + Send + Sync>;

/// How a command ended, and what it printed.
#[derive(Debug)]
pub struct ExecResult {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Printed,
    /// Its standard error.
    pub stderr: Printed,
    /// Whether it was killed by its timeout.
    pub timed_out: bool,
    /// The processes that it left running.
    pub background: Vec<BackgroundProcess>,
    /// Whether the context's shell was restarted; none for a command without a context.
    pub context_restarted: Option<bool>,
}

/// Receives the result of an exec. Called exactly once.
pub type OnResult = Box<dyn FnOnce(Result<ExecResult, Error>) + Send>;
