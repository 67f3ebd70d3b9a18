//! Calls of the native class about the screens of shells.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{Abort, ScreenRequest};
use napi_derive::napi;

use crate::number::named;
use crate::value::Value;
use crate::vm::{Answer, NativeVm};
use crate::wire;

#[napi]
impl NativeVm {
    /// Sends what a shell's screen shows as a piece, and resolves to how the shell ended, if it has. With `after` or `resizes`,
    /// when the shell has written beyond that position, the terminal has been resized more often, or the shell has ended. With
    /// `abortable`, `abort` can end the call until `forget`.
    #[napi(ts_return_type = "Answer<ExitValues | undefined>")]
    pub fn read_screen(
        &self,
        call: f64,
        abortable: bool,
        shell: String,
        after: Option<f64>,
        resizes: Option<f64>,
    ) -> Answer {
        let abort = Abort::default();
        if abortable {
            self.slot.remember(named(call), abort.clone());
        }
        let request = ScreenRequest {
            shell,
            after: after.map(|after| after as u64),
            resizes: resizes.map(|resizes| resizes as u64),
        };
        let send = self.bridge.screen(call);
        let answer = self.ask(call, move |vm| async move {
            let exited = vm.read_screen(request, wire::screen, send, &abort).await?;
            Ok(exited.map_or(Value::Undefined, wire::status_value))
        });
        if answer.is_some() {
            self.forget(call);
        }
        answer
    }
}
