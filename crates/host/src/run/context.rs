//! Calls about contexts: shells that keep their state between commands.

use std::sync::Arc;
use std::time::Duration;

use agent_vm_protocol::message::ProgramUser;
use bytes::Bytes;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, watch};

use super::background::{BackgroundProcess, left_running};
use super::command_result::{ExecResult, OnOutput, OnResult};
use super::printed::{Collector, KeptBytes};
use crate::abort::Abort;
use crate::context::{
    Begun, CommandBounds, Context, ContextId, ContextStart, EndOutcome, Origin, SavedContexts, Session,
    VmSide, Why, below_all,
};
use crate::credit::Credit;
use crate::error::Error;
use crate::events::{ExitStatus, Reason};
use crate::output_log::Stream;
use crate::shared::Shared;
use crate::stream::{Chunks, Sink, StreamKind};
use crate::vm::Vm;

/// The longest command: what `exec` can hand to a program.
const LONGEST_COMMAND: usize = 128 * 1024;

/// A context to make.
pub struct ContextRequest {
    /// The shell's program; none for bash where the VM has it, else sh.
    pub shell: Option<String>,
    /// The working directory; none for the user's home.
    pub cwd: Option<String>,
    /// Added to the VM's environment.
    pub env: Vec<(String, String)>,
    /// The user that it runs as: a name or a number; none for the VM's default user.
    pub user: Option<String>,
}

/// A command to run in a context.
pub struct ContextExec {
    /// What the shell runs.
    pub command: String,
    /// After that long everything that the command started is killed.
    pub timeout: Option<Duration>,
    /// What to keep of each stream.
    pub kept: KeptBytes,
    /// Receives output as well, as it comes.
    pub on_output: Option<OnOutput>,
}

/// What is known of a context.
#[derive(Debug)]
pub struct ContextInfo {
    /// Its name.
    pub id: ContextId,
    /// The program of its shell.
    pub shell: String,
    /// The pid of its shell; none while there is none.
    pub pid: Option<u32>,
    /// Its working directory when its last command ended.
    pub cwd: String,
    /// Its exported variables then; not in a list.
    pub env: Vec<(String, String)>,
    /// The command that runs.
    pub command: Option<String>,
    /// How many commands wait.
    pub waiting: usize,
    /// What descends from its shell.
    pub processes: Vec<BackgroundProcess>,
}

/// Receives the name of a context. Called exactly once.
pub type OnContext = Box<dyn FnOnce(Result<ContextId, Error>) + Send>;

impl Vm {
    /// Makes a context; its name goes to `on_context`.
    pub fn create_context(&self, request: ContextRequest, on_context: OnContext) -> Result<(), Error> {
        let shared = Arc::clone(self.shared());
        let ContextRequest {
            shell,
            cwd,
            env: given,
            user,
        } = request;
        let (user, account) = shared.users.find(user.as_deref())?;
        let mut env = account.env.clone();
        env.extend(given);
        let side = VmSide {
            home: account.home.clone(),
            user,
            ..vm_side(&shared)
        };
        let session = Session::new(side, Origin { shell, cwd, env })?;
        let context = shared.contexts.lock().add(session)?;
        spawn_task(async move {
            let prepared = context.session.lock().await.prepare(&context.view).await;
            on_context(match prepared {
                Ok(()) => Ok(context.id),
                Err(error) => {
                    shared.contexts.lock().remove(context.id);
                    Err(or_ended(&shared, error))
                }
            });
        })
    }

    /// Runs a command in a context; its result goes to `on_result`. The handle aborts it.
    pub fn exec_in_context(
        &self,
        name: &str,
        exec: ContextExec,
        on_result: OnResult,
    ) -> Result<Abort, Error> {
        let shared = Arc::clone(self.shared());
        let context = self.or_ended(shared.contexts.lock().get(name))?;
        self.require_running()?;
        if exec.command.len() > LONGEST_COMMAND {
            return Err(Error::System {
                errno: libc::E2BIG,
                syscall: "exec".into(),
                path: None,
            });
        }
        let place = Arc::clone(&context.places).try_acquire_owned().map_err(|_| {
            let most = crate::context::MOST_COMMANDS;
            let text = format!("{most} commands of {name} run or wait already; await some of them first");
            Error::LimitExceeded(text)
        })?;
        let abort = Abort::default();
        // Where no other command runs or waits, this thread begins it, which saves a turn of the I/O thread. By the places: a command
        // before this one may not wait for the session yet, while the session is free already.
        let is_alone = context.places.available_permits() + 1 == crate::context::MOST_COMMANDS;
        let begun = is_alone
            .then(|| Arc::clone(&context.session).try_lock_owned().ok())
            .flatten()
            .and_then(|mut session| {
                let begun = session.begin(&exec.command)?;
                Some((session, begun))
            });
        let run = ContextRun {
            begun,
            resets: context.resets.subscribe(),
            context,
            abort: abort.clone(),
            exec,
            _place: place,
        };
        spawn_task(async move {
            let (session, result) = run.run(&shared).await;
            on_result(result.map_err(|error| or_ended(&shared, error)));
            // The caller need not wait for that.
            if let Some(mut session) = session {
                session.ask_exports();
            }
        })?;
        Ok(abort)
    }

    /// All contexts, in the order in which they were made.
    #[must_use]
    pub fn list_contexts(&self) -> Vec<ContextInfo> {
        let contexts = self.shared().contexts.lock().all();
        contexts
            .iter()
            .map(|context| info(context, Vec::new(), Vec::new()))
            .collect()
    }

    /// One context.
    pub async fn get_context(&self, name: &str) -> Result<ContextInfo, Error> {
        let context = self.context(name)?;
        let pid = context.view.lock().pid;
        let processes = match pid {
            Some(pid) => below_all(&vm_side(self.shared()), pid).await?,
            None => Vec::new(),
        };
        context.exports_answered().await;
        let env = context.env();
        Ok(info(
            &context,
            env,
            processes.iter().map(BackgroundProcess::of).collect(),
        ))
    }

    /// Ends what runs in a context, and makes it what it was at first.
    pub async fn reset_context(&self, name: &str) -> Result<(), Error> {
        let context = self.context(name)?;
        context.resets.send_modify(|resets| *resets += 1);
        let mut session = context.session.lock().await;
        session.reset(&context.view).await;
        self.or_ended(session.prepare(&context.view).await)
    }

    /// Ends a context with everything that runs in it.
    pub async fn delete_context(&self, name: &str) -> Result<(), Error> {
        let context = self.context(name)?;
        self.shared().contexts.lock().remove(context.id);
        context.view.lock().deleted = true;
        context.resets.send_modify(|resets| *resets += 1);
        context.session.lock().await.reset(&context.view).await;
        Ok(())
    }

    /// What of its contexts outlives it. Waits until their shells have said what they export, but not for long.
    pub(crate) async fn saved_contexts(&self) -> SavedContexts {
        let contexts = self.shared().contexts.lock().all();
        let answered = contexts
            .into_iter()
            .map(|context| async move { context.exports_answered().await });
        answered.collect::<tokio::task::JoinSet<()>>().join_all().await;
        self.shared().contexts.lock().saved()
    }

    /// Gives it these contexts. If it takes the place of another VM, that had made `earlier` contexts.
    pub(crate) fn restore_contexts(&self, saved: &SavedContexts, earlier: u64) {
        let shared = self.shared();
        let side = |start: &ContextStart| VmSide {
            home: start.home.clone(),
            user: start.user.clone(),
            ..vm_side(shared)
        };
        shared.contexts.lock().restore(saved, earlier, side);
    }

    fn context(&self, name: &str) -> Result<Arc<Context>, Error> {
        self.or_ended(self.shared().contexts.lock().get(name))
    }
}

fn spawn_task(task: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    let runtime = crate::runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
    drop(runtime.spawn(task));
    Ok(())
}

/// A command on its way through its context.
struct ContextRun {
    /// The context's session, and the command in it, if it has begun.
    begun: Option<(OwnedMutexGuard<Session>, Begun)>,
    context: Arc<Context>,
    resets: watch::Receiver<u64>,
    abort: Abort,
    exec: ContextExec,
    _place: OwnedSemaphorePermit,
}

impl ContextRun {
    /// Runs it. Returns the session with the result, if the command had it.
    async fn run(self, shared: &Shared) -> (Option<OwnedMutexGuard<Session>>, Result<ExecResult, Error>) {
        let Self {
            begun,
            context,
            resets,
            abort,
            exec,
            _place,
        } = self;
        let (mut session, begun) = match begun {
            Some((session, begun)) => (session, Some(begun)),
            None => match next_turn(&context, &resets, &abort).await {
                Ok(session) => (session, None),
                Err(error) => return (None, Err(error)),
            },
        };
        let result = run_in(&mut session, begun, &context, resets, &abort, &exec, shared).await;
        (Some(session), result)
    }
}

async fn run_in(
    session: &mut Session,
    begun: Option<Begun>,
    context: &Context,
    resets: watch::Receiver<u64>,
    abort: &Abort,
    exec: &ContextExec,
    shared: &Shared,
) -> Result<ExecResult, Error> {
    let bounds = CommandBounds {
        timeout: exec.timeout,
        abort,
        resets,
    };
    let mut stdout = Collector::new(exec.kept, &shared.io_counters);
    let mut stderr = Collector::new(exec.kept, &shared.io_counters);
    let ended = match &exec.on_output {
        None => {
            session
                .run(
                    &context.view,
                    &exec.command,
                    begun,
                    &bounds,
                    &mut stdout,
                    &mut stderr,
                )
                .await
        }
        Some(on_output) => {
            let mut out = streamed(on_output, Stream::Stdout, &mut stdout);
            let mut err = streamed(on_output, Stream::Stderr, &mut stderr);
            session
                .run(&context.view, &exec.command, begun, &bounds, &mut out, &mut err)
                .await
        }
    }?;
    if ended.why == Some(Why::Aborted) {
        return Err(Error::Aborted);
    }
    let timed_out = ended.why == Some(Why::TimedOut);
    let background = match &ended.outcome {
        EndOutcome::Status(..) => ended.left.iter().map(BackgroundProcess::of).collect(),
        EndOutcome::Shell(exit) => left_running(&shared.process_look, &exit.background).await?,
    };
    Ok(ExecResult {
        status: status(&ended.outcome, timed_out),
        stdout: stdout.into_printed(),
        stderr: stderr.into_printed(),
        timed_out,
        background,
        context_restarted: Some(ended.restarted),
    })
}

/// Waits until the context's shell is there for the next command.
async fn next_turn(
    context: &Context,
    resets: &watch::Receiver<u64>,
    abort: &Abort,
) -> Result<OwnedMutexGuard<Session>, Error> {
    let mut session = tokio::select! {
        biased;
        () = abort.aborted() => return Err(Error::Aborted),
        session = Arc::clone(&context.session).lock_owned() => session,
    };
    if context.view.lock().deleted {
        return Err(Error::ContextNotFound(context.id.to_string()));
    }
    if resets.has_changed().unwrap_or(true) {
        return Err(Error::ContextReset(context.id.to_string()));
    }
    session.prepare(&context.view).await?;
    Ok(session)
}

/// What keeps output and emits it.
fn streamed<'a>(on_output: &'a OnOutput, stream: Stream, collector: &'a mut Collector<'_>) -> impl Sink + 'a {
    Chunks::new(StreamKind::Pipe, move |data: Bytes| {
        collector.add(&data);
        let (credit, returned) = Credit::new();
        on_output(stream, data, credit);
        returned.wait()
    })
}

fn status(outcome: &EndOutcome, timed_out: bool) -> ExitStatus {
    let killed = (128 + libc::SIGKILL, libc::SIGKILL, Reason::Timeout);
    let (own, user_us, system_us, max_rss_bytes) = match outcome {
        EndOutcome::Status(status, used) => (
            (*status, 0, Reason::Exited),
            used.user_us,
            used.system_us,
            used.rss_bytes,
        ),
        EndOutcome::Shell(exit) => {
            let reason = match exit.signal {
                _ if exit.oom => Reason::Oom,
                0 => Reason::Exited,
                _ => Reason::Signal,
            };
            let usage = exit.usage;
            let rss = usage.max_rss_kib.saturating_mul(1024);
            (
                (exit.code, exit.signal, reason),
                usage.user_us,
                usage.system_us,
                rss,
            )
        }
    };
    let (code, signal, reason) = if timed_out { killed } else { own };
    ExitStatus {
        code,
        signal,
        reason,
        user_us,
        system_us,
        max_rss_bytes,
    }
}

fn info(context: &Context, env: Vec<(String, String)>, processes: Vec<BackgroundProcess>) -> ContextInfo {
    let view = context.view.lock().clone();
    let taken = crate::context::MOST_COMMANDS - context.places.available_permits();
    ContextInfo {
        id: context.id,
        shell: view.shell,
        pid: view.pid,
        cwd: view.cwd,
        env,
        waiting: taken.saturating_sub(usize::from(view.command.is_some())),
        command: view.command,
        processes,
    }
}

fn vm_side(shared: &Shared) -> VmSide {
    VmSide {
        process_look: Arc::clone(&shared.process_look),
        guest_threads: shared.bounds.guest_threads.clone(),
        control: Arc::clone(&shared.control),
        leftovers: Arc::clone(&shared.leftovers),
        proc_fd: Arc::clone(&shared.proc_fd),
        home: shared.users.home().to_owned(),
        user: ProgramUser::User,
    }
}

/// What a call failed with: the VM's end, if that has begun.
fn or_ended(shared: &Shared, error: Error) -> Error {
    if shared.is_ending() {
        Error::Disposed
    } else {
        error
    }
}
