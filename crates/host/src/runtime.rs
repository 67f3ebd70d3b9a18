//! The thread that all VMs of a process share for input and output.
//!
//! It uses one `epoll`, and does only a few system calls between two waits. Work that can take long runs on blocking
//! threads, which end after ten idle seconds: a few for booting, and others for work that may have to wait for a VM's
//! programs (reading files and process tables).

use std::io;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};

/// The maximum number of blocking threads; more work waits.
const BLOCKING_THREADS: usize = 8;

/// The maximum number of threads that may have to wait for programs. Each VM has only a few, see `bounds.rs`.
const GUEST_THREADS: usize = 256;

/// The maximum number of simultaneous look-ups of all VMs: the sum of the shares in `proxy/lookups.rs`.
const LOOKUP_THREADS: usize = 64;

/// The shared runtime, started by the first call.
pub fn handle() -> io::Result<&'static Handle> {
    static SHARED: RuntimeThread = RuntimeThread::new("agent-vm-io", "agent-vm-blocking", BLOCKING_THREADS);
    SHARED.handle()
}

/// The runtime for blocking work that may have to wait for a program, started by the first call. It is separate because a
/// VM whose programs hold locks must not take the threads that other VMs need for booting.
pub(crate) fn guest() -> io::Result<&'static Handle> {
    static GUEST: RuntimeThread = RuntimeThread::new("agent-vm-guest", "agent-vm-file", GUEST_THREADS);
    GUEST.handle()
}

/// The runtime of the VMs' proxies, started by the first call. It is separate because guests decide how much the
/// proxies copy.
pub(crate) fn proxy() -> io::Result<&'static Handle> {
    static PROXY: RuntimeThread = RuntimeThread::new("agent-vm-proxy", "agent-vm-lookup", LOOKUP_THREADS);
    PROXY.handle()
}

/// The runtime whose thread draws the screens of all VMs, started by the first call. Programs decide how much there is to
/// draw; so screens use one processor at most.
pub(crate) fn screens() -> io::Result<&'static Handle> {
    static SCREENS: RuntimeThread = RuntimeThread::new("agent-vm-screen", "agent-vm-screens", 1);
    SCREENS.handle()
}

/// A thread and its blocking threads.
struct RuntimeThread {
    name: &'static str,
    blocking_name: &'static str,
    blocking_threads: usize,
    started: OnceLock<Handle>,
    starting: Mutex<()>,
}

impl RuntimeThread {
    const fn new(name: &'static str, blocking_name: &'static str, blocking_threads: usize) -> Self {
        Self {
            name,
            blocking_name,
            blocking_threads,
            started: OnceLock::new(),
            starting: Mutex::new(()),
        }
    }

    fn handle(&'static self) -> io::Result<&'static Handle> {
        if let Some(handle) = self.started.get() {
            return Ok(handle);
        }
        let _one_at_a_time = self.starting.lock();
        if let Some(handle) = self.started.get() {
            return Ok(handle);
        }
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(self.blocking_threads)
            .thread_name(self.blocking_name)
            .build()?;
        let handle = runtime.handle().clone();
        // The thread lives as long as the process, because a VM may still have to end when no JavaScript runs any more.
        std::thread::Builder::new()
            .name(self.name.into())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(self.started.get_or_init(|| handle))
    }
}
