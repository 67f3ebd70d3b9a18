//! How a VM ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::{sleep, timeout};

use crate::boot::Isolation;
use crate::events::Event;
use crate::process_table;
use crate::proxy::Proxy;
use crate::runtime;
use crate::shared::Shared;
use crate::sys;

/// How long init may take to end, before the host kills the VM's processes itself: where init waits for a lock that one of them
/// holds, not even SIGKILL ends the wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the host waits before it does so again: a process may have been starting another one.
const AGAIN: Duration = Duration::from_millis(250);

/// Begins the end of a VM for `dispose`.
pub(super) fn dispose(shared: &Shared) {
    shared.disposing.store(true, Ordering::Relaxed);
    shared.begin_end();
    kill(shared);
}

fn kill(shared: &Shared) {
    if shared.isolation != Isolation::Namespaces {
        // The processes that init started would survive a SIGKILL of init. Init ends them when its socket ends, and
        // then exits.
        shared.control.hang_up();
    } else if let Some(host_side) = &*shared.host_side.lock() {
        host_side.kill();
    }
}

/// Kills what runs in the VM, again and again. Never returns.
async fn kill_processes(shared: &Shared) {
    loop {
        let (proc_fd, init) = (Arc::clone(&shared.proc_fd), shared.init);
        let whole = shared.isolation == Isolation::Namespaces;
        if let Ok(runtime) = runtime::handle() {
            let killing = runtime.spawn_blocking(move || {
                if let Err(error) = process_table::kill_all(&proc_fd, init, whole) {
                    tracing::error!(%error, "what runs in a VM cannot be killed");
                }
            });
            drop(killing.await);
        }
        sleep(AGAIN).await;
    }
}

/// Follows the VM from its start to its end.
pub(super) async fn watch(shared: Arc<Shared>, pidfd: OwnedFd, proxy: Option<Proxy>) {
    shared.control.run().await;
    // Init's socket ends before its processes do, so a call that finds one of them ended can find out that the VM's end
    // is the cause.
    shared.begin_end();
    // Init closed its socket or broke the protocol. In a pid namespace everything ends with init; without one, init is
    // still ending what it started, or begins to when its socket ends.
    kill(&shared);
    match sys::watch(pidfd, Interest::READABLE) {
        Ok(pidfd) => {
            if timeout(PATIENCE, pidfd.readable()).await.is_err() {
                tokio::select! {
                    _ = pidfd.readable() => {}
                    () = kill_processes(&shared) => {}
                }
            }
        }
        Err(error) => tracing::error!(%error, "a VM's end cannot be watched"),
    }
    shared.control.close();
    shared.bounds.open_files.close_all();
    shared.bounds.watches.end_all();
    shared.bounds.archives.close_all();
    if let Some(proxy) = proxy {
        proxy.stop().await;
    }
    shared.until_nothing_runs().await;
    // Init has ended, so this does not block; removing cgroups may take a moment.
    let host_side = shared.host_side.lock().take();
    drop(tokio::task::spawn_blocking(move || drop(host_side)).await);
    let disposed = shared.disposing.load(Ordering::Relaxed);
    tracing::info!(disposed, "it ended");
    shared.events.emit(Event::Exit { disposed });
    shared.set_ended();
}
