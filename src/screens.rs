//! Calls of the native class about the screens of shells.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::Abort;
use napi_derive::napi;

use crate::number::named;
use crate::vm::{Answer, NativeVm};
use crate::wire;

#[napi]
impl NativeVm {
    /// What a shell's screen shows; with `after`, when the shell has written beyond that position or has ended. With
    /// `abortable`, `abort` can end the call until `forget`.
    #[napi(ts_return_type = "Answer<ScreenValues>")]
    pub fn read_screen(&self, call: f64, abortable: bool, shell: String, after: Option<f64>) -> Answer {
        let abort = Abort::default();
        if abortable {
            self.slot.remember(named(call), abort.clone());
        }
        let answer = self.ask(call, move |vm| async move {
            let after = after.map(|after| after as u64);
            vm.read_screen(&shell, after, &abort)
                .await
                .map(wire::screen_value)
        });
        if answer.is_some() {
            self.forget(call);
        }
        answer
    }
}
