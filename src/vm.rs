//! The native class: thin methods over the host's VM.
//!
//! Every method takes the number of its call first. It returns `[error, value]` where the answer is known at once, and
//! nothing where it will come as a message with that number.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::sync::Arc;

use agent_vm_host::{Error, Vm, VmSlot, doctor, remove_tree, runtime};
use napi::bindgen_prelude::Result;
use napi_derive::napi;

use crate::bridge::{Bridge, Dispatch};
use crate::value::Value;
use crate::wire::{self, BootRequest, error_value};

/// An answer that is known at once.
pub type Answer = Option<Value>;

/// The result of a host call.
pub type HostResult<T> = std::result::Result<T, Error>;

/// A VM, from the moment it is asked for.
#[napi]
pub struct NativeVm {
    pub(crate) bridge: Bridge,
    pub(crate) slot: VmSlot,
}

#[napi]
impl NativeVm {
    /// One that is not booted. `dispatch` is called with every message.
    #[napi(constructor)]
    pub fn new(dispatch: Dispatch) -> Self {
        Self {
            bridge: Bridge::new(dispatch),
            slot: VmSlot::default(),
        }
    }

    /// Boots it. Settles with what holds each limit, as JSON.
    #[napi(ts_return_type = "Answer<Json<AgentVm[\"enforcement\"]>>")]
    pub fn boot(&self, call: f64, request: BootRequest) -> Result<Answer> {
        let (options, replay_bytes) = request.into_host()?;
        let (bridge, slot) = (self.bridge.clone(), self.slot.clone());
        Ok(on_blocking_thread(move || {
            let booted = slot.boot(&options, replay_bytes, Arc::new(bridge.clone()));
            bridge.settle(call, booted.map(wire::enforcement));
        }))
    }

    /// Looks at the host. Settles with JSON.
    #[napi(ts_return_type = "Answer<Json<DoctorReport>>")]
    pub fn doctor(&self, call: f64, request: BootRequest) -> Result<Answer> {
        let (options, _) = request.into_host()?;
        let bridge = self.bridge.clone();
        Ok(on_blocking_thread(move || {
            let diagnosis = doctor::diagnose(&options);
            bridge.settle(call, Ok(wire::diagnosis(diagnosis)));
        }))
    }

    /// Removes a directory on the host with everything below it, however deep. Settles when it is gone.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn remove_tree(&self, call: f64, path: String) -> Answer {
        let bridge = self.bridge.clone();
        on_blocking_thread(move || {
            let removed = remove_tree(&path);
            bridge.settle(call, removed.map(|()| Value::Undefined));
        })
    }

    /// Aborts the exec or connection of that number: everything that the exec started is killed, the connection is given up. The
    /// call settles as aborted.
    #[napi]
    pub fn abort(&self, call: f64) {
        self.slot.abort(call as u64);
    }

    /// Forgets how to abort the call of that number, which has settled.
    #[napi]
    pub fn forget(&self, call: f64) {
        self.slot.forget(call as u64);
    }

    /// Bytes that everything inside was given and has written, and the streams that were closed at a bound: `[in, out, cut]`.
    #[napi(ts_return_type = "Answer<IoStats>")]
    pub fn io_stats(&self, _call: f64) -> Value {
        self.now(|vm| Ok(wire::io_stats(vm.io_stats())))
    }

    /// Kills everything inside. Settles when all exit events are emitted.
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

    /// An answer that comes later, unless there is no VM.
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

/// `[undefined, value]`, or `[error]`.
pub fn known(result: HostResult<Value>) -> Value {
    Value::List(match result {
        Ok(value) => vec![Value::Undefined, value],
        Err(error) => vec![error_value(&error)],
    })
}

fn on_blocking_thread(work: impl FnOnce() + Send + 'static) -> Answer {
    match runtime::handle() {
        Ok(runtime) => {
            drop(runtime.spawn_blocking(work));
            None
        }
        Err(error) => Some(known(Err(Error::system(&error, "epoll_create")))),
    }
}
