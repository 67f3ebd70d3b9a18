//! The calls that wait for what happens in a VM, such as a port that one of its processes listens on.
//!
//! The kernel has no event for these, so the host looks at intervals, while somebody waits and never else, on the VM's guest
//! threads.

mod idle;
mod pace;
mod ports;
