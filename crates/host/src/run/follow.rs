//! The life of a process or a shell, from its start to the end of everything that it leaves running: record, events,
//! exit.

use std::future::{pending, ready};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use agent_vm_protocol::message::{Request, Spawn, Stdio};
use bytes::Bytes;
use tokio::sync::watch;

use super::command::Command;
use super::exit::{Timeout, kill_all, until_exit};
use super::gated::Gated;
use crate::control::StartedProgram;
use crate::credit::{Credit, CreditReturned};
use crate::error::Error;
use crate::events::{Event, ExitStatus};
use crate::join::join_all;
use crate::leftover;
use crate::output_log::Stream;
use crate::records::{Flow, NewRecord, Record};
use crate::shared::Shared;
use crate::stream::{Chunks, Source, StreamEnd};

/// What differs between a process and a shell.
pub(super) trait Recorded: Send + Sync + Sized + 'static {
    /// Its record.
    fn record(&self) -> &Record;

    /// Adds it to the VM's records.
    fn remember(self: &Arc<Self>, shared: &Shared);

    /// Marks it as exited in the VM's records, which may then forget the oldest.
    fn note_exit(&self, shared: &Shared);

    /// Called with each chunk of its output, which begins at position `seq`, when the chunk is kept.
    fn note_output(&self, _: &Bytes, _seq: u64) {}

    /// Waits until it can take more output.
    fn room(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// The event for a chunk of its output.
    fn output_event(&self, stream: Stream, data: Bytes, seq: u64, credit: Credit) -> Event;

    /// The event for its exit. `closed` says whether nothing can write to its streams any more.
    fn exit_event(&self, status: ExitStatus, closed: bool) -> Event;

    /// The event for the end of its streams, if they ended after its exit. Not all have one.
    fn close_event(&self) -> Option<Event> {
        None
    }

    /// Called when it has exited. Some of its output may not be delivered yet.
    fn on_exit(&self) {}

    /// Whether output of processes that it left running is still emitted as its own, until the VM ends.
    fn owns_later_output(&self, shared: &Shared) -> bool;

    /// Returns when its streams must be closed although processes that it left running may still hold them.
    fn closed(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// The output streams of a program.
pub(super) type Outputs = Vec<Option<(Source, Stream)>>;

/// Starts `command`. `attach` takes over the descriptors of its streams; then `on_start` is called, before any of its
/// events.
pub(super) fn start<R: Recorded>(
    shared: &Arc<Shared>,
    command: Command,
    stdio: Stdio,
    timeout: Option<Timeout>,
    attach: impl FnOnce(&Shared, Vec<OwnedFd>, NewRecord) -> Result<(R, Outputs), Error> + Send + 'static,
    on_start: impl FnOnce(Result<&R, Error>) + Send + 'static,
) {
    let call = shared.control.call();
    let (program, arguments) = (command.program.clone(), command.arguments.clone());
    let spawn = match command.into_request(call, &shared.users, stdio) {
        Ok(spawn) => spawn,
        Err(error) => return on_start(Err(error)),
    };
    let request = Request::Spawn(Box::new(Spawn {
        patience_ms: timeout.map(Timeout::start_ms),
        ..spawn
    }));
    let (shared, control) = (Arc::clone(shared), Arc::clone(&shared.control));
    let on_started = move |started: Result<StartedProgram, Error>| {
        let StartedProgram { call, pid, fds, exit } = match started {
            Ok(started) => started,
            Err(error) => return on_start(Err(error)),
        };
        let new_record = NewRecord {
            call,
            pid,
            program,
            arguments,
            replay_bytes: shared.replay_bytes,
        };
        let (recorded, outputs) = match attach(&shared, fds, new_record) {
            Ok(attached) => attached,
            Err(error) => {
                drop(tokio::spawn(async move { kill_all(&shared.control, call).await }));
                return on_start(Err(error));
            }
        };
        let recorded = Arc::new(recorded);
        recorded.remember(&shared);
        let running = shared.running();
        on_start(Ok(&recorded));
        drop(tokio::spawn(async move {
            let (exited_sender, exited) = watch::channel(false);
            let ending = async {
                let end = until_exit(&shared.control, call, exit, timeout, None, exited_sender).await;
                recorded.on_exit();
                end.status()
            };
            let (status, outputs) = tokio::join!(ending, deliver(&shared, &*recorded, outputs, exited));
            recorded.record().fail_inputs();
            let closed = outputs.iter().all(Option::is_none);
            shared.events.emit(recorded.exit_event(status, closed));
            for log in recorded.record().logs() {
                shared.replay_budget.lock().add(log);
            }
            recorded.note_exit(&shared);
            recorded.record().set_status(status);
            drop(running);
            if closed {
                return;
            }
            read_on(&shared, &recorded, outputs).await;
            if !shared.has_ended()
                && recorded.owns_later_output(&shared)
                && let Some(event) = recorded.close_event()
            {
                shared.events.emit(event);
            }
        }));
    };
    control.start(call, &request, Box::new(on_started));
}

/// Emits output until the program has exited and everything that it wrote itself is emitted. Returns the streams that
/// other processes still hold open.
async fn deliver<R: Recorded>(
    shared: &Shared,
    recorded: &R,
    outputs: Outputs,
    exited: watch::Receiver<bool>,
) -> Outputs {
    let deliver_one = async |output: Option<(Source, Stream)>, mut exited: watch::Receiver<bool>| {
        let (mut source, stream) = output?;
        let flow = recorded.record().flow(stream);
        let mut chunks = Gated {
            sink: Chunks::new(source.kind(), |data| emit(shared, recorded, stream, data).wait()),
            flow,
            exited: exited.clone(),
            room: || recorded.room(),
        };
        let end = tokio::select! {
            biased;
            end = source.pump(&mut exited, &mut chunks) => end,
            () = flow.closing() => StreamEnd::Closed,
        };
        if end == StreamEnd::StillOpen {
            return Some((source, stream));
        }
        // Only what is emitted has been read, and a writer meets the end of its pipe from here on.
        drop(source);
        flow.end();
        None
    };
    join_all(
        outputs
            .into_iter()
            .map(|output| deliver_one(output, exited.clone())),
    )
    .await
}

/// Reads what processes that the program left running still write, so that their pipes are neither full nor broken.
async fn read_on<R: Recorded>(shared: &Arc<Shared>, recorded: &Arc<R>, outputs: Outputs) {
    let record = recorded.record();
    let streams = outputs.into_iter().map(|output| {
        let (source, stream) = output?;
        let later = LaterOutput {
            shared: Arc::clone(shared),
            recorded: Arc::clone(recorded),
            stream,
        };
        Some((source, later))
    });
    tokio::select! {
        () = leftover::read_on(&shared.leftovers, &shared.control, record.call, record.pid, streams) => {}
        () = recorded.closed() => {}
    }
}

/// Handles later output on a stream of a program that has exited. The stream ends with it.
struct LaterOutput<R: Recorded> {
    shared: Arc<Shared>,
    recorded: Arc<R>,
    stream: Stream,
}

impl<R: Recorded> LaterOutput<R> {
    fn flow(&self) -> &Flow {
        self.recorded.record().flow(self.stream)
    }
}

impl<R: Recorded> leftover::Reader for LaterOutput<R> {
    async fn room(&self) {
        self.flow().unpaused().await;
        self.recorded.room().await;
    }

    async fn closing(&self) {
        self.flow().closing().await;
    }

    fn take(&self, data: Bytes) -> Option<CreditReturned> {
        let Self {
            shared,
            recorded,
            stream,
        } = self;
        (!shared.has_ended() && recorded.owns_later_output(shared)).then(|| {
            let log = recorded.record().log(*stream);
            let held = log.lock().held();
            let returned = emit(shared, &**recorded, *stream, data);
            let has_grown = log.lock().held() > held;
            if has_grown {
                shared.replay_budget.lock().keep();
            }
            returned
        })
    }

    fn cut(&self) {
        self.recorded.record().log(self.stream).lock().cut();
    }
}

impl<R: Recorded> Drop for LaterOutput<R> {
    fn drop(&mut self) {
        self.flow().end();
    }
}

/// Stores one chunk of output and emits it.
fn emit<R: Recorded>(shared: &Shared, recorded: &R, stream: Stream, data: Bytes) -> CreditReturned {
    let (credit, returned) = Credit::new();
    shared.io_counters.add_output(data.len());
    let seq = recorded.record().append(stream, &data);
    recorded.note_output(&data, seq);
    shared
        .events
        .emit(recorded.output_event(stream, data, seq, credit));
    returned
}
