//! The processes that a family left running, as its exit reports them.

use agent_vm_protocol::message::KnownProcess;

use crate::process_table::Process;

/// The maximum number of processes in an exit's list.
const BACKGROUND_BOUND: usize = 512;

/// The report about processes that were left running. The host reads their names: that may have to wait for them.
pub fn background(left: &[Process]) -> Vec<KnownProcess> {
    let reported = left.iter().take(BACKGROUND_BOUND);
    reported
        .map(|process| KnownProcess {
            pid: process.pid as u32,
            start: process.start,
        })
        .collect()
}
