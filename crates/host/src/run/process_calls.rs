//! Calls about processes: the ones that `spawn` started, and all others that run in the VM.

use std::io;
use std::sync::Arc;

use agent_vm_protocol::message::{Request, Target};

use super::input::{PendingWrite, write};
use crate::boot::Isolation;
use crate::error::Error;
use crate::events::ExitStatus;
use crate::process_table::{self, ProcessInfo};
use crate::records::{OutputReplay, SpawnedProcess, SpawnedProcessInfo};
use crate::runtime;
use crate::vm::Vm;

impl Vm {
    /// All spawned processes that are remembered, in the order of their starts.
    #[must_use]
    pub fn list_processes(&self) -> Vec<SpawnedProcessInfo> {
        let processes = self.shared().processes.lock().all();
        processes.iter().map(|process| process.info()).collect()
    }

    /// The most recently spawned process with that pid.
    pub fn get_process(&self, pid: u32) -> Result<SpawnedProcessInfo, Error> {
        self.or_ended(self.process(pid).map(|process| process.info()))
    }

    /// The kept output of a process from position `after` on.
    pub fn read_process_output(&self, pid: u32, after: u64) -> Result<OutputReplay, Error> {
        self.or_ended(self.process(pid).map(|process| process.record.replay(after)))
    }

    /// Writes to a process's standard input.
    pub fn write_process_stdin(&self, pid: u32, data: &[u8]) -> Result<Option<PendingWrite>, Error> {
        self.or_ended(
            self.process(pid)
                .and_then(|process| write(self, &process.record.input, data, Error::StdinClosed(pid))),
        )
    }

    /// Closes a process's standard input after everything that was written to it.
    pub fn close_process_stdin(&self, pid: u32) -> Result<(), Error> {
        self.or_ended(self.process(pid).map(|process| process.record.input.close()))
    }

    /// Waits until a process has ended and its exit event is emitted.
    pub async fn wait_process(&self, pid: u32) -> Result<ExitStatus, Error> {
        self.process(pid)?.record.ended().await
    }

    /// Sends a signal to the process group that a process leads, or only to the process. A spawned process that has
    /// exited gets none.
    pub async fn signal_process(&self, pid: u32, signal: i32) -> Result<(), Error> {
        let target = target(pid, self.process(pid).ok().as_deref());
        self.about_process(pid, |call| Request::Signal { call, target, signal })
            .await
    }

    /// Kills a process and everything that it started. Returns when none of that is left and, for a spawned process,
    /// its exit event is emitted.
    pub async fn kill_process(&self, pid: u32) -> Result<(), Error> {
        let spawned = self.process(pid).ok();
        let target = target(pid, spawned.as_deref());
        self.about_process(pid, |call| Request::Kill { call, target })
            .await?;
        match spawned {
            Some(process) => process.record.ended().await.map(drop),
            None => Ok(()),
        }
    }

    /// The result of `describe` for every process in the VM. It runs on a thread that may block, because the guest
    /// decides how many processes there are.
    pub async fn process_table<T: Send + 'static>(
        &self,
        describe: impl FnOnce(&[ProcessInfo]) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.shared();
        let (proc_fd, init) = (Arc::clone(&shared.proc_fd), shared.init);
        let whole = shared.isolation == Isolation::Namespaces;
        let deputy = shared.control.deputy().map(|pid| pid as i32);
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        let reading = runtime.spawn_blocking(move || {
            let table = process_table::read(&proc_fd, init, deputy, whole)?;
            Ok(table.map(|table| describe(&table)))
        });
        // The closure does not panic, and the runtime is never shut down.
        let described = reading.await.map_err(|_| Error::Disposed)?;
        described
            .map_err(|error: io::Error| Error::system(&error, "open"))?
            .ok_or(Error::Disposed)
    }

    fn process(&self, pid: u32) -> Result<Arc<SpawnedProcess>, Error> {
        let process = self.shared().processes.lock().get(&pid);
        process.ok_or(Error::ProcessNotFound(pid))
    }

    async fn about_process(&self, pid: u32, request: impl FnOnce(u64) -> Request) -> Result<(), Error> {
        match self.ask(request, Vec::new()).await {
            Err(Error::System {
                errno: libc::ESRCH, ..
            }) => Err(Error::ProcessNotFound(pid)),
            other => other.map(drop),
        }
    }
}

/// The process that a call about `pid` means: the one that was spawned with that pid, even if another process has it
/// now, or else the process that has it now.
fn target(pid: u32, spawned: Option<&SpawnedProcess>) -> Target {
    spawned.map_or(Target::Pid(pid), |process| Target::Family(process.record.call))
}
