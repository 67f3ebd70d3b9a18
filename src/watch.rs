//! Watches of files, of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{Abort, WatchFilesRequest};
use napi_derive::napi;

use crate::number::named;
use crate::value::Value;
use crate::vm::{Answer, NativeVm};
use crate::wire;

#[napi]
impl NativeVm {
    /// Watches a file or directory. Resolves to the number of the watch when everything is watched. With `abortable`, `abort` can
    /// end the call until `forget`.
    #[napi(ts_return_type = "Answer<number>")]
    pub fn watch(
        &self,
        call: f64,
        abortable: bool,
        path: String,
        recursive: bool,
        exclude: Vec<String>,
    ) -> Answer {
        let request = WatchFilesRequest {
            path,
            recursive,
            exclude: exclude.into_iter().collect(),
        };
        let abort = Abort::default();
        if abortable {
            self.slot.remember(named(call), abort.clone());
        }
        let answer = self.ask(call, move |vm| async move {
            let number = vm.watch(request, &abort).await?;
            Ok(Value::Number(number as f64))
        });
        if answer.is_some() {
            self.forget(call);
        }
        answer
    }

    /// Resolves to the next events of a watch as JSON, once there are some; to undefined at its end.
    #[napi(ts_return_type = "Answer<Json<WatchedChange[]> | undefined>")]
    pub fn take_watched(&self, call: f64, watch: f64) -> Answer {
        self.ask(call, move |vm| async move {
            let events = vm.take_watched(named(watch)).await?;
            Ok(events.map_or(Value::Undefined, |events| wire::watched(&events)))
        })
    }

    /// Ends a watch. It is no error if the VM has ended, which ends all watches.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn unwatch(&self, _call: f64, watch: f64) -> Value {
        self.now(|vm| {
            vm.unwatch(named(watch));
            Ok(Value::Undefined)
        })
    }
}
