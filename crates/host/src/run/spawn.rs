//! Starts a process whose output is emitted as events.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_vm_protocol::message::{MorePipes, Stdio};
use bytes::Bytes;

use super::attached::{MorePipe, Pipes};
use super::command::Command;
use super::exit::Timeout;
use super::follow::{self, Recorded};
use super::process_id::ProcessId;
use crate::credit::Credit;
use crate::error::Error;
use crate::events::{Event, ExitStatus};
use crate::output_log::Stream;
use crate::records::{Record, SpawnedProcess};
use crate::shared::Shared;
use crate::vm::Vm;

/// A process to start.
pub struct SpawnRequest {
    /// What to run.
    pub command: Command,
    /// Written to its standard input first; the standard input stays open.
    pub stdin: Vec<u8>,
    /// After this time everything that it started is killed.
    pub timeout: Option<Timeout>,
    /// Its pipes beside the standard streams.
    pub pipes: MorePipes,
}

/// Receives the pid of a started process. Called exactly once.
pub type OnSpawn = Box<dyn FnOnce(Result<ProcessId, Error>) + Send>;

impl Vm {
    /// Starts a process; its pid goes to `on_spawn` before any of its events.
    pub fn spawn(&self, request: SpawnRequest, on_spawn: OnSpawn) {
        let SpawnRequest {
            command,
            stdin,
            timeout,
            pipes: more,
        } = request;
        let stdio = if more.is_empty() {
            Stdio::Pipes
        } else {
            Stdio::MorePipes(more)
        };
        follow::start(
            self.shared(),
            command,
            stdio,
            timeout,
            move |shared, fds, new_record| {
                let pipes = Pipes::open_with(fds, &stdin, more)?;
                shared.io_counters.add_input(stdin.len());
                let mut outputs = vec![
                    Some((pipes.stdout, Stream::Stdout)),
                    Some((pipes.stderr, Stream::Stderr)),
                ];
                let mut descriptors = BTreeMap::new();
                for (number, pipe) in pipes.more {
                    let input = match pipe {
                        MorePipe::Input(input) => Some(input),
                        MorePipe::Output(source) => {
                            outputs.push(Some((source, Stream::Descriptor(number))));
                            None
                        }
                    };
                    descriptors.insert(number, input);
                }
                let process = SpawnedProcess {
                    record: new_record.with_pipes(pipes.stdin, descriptors),
                };
                Ok((process, outputs))
            },
            |started: Result<&SpawnedProcess, Error>| {
                on_spawn(started.map(|process| ProcessId {
                    pid: process.record.pid,
                    start: Some(process.record.call),
                }));
            },
        );
    }
}

impl Recorded for SpawnedProcess {
    fn record(&self) -> &Record {
        &self.record
    }

    fn remember(self: &Arc<Self>, shared: &Shared) {
        let Record { call, pid, .. } = self.record;
        shared.processes.lock().add(call, pid, Arc::clone(self));
    }

    fn note_exit(&self, shared: &Shared) {
        shared.processes.lock().exited(self.record.call);
    }

    fn output_event(&self, stream: Stream, data: Bytes, seq: u64, credit: Credit) -> Event {
        if let Stream::Descriptor(number) = stream {
            return Event::DescriptorOutput {
                pid: self.record.pid,
                number,
                data,
                seq,
                start: self.record.call,
                credit,
            };
        }
        Event::ProcessOutput {
            pid: self.record.pid,
            stream,
            data,
            seq,
            start: self.record.call,
            credit,
        }
    }

    fn exit_event(&self, status: ExitStatus, closed: bool) -> Event {
        Event::ProcessExit {
            pid: self.record.pid,
            status,
            start: self.record.call,
            closed,
        }
    }

    fn close_event(&self) -> Option<Event> {
        Some(Event::ProcessClose {
            pid: self.record.pid,
            start: self.record.call,
        })
    }

    /// If another process has been spawned with the same pid since, the output would be attributed to that one.
    fn owns_later_output(&self, shared: &Shared) -> bool {
        let newest = shared.processes.lock().get(&self.record.pid);
        newest.is_none_or(|newest| newest.record.call == self.record.call)
    }
}
