//! The thread that all VMs of a process share for their input and output.
//!
//! One thread, one `epoll`: what it does between waits is a few system calls at a time. Whatever can take long (booting,
//! reading files and process tables) goes to blocking threads, which end when they have been idle for ten seconds.

use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

/// Blocking threads at a time; what comes on top of them waits its turn.
const BLOCKING_THREADS: usize = 8;

/// The shared runtime, started by the first call.
pub fn handle() -> io::Result<&'static Handle> {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    static STARTING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    if let Some(handle) = RUNTIME.get() {
        return Ok(handle);
    }
    let _one_at_a_time = STARTING.lock();
    if let Some(handle) = RUNTIME.get() {
        return Ok(handle);
    }
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("agent-vm-blocking")
        .build()?;
    let handle = runtime.handle().clone();
    // The thread lives as long as the process: a VM's last moments may come when no JavaScript runs any more.
    std::thread::Builder::new()
        .name("agent-vm-io".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(RUNTIME.get_or_init(|| handle))
}
