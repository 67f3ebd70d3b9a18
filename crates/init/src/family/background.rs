//! The processes that a family left running, as its exit reports them.

use agent_vm_protocol::message::Background;

use crate::process_table::{Process, ProcessTable};

/// The maximum number of processes in an exit's list.
const BACKGROUND_BOUND: usize = 512;

/// The maximum number of bytes of all their command lines together, and of one, so that a reply fits into one packet.
const COMMAND_BYTES: usize = 24 * 1024;
const COMMAND_BOUND: usize = 4096;

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
