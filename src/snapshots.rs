//! Calls of the native class about snapshots.

use std::time::UNIX_EPOCH;

use agent_vm_host::{VmSnapshot, snapshots};
use napi::bindgen_prelude::Result;
use napi_derive::napi;
use serde_json::json;

use crate::value::Value;
use crate::vm::{Answer, NativeVm, known, on_blocking_thread};
use crate::wire::BootRequest;

#[napi]
impl NativeVm {
    /// Makes a snapshot of the VM, hidden from `listSnapshots` or not. If nothing runs in the VM and no calls are `pending`, a VM
    /// for `request` that begins with it takes the VM's place. No other call of the VM may be made meanwhile. Resolves to the snapshot,
    /// as JSON.
    #[napi(ts_return_type = "Answer<Json<Snapshot>>")]
    pub fn snapshot(
        &self,
        call: f64,
        request: BootRequest,
        #[napi(ts_arg_type = "string | undefined")] name: Option<String>,
        hidden: bool,
        pending: bool,
    ) -> Result<Answer> {
        let (options, replay_bytes) = request.into_host()?;
        let (bridge, slot) = (self.bridge.clone(), self.slot.clone());
        Ok(on_blocking_thread(move || {
            let made = slot.snapshot(options, replay_bytes, name, hidden, pending);
            bridge.settle(call, made.map(|snapshot| Value::json(&described(&snapshot))));
        }))
    }

    /// Has a VM that begins with that snapshot take the VM's place, in the same way; with `kill` whatever runs.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn roll_back(&self, call: f64, request: BootRequest, id: String, kill: bool) -> Result<Answer> {
        let (options, replay_bytes) = request.into_host()?;
        let (bridge, slot) = (self.bridge.clone(), self.slot.clone());
        Ok(on_blocking_thread(move || {
            let done = slot.roll_back(options, replay_bytes, &id, kill);
            bridge.settle(call, done.map(|()| Value::Undefined));
        }))
    }

    /// The snapshots of this server, the oldest first, as JSON.
    #[napi(ts_return_type = "Answer<Json<Snapshot[]>>")]
    #[allow(clippy::unused_self, reason = "it is called like the others")]
    pub fn list_snapshots(&self, _call: f64) -> Value {
        let all = snapshots().list();
        let all: Vec<_> = all.iter().map(|snapshot| described(snapshot)).collect();
        known(Ok(Value::json(&json!(all))))
    }

    /// Forgets the snapshot with that id. Resolves to whether there was one, when the memory of its files is free, unless a
    /// VM or another snapshot needs them.
    #[napi(ts_return_type = "Answer<boolean>")]
    pub fn remove_snapshot(&self, call: f64, id: String) -> Answer {
        let bridge = self.bridge.clone();
        on_blocking_thread(move || bridge.settle(call, Ok(Value::Bool(snapshots().remove(&id)))))
    }
}

fn described(snapshot: &VmSnapshot) -> serde_json::Value {
    let created = snapshot.created_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "id": snapshot.id,
        "parent": snapshot.parent,
        "name": snapshot.name,
        "bytes": snapshot.bytes,
        "createdAt": created.as_millis() as u64,
    })
}
