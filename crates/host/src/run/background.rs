//! Processes that a command left running.

use agent_vm_protocol::message::Background;

use crate::process_table::{CommandLine, parse_command_line};

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
    /// Converts the form that init reports.
    pub(super) fn of(left: &Background) -> Self {
        let executable = left.executable.as_deref().map(String::from_utf8_lossy);
        let name = String::from_utf8_lossy(&left.name);
        let CommandLine { name, arguments } =
            parse_command_line(&left.command_line, &name, executable.as_deref());
        Self {
            pid: left.pid,
            command: name,
            args: arguments,
        }
    }
}
