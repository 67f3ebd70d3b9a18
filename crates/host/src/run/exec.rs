//! Runs a command from its start to its end, and collects its output.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::{Call, Exit, Request, Spawn, Stdio};
use bytes::Bytes;
use tokio::sync::watch;

use super::attached::{Pipes, ended_pipe, open_source};
use super::background::left_running;
use super::command::Command;
use super::command_result::{ExecResult, OnOutput, OnResult};
use super::exit::{ProgramEnd, Timeout, kill_all, until_exit};
use super::printed::{Collector, KeptBytes, Printed};
use crate::abort::Abort;
use crate::control::{Control, StartedProgram};
use crate::credit::Credit;
use crate::error::Error;
use crate::events::ExitStatus;
use crate::io_counters::IoCounters;
use crate::leftover::{self, Discard, Leftovers};
use crate::output_log::Stream;
use crate::process_table::ProcessLook;
use crate::stream::{Chunks, Source, StreamEnd, StreamKind, read_rest};
use crate::vm::Vm;

/// A command to run, and how.
pub struct Exec {
    /// What to run.
    pub command: Command,
    /// Its standard input; `None` for immediate end-of-file.
    pub stdin: Vec<u8>,
    /// After this time everything that the command started is killed.
    pub timeout: Option<Timeout>,
    /// What to keep of each stream.
    pub kept: KeptBytes,
    /// Also receives the output, as it arrives.
    pub on_output: Option<OnOutput>,
}

impl Vm {
    /// Runs a command from start to end; its result goes to `on_result`.
    #[must_use = "the handle aborts the command; a command that cannot be aborted may drop it"]
    pub fn exec(&self, exec: Exec, on_result: OnResult) -> Abort {
        let shared = self.shared();
        let call = shared.control.call();
        let Exec {
            command,
            stdin,
            timeout,
            kept,
            on_output,
        } = exec;
        let stdio = if stdin.is_empty() {
            Stdio::Output
        } else {
            Stdio::Pipes
        };
        // The host writes no standard input, and emits no output while the command runs.
        let brief = stdin.is_empty() && on_output.is_none();
        let abort = Abort::default();
        let spawn = match command.into_request(call, &shared.users, stdio) {
            Ok(spawn) => spawn,
            Err(error) => {
                on_result(Err(error));
                return abort;
            }
        };
        let request = Request::Spawn(Box::new(Spawn {
            report_background: true,
            brief,
            patience_ms: timeout.map(Timeout::start_ms),
            ..spawn
        }));
        let control = Arc::clone(&shared.control);
        abort.starts(move || control.tell(&Request::StopStart { call }));
        let run = ExecRun {
            control: Arc::clone(&shared.control),
            io_counters: Arc::clone(&shared.io_counters),
            leftovers: Arc::clone(&shared.leftovers),
            process_look: Arc::clone(&shared.process_look),
            stdin,
            timeout,
            kept,
            on_output,
            brief,
            abort: abort.clone(),
        };
        shared.control.start(
            call,
            &request,
            Box::new(move |started| {
                run.abort.has_started();
                match started {
                    Ok(started) => drop(tokio::spawn(async move { on_result(run.follow(started).await) })),
                    Err(error) => on_result(run.not_started(error)),
                }
            }),
        );
        abort
    }
}

/// An exec that is running. It keeps alive neither the VM nor the data that the VM's calls share.
struct ExecRun {
    control: Arc<Control>,
    io_counters: Arc<IoCounters>,
    leftovers: Arc<Leftovers>,
    process_look: Arc<ProcessLook>,
    stdin: Vec<u8>,
    timeout: Option<Timeout>,
    kept: KeptBytes,
    on_output: Option<OnOutput>,
    brief: bool,
    abort: Abort,
}

impl ExecRun {
    async fn follow(self, started: StartedProgram) -> Result<ExecResult, Error> {
        let StartedProgram {
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
                // Called before the end was reported.
                () = self.abort.aborted() => Err(Error::Aborted),
                result = self.ended(call, pid, exit, fds) => result,
            };
            if result.is_err() {
                // The result will not list background processes.
                kill_all(&self.control, call).await;
            }
            return result;
        }
        let Pipes {
            stdin,
            mut stdout,
            mut stderr,
            more: _,
        } = match self.open(fds) {
            Ok(pipes) => pipes,
            Err(error) => {
                kill_all(&self.control, call).await;
                return Err(error);
            }
        };
        let (exited_sender, exited) = watch::channel(false);
        let (ended, (out, out_end), (err, err_end)) = tokio::join!(
            until_exit(
                &self.control,
                call,
                exit,
                self.timeout,
                Some(&self.abort),
                exited_sender,
            ),
            self.collect(&mut stdout, Stream::Stdout, exited.clone()),
            self.collect(&mut stderr, Stream::Stderr, exited.clone()),
        );
        stdin.fail();
        let is_open = |end| end == StreamEnd::StillOpen;
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
        let result = tokio::select! {
            biased;
            () = self.abort.aborted() => Err(Error::Aborted),
            result = self.result(ended, out, err) => result,
        };
        if result.is_err() {
            // The result will not list background processes.
            kill_all(&self.control, call).await;
        }
        result
    }

    /// The result of a command that did not start, if it has one.
    fn not_started(&self, error: Error) -> Result<ExecResult, Error> {
        if !matches!(error, Error::TimedOut(_)) {
            return Err(error);
        }
        Ok(ExecResult {
            status: ExitStatus::NOT_STARTED,
            stdout: self.collector().into_printed(),
            stderr: self.collector().into_printed(),
            timed_out: true,
            context_restarted: None,
            background: Vec::new(),
        })
    }

    /// The result of a short command that has ended already: its pipes are read without being watched.
    async fn ended(&self, call: Call, pid: u32, exit: Exit, fds: Vec<OwnedFd>) -> Result<ExecResult, Error> {
        let mut fds = fds.into_iter();
        let (out, open_out) = self.rest(fds.next()).await?;
        let (err, open_err) = self.rest(fds.next()).await?;
        self.discard(call, pid, [open_out, open_err]);
        let ended = ProgramEnd {
            exit: Some(exit),
            timed_out: false,
            aborted: false,
        };
        self.result(ended, out, err).await
    }

    /// Reads what the command's background processes still write, so that their pipe is neither full nor broken.
    fn discard(&self, call: Call, pid: u32, streams: [Option<Source>; 2]) {
        if streams.iter().all(Option::is_none) {
            return;
        }
        let (leftovers, control) = (Arc::clone(&self.leftovers), Arc::clone(&self.control));
        let streams = streams.map(|source| source.map(|source| (source, Discard)));
        drop(tokio::spawn(async move {
            leftover::read_on(&leftovers, &control, call, pid, streams).await;
        }));
    }

    /// Reads what an ended command wrote to a pipe. Also returns the pipe if other processes still hold its other end.
    async fn rest(&self, fd: Option<OwnedFd>) -> Result<(Printed, Option<Source>), Error> {
        let fd = ended_pipe(fd)?;
        let mut collector = self.collector();
        let end = read_rest(fd.as_fd(), StreamKind::Pipe, &mut collector).await;
        let open = match end {
            StreamEnd::StillOpen => Some(open_source(Some(fd))?),
            StreamEnd::Closed => None,
        };
        Ok((collector.into_printed(), open))
    }

    fn open(&self, fds: Vec<OwnedFd>) -> Result<Pipes, Error> {
        if self.stdin.is_empty() {
            return Pipes::open_output(fds);
        }
        let pipes = Pipes::open(fds, &self.stdin)?;
        self.io_counters.add_input(self.stdin.len());
        pipes.stdin.close();
        Ok(pipes)
    }

    async fn collect(
        &self,
        source: &mut Source,
        stream: Stream,
        mut exited: watch::Receiver<bool>,
    ) -> (Printed, StreamEnd) {
        let mut collector = self.collector();
        let end = match &self.on_output {
            None => source.pump(&mut exited, &mut collector).await,
            Some(on_output) => {
                let mut chunks = Chunks::new(StreamKind::Pipe, |data: Bytes| {
                    collector.add(&data);
                    let (credit, returned) = Credit::new();
                    on_output(stream, data, credit);
                    returned.wait()
                });
                source.pump(&mut exited, &mut chunks).await
            }
        };
        (collector.into_printed(), end)
    }

    async fn result(&self, ended: ProgramEnd, stdout: Printed, stderr: Printed) -> Result<ExecResult, Error> {
        let background = match &ended.exit {
            // After a timeout the list may contain processes that were killed with it.
            Some(exit) if !ended.timed_out => left_running(&self.process_look, &exit.background).await?,
            _ => Vec::new(),
        };
        Ok(ExecResult {
            status: ended.status(),
            stdout,
            stderr,
            timed_out: ended.timed_out,
            context_restarted: None,
            background,
        })
    }

    fn collector(&self) -> Collector<'_> {
        Collector::new(self.kept, &self.io_counters)
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
    use crate::runtime;

    fn pipe_with(text: &[u8]) -> OwnedFd {
        let (read, write) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&write, text).unwrap();
        read
    }

    struct EndedExec {
        result: Result<ExecResult, Error>,
        received: Vec<(Stream, Bytes)>,
    }

    /// The result of a command that had already ended when its start was reported, and the output that its callback
    /// received.
    fn follow_ended(brief: bool, listens: bool, aborted: bool, fds: Vec<OwnedFd>) -> EndedExec {
        let (ours, _init) = Channel::pair().unwrap();
        let proc_fd = Arc::new(std::fs::File::open("/proc").unwrap().into());
        let (exit_sender, exit) = oneshot::channel();
        let (sender, receiver) = mpsc::channel();
        let on_output: OnOutput = Box::new(move |stream, data, _credit| sender.send((stream, data)).unwrap());
        let result = runtime::handle().unwrap().block_on(async {
            let control = Control::new(ours, Vec::new()).unwrap();
            // No init answers on it: every request fails at once.
            control.close();
            let run = ExecRun {
                control: Arc::new(control),
                io_counters: Arc::default(),
                leftovers: Arc::new(Leftovers::new()),
                process_look: Arc::new(ProcessLook::new(proc_fd, 1, true)),
                stdin: Vec::new(),
                timeout: None,
                kept: KeptBytes { head: 1000, tail: 0 },
                on_output: listens.then_some(on_output),
                brief,
                abort: Abort::default(),
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
            run.follow(StartedProgram { call, pid, fds, exit }).await
        });
        EndedExec {
            result,
            received: receiver.into_iter().collect(),
        }
    }

    fn printed() -> Vec<OwnedFd> {
        vec![pipe_with(b"out"), pipe_with(b"err")]
    }

    #[test]
    fn a_command_that_ended_before_its_start_was_reported_has_the_same_result() {
        for (brief, listens) in [(true, false), (false, false), (false, true)] {
            let EndedExec { result, mut received } = follow_ended(brief, listens, false, printed());
            let result = result.unwrap();
            assert_eq!(result.status.code, 3);
            assert_eq!(result.stdout.head, b"out");
            assert_eq!(result.stderr.head, b"err");
            received.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
            let wanted: &[(Stream, Bytes)] = &[
                (Stream::Stdout, Bytes::from_static(b"out")),
                (Stream::Stderr, Bytes::from_static(b"err")),
            ];
            assert_eq!(received, if listens { wanted } else { &[] });
        }
    }

    #[test]
    fn an_abort_before_the_end_was_reported_wins() {
        let ended = follow_ended(true, false, true, printed());
        assert!(matches!(ended.result, Err(Error::Aborted)));
    }

    #[test]
    fn only_pipes_are_read() {
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
