//! One command from start to end, with all that it printed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use agent_vm_protocol::message::{self, Call, Exit, Request, Spawn, Stdio};
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::control::{Control, Started};
use crate::error::Error;
use crate::events::{ExitStatus, Taken};
use crate::input::Input;
use crate::leftover::{self, Discard, Leftovers};
use crate::output_log::Stream;
use crate::process_table::{Command, command};
use crate::program::{Ended, Program, kill_all, watch_exit};
use crate::stream::{Chunks, End, Kind, Sink, Source, read_rest};
use crate::traffic::Traffic;
use crate::vm::Inner;
use crate::{pool, runtime, sys};

/// Receives output as it comes. The next chunk of that stream is read when the [`Taken`] is dropped.
pub type OnOutput = Box<dyn Fn(Stream, Bytes, Taken) + Send + Sync>;

/// What to run, and how.
pub struct Exec {
    /// The program.
    pub program: Program,
    /// What it reads; nothing is end-of-file at once.
    pub stdin: Vec<u8>,
    /// After that long everything it started is killed.
    pub timeout: Option<Duration>,
    /// Bytes to keep of each stream.
    pub max_output_bytes: usize,
    /// Also told of output as it comes.
    pub on_output: Option<OnOutput>,
}

/// What came of it.
#[derive(Debug)]
pub struct ExecResult {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Printed,
    /// Likewise.
    pub stderr: Printed,
    /// Whether its time was up.
    pub timed_out: bool,
    /// What it left running.
    pub background: Vec<Background>,
}

/// A process that outlived the command that started it.
#[derive(Debug)]
pub struct Background {
    /// In the VM.
    pub pid: u32,
    /// As in the process table.
    pub command: String,
    /// As in the process table, of a command line of at most 4 KiB.
    pub args: Vec<String>,
}

impl Background {
    fn of(left: &message::Background) -> Self {
        let executable = left.executable.as_deref().map(String::from_utf8_lossy);
        let name = String::from_utf8_lossy(&left.name);
        let Command { name, arguments } = command(&left.command_line, &name, executable.as_deref());
        Self {
            pid: left.pid,
            command: name,
            args: arguments,
        }
    }
}

/// What a command printed to one stream.
#[derive(Debug)]
pub struct Printed {
    /// Up to the bound.
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub truncated: bool,
    /// Whether the bytes are ASCII, all of them.
    pub ascii: bool,
}

/// What becomes of a call. Called exactly once.
pub type OnResult = Box<dyn FnOnce(Result<ExecResult, Error>) + Send>;

/// A handle on a running command, or on a connection that is being made.
#[derive(Debug, Clone, Default)]
pub struct Abort(Arc<Notify>);

impl Abort {
    /// Kills everything the command started, or gives the connection up; the result is [`Error::Aborted`]. Does nothing once
    /// it has ended.
    pub fn abort(&self) {
        self.0.notify_one();
    }

    /// Returns when `abort` has been called.
    pub(crate) async fn aborted(&self) {
        self.0.notified().await;
    }
}

/// Starts `exec`; its result goes to `on_result`.
pub(crate) fn start(inner: &Inner, exec: Exec, on_result: OnResult) -> Abort {
    let control = &inner.control;
    let call = control.call();
    let stdio = if exec.stdin.is_empty() {
        Stdio::Output
    } else {
        Stdio::Pipes
    };
    let Exec {
        program,
        stdin,
        timeout,
        max_output_bytes,
        on_output,
    } = exec;
    // Nothing is written to it, and nobody is told of its output while it runs.
    let brief = stdin.is_empty() && on_output.is_none();
    let request = Request::Spawn(Box::new(Spawn {
        report_background: true,
        brief,
        ..program.spawn(call, &inner.home, stdio)
    }));
    let abort = Abort(Arc::new(Notify::new()));
    let run = Run {
        control: Arc::clone(control),
        traffic: Arc::clone(&inner.traffic),
        leftovers: Arc::clone(&inner.leftovers),
        stdin,
        timeout,
        max_output_bytes,
        on_output,
        brief,
        abort: abort.clone(),
    };
    control.start(
        call,
        &request,
        Box::new(move |started| match started {
            Ok(started) => drop(tokio::spawn(async move { on_result(run.follow(started).await) })),
            Err(error) => on_result(Err(error)),
        }),
    );
    abort
}

struct Run {
    control: Arc<Control>,
    traffic: Arc<Traffic>,
    leftovers: Arc<Leftovers>,
    stdin: Vec<u8>,
    timeout: Option<Duration>,
    max_output_bytes: usize,
    on_output: Option<OnOutput>,
    brief: bool,
    abort: Abort,
}

impl Run {
    async fn follow(self, started: Started) -> Result<ExecResult, Error> {
        let Started {
            call,
            pid,
            mut exit,
            fds,
        } = started;
        if self.brief
            && let Ok(exit) = exit.try_recv()
        {
            let result = tokio::select! {
                biased;
                // Asked for before the end was heard of.
                () = self.abort.0.notified() => Err(Error::Aborted),
                result = self.ended(call, pid, exit, fds) => result,
            };
            if result.is_err() {
                // Nobody would be told of what it left.
                kill_all(&self.control, call).await;
            }
            return result;
        }
        let (input, mut stdout, mut stderr) = match self.open(fds) {
            Ok(open) => open,
            Err(error) => {
                kill_all(&self.control, call).await;
                return Err(error);
            }
        };
        let (exited_sender, exited) = watch::channel(false);
        let ending = watch_exit(
            &self.control,
            call,
            exit,
            self.timeout,
            Some(&self.abort.0),
            exited_sender,
        );
        let (ended, (out, out_end), (err, err_end)) = tokio::join!(
            ending,
            self.collect(&mut stdout, Stream::Stdout, exited.clone()),
            self.collect(&mut stderr, Stream::Stderr, exited.clone()),
        );
        input.fail();
        let is_open = |end| end == End::StillOpen;
        self.discard(
            call,
            pid,
            [
                is_open(out_end).then_some(stdout),
                is_open(err_end).then_some(stderr),
            ],
        );
        if ended.aborted {
            return Err(Error::Aborted);
        }
        if ended.exit.is_none() {
            return Err(Error::Disposed);
        }
        Ok(result(ended, out, err))
    }

    /// The result of a brief command, which has ended: there is nothing to wait for, nor to watch.
    async fn ended(&self, call: Call, pid: u32, exit: Exit, fds: Vec<OwnedFd>) -> Result<ExecResult, Error> {
        let mut fds = fds.into_iter();
        let (out, open_out) = self.rest(fds.next()).await?;
        let (err, open_err) = self.rest(fds.next()).await?;
        self.discard(call, pid, [open_out, open_err]);
        let ended = Ended {
            exit: Some(exit),
            timed_out: false,
            aborted: false,
        };
        Ok(result(ended, out, err))
    }

    /// Reads what the command's background processes still write, so that they never meet a full or broken pipe.
    fn discard(&self, call: Call, pid: u32, streams: [Option<Source>; 2]) {
        if streams.iter().all(Option::is_none) {
            return;
        }
        let (leftovers, control) = (Arc::clone(&self.leftovers), Arc::clone(&self.control));
        let streams = streams.map(|source| source.map(|source| (source, Kind::Pipe, Discard)));
        drop(tokio::spawn(async move {
            leftover::read_on(&leftovers, &control, call, pid, streams).await;
        }));
    }

    /// What a command that has ended wrote to the pipe that init attached, and the pipe if others still hold the other end.
    async fn rest(&self, fd: Option<OwnedFd>) -> Result<(Printed, Option<Source>), Error> {
        let fd = fd.ok_or_else(missing)?;
        // Anything else may have no end, or have its reader wait. What init makes are pipes.
        if !sys::is_pipe(fd.as_fd()) {
            return Err(Error::System {
                errno: libc::EINVAL,
                syscall: "fstat".into(),
                path: None,
            });
        }
        sys::set_nonblocking(fd.as_fd()).map_err(|error| Error::system(&error, "ioctl"))?;
        let mut kept = self.kept();
        let end = read_rest(fd.as_fd(), Kind::Pipe, &mut kept).await;
        let printed = kept.printed;
        let open = match end {
            End::StillOpen => Some(open_source(Some(fd))?),
            End::Closed => None,
        };
        Ok((printed, open))
    }

    /// Takes over what init attached, and writes the standard input.
    fn open(&self, fds: Vec<OwnedFd>) -> Result<(Arc<Input>, Source, Source), Error> {
        let mut fds = fds.into_iter();
        let input = if self.stdin.is_empty() {
            Input::closed()
        } else {
            open_input(fds.next())?
        };
        let (stdout, stderr) = (open_source(fds.next())?, open_source(fds.next())?);
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        // A command need not read what it is given.
        drop(input.write(&self.stdin, runtime)?);
        self.traffic.give(self.stdin.len());
        input.close();
        Ok((input, stdout, stderr))
    }

    async fn collect(
        &self,
        source: &mut Source,
        stream: Stream,
        mut exited: watch::Receiver<bool>,
    ) -> (Printed, End) {
        let mut kept = self.kept();
        let end = match &self.on_output {
            None => source.pump(&mut exited, &mut kept).await,
            Some(on_output) => {
                let mut chunks = Chunks::new(Kind::Pipe, |data: Bytes| {
                    kept.add(&data);
                    let (taken, awaited) = Taken::new();
                    on_output(stream, data, taken);
                    awaited.wait()
                });
                source.pump(&mut exited, &mut chunks).await
            }
        };
        (kept.printed, end)
    }

    fn kept(&self) -> Kept<'_> {
        Kept {
            printed: Printed {
                bytes: Vec::new(),
                truncated: false,
                ascii: true,
            },
            limit: self.max_output_bytes,
            traffic: &self.traffic,
        }
    }
}

fn result(ended: Ended, stdout: Printed, stderr: Printed) -> ExecResult {
    ExecResult {
        status: ended.status(),
        stdout,
        stderr,
        timed_out: ended.timed_out,
        // What was killed with it may have been seen before it went.
        background: match ended.exit {
            Some(exit) if !ended.timed_out => exit.background.iter().map(Background::of).collect(),
            _ => Vec::new(),
        },
    }
}

/// What is printed, up to the bound.
struct Kept<'a> {
    printed: Printed,
    limit: usize,
    traffic: &'a Traffic,
}

impl Kept<'_> {
    fn add(&mut self, data: &[u8]) {
        self.traffic.take(data.len());
        let kept = &data[..data.len().min(self.limit - self.printed.bytes.len())];
        self.printed.truncated |= kept.len() < data.len();
        self.printed.ascii &= kept.is_ascii();
        self.printed.bytes.extend_from_slice(kept);
    }
}

impl Sink for Kept<'_> {
    async fn make_room(&mut self) {}

    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Not straight to where it is kept: new memory would be faulted in while the kernel holds the pipe and the writer waits.
        let mut buffer = pool::take();
        let read = buffer.append(|bytes| read(bytes, wanted));
        self.add(buffer.filled());
        pool::give(buffer);
        read
    }

    async fn finish(&mut self) {}
}

/// The descriptor that init attached, or an error that names its absence.
pub(crate) fn open_source(fd: Option<OwnedFd>) -> Result<Source, Error> {
    let fd = fd.ok_or_else(missing)?;
    Source::new(fd, Kind::Pipe).map_err(|error| Error::system(&error, "epoll_ctl"))
}

/// Likewise, for writing.
pub(crate) fn open_input(fd: Option<OwnedFd>) -> Result<Arc<Input>, Error> {
    Input::new(fd.ok_or_else(missing)?).map_err(|error| Error::system(&error, "ioctl"))
}

/// A descriptor did not arrive: this process had no room for it (`unix(7)`, `SCM_RIGHTS`).
pub(crate) fn missing() -> Error {
    Error::System {
        errno: libc::EMFILE,
        syscall: "recvmsg".into(),
        path: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::sync::mpsc;

    use agent_vm_protocol::Channel;
    use agent_vm_protocol::message::Usage;
    use tokio::sync::oneshot;

    use super::*;

    fn pipe_with(text: &[u8]) -> OwnedFd {
        let (read, write) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&write, text).unwrap();
        read
    }

    struct Ended {
        result: Result<ExecResult, Error>,
        told: Vec<(Stream, Bytes)>,
    }

    /// What comes of a command that had ended when its start was heard of, and what was told of its output.
    fn follow_ended(brief: bool, listens: bool, aborted: bool, fds: Vec<OwnedFd>) -> Ended {
        let (ours, _init) = Channel::pair().unwrap();
        let (exit_sender, exit) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let on_output: OnOutput = Box::new(move |stream, data, _taken| tell.send((stream, data)).unwrap());
        let result = runtime::handle().unwrap().block_on(async {
            let control = Control::new(ours, None).unwrap();
            // Nobody serves it: what is asked of init fails at once.
            control.close();
            let run = Run {
                control: Arc::new(control),
                traffic: Arc::default(),
                leftovers: Arc::new(Leftovers::new()),
                stdin: Vec::new(),
                timeout: None,
                max_output_bytes: 1000,
                on_output: listens.then_some(on_output),
                brief,
                abort: Abort(Arc::new(Notify::new())),
            };
            if aborted {
                run.abort.abort();
            }
            exit_sender
                .send(Exit {
                    code: 3,
                    signal: 0,
                    oom: false,
                    usage: Usage::default(),
                    background: Vec::new(),
                })
                .unwrap();
            let (call, pid) = (1, 2);
            run.follow(Started { call, pid, fds, exit }).await
        });
        Ended {
            result,
            told: told.into_iter().collect(),
        }
    }

    fn printed() -> Vec<OwnedFd> {
        vec![pipe_with(b"out"), pipe_with(b"err")]
    }

    #[test]
    fn a_command_that_has_ended_is_told_of_as_any_other() {
        for (brief, listens) in [(true, false), (false, false), (false, true)] {
            let Ended { result, mut told } = follow_ended(brief, listens, false, printed());
            let result = result.unwrap();
            assert_eq!(result.status.code, 3);
            assert_eq!(result.stdout.bytes, b"out");
            assert_eq!(result.stderr.bytes, b"err");
            told.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
            let wanted: &[(Stream, Bytes)] = &[
                (Stream::Stdout, Bytes::from_static(b"out")),
                (Stream::Stderr, Bytes::from_static(b"err")),
            ];
            assert_eq!(told, if listens { wanted } else { &[] });
        }
    }

    #[test]
    fn an_abort_before_the_end_is_heard_of_counts() {
        let ended = follow_ended(true, false, true, printed());
        assert!(matches!(ended.result, Err(Error::Aborted)));
    }

    #[test]
    fn what_is_no_pipe_is_not_read() {
        let endless = || OwnedFd::from(std::fs::File::open("/dev/zero").unwrap());
        let ended = follow_ended(true, false, false, vec![endless(), endless()]);
        assert!(matches!(
            ended.result,
            Err(Error::System {
                errno: libc::EINVAL,
                ..
            })
        ));
    }
}
