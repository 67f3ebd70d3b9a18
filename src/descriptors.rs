//! Calls of the native class about the pipes of a process beside its standard streams.

use napi_derive::napi;

use crate::run::process_id;
use crate::value::Value;
use crate::vm::{Answer, NativeVm};
use crate::wire::replay_value;

#[napi]
impl NativeVm {
    /// The kept output of a pipe.
    #[napi(ts_return_type = "Answer<Replay>")]
    pub fn read_descriptor(&self, _call: f64, pid: u32, number: u8, after: f64, start: Option<f64>) -> Value {
        let id = process_id(pid, start);
        self.now(|vm| vm.read_descriptor(id, number, after as u64).map(replay_value))
    }

    /// Writes to a pipe.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_descriptor(
        &self,
        call: f64,
        pid: u32,
        number: u8,
        data: &[u8],
        start: Option<f64>,
    ) -> Answer {
        let id = process_id(pid, start);
        let written = self
            .slot
            .vm()
            .and_then(|vm| vm.write_descriptor(id, number, data));
        self.written(call, written)
    }

    /// Closes a pipe that the process reads, after everything that was written to it.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn close_descriptor_input(&self, _call: f64, pid: u32, number: u8, start: Option<f64>) -> Value {
        let id = process_id(pid, start);
        self.now(|vm| vm.close_descriptor_input(id, number).map(|()| Value::Undefined))
    }

    /// Pauses or resumes the reading of a pipe.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn pause_descriptor(
        &self,
        _call: f64,
        pid: u32,
        number: u8,
        paused: bool,
        start: Option<f64>,
    ) -> Value {
        let id = process_id(pid, start);
        self.now(|vm| vm.pause_descriptor(id, number, paused).map(|()| Value::Undefined))
    }

    /// Resolves when everything of a pipe has been emitted.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn descriptor_ended(&self, call: f64, pid: u32, number: u8, start: Option<f64>) -> Answer {
        let id = process_id(pid, start);
        self.ask(call, move |vm| async move {
            vm.descriptor_ended(id, number).await.map(|()| Value::Undefined)
        })
    }
}
