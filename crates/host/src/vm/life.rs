//! What a VM is while it lives, and how it ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::sync::{Semaphore, watch};

use crate::boot::{Enforcement, HostSide, Isolation};
use crate::control::Control;
use crate::events::{Event, Events, ShellId};
use crate::leftover::Leftovers;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::records::{Records, ReplayBudget};
use crate::shell::Shell;
use crate::sys;
use crate::traffic::Traffic;

/// What a VM's calls and tasks share.
pub(crate) struct Inner {
    pub control: Arc<Control>,
    pub home: String,
    pub events: Arc<dyn Events>,
    pub replay_bytes: usize,
    pub traffic: Arc<Traffic>,
    pub leftovers: Arc<Leftovers>,
    pub processes: Mutex<Records<u32, Process>>,
    pub shells: Mutex<Records<ShellId, Shell>>,
    pub replay: Mutex<ReplayBudget>,
    pub(super) isolation: Isolation,
    pub(super) enforcement: Enforcement,
    pub(super) proc_fd: Arc<OwnedFd>,
    pub(super) guest_id: Option<u32>,
    pub(super) listings: Semaphore,
    pub(super) reads: Semaphore,
    pub(super) waiting_reads: Semaphore,
    pub(super) host: Mutex<Option<HostSide>>,
    pub(super) init: i32,
    pub(super) disposing: AtomicBool,
    /// Whether the end has begun, of whatever kind.
    pub ending: AtomicBool,
    pub(super) next_shell: AtomicU64,
    /// How many tasks still have an exit to tell of.
    pub(super) running: watch::Sender<usize>,
    pub(super) gone: watch::Sender<bool>,
    /// Places for connections that are being made.
    pub connecting: Semaphore,
}

/// Held by the task of a running process or shell until its exit is told.
pub(crate) struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|count| *count -= 1);
    }
}

impl Inner {
    pub fn running(self: &Arc<Self>) -> Running {
        self.running.send_modify(|count| *count += 1);
        Running(Arc::clone(self))
    }

    pub fn next_shell(&self) -> ShellId {
        self.next_shell.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the VM's end is told. What tells events on the I/O thread, where that is told too, tells none after it.
    pub fn has_ended(&self) -> bool {
        *self.gone.borrow()
    }

    /// Waits until the VM has ended and its exit is told.
    pub async fn until_gone(&self) {
        // An error would say that the VM is gone.
        drop(self.gone.subscribe().wait_for(|gone| *gone).await);
    }

    pub(super) fn kill(&self) {
        self.disposing.store(true, Ordering::Relaxed);
        self.ending.store(true, Ordering::Relaxed);
        if self.isolation != Isolation::Namespaces {
            // What init started would outlive a SIGKILL of it: init ends it, and then itself.
            self.control.hang_up();
        } else if let Some(host) = &*self.host.lock() {
            host.kill();
        }
    }

    /// Follows the VM from here to its end.
    pub(super) async fn watch(self: Arc<Self>, pidfd: OwnedFd, proxy: Option<Proxy>) {
        self.control.run().await;
        // Init's socket ends before its processes do, so that whoever meets their end can tell that the VM's is the cause.
        self.ending.store(true, Ordering::Relaxed);
        // Init closed its socket or broke the protocol. In its own pid namespace all ends with it; without one it is
        // still ending what it started, or begins to when it sees the end of its socket.
        if self.isolation == Isolation::Namespaces {
            if let Some(host) = &*self.host.lock() {
                host.kill();
            }
        } else {
            self.control.hang_up();
        }
        match sys::watch(pidfd, Interest::READABLE) {
            Ok(pidfd) => drop(pidfd.readable().await),
            Err(error) => tracing::error!(%error, "a VM's end cannot be watched"),
        }
        self.control.close();
        if let Some(proxy) = proxy {
            proxy.stop().await;
        }
        let mut running = self.running.subscribe();
        // An error would say that `self` is gone.
        drop(running.wait_for(|count| *count == 0).await);
        // Init has ended, so this does not wait; removing cgroups may take a moment.
        let host = self.host.lock().take();
        drop(tokio::task::spawn_blocking(move || drop(host)).await);
        let disposed = self.disposing.load(Ordering::Relaxed);
        tracing::info!(disposed, "it ended");
        self.events.emit(Event::Exit { disposed });
        self.gone.send_replace(true);
    }
}
