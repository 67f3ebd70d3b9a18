//! The native class: thin methods that call the host crate's VM.
//!
//! The first parameter of every method is the number of its call. A method returns `[error, value]` if the answer is
//! known at once; otherwise it returns nothing, and the answer comes as a message with that number.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::sync::Arc;

use agent_vm_host::{Error, LocalArchives, Vm, VmSlot, doctor, remove_tree, runtime};
use napi::bindgen_prelude::Result;
use napi_derive::napi;

use crate::bridge::{Bridge, Dispatch};
use crate::number::named;
use crate::value::Value;
use crate::wire::{self, BootRequest, error_value};

/// An answer that is known at once; `None` if it comes as a message.
pub type Answer = Option<Value>;

/// The result of a host call.
pub type HostResult<T> = std::result::Result<T, Error>;

/// A VM: before, while and after it runs.
#[napi]
pub struct NativeVm {
    pub(crate) bridge: Bridge,
    pub(crate) slot: VmSlot,
    /// Archives of the host, which need no VM.
    pub(crate) local: LocalArchives,
}

#[napi]
impl NativeVm {
    /// A VM that is not booted yet. `dispatch` is called with every message.
    #[napi(constructor)]
    pub fn new(dispatch: Dispatch) -> Self {
        Self {
            bridge: Bridge::new(dispatch),
            slot: VmSlot::default(),
            local: LocalArchives::default(),
        }
    }

    /// Boots the VM, which begins with the snapshot with the id `from`, if there is one. Resolves to the mechanism that
    /// enforces each limit, as JSON.
    #[napi(ts_return_type = "Answer<Json<AgentVm[\"enforcement\"]>>")]
    pub fn boot(
        &self,
        call: f64,
        request: BootRequest,
        #[napi(ts_arg_type = "string | undefined")] from: Option<String>,
    ) -> Result<Answer> {
        let (options, replay_bytes) = request.into_host()?;
        let (bridge, slot) = (self.bridge.clone(), self.slot.clone());
        Ok(on_blocking_thread(move || {
            let booted = slot.boot(options, replay_bytes, Arc::new(bridge.clone()), from);
            bridge.settle(call, booted.map(wire::enforcement));
        }))
    }

    /// Probes the host. Resolves to the report as JSON.
    #[napi(ts_return_type = "Answer<Json<DoctorReport>>")]
    pub fn doctor(&self, call: f64, request: BootRequest) -> Result<Answer> {
        let (options, _) = request.into_host()?;
        let bridge = self.bridge.clone();
        Ok(on_blocking_thread(move || {
            let diagnosis = doctor::diagnose(&options);
            bridge.settle(call, Ok(wire::diagnosis(diagnosis)));
        }))
    }

    /// Removes a host directory and everything below it, whatever its depth. Resolves when it is gone.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn remove_tree(&self, call: f64, path: String) -> Answer {
        let bridge = self.bridge.clone();
        on_blocking_thread(move || {
            let removed = remove_tree(&path);
            bridge.settle(call, removed.map(|()| Value::Undefined));
        })
    }

    /// Aborts the exec or connection of that call: kills everything that the exec started, or gives up the connection.
    /// The call then rejects as aborted.
    #[napi]
    pub fn abort(&self, call: f64) {
        self.slot.abort(named(call));
    }

    /// Forgets how to abort that call, which has settled.
    #[napi]
    pub fn forget(&self, call: f64) {
        self.slot.forget(named(call));
    }

    /// What the VM uses and has used, as JSON.
    #[napi(ts_return_type = "Answer<Json<Usage>>")]
    pub fn usage(&self, call: f64) -> Answer {
        self.ask(call, |vm| async move {
            vm.usage().await.map(|usage| wire::usage(&usage))
        })
    }

    /// Kills everything in the VM. Resolves when all exit events have been emitted.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn dispose(&self, call: f64) -> Answer {
        self.ask(call, |vm| async move {
            vm.dispose().await;
            Ok(Value::Undefined)
        })
    }

    /// Init's pid on the host, while it runs.
    #[napi(getter)]
    pub fn init_pid(&self) -> Option<i32> {
        self.slot.init_pid()
    }

    /// An answer that is known at once.
    pub(crate) fn now(&self, answer: impl FnOnce(&Vm) -> HostResult<Value>) -> Value {
        known(self.slot.vm().and_then(|vm| answer(&vm)))
    }

    /// An answer that comes later, unless the VM does not run.
    pub(crate) fn ask<F>(&self, call: f64, question: impl FnOnce(Vm) -> F) -> Answer
    where
        F: Future<Output = HostResult<Value>> + Send + 'static,
    {
        match self.slot.vm() {
            Ok(vm) => self.later(call, question(vm)),
            Err(error) => Some(known(Err(error))),
        }
    }

    /// An answer that comes later.
    pub(crate) fn later(
        &self,
        call: f64,
        answer: impl Future<Output = HostResult<Value>> + Send + 'static,
    ) -> Answer {
        let bridge = self.bridge.clone();
        match runtime::handle() {
            Ok(runtime) => {
                drop(runtime.spawn(async move { bridge.settle(call, answer.await) }));
                None
            }
            Err(error) => Some(known(Err(Error::system(&error, "epoll_create")))),
        }
    }
}

/// Returns `[undefined, value]`, or `[error]`.
pub fn known(result: HostResult<Value>) -> Value {
    Value::List(match result {
        Ok(value) => vec![Value::Undefined, value],
        Err(error) => vec![error_value(&error)],
    })
}

pub(crate) fn on_blocking_thread(work: impl FnOnce() + Send + 'static) -> Answer {
    match runtime::handle() {
        Ok(runtime) => {
            drop(runtime.spawn_blocking(work));
            None
        }
        Err(error) => Some(known(Err(Error::system(&error, "epoll_create")))),
    }
}
