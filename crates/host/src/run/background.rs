//! Processes that a command left running.

use std::sync::Arc;

use agent_vm_protocol::message::KnownProcess;

use crate::error::Error;
use crate::process_table::{ProcessInfo, ProcessLook, Status};

/// A process that outlived the command that started it.
#[derive(Debug)]
pub struct BackgroundProcess {
    /// Its pid in the VM.
    pub pid: u32,
    /// Its program, as in the process table.
    pub command: String,
    /// Its arguments, as in the process table, of a command line of at most 4 KiB.
    pub args: Vec<String>,
}

impl BackgroundProcess {
    /// Converts an entry of the process table.
    pub(super) fn of(process: &ProcessInfo) -> Self {
        Self {
            pid: process.pid,
            command: process.command.clone(),
            args: process.args.clone(),
        }
    }
}

/// Those of the processes that have not ended meanwhile, as in the process table.
pub(super) async fn left_running(
    look: &Arc<ProcessLook>,
    left: &[KnownProcess],
) -> Result<Vec<BackgroundProcess>, Error> {
    let found = look.these(left.to_vec()).await?;
    let running = found.iter().filter(|process| process.status != Status::Exited);
    Ok(running.map(BackgroundProcess::of).collect())
}
