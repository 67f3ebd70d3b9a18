//! The prebooted VMs. Most of a boot does not depend on what the VM is for.
//!
//! When a VM has booted, the next one is made in the background, as far as its options can be predicted, and the next
//! boot takes it. If no boot takes it within [`LINGER`], it is ended, so that a server which makes no more VMs keeps
//! nothing. It shows the host's files in their state when it was made. This is another reason to keep it only briefly,
//! and to start only the init of a VM that shows directories chosen by the server. A root that the server chose is read again, and
//! must be what it was.

use std::time::Duration;

use agent_vm_protocol::message::Isolation;
use parking_lot::{Condvar, Mutex};

use super::directories::Rootfs;
use super::error::BootError;
use super::host_files;
use super::launched::{Launched, Specification};
use super::machine::Machine;
use super::options::{Network, Options};
use crate::runtime;

/// What a prebooted VM was made for. A boot takes it only if its own is equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Preboot {
    launch: Specification,
    /// The generation of the host's files that it shows.
    generation: u64,
    /// The root that the server chose, as it is now.
    rootfs: Option<Rootfs>,
    /// All its options except the environment, if it can be booted completely.
    whole: Option<Box<Options>>,
}

impl Preboot {
    /// The prebooted VM that a VM with these options would take.
    pub fn of(options: &Options) -> Self {
        let rootfs = options
            .rootfs
            .as_ref()
            .map(|path| Rootfs::open(path, options.ids.is_some()));
        // What a boot with such a root would report.
        let is_refused = matches!(rootfs, Some(Err(_)));
        let of_the_host = matches!(options.network, Network::Host)
            || is_refused
            || options.home.is_some()
            || options.disk.is_some()
            || !options.host_files.etc.is_empty()
            || !options.mounts.is_empty();
        let whole = options.isolation == Isolation::Namespaces && !of_the_host;
        Self {
            launch: Specification::of(options),
            generation: if whole { host_files::generation() } else { 0 },
            rootfs: rootfs
                .and_then(Result::ok)
                .map(|(rootfs, _)| rootfs)
                .filter(|_| whole),
            whole: whole.then(|| {
                Box::new(Options {
                    env: Vec::new(),
                    ..options.clone()
                })
            }),
        }
    }
}

impl Preboot {
    /// An init for any VM with such namespaces, ids and limits.
    pub fn bare(options: &Options) -> Self {
        Self {
            launch: Specification::of(options),
            generation: 0,
            rootfs: None,
            whole: None,
        }
    }
}

/// A prebooted VM, as far as it has been made.
#[derive(Debug)]
pub enum Prebooted {
    /// Its init waits for its boot request.
    Launched(Box<Launched>),
    /// It is complete except for its environment.
    Booted(Box<Machine>),
}

impl Prebooted {
    fn make(preboot: &Preboot) -> Result<Self, BootError> {
        let launched = Launched::start(&preboot.launch)?;
        match &preboot.whole {
            None => Ok(Self::Launched(Box::new(launched))),
            Some(options) => Ok(Self::Booted(Box::new(Machine::preboot(launched, options)?))),
        }
    }

    /// Whether it shows the root that it was to show: it may have changed before the VM was made.
    fn is_of(&self, rootfs: Option<&Rootfs>) -> bool {
        match self {
            Self::Launched(_) => true,
            Self::Booted(machine) => machine.rootfs() == rootfs,
        }
    }

    /// Whether its init runs: any process of the server's user may have killed it.
    fn is_alive(&self) -> bool {
        match self {
            Self::Launched(launched) => launched.init.is_alive(),
            Self::Booted(machine) => machine.host.init.is_alive(),
        }
    }
}

/// How long a prebooted VM is kept.
const LINGER: Duration = Duration::from_secs(5);

/// The VM for the next boot like the last one.
pub static LIKE_THE_LAST: Place = Place::new();

/// An init for the next boot over layers, which nobody can foresee: a snapshot adds one, a rollback goes back to others.
pub static OVER_LAYERS: Place = Place::new();

/// The place of a prebooted VM.
pub struct Place {
    state: Mutex<PrebootState>,
    started: Condvar,
}

struct PrebootState {
    stage: Stage,
    /// Counts prebooted VMs, so that the timer of an earlier one does not end a later one.
    generation: u64,
}

enum Stage {
    None,
    /// Waiting for a thread. No boot waits for that, because the boot itself may occupy the last free thread.
    Queued,
    Starting(Preboot),
    /// Starting, and one boot waits for it. Any other boot is faster without it.
    Awaited,
    Ready(Preboot, Box<Prebooted>),
}

impl Place {
    const fn new() -> Self {
        Self {
            state: Mutex::new(PrebootState {
                stage: Stage::None,
                generation: 0,
            }),
            started: Condvar::new(),
        }
    }

    /// Takes the prebooted VM, if it was made, or is being made, for `wanted`, and lives.
    pub fn take(&self, wanted: &Preboot) -> Option<Prebooted> {
        let mut state = self.state.lock();
        if matches!(&state.stage, Stage::Starting(starting) if starting == wanted) {
            state.stage = Stage::Awaited;
            while matches!(&state.stage, Stage::Awaited) {
                self.started.wait(&mut state);
            }
        }
        match &state.stage {
            Stage::Ready(ready, _) if ready == wanted => {}
            _ => return None,
        }
        match std::mem::replace(&mut state.stage, Stage::None) {
            Stage::Ready(_, prebooted) => Some(*prebooted).filter(Prebooted::is_alive),
            _ => None,
        }
    }

    /// Preboots a VM in the background, unless there is one or one is being made.
    pub fn prepare(&'static self, preboot: Preboot) {
        // Without a runtime, the boot has failed too.
        let Ok(runtime) = runtime::handle() else { return };
        let mut state = self.state.lock();
        let replaced = match &state.stage {
            Stage::Queued | Stage::Starting(_) | Stage::Awaited => return,
            Stage::Ready(ready, _) if *ready == preboot => return,
            _ => std::mem::replace(&mut state.stage, Stage::Queued),
        };
        state.generation += 1;
        let generation = state.generation;
        drop(state);
        drop(runtime.spawn_blocking(move || {
            drop(replaced);
            self.state.lock().stage = Stage::Starting(preboot.clone());
            // The next boot gets the same error and reports it.
            let prebooted = Prebooted::make(&preboot).ok();
            let prebooted = prebooted.filter(|made| made.is_of(preboot.rootfs.as_ref()));
            let made = prebooted.is_some();
            self.state.lock().stage = prebooted.map_or(Stage::None, |prebooted| {
                Stage::Ready(preboot, Box::new(prebooted))
            });
            self.started.notify_all();
            if made {
                drop(runtime.spawn(async move {
                    tokio::time::sleep(LINGER).await;
                    drop(tokio::task::spawn_blocking(move || self.end(generation)).await);
                }));
            }
        }));
    }

    /// Ends the prebooted VM of that generation, if no boot has taken it.
    fn end(&self, generation: u64) {
        let mut state = self.state.lock();
        // With another number, this VM was taken, and the current one is newer.
        if state.generation != generation || !matches!(state.stage, Stage::Ready(..)) {
            return;
        }
        let unused = std::mem::replace(&mut state.stage, Stage::None);
        // Without the lock, because ending it takes 0.2 ms.
        drop(state);
        drop(unused);
    }
}
