//! The processes that a family left running, as its exit reports them.

use agent_vm_protocol::message::Background;

use crate::process_table::{Process, ProcessTable};

/// The maximum number of processes in an exit's list.
const BACKGROUND_BOUND: usize = 512;

/// The maximum number of bytes of all their command lines together, and of one, so that a reply fits into one packet.
const COMMAND_BYTES: usize = 24 * 1024;
const COMMAND_BOUND: usize = 4096;

/// The processes that a family left running.
#[derive(Debug, Default)]
pub struct Left {
    /// Those that are known.
    pub processes: Vec<Process>,
    /// Those that may belong to the family too: they are in the middle of `execve`, where no mark can be read.
    pub hidden: Vec<Process>,
}

impl Left {
    /// The processes about which more will be known in a moment.
    pub fn unsettled(&self, table: &ProcessTable) -> impl Iterator<Item = &Process> {
        let is_unsettled = |process: &&Process| !is_settled(process, table);
        self.processes.iter().filter(is_unsettled).chain(&self.hidden)
    }
}

/// Whether a process is past the time between `fork` and the end of `execve`, in which it has its parent's name or
/// none.
fn is_settled(process: &Process, table: &ProcessTable) -> bool {
    !process.is_copy && !table.command_line(process.pid, 1).is_empty()
}

/// The report about processes that were left running.
pub fn background(left: &[Process], table: &ProcessTable) -> Vec<Background> {
    let left = &left[..left.len().min(BACKGROUND_BOUND)];
    let limit = (COMMAND_BYTES / left.len().max(1)).min(COMMAND_BOUND);
    left.iter()
        .map(|p| {
            let command_line = table.command_line(p.pid, limit);
            // A program that wrote over its arguments often put a title with spaces there.
            let first = command_line.split(|&byte| byte == 0).next().unwrap_or_default();
            let (is_named, is_title) = (!first.is_empty(), first.contains(&b' '));
            let name = if is_named { Vec::new() } else { table.name(p.pid) };
            let executable = if is_named && !is_title {
                None
            } else {
                table.executable(p.pid)
            };
            Background {
                pid: p.pid as u32,
                command_line,
                name,
                executable,
            }
        })
        .collect()
}
