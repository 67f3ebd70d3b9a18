//! Calls of the native class that wait for what happens in the VM, and those about its ports.

#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::Abort;
use napi_derive::napi;

use crate::number::named;
use crate::value::Value;
use crate::vm::{Answer, NativeVm};
use crate::wire;

#[napi]
impl NativeVm {
    /// Resolves to the ports that processes listen on, as JSON.
    #[napi(ts_return_type = "Answer<Json<ListeningPort[]>>")]
    pub fn list_ports(&self, call: f64) -> Answer {
        self.ask(call, |vm| async move {
            let ports = vm.list_ports().await?;
            let list: Vec<_> = ports.iter().map(wire::listening_port).collect();
            Ok(Value::json(&list.into()))
        })
    }

    /// Resolves to the port, as JSON, when a process listens on it. A timeout of 0 means none. With `abortable`, `abort` can end
    /// the call until `forget`.
    #[napi(ts_return_type = "Answer<Json<ListeningPort>>")]
    pub fn wait_for_port(&self, call: f64, abortable: bool, port: u16, timeout: f64) -> Answer {
        let patience = wire::timeout(timeout, None, 0.0).map(|timeout| timeout.after);
        let abort = Abort::default();
        if abortable {
            self.slot.remember(named(call), abort.clone());
        }
        let answer = self.ask(call, move |vm| async move {
            let found = vm.wait_for_port(port, patience, &abort).await?;
            Ok(Value::json(&wire::listening_port(&found)))
        });
        if answer.is_some() {
            self.forget(call);
        }
        answer
    }

    /// Resolves when the program in a shell's foreground waits for input. `timeout` and `abortable` as for `wait_for_port`.
    #[napi(ts_return_type = "Answer<Json<null>>")]
    pub fn wait_for_idle(&self, call: f64, abortable: bool, shell: String, timeout: f64) -> Answer {
        let patience = wire::timeout(timeout, None, 0.0).map(|timeout| timeout.after);
        let abort = Abort::default();
        if abortable {
            self.slot.remember(named(call), abort.clone());
        }
        let answer = self.ask(call, move |vm| async move {
            vm.wait_for_idle(&shell, patience, &abort).await?;
            Ok(Value::json(&serde_json::Value::Null))
        });
        if answer.is_some() {
            self.forget(call);
        }
        answer
    }

    /// Begins or ceases to send messages about shells that wait.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn follow_shells(&self, _call: f64, on: bool) -> Value {
        self.now(|vm| {
            vm.follow_shells(on);
            Ok(Value::Undefined)
        })
    }

    /// Begins or ceases to send messages about ports.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn follow_ports(&self, _call: f64, on: bool) -> Value {
        self.now(|vm| {
            vm.follow_ports(on);
            Ok(Value::Undefined)
        })
    }
}
