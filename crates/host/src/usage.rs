//! What a VM has used, now and since it booted.
//!
//! Processor time is counted in two ways. Init adds up the programs that it reaps, and the living ones are in `/proc`: that
//! works everywhere, but the kernel adds a process to no other one if its parent ignores SIGCHLD. Where the VM has a directory of
//! cgroup v2, the kernel also counts what ran in it, whatever became of it; without init's own part this is as much or more.
//! Both are lower bounds at any moment, so the larger one counts, and it never decreases.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_vm_protocol::message::{Disk, Measures, Reply, Request};

use crate::boot::{CgroupReading, CpuReading, MemoryReading};
use crate::error::Error;
use crate::meter::raise;
use crate::process_table::{Totals, exact_time_us, totals};
use crate::proxy::TrafficReading;
use crate::runtime;
use crate::shared::Shared;
use crate::vm::{IoStats, Vm};

/// What a VM uses and has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// The processes now.
    pub processes: u64,
    /// The most that a reading has found, or the most programs of calls that ran at once.
    pub peak_processes: u64,
    /// The processor time of all programs since the boot, in milliseconds.
    pub cpu_ms: u64,
    /// The resident memory of the processes, in bytes.
    pub memory_bytes: u64,
    /// The most that a reading has found, or the most that one ended process had.
    pub peak_memory_bytes: u64,
    /// The bytes exchanged by standard streams and terminals.
    pub io: IoStats,
    /// Memory against its limit, if a cgroup enforces one.
    pub memory: Option<MemoryReading>,
    /// Processor time against its limit, if a cgroup enforces one.
    pub cpu: Option<CpuReading>,
    /// The room for private files, if the VM has a file system of its own.
    pub disk: Option<Disk>,
    /// The bytes exchanged through the proxy, if the VM has a network of its own.
    pub network: Option<TrafficReading>,
}

impl Vm {
    /// Reads what the VM uses and has used.
    pub async fn usage(&self) -> Result<Usage, Error> {
        let shared = self.shared();
        let _reading = shared.meter.reading.lock().await;
        // Before init is asked: time that moves from one sum to another meanwhile must be missing, never counted twice.
        let (cgroups, helpers_us) = on_thread(shared, |shared| {
            (
                shared.meter.cgroups.read(),
                exact_time_us(&shared.proc_fd, &shared.control.helpers()),
            )
        })
        .await?;
        let asked = self.ask(|call| Request::Measure { call }, Vec::new()).await;
        let (Reply::Measured { measures, .. }, _) = self.or_ended(asked)? else {
            return Err(Error::Disposed);
        };
        let living = on_thread(shared, |shared| {
            let whole = shared.isolation == crate::boot::Isolation::Namespaces;
            totals(&shared.proc_fd, shared.init, &shared.control.helpers(), whole)
        });
        let living = living.await?.map_err(|error| Error::system(&error, "openat"))?;
        let living = living.ok_or(Error::Disposed)?;
        Ok(self.combined(&cgroups, helpers_us, &measures, living))
    }

    fn combined(
        &self,
        cgroups: &CgroupReading,
        helpers_us: Option<u64>,
        measures: &Measures,
        living: Totals,
    ) -> Usage {
        let shared = self.shared();
        let meter = &shared.meter;
        let ended = measures.ended;
        let counted_us = ended
            .user_us
            .saturating_add(ended.system_us)
            .saturating_add(living.cpu_us);
        let in_cgroup_us = cgroups.cpu_us.zip(helpers_us).map_or(0, |(all, helpers)| {
            all.saturating_sub(measures.own_us.saturating_add(helpers))
        });
        let largest = living.memory_bytes.max(ended.max_rss_kib.saturating_mul(1024));
        Usage {
            processes: living.processes,
            peak_processes: raise(&meter.peak_processes, living.processes.max(measures.most_running)),
            cpu_ms: (meter.earlier_cpu_us.load(Ordering::Relaxed)
                + raise(&meter.cpu_us, counted_us.max(in_cgroup_us)))
                / 1000,
            memory_bytes: living.memory_bytes,
            peak_memory_bytes: raise(&meter.peak_memory_bytes, largest),
            io: self.io_stats(),
            memory: cgroups.memory,
            cpu: cgroups.cpu,
            disk: measures.disk,
            network: shared.network.is_own().then(|| shared.traffic.read()),
        }
    }
}

/// Runs `work` on a thread that may take a while, though nothing that a program holds makes it wait.
async fn on_thread<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, Error> {
    let shared = Arc::clone(shared);
    let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
    // The work does not panic, and the runtime is never shut down.
    let done = runtime.spawn_blocking(move || work(&shared)).await;
    done.map_err(|_| Error::Disposed)
}
