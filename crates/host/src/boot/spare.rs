//! One VM made ahead: what making it takes does not depend on what it is to do.
//!
//! When a VM has booted, the next is made in the background, as far as it can be known; the next boot takes it. One that
//! nobody has taken within [`LINGER`] is given up, so that a server that makes no more VMs keeps nothing. It sees the
//! host's files as they were when it was made, which is another reason to keep it only briefly, and why a VM that shows
//! directories of the server's choice is made ahead only as far as init's start.

use std::time::Duration;

use agent_vm_protocol::message::Isolation;
use parking_lot::{Condvar, Mutex};

use super::error::BootError;
use super::host_files;
use super::launched::{Launched, Specification};
use super::machine::Machine;
use super::options::{Network, Options};
use crate::runtime;

/// What kind of VM a spare can become.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    launch: Specification,
    /// What all VMs showed of the host's files when it was looked for.
    generation: u64,
    /// Everything that it will be except its environment, where it can be booted ahead.
    whole: Option<Box<Options>>,
}

impl Kind {
    /// The kind that `options` asks for.
    pub fn of(options: &Options) -> Self {
        let of_the_host = matches!(options.network, Network::Host)
            || options.rootfs.is_some()
            || options.home.is_some()
            || !options.host_files.etc.is_empty()
            || !options.mounts.is_empty();
        let whole = options.isolation == Isolation::Namespaces && !of_the_host;
        Self {
            launch: Specification::of(options),
            generation: if whole { host_files::generation() } else { 0 },
            whole: whole.then(|| {
                Box::new(Options {
                    env: Vec::new(),
                    ..options.clone()
                })
            }),
        }
    }
}

/// A VM as far as it is made.
#[derive(Debug)]
pub enum Spare {
    /// Its init waits for its boot request.
    Launched(Box<Launched>),
    /// It stands, and has no environment yet.
    Booted(Box<Machine>),
}

impl Spare {
    fn make(kind: &Kind) -> Result<Self, BootError> {
        let launched = Launched::start(&kind.launch)?;
        match &kind.whole {
            None => Ok(Self::Launched(Box::new(launched))),
            Some(options) => Ok(Self::Booted(Box::new(Machine::boot_ahead(launched, options)?))),
        }
    }

    /// Whether nobody has killed it meanwhile.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Launched(launched) => launched.init.is_alive(),
            Self::Booted(machine) => machine.host.init.is_alive(),
        }
    }
}

/// How long a spare is kept.
const LINGER: Duration = Duration::from_secs(5);

static SPARE: Mutex<State> = Mutex::new(State {
    stage: Stage::None,
    generation: 0,
});
static STARTED: Condvar = Condvar::new();

struct State {
    stage: Stage,
    /// Counts spares, so that one is not given up in place of an earlier one.
    generation: u64,
}

enum Stage {
    None,
    /// Waits for a thread. No caller waits for that: it might hold the thread.
    Queued,
    Starting(Kind),
    /// Starting, and one boot waits for it; another is quicker by itself.
    Awaited,
    Ready(Kind, Box<Spare>),
}

/// The spare, if there is one of that kind or one is about to be.
pub fn take(wanted: &Kind) -> Option<Spare> {
    let mut state = SPARE.lock();
    if matches!(&state.stage, Stage::Starting(starting) if starting == wanted) {
        state.stage = Stage::Awaited;
        while matches!(&state.stage, Stage::Awaited) {
            STARTED.wait(&mut state);
        }
    }
    match &state.stage {
        Stage::Ready(ready, _) if ready == wanted => {}
        _ => return None,
    }
    match std::mem::replace(&mut state.stage, Stage::None) {
        Stage::Ready(_, spare) => Some(*spare),
        _ => None,
    }
}

/// Starts a spare in the background, unless there is one.
pub fn prepare(kind: Kind) {
    // Without a runtime there was no boot either.
    let Ok(runtime) = runtime::handle() else { return };
    let mut state = SPARE.lock();
    let replaced = match &state.stage {
        Stage::Queued | Stage::Starting(_) | Stage::Awaited => return,
        Stage::Ready(ready, _) if *ready == kind => return,
        _ => std::mem::replace(&mut state.stage, Stage::Queued),
    };
    state.generation += 1;
    let generation = state.generation;
    drop(state);
    drop(runtime.spawn_blocking(move || {
        drop(replaced);
        SPARE.lock().stage = Stage::Starting(kind.clone());
        // Whatever is wrong, the next boot will meet it and say so.
        let spare = Spare::make(&kind).ok();
        let made = spare.is_some();
        SPARE.lock().stage = spare.map_or(Stage::None, |spare| Stage::Ready(kind, Box::new(spare)));
        STARTED.notify_all();
        if made {
            drop(runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                drop(tokio::task::spawn_blocking(move || give_up(generation)).await);
            }));
        }
    }));
}

fn give_up(generation: u64) {
    let mut state = SPARE.lock();
    // What follows a spare that was taken is another's.
    if state.generation != generation || !matches!(state.stage, Stage::Ready(..)) {
        return;
    }
    let spare = std::mem::replace(&mut state.stage, Stage::None);
    // Not under the lock: its end takes a moment.
    drop(state);
    drop(spare);
}
