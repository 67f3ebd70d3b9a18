//! Prepares what the first VM needs of the host.

use agent_vm_host::boot;
use napi_derive::napi;

/// Checks the host's files that VMs show, on a separate thread.
#[napi]
#[cfg_attr(
    test,
    allow(dead_code, reason = "exported to JavaScript, but not by a test's binary")
)]
pub fn look_ahead() {
    boot::look_ahead();
}
