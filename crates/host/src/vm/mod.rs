//! One VM: its boot, its end, and the state that its calls share. The calls are methods of [`Vm`] in other modules:
//! `run`, `files`, `port`.

mod end;
mod slot;
mod snapshot;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

use agent_vm_protocol::message::{Request, Target};
use tracing::Instrument as _;

use crate::boot::{self, Enforcement, HostSide, Isolation, Network, Options};
use crate::control::ReplyAndFds;
use crate::error::Error;
use crate::events::Events;
use crate::listening::NetworkSight;
use crate::proxy::{Connector, Dialer, Own, Proxy};
use crate::runtime;
use crate::shared::Shared;

pub use slot::VmSlot;
pub use snapshot::{VmSnapshot, snapshots};

/// A VM. Cheap to clone; when the last clone is dropped, the VM is killed.
#[derive(Clone)]
pub struct Vm {
    owner: Arc<VmOwner>,
}

/// Ends the VM together with its last owner; tasks only hold [`Shared`].
struct VmOwner(Arc<Shared>);

impl Drop for VmOwner {
    fn drop(&mut self) {
        end::dispose(&self.0);
    }
}

/// Tells whether a VM is ending, for work that must not keep the VM alive.
pub(crate) struct WeakVm(Weak<Shared>);

impl WeakVm {
    /// Whether the VM has begun to end.
    pub fn is_ending(&self) -> bool {
        self.0.upgrade().is_none_or(|shared| shared.is_ending())
    }
}

/// Makes the proxy's connections to servers in the VM. It does not keep the VM alive.
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

/// Whose network the VM has, where `listener` is the socket of its proxy.
fn network_sight(options: &Options, listener: Option<&OwnedFd>) -> NetworkSight {
    if options.isolation != Isolation::Namespaces || options.network == Network::Host {
        return NetworkSight::Host;
    }
    let inode = |listener| nix::sys::stat::fstat(listener).map(|stat| stat.st_ino);
    NetworkSight::Own {
        proxy: listener.and_then(|listener| inode(listener).ok()),
    }
}

/// Bytes that a VM's processes and shells have exchanged with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoStats {
    /// Bytes that were accepted for standard inputs and terminals.
    pub bytes_in: u64,
    /// Bytes that were read from standard outputs, standard errors and terminals.
    pub bytes_out: u64,
    /// How many output streams of ended programs were closed at a bound although processes might still have written to
    /// them.
    pub outputs_cut: u64,
}

impl Vm {
    /// Boots a VM. Blocks for about a millisecond, so it must not be called on a thread that others wait for.
    pub fn boot(options: &Options, replay_bytes: usize, events: Arc<dyn Events>) -> Result<Self, Error> {
        Self::boot_after(options, replay_bytes, events, None)
    }

    /// Boots a VM that will take the place of `earlier`, if there is one.
    fn boot_after(
        options: &Options,
        replay_bytes: usize,
        events: Arc<dyn Events>,
        earlier: Option<&Self>,
    ) -> Result<Self, Error> {
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
        let network = network_sight(options, listener.as_ref());
        let shared = Shared::new(
            machine,
            options.isolation,
            network,
            replay_bytes,
            Arc::clone(&events),
            earlier.map(|earlier| &**earlier.shared()),
        );
        let shared = Arc::new(shared.map_err(failed)?);
        let proxy = match (listener, &options.network) {
            (Some(listener), Network::Allow(rules)) => {
                let own = Own::new(&options.hostname, connector(&shared));
                let dialer = Dialer::new(rules.clone(), own);
                let traffic = Arc::clone(&shared.traffic);
                Some(Proxy::start(listener, dialer, traffic, events).map_err(failed)?)
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

    /// A handle for work that must not keep the VM alive.
    pub(crate) fn weak(&self) -> WeakVm {
        WeakVm(Arc::downgrade(self.shared()))
    }

    /// Sends one request to init and waits for its reply.
    pub(crate) async fn ask(
        &self,
        request: impl FnOnce(u64) -> Request,
        fds: Vec<OwnedFd>,
    ) -> Result<ReplyAndFds, Error> {
        let control = &self.shared().control;
        let call = control.call();
        control.ask(call, request(call), fds).await
    }

    /// Whether init still answers. When a program has ended, this shows whether it ended by itself or with the VM.
    pub(crate) async fn is_alive(&self) -> bool {
        // The number is this request's own, so no family has it and no process gets the signal.
        let request = |call| Request::Signal {
            call,
            target: Target::Family(call),
            signal: libc::SIGCONT,
        };
        self.ask(request, Vec::new()).await.is_ok()
    }

    /// The result, or the VM's end as the error if the VM has begun to end.
    pub(crate) fn or_ended<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| {
            if self.shared().is_ending() {
                Error::Disposed
            } else {
                error
            }
        })
    }

    /// The bytes exchanged so far.
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

    /// Init's pid on the host; `None` once the VM has ended.
    #[must_use]
    pub fn init_pid(&self) -> Option<i32> {
        self.shared().host_side.lock().as_ref().map(HostSide::pid)
    }

    /// What enforces its limits.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        self.shared().enforcement
    }

    /// Its isolation level.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.shared().isolation
    }

    /// The home directory of its default user.
    #[must_use]
    pub fn home(&self) -> &str {
        self.shared().users.home()
    }

    /// Waits until the VM has ended and its exit event was emitted.
    pub(crate) async fn ended(&self) {
        self.shared().until_ended().await;
    }

    /// Kills everything in the VM, and waits until it is gone and all exit events were emitted.
    pub async fn dispose(&self) {
        end::dispose(self.shared());
        self.ended().await;
    }
}
