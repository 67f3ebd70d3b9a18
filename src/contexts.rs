//! Calls of the native class about contexts.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{ContextExec, ContextId, ContextRequest, KeptBytes};
use napi_derive::napi;

use crate::number::named;
use crate::value::Value;
use crate::vm::{Answer, HostResult, NativeVm, known};
use crate::wire::{self, ContextExecOptions, ContextOptions};

#[napi]
impl NativeVm {
    /// Makes a context. Settles with its name.
    #[napi(ts_return_type = "Answer<string>")]
    pub fn create_context(&self, call: f64, options: ContextOptions) -> Answer {
        let request = ContextRequest {
            shell: options.shell,
            cwd: options.cwd,
            env: options.env.unwrap_or_default(),
            user: options.user,
        };
        let bridge = self.bridge.clone();
        let on_context =
            move |id: HostResult<ContextId>| bridge.settle(call, id.map(|id| Value::text(id.to_string())));
        let made = self
            .slot
            .vm()
            .and_then(|vm| vm.create_context(request, Box::new(on_context)));
        made.err().map(|error| known(Err(error)))
    }

    /// Runs a command in a context. One that is `abortable` is remembered until `forget`.
    #[napi(ts_return_type = "Answer<never>")]
    pub fn exec_in_context(
        &self,
        call: f64,
        context: String,
        command: String,
        options: ContextExecOptions,
        abortable: bool,
    ) -> Answer {
        let exec = ContextExec {
            command,
            timeout: wire::timeout(options.timeout, None, 0.0).map(|timeout| timeout.after),
            kept: KeptBytes {
                head: options.head_bytes as usize,
                tail: options.tail_bytes as usize,
            },
            on_output: options.streams.then(|| self.bridge.exec_output(call)),
        };
        let begun = self
            .slot
            .vm()
            .and_then(|vm| vm.exec_in_context(&context, exec, self.bridge.exec_result(call, options.bytes)));
        match begun {
            Ok(abort) => {
                if abortable {
                    self.slot.remember(named(call), abort);
                }
                None
            }
            Err(error) => Some(known(Err(error))),
        }
    }

    /// Contexts, as JSON.
    #[napi(ts_return_type = "Answer<Json<ContextSummary[]>>")]
    pub fn list_contexts(&self, _call: f64) -> Value {
        self.now(|vm| {
            let list: Vec<_> = vm.list_contexts().iter().map(wire::context_summary).collect();
            Ok(Value::json(&list.into()))
        })
    }

    /// One context, as JSON.
    #[napi(ts_return_type = "Answer<Json<Omit<ContextInfo, \"env\"> & { env: Pairs }>>")]
    pub fn get_context(&self, call: f64, context: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.get_context(&context).await.map(|info| wire::context(&info))
        })
    }

    /// Ends what runs in a context, and makes it what it was at first.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn reset_context(&self, call: f64, context: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.reset_context(&context).await.map(|()| Value::Undefined)
        })
    }

    /// Ends a context.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn delete_context(&self, call: f64, context: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.delete_context(&context).await.map(|()| Value::Undefined)
        })
    }
}
