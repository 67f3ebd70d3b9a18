//! The state that a VM's calls and tasks share.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::boot::{Enforcement, GuestIds, HostSide, Isolation, Machine, Users};
use crate::bounds::CallBounds;
use crate::context::Contexts;
use crate::control::Control;
use crate::events::Events;
use crate::io_counters::IoCounters;
use crate::leftover::Leftovers;
use crate::listening::{NetworkSight, PortWatch};
use crate::meter::Meter;
use crate::pausing::Pausing;
use crate::process_table::ProcessLook;
use crate::proxy::Traffic;
use crate::records::{Records, ReplayBudget, Shell, SpawnedProcess};
use crate::screen::{ScreenRoom, Turns};
use crate::shell_id::ShellId;
use crate::terminals::IdleWatch;

/// The state that a VM's calls and tasks share. It does not keep the VM alive: [`Vm`](crate::Vm) does.
pub(crate) struct Shared {
    pub control: Arc<Control>,
    pub users: Users,
    pub events: Arc<dyn Events>,
    pub replay_bytes: usize,
    pub io_counters: Arc<IoCounters>,
    pub leftovers: Arc<Leftovers>,
    /// What goes through the proxy.
    pub traffic: Arc<Traffic>,
    pub meter: Meter,
    pub processes: Mutex<Records<u32, SpawnedProcess>>,
    pub shells: Mutex<Records<ShellId, Shell>>,
    pub contexts: Mutex<Contexts>,
    pub replay_budget: Mutex<ReplayBudget>,
    pub bounds: CallBounds,
    pub screen_room: ScreenRoom,
    pub screen_turns: Turns,
    pub isolation: Isolation,
    pub network: NetworkSight,
    pub ports: PortWatch,
    pub idle: IdleWatch,
    pub enforcement: Enforcement,
    /// The VM's own `/proc`.
    pub proc_fd: Arc<OwnedFd>,
    /// Reads the processes in it.
    pub process_look: Arc<ProcessLook>,
    /// The ids on the host of the user that calls about files act as, if they differ from the server's.
    pub guest: Option<GuestIds>,
    /// Init's pid in the VM's `/proc`.
    pub init: i32,
    /// What the host holds for a VM until the VM has ended.
    pub host_side: Mutex<Option<HostSide>>,
    /// Whether `dispose` was called.
    pub disposing: AtomicBool,
    /// Whether everything in the VM must stand still.
    pub pausing: Pausing,
    ending: AtomicBool,
    next_shell: AtomicU64,
    /// How many tasks still have to emit an exit event.
    running: watch::Sender<usize>,
    ended: watch::Sender<bool>,
}

/// Held by the task of a running process or shell until its exit event is emitted.
pub(crate) struct RunningGuard(Arc<Shared>);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.0.running.send_modify(|count| *count -= 1);
    }
}

impl Shared {
    /// The state of a VM that has just booted. It counts on where `earlier` counts, whose place it takes, if it does. Must be
    /// called within the runtime.
    pub fn new(
        machine: Machine,
        isolation: Isolation,
        network: NetworkSight,
        replay_bytes: usize,
        events: Arc<dyn Events>,
        earlier: Option<&Self>,
    ) -> io::Result<Self> {
        let Machine {
            channel,
            proc_fd,
            helpers,
            users,
            enforcement,
            guest,
            host,
            ..
        } = machine;
        let proc_fd = Arc::new(proc_fd);
        let whole = isolation == Isolation::Namespaces;
        let init = if whole { 1 } else { host.pid() };
        Ok(Self {
            process_look: Arc::new(ProcessLook::new(Arc::clone(&proc_fd), init, whole)),
            control: Arc::new(Control::new(channel, helpers)?),
            users,
            events,
            replay_bytes,
            io_counters: earlier.map_or_else(Arc::default, |earlier| Arc::clone(&earlier.io_counters)),
            leftovers: earlier.map_or_else(
                || Arc::new(Leftovers::new()),
                |earlier| Arc::clone(&earlier.leftovers),
            ),
            traffic: earlier.map_or_else(Arc::default, |earlier| Arc::clone(&earlier.traffic)),
            meter: Meter::new(host.meters()),
            processes: Mutex::default(),
            shells: Mutex::default(),
            contexts: Mutex::default(),
            replay_budget: Mutex::default(),
            bounds: CallBounds::new(),
            screen_room: ScreenRoom::default(),
            screen_turns: Turns::new(),
            isolation,
            network,
            ports: PortWatch::new(),
            idle: IdleWatch::default(),
            enforcement,
            proc_fd,
            guest,
            init,
            host_side: Mutex::new(Some(host)),
            disposing: AtomicBool::new(false),
            pausing: Pausing::default(),
            ending: AtomicBool::new(false),
            next_shell: AtomicU64::new(1),
            running: watch::Sender::new(0),
            ended: watch::Sender::new(false),
        })
    }

    /// Takes over what is known of the ended processes and shells of `earlier`, in which nothing runs any more. Nothing has
    /// run in this one yet.
    pub fn take_over(&self, earlier: &Self) {
        self.control.continue_after(&earlier.control);
        let next = earlier.next_shell.load(Ordering::Relaxed);
        self.next_shell.store(next, Ordering::Relaxed);
        *self.processes.lock() = mem::take(&mut *earlier.processes.lock());
        *self.shells.lock() = mem::take(&mut *earlier.shells.lock());
        *self.replay_budget.lock() = mem::take(&mut *earlier.replay_budget.lock());
    }

    /// Counts a process or shell as running until the returned guard is dropped.
    pub fn running(self: &Arc<Self>) -> RunningGuard {
        self.running.send_modify(|count| *count += 1);
        RunningGuard(Arc::clone(self))
    }

    /// Waits until nothing counts as running.
    pub async fn until_nothing_runs(&self) {
        let mut running = self.running.subscribe();
        // An error would mean that `self` is gone.
        drop(running.wait_for(|count| *count == 0).await);
    }

    /// Whether nothing counts as running.
    pub fn runs_nothing(&self) -> bool {
        *self.running.borrow() == 0
    }

    /// A new name for a shell.
    pub fn next_shell(&self) -> ShellId {
        ShellId::new(self.next_shell.fetch_add(1, Ordering::Relaxed))
    }

    /// Records that the VM has begun to end, for any reason.
    pub fn begin_end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether the VM has begun to end. Calls that fail from then on fail for that reason.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Records that the VM's exit event was emitted.
    pub fn set_ended(&self) {
        self.ended.send_replace(true);
    }

    /// Whether the VM's exit event was emitted. The I/O thread emits it, and emits no event after it.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits until the VM's exit event was emitted.
    pub async fn until_ended(&self) {
        // An error would mean that `self` is gone.
        drop(self.ended.subscribe().wait_for(|ended| *ended).await);
    }
}
