//! One VM: its boot, its end, and what its calls share. The calls themselves are methods of [`Vm`] in their own rooms: `run`,
//! `files`, `port`.

mod end;
mod slot;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

use agent_vm_protocol::message::{Request, Target};
use tracing::Instrument as _;

use crate::boot::{self, Enforcement, HostSide, Isolation, Network, Options};
use crate::control::Answer;
use crate::error::Error;
use crate::events::Events;
use crate::proxy::{Connector, Dialer, Own, Proxy};
use crate::runtime;
use crate::shared::Shared;

pub use slot::VmSlot;

/// A VM. Cheap to clone; when the last clone is dropped, the VM is killed.
#[derive(Clone)]
pub struct Vm {
    owner: Arc<VmOwner>,
}

/// Ends the VM with its last owner; tasks hold [`Shared`] alone.
struct VmOwner(Arc<Shared>);

impl Drop for VmOwner {
    fn drop(&mut self) {
        end::dispose(&self.0);
    }
}

/// A VM's end, for work that must not keep the VM.
pub(crate) struct WeakVm(Weak<Shared>);

impl WeakVm {
    /// Whether the VM's end has begun.
    pub fn is_ending(&self) -> bool {
        self.0.upgrade().is_none_or(|shared| shared.is_ending())
    }
}

/// What makes the proxy's connections to servers in the VM. It does not keep the VM.
fn connector(shared: &Arc<Shared>) -> Connector {
    let shared = Arc::downgrade(shared);
    Box::new(move |addresses, port| {
        let shared = shared.upgrade();
        Box::pin(async move {
            let shared = shared.ok_or(io::ErrorKind::ConnectionRefused)?;
            shared.connect_for_guest(&addresses, port).await
        })
    })
}

/// Bytes that a VM's processes and shells have exchanged with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoStats {
    /// Accepted for standard inputs and terminals.
    pub bytes_in: u64,
    /// Read from standard outputs, standard errors and terminals.
    pub bytes_out: u64,
    /// Output streams of ended programs that were closed at a bound although something might still have written to them.
    pub outputs_cut: u64,
}

impl Vm {
    /// Boots a VM. Waits for the kernel for about a millisecond: not to be called where others wait.
    pub fn boot(options: &Options, replay_bytes: usize, events: Arc<dyn Events>) -> Result<Self, Error> {
        let begun = Instant::now();
        let mut machine =
            boot::boot(options).inspect_err(|error| tracing::warn!(?error, "a VM did not boot"))?;
        let pid = machine.host.pid();
        tracing::info!(pid, isolation = ?options.isolation, took = ?begun.elapsed(), "a VM booted");
        let vm = tracing::error_span!("vm", pid);
        let failed = |error: io::Error| Error::system(&error, "epoll_ctl");
        let runtime = runtime::handle().map_err(failed)?;
        let _within = runtime.enter();
        let pidfd =
            nix::unistd::dup(machine.host.pidfd()).map_err(|error| Error::system(&error.into(), "dup"))?;
        let listener = machine.listener.take();
        let shared = Shared::new(machine, options.isolation, replay_bytes, Arc::clone(&events));
        let shared = Arc::new(shared.map_err(failed)?);
        let proxy = match (listener, &options.network) {
            (Some(listener), Network::Allow(rules)) => {
                let own = Own::new(&options.hostname, connector(&shared));
                Some(Proxy::start(listener, Dialer::new(rules.clone(), own), events).map_err(failed)?)
            }
            _ => None,
        };
        drop(runtime.spawn(end::watch(Arc::clone(&shared), pidfd, proxy).instrument(vm)));
        boot::prepare_next(options);
        Ok(Self {
            owner: Arc::new(VmOwner(shared)),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// For work that must not keep the VM.
    pub(crate) fn weak(&self) -> WeakVm {
        WeakVm(Arc::downgrade(self.shared()))
    }

    /// Sends one request to init and waits for its reply.
    pub(crate) async fn ask(
        &self,
        request: impl FnOnce(u64) -> Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Answer, Error> {
        let control = &self.shared().control;
        let call = control.call();
        control.ask(call, request(call), fds).await
    }

    /// Whether init still answers. When a program's end is met, the program may have gone alone or with the VM: this tells which.
    pub(crate) async fn is_alive(&self) -> bool {
        // The number is this request's, so no family has it and no process gets the signal.
        let request = |call| Request::Signal {
            call,
            target: Target::Family(call),
            signal: libc::SIGCONT,
        };
        self.ask(request, Vec::new()).await.is_ok()
    }

    /// What a call failed with: the VM's end, if that has begun.
    pub(crate) fn or_ended<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| {
            if self.shared().is_ending() {
                Error::Disposed
            } else {
                error
            }
        })
    }

    /// Bytes exchanged so far.
    #[must_use]
    pub fn io_stats(&self) -> IoStats {
        let Shared {
            io_counters,
            leftovers,
            ..
        } = &**self.shared();
        IoStats {
            bytes_in: io_counters.input(),
            bytes_out: io_counters.output(),
            outputs_cut: leftovers.cut(),
        }
    }

    /// Init's pid on the host; nothing once the VM has ended.
    #[must_use]
    pub fn init_pid(&self) -> Option<i32> {
        self.shared().host_side.lock().as_ref().map(HostSide::pid)
    }

    /// What holds its limits.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        self.shared().enforcement
    }

    /// How it is isolated.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.shared().isolation
    }

    /// The home directory of its processes.
    #[must_use]
    pub fn home(&self) -> &str {
        &self.shared().home
    }

    /// Waits until the VM has ended and its exit event is emitted.
    pub(crate) async fn ended(&self) {
        self.shared().until_ended().await;
    }

    /// Kills everything inside, and waits until it is gone and all exit events are emitted.
    pub async fn dispose(&self) {
        end::dispose(self.shared());
        self.ended().await;
    }
}
