//! Holds a VM for a caller that asks for it before it boots, and may keep the slot after the VM has ended.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Vm;
use crate::abort::Abort;
use crate::boot::{Enforcement, Options};
use crate::error::Error;
use crate::events::{Event, Events};

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
}

/// Forwards events, and empties the slot after the last one.
struct SlotEvents {
    events: Arc<dyn Events>,
    slot: Weak<SlotState>,
}

impl Events for SlotEvents {
    fn emit(&self, event: Event) {
        let is_last = matches!(event, Event::Exit { .. });
        self.events.emit(event);
        if is_last && let Some(slot) = self.slot.upgrade() {
            let vm = {
                let mut content = slot.content.lock();
                content.has_ended = true;
                content.vm.take()
            };
            // Dropped without holding the lock.
            drop(vm);
        }
    }
}

impl VmSlot {
    /// Boots a VM into the slot, like [`Vm::boot`].
    pub fn boot(
        &self,
        options: &Options,
        replay_bytes: usize,
        events: Arc<dyn Events>,
    ) -> Result<Enforcement, Error> {
        let slot = Arc::downgrade(&self.shared);
        let vm = Vm::boot(options, replay_bytes, Arc::new(SlotEvents { events, slot }))?;
        let enforcement = vm.enforcement();
        let mut content = self.shared.content.lock();
        if !content.has_ended {
            content.vm = Some(vm);
        }
        Ok(enforcement)
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
