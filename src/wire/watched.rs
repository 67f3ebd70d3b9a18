//! The events of a watch, for JavaScript.

use agent_vm_host::WatchEvent;
use serde_json::json;

use crate::value::Value;

/// A list of `WatchedChange`: `[type, path, from or code]`.
pub fn watched(events: &[WatchEvent]) -> Value {
    let list: Vec<_> = events
        .iter()
        .map(|event| match event {
            WatchEvent::Created(path) => json!(["created", &**path]),
            WatchEvent::Changed(path) => json!(["changed", &**path]),
            WatchEvent::Removed(path) => json!(["removed", &**path]),
            WatchEvent::Renamed { from, to } => json!(["renamed", &**to, &**from]),
            WatchEvent::Overflow(path) => json!(["overflow", &**path]),
            WatchEvent::Unwatched { path, code } => json!(["unwatched", &**path, code]),
        })
        .collect();
    Value::json(&list.into())
}
