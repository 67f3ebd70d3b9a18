//! One init started ahead: making namespaces and starting a program takes as long as all the rest of a boot, and nothing in
//! it depends on what the VM is to be.
//!
//! When a VM has booted, an init for the next is started in the background; the next boot takes it. One that nobody has
//! taken within [`LINGER`] is given up, so that a server that makes no more VMs keeps nothing. It sees the host's mounts as
//! they were when it was started, which is another reason to keep it only briefly.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::launched::{Launched, Specification};
use crate::runtime;

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
    /// Waits for a thread. Nobody waits for that: whoever would may hold the thread.
    Queued,
    Starting(Specification),
    /// Starting, and one boot waits for it; another is quicker by itself.
    Awaited,
    Ready(Specification, Box<Launched>),
}

/// The spare, if there is one of that kind or one is about to be.
pub fn take(wanted: &Specification) -> Option<Launched> {
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
        Stage::Ready(_, launched) => Some(*launched),
        _ => None,
    }
}

/// Starts a spare in the background, unless there is one.
pub fn prepare(specification: Specification) {
    // Without a runtime there was no boot either.
    let Ok(runtime) = runtime::handle() else { return };
    let mut state = SPARE.lock();
    let replaced = match &state.stage {
        Stage::Queued | Stage::Starting(_) | Stage::Awaited => return,
        Stage::Ready(ready, _) if *ready == specification => return,
        _ => std::mem::replace(&mut state.stage, Stage::Queued),
    };
    state.generation += 1;
    let generation = state.generation;
    drop(state);
    drop(runtime.spawn_blocking(move || {
        drop(replaced);
        SPARE.lock().stage = Stage::Starting(specification.clone());
        // Whatever is wrong, the next boot will meet it and say so.
        let launched = Launched::start(&specification).ok();
        let started = launched.is_some();
        SPARE.lock().stage = launched.map_or(Stage::None, |launched| {
            Stage::Ready(specification, Box::new(launched))
        });
        STARTED.notify_all();
        if started {
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
