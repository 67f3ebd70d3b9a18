//! The thread that all VMs of a process share for their input and output.
//!
//! One thread, one `epoll`: what it does between waits is a few system calls at a time. Whatever can take long (booting,
//! reading files and process tables) goes to blocking threads, which end when they have been idle for ten seconds.

use std::io;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};

/// Blocking threads at a time; what comes on top of them waits its turn.
const BLOCKING_THREADS: usize = 8;

/// Names that are looked up at a time, of all VMs together: the sum of the shares in `proxy/lookups.rs`.
const LOOKUP_THREADS: usize = 64;

/// The shared runtime, started by the first call.
pub fn handle() -> io::Result<&'static Handle> {
    static SHARED: RuntimeThread = RuntimeThread::new("agent-vm-io", "agent-vm-blocking", BLOCKING_THREADS);
    SHARED.handle()
}

/// The runtime of the VMs' proxies, started by the first call: what they copy is as much as their guests like.
pub(crate) fn proxy() -> io::Result<&'static Handle> {
    static PROXY: RuntimeThread = RuntimeThread::new("agent-vm-proxy", "agent-vm-lookup", LOOKUP_THREADS);
    PROXY.handle()
}

/// One thread and its blocking threads.
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
        // The thread lives as long as the process: a VM's last moments may come when no JavaScript runs any more.
        std::thread::Builder::new()
            .name(self.name.into())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(self.started.get_or_init(|| handle))
    }
}
