//! One shell of a context, from its start to its end.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agent_vm_protocol::message::{Call, Exit, KnownProcess, ProgramUser, Request, Spawn, Stdio};
use tokio::sync::{oneshot, watch};

use super::command_end::{CommandOutcome, until_end};
use super::control_socket::ControlSocket;
use super::descendants::settled_below;
use super::exports::ExportsKnown;
use super::interrupt::{CommandBounds, Why, interrupt_on, kill};
use super::look::{ShellLook, Used};
use super::shell_kind::ShellKind;
use super::vm_side::VmSide;
use crate::abort::Abort;
use crate::control::{Control, StartedProgram};
use crate::error::Error;
use crate::leftover::{self, Discard};
use crate::process_table::ProcessInfo;
use crate::stream::{Sink, Source, StreamKind};

/// How long a shell may take until it reads its first command.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// How long a shell may take for a command of the host, after which it is given up.
const OWN_DEADLINE: Duration = Duration::from_secs(3);

/// The program that holds the ends of new pipes until a shell has opened them, and ends when its standard input does. Before it has
/// executed, the kernel may not let the shell open them; so it writes first.
const HOLDER: [&str; 3] = ["/bin/sh", "-c", "printf x; read -r _"];

/// A shell that runs, or has ended without anybody having looked yet.
pub struct ContextShell {
    vm: Arc<VmSide>,
    kind: ShellKind,
    /// The number of its family.
    pub call: Call,
    /// Its pid.
    pub pid: u32,
    exit: oneshot::Receiver<Exit>,
    /// What `exit` has brought.
    gone: Option<Gone>,
    socket: ControlSocket,
    /// None while processes that earlier commands left may have them.
    outputs: Option<[Source; 2]>,
    look: Arc<ShellLook>,
    /// While this is open, the program that holds the pipes lives, for a shell that opens them again.
    holder_stdin_fd: Option<OwnedFd>,
    /// What earlier commands left running, by pid and start.
    left: BTreeMap<u32, u64>,
    used: Used,
}

/// A command that the shell has, or has a part of.
pub struct Begun {
    message: Vec<u8>,
    sent: usize,
}

/// The end of a shell: nothing is known of that if the VM ended.
#[derive(Debug, Clone)]
pub struct Gone(pub Option<Exit>);

impl ContextShell {
    /// Starts `program`, and waits until it reads commands.
    pub async fn start(
        vm: &Arc<VmSide>,
        program: &str,
        env: Vec<(String, String)>,
        cwd: &str,
        exports: &Arc<ExportsKnown>,
    ) -> Result<Self, Error> {
        let kind = ShellKind::of(program)?;
        let request = spawn_request(
            vm.control.call(),
            program.to_owned(),
            kind.arguments(program),
            env,
            cwd,
            Stdio::Context,
            vm.user.clone(),
        );
        let StartedProgram { call, pid, exit, fds } = started(&vm.control, request).await?;
        let opened = Self::open(vm, kind, call, pid, exit, fds, exports);
        let ready = match opened {
            Ok(mut shell) => shell.first_report().await.map(|()| shell),
            Err(error) => Err(error),
        };
        if ready.is_err() {
            kill(&vm.control, call).await;
        }
        ready
    }

    fn open(
        vm: &Arc<VmSide>,
        kind: ShellKind,
        call: Call,
        pid: u32,
        exit: oneshot::Receiver<Exit>,
        fds: Vec<OwnedFd>,
        exports: &Arc<ExportsKnown>,
    ) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::system(&error, "epoll_ctl");
        let [socket, stdout, stderr]: [OwnedFd; 3] =
            fds.try_into().map_err(|_| Error::missing_descriptor())?;
        Ok(Self {
            vm: Arc::clone(vm),
            kind,
            call,
            pid,
            exit,
            gone: None,
            socket: ControlSocket::new(socket, kind, Arc::clone(exports)),
            outputs: Some([
                Source::new(stdout, StreamKind::Pipe).map_err(failed)?,
                Source::new(stderr, StreamKind::Pipe).map_err(failed)?,
            ]),
            look: Arc::new(ShellLook::at(&vm.proc_fd, pid).map_err(|error| Error::system(&error, "openat"))?),
            holder_stdin_fd: None,
            left: BTreeMap::new(),
            used: Used::default(),
        })
    }

    async fn first_report(&mut self) -> Result<(), Error> {
        let never = Abort::default();
        let (_reset, resets) = watch::channel(0);
        let bounds = CommandBounds {
            timeout: Some(START_DEADLINE),
            abort: &never,
            resets,
        };
        let mut outputs = self.outputs.take();
        let driver = [&*self.kind.driver(), self.kind.question().unwrap_or_default()].concat();
        let outcome = self
            .follow(&driver, &bounds, outputs.as_mut(), &mut Nothing, &mut Nothing)
            .await;
        self.outputs = outputs;
        self.used = self.look.used();
        match outcome {
            (CommandOutcome::Ended(_), None) => Ok(()),
            (CommandOutcome::Gone(None), None) => Err(Error::Disposed),
            _ => Err(Error::System {
                errno: libc::EIO,
                syscall: "start the shell of a context".into(),
                path: None,
            }),
        }
    }

    /// Whether it has ended, and how: nothing is known of that if the VM ended.
    pub fn ended(&mut self) -> Option<Gone> {
        if self.gone.is_none() {
            self.gone = match self.exit.try_recv() {
                Ok(exit) => Some(Gone(Some(exit))),
                Err(oneshot::error::TryRecvError::Closed) => Some(Gone(None)),
                Err(oneshot::error::TryRecvError::Empty) => None,
            };
        }
        self.gone.clone()
    }

    /// Sends `text`, on the calling thread, if the shell can run it at once. Otherwise nothing was sent.
    pub fn begin(&mut self, text: &str, status: i32) -> Option<Begun> {
        if self.outputs.is_none() || self.ended().is_some() {
            return None;
        }
        let message = self.kind.message(status, text);
        let sent = self.socket.send_now(&message).ok()?;
        Some(Begun { message, sent })
    }

    /// Runs `text` with `status` as that of the command before, unless it has begun already. What it prints goes to the sinks.
    pub async fn run(
        &mut self,
        text: &str,
        status: i32,
        begun: Option<Begun>,
        bounds: &CommandBounds<'_>,
        stdout: &mut impl Sink,
        stderr: &mut impl Sink,
    ) -> (CommandOutcome, Option<Why>) {
        let message = match begun {
            Some(Begun { mut message, sent }) => message.split_off(sent),
            None => self.kind.message(status, text),
        };
        let mut outputs = self.outputs.take();
        let outcome = self
            .follow(&message, bounds, outputs.as_mut(), stdout, stderr)
            .await;
        self.outputs = outputs;
        outcome
    }

    async fn follow(
        &mut self,
        message: &[u8],
        bounds: &CommandBounds<'_>,
        outputs: Option<&mut [Source; 2]>,
        stdout: &mut impl Sink,
        stderr: &mut impl Sink,
    ) -> (CommandOutcome, Option<Why>) {
        let (over_sender, over) = watch::channel(false);
        let Self {
            vm,
            kind,
            call,
            exit,
            socket,
            look,
            left,
            ..
        } = self;
        let spared = left.iter().map(|(pid, start)| KnownProcess {
            pid: *pid,
            start: *start,
        });
        let spared: Vec<KnownProcess> = spared.collect();
        let ending = async {
            let outcome = until_end(message, exit, socket, look, &vm.guest_threads).await;
            socket.rest();
            over_sender.send_replace(true);
            outcome
        };
        let interrupting = interrupt_on(&vm.control, *call, *kind, bounds, &spared, over.clone());
        let pumping = async {
            if let Some([out, err]) = outputs {
                let (mut out_over, mut err_over) = (over.clone(), over.clone());
                tokio::join!(out.pump(&mut out_over, stdout), err.pump(&mut err_over, stderr));
            }
        };
        let (outcome, why, ()) = tokio::join!(ending, interrupting, pumping);
        (outcome, why)
    }

    /// Asks the shell for its exported variables, if it does not report them unasked. It answers before it runs another command.
    pub fn ask_exports(&mut self) {
        self.socket.ask();
    }

    /// Reads what the shell has written until it has answered.
    pub async fn exports_answered(&mut self) -> std::io::Result<()> {
        let answered = self.socket.answered().await;
        self.socket.rest();
        answered
    }

    /// Reads what the shell, which has ended, had written.
    pub fn read_last_exports(&mut self) {
        self.socket.drain();
    }

    /// What the last command used.
    pub fn used(&mut self) -> Used {
        let before = std::mem::replace(&mut self.used, self.look.used());
        Used {
            user_us: self.used.user_us.saturating_sub(before.user_us),
            system_us: self.used.system_us.saturating_sub(before.system_us),
            rss_bytes: self.used.rss_bytes,
        }
    }

    /// Its working directory.
    pub fn working_directory(&self) -> Option<String> {
        self.look.working_directory()
    }

    /// What the last command has left running. From then on what that prints is dropped.
    pub async fn take_left(&mut self) -> Result<Vec<ProcessInfo>, Error> {
        if !self.look.may_have_children() {
            self.left.clear();
            return Ok(Vec::new());
        }
        let (known, new) = settled_below(&self.vm, self.pid, &self.left).await?;
        self.left = known;
        if !new.is_empty() {
            self.left
                .extend(new.iter().map(|process| (process.pid, process.start_ticks)));
            self.give_outputs_away();
        }
        Ok(new)
    }

    /// Whether an earlier command left a process of that number.
    pub fn had_left(&self, pid: u32) -> bool {
        self.left.contains_key(&pid)
    }

    /// From now on what comes through its pipes is dropped.
    pub fn give_outputs_away(&mut self) {
        let Some(outputs) = self.outputs.take() else {
            return;
        };
        let [stdout, stderr] = outputs;
        let streams = [Some((stdout, Discard)), Some((stderr, Discard))];
        let (vm, call, pid) = (Arc::clone(&self.vm), self.call, self.pid);
        drop(tokio::spawn(async move {
            leftover::read_on(&vm.leftovers, &vm.control, call, pid, streams).await;
        }));
    }

    /// Makes sure that it has pipes of its own for the next command.
    ///
    /// # Errors
    /// If it has not, and is of no more use.
    pub async fn renew_outputs(&mut self, status: i32) -> Result<(), Error> {
        if self.outputs.is_some() {
            return Ok(());
        }
        let [program, arguments @ ..] = HOLDER.map(str::to_owned);
        let vm = Arc::clone(&self.vm);
        let request = spawn_request(
            vm.control.call(),
            program,
            arguments.into(),
            Vec::new(),
            "/",
            Stdio::Pipes,
            vm.user.clone(),
        );
        let holder = started(&vm.control, request).await?;
        self.redirect_to(holder.pid, holder.fds, status).await
    }

    async fn redirect_to(&mut self, pid: u32, fds: Vec<OwnedFd>, status: i32) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::system(&error, "epoll_ctl");
        let [stdin, stdout, stderr]: [OwnedFd; 3] =
            fds.try_into().map_err(|_| Error::missing_descriptor())?;
        let mut outputs = [
            Source::new(stdout, StreamKind::Pipe).map_err(failed)?,
            Source::new(stderr, StreamKind::Pipe).map_err(failed)?,
        ];
        let refused = || Error::System {
            errno: libc::EIO,
            syscall: "renew the output of a context".into(),
            path: None,
        };
        let written = tokio::time::timeout(OWN_DEADLINE, outputs[0].read()).await;
        if !written.is_ok_and(|data| data.is_some_and(|data| *data == *b"x")) {
            return Err(refused());
        }
        let command = self.kind.redirect(pid);
        let has_written = |source: &Source| {
            let mut bytes = Vec::with_capacity(2);
            crate::sys::read(source.fd(), &mut bytes, 2).is_ok() && bytes == b"x"
        };
        if !self.command(&command, status).await || !outputs.iter().all(has_written) {
            return Err(refused());
        }
        self.outputs = Some(outputs);
        self.holder_stdin_fd = self.kind.opens_outputs_again().then_some(stdin);
        Ok(())
    }

    /// Runs a command that no call asked for, and drops its output. Whether it succeeded.
    pub async fn command(&mut self, text: &str, status: i32) -> bool {
        let never = Abort::default();
        let (_reset, resets) = watch::channel(0);
        let bounds = CommandBounds {
            timeout: Some(OWN_DEADLINE),
            abort: &never,
            resets,
        };
        let ended = self
            .run(text, status, None, &bounds, &mut Nothing, &mut Nothing)
            .await;
        matches!(ended, (CommandOutcome::Ended(0), None))
    }
}

fn spawn_request(
    call: Call,
    program: String,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    cwd: &str,
    stdio: Stdio,
    user: ProgramUser,
) -> Spawn {
    Spawn {
        call,
        program,
        arguments,
        env,
        cwd: cwd.to_owned(),
        stdio,
        argv0: None,
        report_background: true,
        brief: false,
        patience_ms: None,
        user,
    }
}

async fn started(control: &Control, request: Spawn) -> Result<StartedProgram, Error> {
    let (sender, receiver) = oneshot::channel();
    let on_start = Box::new(move |started| drop(sender.send(started)));
    control.start(request.call, &Request::Spawn(Box::new(request)), on_start);
    receiver.await.unwrap_or(Err(Error::Disposed))
}

/// Drops what it takes.
struct Nothing;

impl Sink for Nothing {
    async fn make_room(&mut self) {}

    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        let mut buffer = crate::pool::take();
        let taken = buffer.append(|bytes| read(bytes, wanted));
        crate::pool::give(buffer);
        taken
    }

    async fn finish(&mut self) {}
}
