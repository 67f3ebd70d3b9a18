//! One VM: what its calls do.

mod life;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use agent_vm_protocol::message::{Request, Target};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;

use crate::boot::{self, Enforcement, HostSide, Isolation, Machine, Network, Options};
use crate::control::{Answer, Control};
use crate::error::Error;
use crate::events::{Events, ExitStatus, Reason, ShellId};
use crate::exec::{self, Abort, Exec, OnResult};
use crate::files::{LISTINGS_OF_A_VM, READS_OF_A_VM, WAITING_OF_A_VM};
use crate::input::Write;
use crate::leftover::Leftovers;
use crate::output_log::Replay;
use crate::port::MAX_CONNECTING;
use crate::process::{self, OnSpawn, Process, SpawnRequest};
use crate::process_table::{self, ProcessInfo};
use crate::proxy::{Connector, Dialer, Own, Proxy};
use crate::runtime;
use crate::shell::{self, OnOpen, Shell, ShellRequest};
use crate::traffic::Traffic;

pub(crate) use life::Inner;

/// A VM. Cheap to clone; when the last clone is dropped, the VM is killed.
#[derive(Clone)]
pub struct Vm {
    owner: Arc<Owner>,
}

/// Whether a VM has ended, for work that must not keep it.
pub(crate) struct Gone(Weak<Inner>);

impl Gone {
    pub(crate) fn is_ending(&self) -> bool {
        self.0
            .upgrade()
            .is_none_or(|inner| inner.ending.load(Ordering::Relaxed))
    }
}

/// What makes the proxy's connections to servers in the VM. It does not keep the VM.
fn connector(inner: &Arc<Inner>) -> Connector {
    let inner = Arc::downgrade(inner);
    Box::new(move |addresses, port| {
        let inner = inner.upgrade();
        Box::pin(async move {
            let inner = inner.ok_or(io::ErrorKind::ConnectionRefused)?;
            inner.connect_for_guest(&addresses, port).await
        })
    })
}

/// Ends the VM with its last owner; tasks hold [`Inner`] alone.
struct Owner(Arc<Inner>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl Vm {
    /// Boots a VM. Waits for the kernel for about a millisecond: not to be called where others wait.
    pub fn boot(options: &Options, replay_bytes: usize, events: Arc<dyn Events>) -> Result<Self, Error> {
        let begun = Instant::now();
        let Machine {
            channel,
            proc_fd,
            deputy,
            listener,
            home,
            enforcement,
            host,
        } = boot::boot(options).inspect_err(|error| tracing::warn!(?error, "a VM did not boot"))?;
        tracing::info!(pid = host.pid(), isolation = ?options.isolation, took = ?begun.elapsed(), "a VM booted");
        let vm = tracing::error_span!("vm", pid = host.pid());
        let failed = |error: io::Error| Error::system(&error, "epoll_ctl");
        let runtime = runtime::handle().map_err(failed)?;
        let _within = runtime.enter();
        let pidfd = nix::unistd::dup(host.pidfd()).map_err(|error| Error::system(&error.into(), "dup"))?;
        let init = if options.isolation == Isolation::Namespaces {
            1
        } else {
            host.pid()
        };
        let inner = Arc::new(Inner {
            control: Arc::new(Control::new(channel, deputy).map_err(failed)?),
            home,
            events: Arc::clone(&events),
            replay_bytes,
            traffic: Arc::default(),
            leftovers: Arc::new(Leftovers::new()),
            processes: Mutex::default(),
            shells: Mutex::default(),
            replay: Mutex::default(),
            isolation: options.isolation,
            enforcement,
            proc_fd: Arc::new(proc_fd),
            guest_id: host.guest_id(),
            listings: Semaphore::new(LISTINGS_OF_A_VM),
            reads: Semaphore::new(READS_OF_A_VM),
            waiting_reads: Semaphore::new(WAITING_OF_A_VM),
            host: Mutex::new(Some(host)),
            init,
            disposing: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            next_shell: AtomicU64::new(1),
            running: watch::Sender::new(0),
            gone: watch::Sender::new(false),
            connecting: Semaphore::new(MAX_CONNECTING),
        });
        let proxy = match (listener, &options.network) {
            (Some(listener), Network::Allow(rules)) => {
                let own = Own::new(&options.hostname, connector(&inner));
                Some(Proxy::start(listener, Dialer::new(rules.clone(), own), events).map_err(failed)?)
            }
            _ => None,
        };
        drop(runtime.spawn(Arc::clone(&inner).watch(pidfd, proxy).instrument(vm)));
        boot::prepare_next(options);
        Ok(Self {
            owner: Arc::new(Owner(inner)),
        })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.owner.0
    }

    /// Runs a command from start to end.
    #[must_use = "the handle aborts the command; a command that cannot be aborted may drop it"]
    pub fn exec(&self, exec: Exec, on_result: OnResult) -> Abort {
        exec::start(self.inner(), exec, on_result)
    }

    /// Starts a process.
    pub fn spawn(&self, request: SpawnRequest, on_spawn: OnSpawn) {
        process::start(self.inner(), request, on_spawn);
    }

    /// Opens a shell.
    pub fn open_shell(&self, request: ShellRequest, on_open: OnOpen) {
        shell::start(self.inner(), request, on_open);
    }

    /// The newest process that was spawned with that pid.
    pub fn process(&self, pid: u32) -> Result<Arc<Process>, Error> {
        self.inner()
            .processes
            .lock()
            .get(&pid)
            .ok_or(Error::ProcessNotFound(pid))
    }

    /// All spawned processes that are remembered, in the order they were started.
    #[must_use]
    pub fn processes(&self) -> Vec<Arc<Process>> {
        self.inner().processes.lock().all()
    }

    /// The shell of that number.
    pub fn shell(&self, id: ShellId) -> Result<Arc<Shell>, Error> {
        self.inner()
            .shells
            .lock()
            .get(&id)
            .ok_or_else(|| Error::ShellNotFound(shell::name(id)))
    }

    /// All shells that are remembered, in the order they were opened.
    #[must_use]
    pub fn shells(&self) -> Vec<Arc<Shell>> {
        self.inner().shells.lock().all()
    }

    /// Writes to a process's standard input.
    pub fn write_stdin(&self, pid: u32, data: &[u8]) -> Result<Write, Error> {
        let process = self.process(pid)?;
        match process.input.write(data, runtime_handle()?)? {
            Write::Closed => Err(Error::StdinClosed(pid)),
            other => {
                self.inner().traffic.give(data.len());
                Ok(other)
            }
        }
    }

    /// Writes to a shell's terminal.
    pub fn write_shell(&self, id: ShellId, data: &[u8]) -> Result<Write, Error> {
        let shell = self.shell(id)?;
        match shell.input.write(data, runtime_handle()?)? {
            Write::Closed => Err(shell.not_found()),
            other => {
                self.inner().traffic.give(data.len());
                Ok(other)
            }
        }
    }

    /// What its processes were given and have written.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.inner().traffic
    }

    /// How many output streams of ended programs were closed at a bound although something might still have written to them.
    #[must_use]
    pub fn outputs_cut(&self) -> u64 {
        self.inner().leftovers.cut()
    }

    /// Waits until a process has ended and its exit event is out.
    pub async fn wait_process(&self, pid: u32) -> Result<ExitStatus, Error> {
        ended(&self.process(pid)?.status).await
    }

    /// Waits until a shell has ended and its exit event is out.
    pub async fn wait_shell(&self, id: ShellId) -> Result<ExitStatus, Error> {
        ended(&self.shell(id)?.status).await
    }

    /// Whether init still answers. When what it ran goes, and it may have gone with it, this tells which it was.
    pub async fn is_alive(&self) -> bool {
        let call = self.inner().control.call();
        // The number is a request's, so no family bears it and nobody gets the signal.
        let (target, signal) = (Target::Family(call), libc::SIGCONT);
        let request = Request::Signal { call, target, signal };
        self.inner().control.ask(call, request, Vec::new()).await.is_ok()
    }

    /// Sends a signal to the group that a process leads, or to it alone. An exited spawned process is left alone.
    pub async fn signal(&self, pid: u32, signal: i32) -> Result<(), Error> {
        let target = target(pid, self.process(pid).ok().as_deref());
        let call = self.inner().control.call();
        self.about_process(pid, call, Request::Signal { call, target, signal })
            .await
    }

    /// Kills a process and everything it started; returns when none of it is left, and the exit of a spawned process is
    /// told.
    pub async fn kill(&self, pid: u32) -> Result<(), Error> {
        let spawned = self.process(pid).ok();
        let target = target(pid, spawned.as_deref());
        let call = self.inner().control.call();
        self.about_process(pid, call, Request::Kill { call, target })
            .await?;
        match spawned {
            Some(process) => ended(&process.status).await.map(drop),
            None => Ok(()),
        }
    }

    async fn about_process(&self, pid: u32, call: u64, request: Request) -> Result<(), Error> {
        match self.inner().control.ask(call, request, Vec::new()).await {
            Err(Error::System {
                errno: libc::ESRCH, ..
            }) => Err(Error::ProcessNotFound(pid)),
            other => other.map(drop),
        }
    }

    /// Hangs up a shell's terminal; returns when all of its session is gone and its exit is told.
    pub async fn close_shell(&self, id: ShellId) -> Result<(), Error> {
        let shell = self.shell(id)?;
        if shell.status.borrow().is_some() {
            return Ok(());
        }
        let call = self.inner().control.call();
        self.inner()
            .control
            .ask(
                call,
                Request::HangUp {
                    call,
                    family: shell.call,
                },
                Vec::new(),
            )
            .await?;
        let status = ended(&shell.status).await;
        shell.closed.notify_one();
        status.map(drop)
    }

    /// What `describe` makes of everything that runs in the VM. It is called where it may take its time: how much there is to say is
    /// the guest's.
    pub async fn process_table<T: Send + 'static>(
        &self,
        describe: impl FnOnce(&[ProcessInfo]) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.inner();
        let (proc_fd, init) = (Arc::clone(&inner.proc_fd), inner.init);
        let whole = inner.isolation == Isolation::Namespaces;
        let deputy = inner.control.deputy().map(|pid| pid as i32);
        let reading = runtime_handle()?.spawn_blocking(move || {
            let table = process_table::read(&proc_fd, init, deputy, whole)?;
            Ok(table.map(|table| describe(&table)))
        });
        // A reader that did not end well is not ours to explain; the VM may have gone under it.
        let described = reading.await.map_err(|_| Error::Disposed)?;
        described
            .map_err(|error: io::Error| Error::system(&error, "open"))?
            .ok_or(Error::Disposed)
    }

    /// Sends one request and waits for its reply.
    pub(crate) async fn ask(
        &self,
        request: impl FnOnce(u64) -> Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Answer, Error> {
        let call = self.inner().control.call();
        self.inner().control.ask(call, request(call), fds).await
    }

    /// Init's pid on the host.
    #[must_use]
    pub fn init_pid(&self) -> Option<i32> {
        self.inner().host.lock().as_ref().map(HostSide::pid)
    }

    /// What holds its limits.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        self.inner().enforcement
    }

    /// How far the VM is walled off.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.inner().isolation
    }

    /// Where the VM's processes live.
    #[must_use]
    pub fn home(&self) -> &str {
        &self.inner().home
    }

    /// Whether the VM's end has begun. What fails from then on fails for that reason.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.inner().ending.load(Ordering::Relaxed)
    }

    /// Its user's id on the host, where that is not the server's own.
    pub(crate) fn guest_id(&self) -> Option<u32> {
        self.inner().guest_id
    }

    /// Places for listings of directories.
    pub(crate) fn listings(&self) -> &Semaphore {
        &self.inner().listings
    }

    /// Places for reads of files.
    pub(crate) fn reads(&self) -> &Semaphore {
        &self.inner().reads
    }

    /// Places for reads that wait for their share.
    pub(crate) fn waiting_reads(&self) -> &Semaphore {
        &self.inner().waiting_reads
    }

    /// Tells of the VM's end without keeping it.
    pub(crate) fn weak(&self) -> Gone {
        Gone(Arc::downgrade(self.inner()))
    }

    /// Places for connections that are being made.
    pub(crate) fn connecting(&self) -> &Semaphore {
        &self.inner().connecting
    }

    /// Waits until the VM has ended and its exit is told.
    pub(crate) async fn gone(&self) {
        self.inner().until_gone().await;
    }

    /// Kills everything inside, and waits until it is gone and all exits are told.
    pub async fn dispose(&self) {
        self.inner().kill();
        self.gone().await;
    }
}

impl Process {
    /// What is kept of its output from position `after` on.
    #[must_use]
    pub fn replay(&self, after: u64) -> Replay {
        self.log.lock().read(after)
    }
}

impl Shell {
    /// What is kept of its terminal from position `after` on.
    #[must_use]
    pub fn replay(&self, after: u64) -> Replay {
        self.log.lock().read(after)
    }
}

/// Whom a call about `pid` is for: what was spawned with that number, whoever has it now, or else whoever has it.
fn target(pid: u32, spawned: Option<&Process>) -> Target {
    spawned.map_or(Target::Pid(pid), |process| Target::Family(process.call))
}

async fn ended(status: &watch::Sender<Option<ExitStatus>>) -> Result<ExitStatus, Error> {
    let mut status = status.subscribe();
    let ended = *status
        .wait_for(Option::is_some)
        .await
        .map_err(|_| Error::Disposed)?;
    // What went with the VM answers as every call that was pending then.
    ended
        .filter(|status| status.reason != Reason::Disposed)
        .ok_or(Error::Disposed)
}

fn runtime_handle() -> Result<&'static tokio::runtime::Handle, Error> {
    runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))
}
