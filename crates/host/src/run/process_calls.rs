//! Calls about processes: the ones that `spawn` started, and all others that run in the VM.

use std::sync::Arc;

use agent_vm_protocol::message::{Request, Target};

use super::input::{PendingWrite, write};
use super::process_id::ProcessId;
use crate::error::Error;
use crate::events::ExitStatus;
use crate::output_log::Stream;
use crate::process_table::ProcessInfo;
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
        self.or_ended(self.newest(pid).map(|process| process.info()))
    }

    /// The kept output of a process from position `after` on.
    pub fn read_process_output(&self, id: ProcessId, after: u64) -> Result<OutputReplay, Error> {
        self.or_ended(self.process(id).map(|process| process.record.replay(after)))
    }

    /// Writes to a process's standard input.
    pub fn write_process_stdin(&self, id: ProcessId, data: &[u8]) -> Result<Option<PendingWrite>, Error> {
        self.or_ended(
            self.process(id)
                .and_then(|process| write(self, &process.record.input, data, Error::StdinClosed(id.pid))),
        )
    }

    /// Closes a process's standard input after everything that was written to it.
    pub fn close_process_stdin(&self, id: ProcessId) -> Result<(), Error> {
        self.or_ended(self.process(id).map(|process| process.record.input.close()))
    }

    /// Waits until a process has ended and its exit event is emitted.
    pub async fn wait_process(&self, pid: u32) -> Result<ExitStatus, Error> {
        self.newest(pid)?.record.ended().await
    }

    /// Sends a signal to the process group that a process leads, or only to the process. A spawned process that has
    /// exited gets none.
    pub async fn signal_process(&self, id: ProcessId, signal: i32) -> Result<(), Error> {
        let target = target(id.pid, self.process_if_spawned(id)?.as_deref());
        self.about_process(id.pid, |call| Request::Signal { call, target, signal })
            .await
    }

    /// Kills a process and everything that it started. Returns when none of that is left and, for a spawned process,
    /// its exit event is emitted.
    pub async fn kill_process(&self, id: ProcessId) -> Result<(), Error> {
        let spawned = self.process_if_spawned(id)?;
        let target = target(id.pid, spawned.as_deref());
        self.about_process(id.pid, |call| Request::Kill { call, target })
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
        let table = shared.process_look.all(shared.control.helpers()).await?;
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        let described = runtime.spawn_blocking(move || describe(&table)).await;
        // The description does not panic, and the runtime is never shut down.
        described.map_err(|_| Error::Disposed)
    }

    /// Pauses or resumes the reading of one of a process's output streams. Once the process has exited, what it wrote itself is
    /// read nevertheless.
    pub fn pause_process_output(&self, id: ProcessId, stream: Stream, paused: bool) -> Result<(), Error> {
        self.or_ended(
            self.process(id)
                .map(|process| process.record.flow(stream).set_paused(paused)),
        )
    }

    /// Closes one of a process's output streams: what was not read is lost, and who writes to it gets EPIPE.
    pub fn close_process_output(&self, id: ProcessId, stream: Stream) -> Result<(), Error> {
        self.or_ended(
            self.process(id)
                .map(|process| process.record.flow(stream).close()),
        )
    }

    /// Waits until everything of one of a process's output streams is emitted.
    pub async fn process_output_ended(&self, id: ProcessId, stream: Stream) -> Result<(), Error> {
        self.process(id)?.record.flow(stream).ended().await;
        Ok(())
    }

    pub(super) fn process(&self, id: ProcessId) -> Result<Arc<SpawnedProcess>, Error> {
        let processes = self.shared().processes.lock();
        let process = match id.start {
            Some(start) => processes.started_by(start),
            None => processes.get(&id.pid),
        };
        process.ok_or(Error::ProcessNotFound(id.pid))
    }

    fn newest(&self, pid: u32) -> Result<Arc<SpawnedProcess>, Error> {
        self.process(ProcessId { pid, start: None })
    }

    /// A pid alone may be that of a process that nobody spawned.
    fn process_if_spawned(&self, id: ProcessId) -> Result<Option<Arc<SpawnedProcess>>, Error> {
        match id.start {
            Some(_) => self.process(id).map(Some),
            None => Ok(self.process(id).ok()),
        }
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
