//! What a context has of its VM.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use agent_vm_protocol::message::ProgramUser;

use crate::control::Control;
use crate::guest_threads::GuestThreads;
use crate::leftover::Leftovers;
use crate::process_table::ProcessLook;

/// What a shell needs of its VM.
pub struct VmSide {
    /// Threads for work that may have to wait for the VM's programs.
    pub guest_threads: GuestThreads,
    /// Reads the VM's processes.
    pub process_look: Arc<ProcessLook>,
    /// The conversation with init.
    pub control: Arc<Control>,
    /// Streams of what has ended.
    pub leftovers: Arc<Leftovers>,
    /// The VM's `/proc`.
    pub proc_fd: Arc<OwnedFd>,
    /// Where a program starts that is given no working directory.
    pub home: String,
    /// The user that its programs run as.
    pub user: ProgramUser,
}
