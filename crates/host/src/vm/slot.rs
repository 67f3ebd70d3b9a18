//! Holds a VM for a caller that asks for it before it boots, and may keep the slot after the VM has ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use agent_vm_layers::{Layers, NewSnapshot};
use parking_lot::Mutex;

use super::Vm;
use super::snapshot::{self, Running, VmSnapshot, Written, snapshots};
use crate::abort::Abort;
use crate::boot::{Enforcement, Options};
use crate::error::Error;
use crate::events::{Event, Events};
use crate::runtime;

/// Empty until its VM has booted, and again after that VM's exit event was emitted: the VM's descriptors are closed
/// then, even if the slot still exists. Also stores how to abort the VM's calls. Cheap to clone.
#[derive(Clone, Default)]
pub struct VmSlot {
    shared: Arc<SlotState>,
}

#[derive(Default)]
struct SlotState {
    content: Mutex<SlotContent>,
    aborts: Mutex<HashMap<u64, Abort>>,
}

#[derive(Default)]
struct SlotContent {
    vm: Option<Vm>,
    /// Whether the VM's exit event was emitted, which may happen before `boot` returns.
    has_ended: bool,
    /// How its VM was booted.
    origin: Option<Arc<Origin>>,
    /// Whether its VM is the one whose end is the slot's: false once another one has taken its place.
    counts: Option<Arc<AtomicBool>>,
}

/// What another VM must know to take the place of the one in the slot.
struct Origin {
    events: Arc<dyn Events>,
    /// The layers below the VM.
    layers: Layers,
    /// The snapshot that it descends from.
    snapshot: Option<String>,
}

impl Origin {
    /// That of a VM over a snapshot which takes the place of this one.
    fn over(&self, snapshot: &VmSnapshot) -> Self {
        Self {
            events: Arc::clone(&self.events),
            layers: snapshot.layers.clone(),
            snapshot: snapshot.as_parent().map(str::to_owned),
        }
    }
}

/// Forwards events, and empties the slot after the last one.
struct SlotEvents {
    events: Arc<dyn Events>,
    slot: Weak<SlotState>,
    /// Whether the end of the VM whose events these are is an event: not before it is in the slot, nor after another one has
    /// taken its place.
    counts: Arc<AtomicBool>,
}

impl Events for SlotEvents {
    fn emit(&self, event: Event) {
        let is_last = matches!(event, Event::Exit { .. });
        if is_last && !self.counts.load(Ordering::Relaxed) {
            return;
        }
        self.events.emit(event);
        if is_last && let Some(slot) = self.slot.upgrade() {
            let ended = {
                let mut content = slot.content.lock();
                content.has_ended = true;
                (content.vm.take(), content.origin.take())
            };
            // Dropped without holding the lock.
            drop(ended);
        }
    }
}

/// A VM that is not in the slot yet.
struct Booted {
    vm: Vm,
    counts: Arc<AtomicBool>,
}

impl SlotContent {
    /// The end of the VM in the slot is no event from now on.
    fn discount(&self) {
        if let Some(counts) = &self.counts {
            counts.store(false, Ordering::Relaxed);
        }
    }

    /// Puts a VM into the slot. Returns what was there, to be dropped without the lock.
    fn put(&mut self, booted: Booted, origin: Origin) -> (Option<Vm>, Option<Arc<Origin>>) {
        self.discount();
        self.counts = Some(booted.counts);
        (self.vm.replace(booted.vm), self.origin.replace(Arc::new(origin)))
    }
}

impl VmSlot {
    /// Boots a VM into the slot, like [`Vm::boot`]. It begins with the snapshot with the id `from`, if there is one.
    pub fn boot(
        &self,
        mut options: Options,
        replay_bytes: usize,
        events: Arc<dyn Events>,
        from: Option<String>,
    ) -> Result<Enforcement, Error> {
        let from = from.map(|id| snapshot::find(&id)).transpose()?;
        let origin = Origin {
            events,
            layers: from
                .as_ref()
                .map(|snapshot| snapshot.layers.clone())
                .unwrap_or_default(),
            snapshot: from
                .as_ref()
                .and_then(|snapshot| snapshot.as_parent().map(str::to_owned)),
        };
        options.layers = origin.layers.clone();
        let booted = self.boot_one(&options, replay_bytes, &origin.events, None, true)?;
        if let Some(snapshot) = from {
            booted.vm.restore_contexts(&snapshot.state, 0);
        }
        let enforcement = booted.vm.enforcement();
        let mut content = self.shared.content.lock();
        if !content.has_ended {
            content.put(booted, origin);
        }
        Ok(enforcement)
    }

    fn boot_one(
        &self,
        options: &Options,
        replay_bytes: usize,
        events: &Arc<dyn Events>,
        earlier: Option<&Vm>,
        counts: bool,
    ) -> Result<Booted, Error> {
        let counts = Arc::new(AtomicBool::new(counts));
        let events = SlotEvents {
            events: Arc::clone(events),
            slot: Arc::downgrade(&self.shared),
            counts: Arc::clone(&counts),
        };
        let vm = Vm::boot_after(options, replay_bytes, Arc::new(events), earlier)?;
        Ok(Booted { vm, counts })
    }

    /// Makes a snapshot of the VM. If nothing runs in it, a VM with these options that begins with the snapshot takes its place,
    /// unless calls are `pending` that need the one that is there. The caller makes no other call of the VM until this one is over.
    /// Blocks for about a millisecond, or for as long as it takes to copy what the VM has written.
    pub fn snapshot(
        &self,
        options: Options,
        replay_bytes: usize,
        name: Option<String>,
        hidden: bool,
        pending: bool,
    ) -> Result<Arc<VmSnapshot>, Error> {
        let (vm, origin) = self.current()?;
        vm.require_closed_files("snapshot")?;
        let running = vm.what_runs()?;
        let is_paused = vm.require_running().is_err();
        let stays = pending || is_paused || !matches!(running, Running::Nothing);
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        let state = runtime.block_on(vm.saved_contexts());
        let written = runtime.block_on(async {
            let is_still = match running {
                Running::Nothing => true,
                // The next command of a context may be among the pending calls.
                Running::Still(_) => !pending,
                Running::Programs(_) => false,
            };
            if is_still && !is_paused {
                return vm.written(&options, &origin.layers, stays).await;
            }
            let frozen = vm.freeze_meanwhile().await?;
            let written = vm.written(&options, &origin.layers, true).await;
            frozen.thaw().await?;
            written
        })?;
        let is_new = written.is_some();
        let Written { layers, bytes } = written.unwrap_or_else(|| Written {
            layers: origin.layers.clone(),
            bytes: 0,
        });
        let new = NewSnapshot {
            parent: origin.snapshot.clone(),
            name,
            hidden,
            layers,
            bytes,
            state,
        };
        let snapshot = snapshots()
            .make(new)
            .map_err(|error| Error::LimitExceeded(error.to_string()))?;
        if is_new && !stays {
            self.replace(options, replay_bytes, &vm, &snapshot, &origin, false)?;
        } else {
            let snapshot = snapshot.as_parent().map(str::to_owned);
            self.shared.content.lock().origin = Some(Arc::new(Origin {
                events: Arc::clone(&origin.events),
                layers: origin.layers.clone(),
                snapshot,
            }));
        }
        // Only now that nothing writes to its newest layer any more.
        Ok(snapshots().keep(snapshot))
    }

    /// Has a VM with these options that begins with the snapshot with that id take the VM's place. What runs in the VM is
    /// killed if `kill`; else nothing may run in it. The caller makes no other call of the VM until this one is over.
    pub fn roll_back(
        &self,
        options: Options,
        replay_bytes: usize,
        id: &str,
        kill: bool,
    ) -> Result<(), Error> {
        let (vm, origin) = self.current()?;
        let snapshot = snapshot::find(id)?;
        if !kill {
            vm.require_idle("rollback")?;
        }
        self.replace(options, replay_bytes, &vm, &snapshot, &origin, kill)
    }

    fn current(&self) -> Result<(Vm, Arc<Origin>), Error> {
        let content = self.shared.content.lock();
        content
            .vm
            .clone()
            .zip(content.origin.clone())
            .ok_or(Error::Disposed)
    }

    /// Boots a VM that begins with the snapshot, and puts it into the slot. Waits for the end of the `earlier` one if something
    /// `ends` with it.
    fn replace(
        &self,
        mut options: Options,
        replay_bytes: usize,
        earlier: &Vm,
        snapshot: &VmSnapshot,
        before: &Origin,
        ends: bool,
    ) -> Result<(), Error> {
        let origin = before.over(snapshot);
        options.layers = origin.layers.clone();
        let Booted { vm, counts } =
            self.boot_one(&options, replay_bytes, &origin.events, Some(earlier), false)?;
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        // In this order: if it ends now or later, that is an event.
        counts.store(true, Ordering::SeqCst);
        if vm.shared().is_ending() {
            counts.store(false, Ordering::SeqCst);
            return Err(Error::Disposed);
        }
        if ends {
            // Only now that there is another one. Its processes report their ends.
            self.shared.content.lock().discount();
            let used = runtime.block_on(earlier.usage());
            runtime.block_on(earlier.dispose());
            if let Ok(used) = used {
                let meter = &vm.shared().meter;
                meter.count_on(used.cpu_ms, used.peak_processes, used.peak_memory_bytes);
            }
        }
        vm.shared().take_over(earlier.shared());
        let made = earlier.shared().contexts.lock().made();
        vm.restore_contexts(&snapshot.state, made);
        let weak = Arc::downgrade(vm.shared());
        let was_there = {
            let mut content = self.shared.content.lock();
            if content.has_ended {
                return Err(Error::Disposed);
            }
            content.put(Booted { vm, counts }, origin)
        };
        if !ends {
            let earlier = earlier.clone();
            // It ends when it has told what it used.
            drop(runtime.spawn(async move {
                let used = earlier.usage().await;
                if let (Ok(used), Some(shared)) = (used, weak.upgrade()) {
                    let meter = &shared.meter;
                    meter.count_on(used.cpu_ms, used.peak_processes, used.peak_memory_bytes);
                }
            }));
        }
        drop(was_there);
        Ok(())
    }

    /// The VM.
    ///
    /// # Errors
    /// [`Error::Disposed`] while the slot is empty.
    pub fn vm(&self) -> Result<Vm, Error> {
        self.shared.content.lock().vm.clone().ok_or(Error::Disposed)
    }

    /// Init's pid on the host, while the VM runs.
    #[must_use]
    pub fn init_pid(&self) -> Option<i32> {
        self.shared.content.lock().vm.as_ref().and_then(Vm::init_pid)
    }

    /// Stores how to abort the call of that number, until [`forget`](Self::forget).
    pub fn remember(&self, call: u64, abort: Abort) {
        self.shared.aborts.lock().insert(call, abort);
    }

    /// Aborts the call of that number, if it is known.
    pub fn abort(&self, call: u64) {
        if let Some(abort) = self.shared.aborts.lock().get(&call) {
            abort.abort();
        }
    }

    /// Forgets how to abort the call of that number, which has settled.
    pub fn forget(&self, call: u64) {
        self.shared.aborts.lock().remove(&call);
    }
}
