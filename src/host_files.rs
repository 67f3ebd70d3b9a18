//! What the server does before its first VM.

use agent_vm_host::boot;
use napi_derive::napi;

/// Looks at the host's files that VMs show, on a thread of its own.
#[napi]
#[cfg_attr(
    test,
    allow(dead_code, reason = "exported to JavaScript, but not by a test's binary")
)]
pub fn look_ahead() {
    boot::look_ahead();
}
