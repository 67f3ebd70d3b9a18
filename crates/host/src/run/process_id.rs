//! How a call names a spawned process.

use agent_vm_protocol::message::Call;

/// A spawned process: the newest with a pid, or exactly the one that a call started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    /// The pid in the VM.
    pub pid: u32,
    /// The number of the call that started the process. A later process with the same pid has another number.
    pub start: Option<Call>,
}
