//! A spawned process: its streams, its record, its end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agent_vm_protocol::message::{Call, Request, Stdio};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::control::Started;
use crate::error::Error;
use crate::events::{AwaitTaken, Event, ExitStatus, Taken};
use crate::exec::{open_input, open_source};
use crate::input::Input;
use crate::leftover;
use crate::output_log::{OutputLog, Stream};
use crate::program::{Program, kill_all, watch_exit};
use crate::runtime;
use crate::stream::{Chunks, End, Kind, Source};
use crate::vm::Inner;

/// What to start.
pub struct SpawnRequest {
    /// The program.
    pub program: Program,
    /// Written to its standard input first, which stays open.
    pub stdin: Vec<u8>,
    /// After that long everything it started is killed.
    pub timeout: Option<Duration>,
}

/// What becomes of a start. Called exactly once.
pub type OnSpawn = Box<dyn FnOnce(Result<u32, Error>) + Send>;

/// What is remembered of a spawned process.
#[derive(Debug)]
pub struct Process {
    /// Its number, and its family's.
    pub call: Call,
    /// Its pid in the VM.
    pub pid: u32,
    /// As it was asked for.
    pub command: String,
    /// As they were asked for.
    pub arguments: Vec<String>,
    /// Its standard input.
    pub input: Arc<Input>,
    /// What it wrote.
    pub log: Arc<Mutex<OutputLog>>,
    /// How it ended, once it has and the event of that is out.
    pub status: watch::Sender<Option<ExitStatus>>,
}

/// Starts a process; its pid goes to `on_spawn` before any event of it.
pub(crate) fn start(inner: &Arc<Inner>, request: SpawnRequest, on_spawn: OnSpawn) {
    let call = inner.control.call();
    let SpawnRequest {
        program,
        stdin,
        timeout,
    } = request;
    let (command, arguments) = (program.file.clone(), program.arguments.clone());
    let message = Request::Spawn(Box::new(program.spawn(call, &inner.home, Stdio::Pipes)));
    let inner = Arc::clone(inner);
    let control = Arc::clone(&inner.control);
    control.start(
        call,
        &message,
        Box::new(move |started| {
            let started = match started {
                Ok(started) => started,
                Err(error) => return on_spawn(Err(error)),
            };
            let Started { call, pid, fds, exit } = started;
            inner.traffic.give(stdin.len());
            let (input, stdout, stderr) = match open(fds, &stdin) {
                Ok(open) => open,
                Err(error) => {
                    drop(tokio::spawn(async move { kill_all(&inner.control, call).await }));
                    return on_spawn(Err(error));
                }
            };
            let process = Arc::new(Process {
                call,
                pid,
                command,
                arguments,
                input,
                log: Arc::new(Mutex::new(OutputLog::new(inner.replay_bytes))),
                status: watch::Sender::new(None),
            });
            inner.processes.lock().add(call, pid, Arc::clone(&process));
            let running = inner.running();
            on_spawn(Ok(pid));
            drop(tokio::spawn(async move {
                let (exited_sender, exited) = watch::channel(false);
                let ending = watch_exit(&inner.control, call, exit, timeout, None, exited_sender);
                let (mut stdout, mut stderr) = (stdout, stderr);
                let (ended, out, err) = tokio::join!(
                    ending,
                    deliver(&inner, &process, &mut stdout, Stream::Stdout, exited.clone()),
                    deliver(&inner, &process, &mut stderr, Stream::Stderr, exited.clone()),
                );
                process.input.fail();
                let status = ended.status();
                inner.events.emit(Event::ProcessExit { pid, status });
                inner.replay.lock().add(&process.log);
                inner.processes.lock().exited(call);
                process.status.send_replace(Some(status));
                drop(running);
                let left = |source, end, stream| {
                    let rest = Rest {
                        inner: Arc::clone(&inner),
                        process: Arc::clone(&process),
                        stream,
                    };
                    (end == End::StillOpen).then_some((source, Kind::Pipe, rest))
                };
                let streams = [
                    left(stdout, out, Stream::Stdout),
                    left(stderr, err, Stream::Stderr),
                ];
                if streams.iter().any(Option::is_some) {
                    leftover::read_on(&inner.leftovers, &inner.control, call, pid, streams).await;
                }
            }));
        }),
    );
}

fn open(fds: Vec<OwnedFd>, stdin: &[u8]) -> Result<(Arc<Input>, Source, Source), Error> {
    let mut fds = fds.into_iter();
    let (input, stdout, stderr) = (
        open_input(fds.next())?,
        open_source(fds.next())?,
        open_source(fds.next())?,
    );
    let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
    // It need not read what it is given.
    drop(input.write(stdin, runtime)?);
    Ok((input, stdout, stderr))
}

/// Logs and tells what a stream brings until the process has exited and all that it wrote itself is told.
async fn deliver(
    inner: &Inner,
    process: &Process,
    source: &mut Source,
    stream: Stream,
    mut exited: watch::Receiver<bool>,
) -> End {
    let mut chunks = Chunks::new(Kind::Pipe, |data| tell(inner, process, stream, data).wait());
    source.pump(&mut exited, &mut chunks).await
}

/// What a process's children write to one of its streams after it has gone. It goes on being read when nobody is to be told of it
/// any more, so that they meet neither a full nor a broken pipe: when the VM has told its own end, after which nothing comes, or
/// when another spawned process has the number, under which this would be taken for that one's.
struct Rest {
    inner: Arc<Inner>,
    process: Arc<Process>,
    stream: Stream,
}

impl leftover::Reader for Rest {
    fn take(&self, data: Bytes) -> Option<AwaitTaken> {
        let Self {
            inner,
            process,
            stream,
        } = self;
        let newest = inner.processes.lock().get(&process.pid);
        let is_told = !inner.has_ended() && newest.is_none_or(|newest| Arc::ptr_eq(&newest, process));
        is_told.then(|| {
            let held = process.log.lock().held();
            let awaited = tell(inner, process, *stream, data);
            let has_grown = process.log.lock().held() > held;
            if has_grown {
                inner.replay.lock().keep();
            }
            awaited
        })
    }

    fn cut(&self) {
        self.process.log.lock().cut();
    }
}

fn tell(inner: &Inner, process: &Process, stream: Stream, data: Bytes) -> AwaitTaken {
    let (taken, awaited) = Taken::new();
    inner.traffic.take(data.len());
    let seq = process.log.lock().append(stream, &data);
    inner.events.emit(Event::ProcessOutput {
        pid: process.pid,
        stream,
        data,
        seq,
        taken,
    });
    awaited
}
