//! Calls of the native class that pause and resume the VM.

use napi_derive::napi;

use crate::value::Value;
use crate::vm::{Answer, NativeVm};

#[napi]
impl NativeVm {
    /// Freezes everything that runs in the VM. Resolves when all of that is frozen.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn pause(&self, call: f64) -> Answer {
        self.ask(
            call,
            |vm| async move { vm.pause().await.map(|()| Value::Undefined) },
        )
    }

    /// Lets everything run again.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn resume(&self, call: f64) -> Answer {
        self.ask(
            call,
            |vm| async move { vm.resume().await.map(|()| Value::Undefined) },
        )
    }
}
