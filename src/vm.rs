//! The native class: thin methods over the host's VM.
//!
//! Every method takes the number of its call first. It returns `[error, value]` where the answer is known at once, and
//! nothing where it will come as a message with that number, [`Settled`](crate::message::MessageKind) or the like.
//!
//! A program and its arguments come as `words`: one string, in which NULs stand between them.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use agent_vm_host::{
    Abort, Error, Event, Events, Exec, ExecResult, OnOutput, ShellRequest, SpawnRequest, Taken, Vm, Write,
    doctor, remove_tree, runtime, shell_name,
};
use napi::Status as NapiStatus;
use napi::bindgen_prelude::{Result, Uint8Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::json;
use crate::message::{Message, Value, error_value, replay_value};
use crate::options::{CreateOptions, RunOptions};

/// Weak: it does not keep Node.js alive. `index.js` holds the process while calls are pending or processes run.
type Dispatch = ThreadsafeFunction<Message, (), Message, NapiStatus, false, true, 0>;

/// An answer that is known at once.
pub type Answer = Option<Value>;

#[derive(Clone)]
struct Bridge {
    dispatch: Arc<Dispatch>,
}

impl Bridge {
    fn tell(&self, message: Message) {
        // The queue has no bound of its own: output is bounded by its streams, one chunk of each, and the rest by the calls
        // and processes there are. A status other than ok says that JavaScript is gone, and with it who would listen.
        let _status = self
            .dispatch
            .call(message, ThreadsafeFunctionCallMode::NonBlocking);
    }

    fn settle(&self, call: f64, result: std::result::Result<Value, Error>) {
        self.tell(Message::Settled { call, result });
    }
}

/// Passes events on, and lets go of the VM at its end: its descriptors would otherwise wait for the garbage collector.
struct VmEvents {
    bridge: Bridge,
    vm: Weak<Mutex<Option<Vm>>>,
}

impl Events for VmEvents {
    fn emit(&self, event: Event) {
        let ended = matches!(event, Event::Exit { .. });
        self.bridge.tell(Message::Event(event));
        if ended && let Some(slot) = self.vm.upgrade() {
            let vm = slot.lock().take();
            // Not under the lock.
            drop(vm);
        }
    }
}

/// A VM, from the moment it is asked for.
#[napi]
pub struct NativeVm {
    bridge: Bridge,
    vm: Arc<Mutex<Option<Vm>>>,
    aborts: Mutex<HashMap<u64, Abort>>,
}

#[napi]
impl NativeVm {
    /// One that is not booted. `dispatch` is called with every message.
    #[napi(constructor)]
    pub fn new(dispatch: Dispatch) -> Self {
        Self {
            bridge: Bridge {
                dispatch: Arc::new(dispatch),
            },
            vm: Arc::default(),
            aborts: Mutex::default(),
        }
    }

    /// Boots it. Settles with what holds each limit, as JSON.
    #[napi]
    pub fn boot(&self, call: f64, options: String) -> Result<Answer> {
        let (options, replay_bytes) = parse::<CreateOptions>(&options)?.into_host();
        let (bridge, slot) = (self.bridge.clone(), Arc::clone(&self.vm));
        Ok(on_blocking_thread(move || {
            let events = VmEvents {
                bridge: bridge.clone(),
                vm: Arc::downgrade(&slot),
            };
            let booted = Vm::boot(&options, replay_bytes, Arc::new(events));
            let result = booted.map(|vm| {
                let enforcement = json::enforcement(vm.enforcement());
                *slot.lock() = Some(vm);
                Value::json(&enforcement)
            });
            bridge.settle(call, result);
        }))
    }

    /// Looks at the host. Settles with JSON.
    #[napi]
    pub fn doctor(&self, call: f64, options: String) -> Result<Answer> {
        let (options, _) = parse::<CreateOptions>(&options)?.into_host();
        let bridge = self.bridge.clone();
        Ok(on_blocking_thread(move || {
            let diagnosis = doctor::diagnose(&options);
            bridge.settle(call, Ok(Value::json(&json::diagnosis(diagnosis))));
        }))
    }

    /// Removes a directory of the server's own with everything below it, however deep. Settles when it is gone.
    #[napi]
    pub fn remove_tree(&self, call: f64, path: String) -> Answer {
        let bridge = self.bridge.clone();
        on_blocking_thread(move || {
            let removed = remove_tree(&path);
            bridge.settle(call, removed.map(|()| Value::Undefined));
        })
    }

    /// Runs a command from start to end. One that is `abortable` is remembered until `forget`.
    #[napi]
    pub fn exec(
        &self,
        call: f64,
        words: String,
        options: Option<String>,
        stdin: Option<Uint8Array>,
        abortable: bool,
    ) -> Result<Answer> {
        let options: RunOptions = options.as_deref().map(parse).transpose()?.unwrap_or_default();
        let vm = match self.vm() {
            Ok(vm) => vm,
            Err(answer) => return Ok(Some(answer)),
        };
        let bridge = self.bridge.clone();
        let on_output: Option<OnOutput> = options.streams().then(|| {
            let bridge = bridge.clone();
            Box::new(move |stream, data, taken| {
                bridge.tell(Message::ExecOutput {
                    call,
                    stream,
                    data,
                    taken,
                });
            }) as OnOutput
        });
        let exec = Exec {
            stdin: stdin.map(|bytes| bytes.to_vec()).unwrap_or_default(),
            timeout: options.timeout(),
            max_output_bytes: options.max_output_bytes(),
            on_output,
            program: options.into_program(&words),
        };
        let on_result = Box::new(
            move |result: std::result::Result<ExecResult, Error>| match result {
                Ok(result) => bridge.tell(Message::ExecEnded { call, result }),
                Err(error) => bridge.settle(call, Err(error)),
            },
        );
        let abort = vm.exec(exec, on_result);
        if abortable {
            self.remember(call, abort);
        }
        Ok(None)
    }

    /// Kills everything that the exec of that number started, or gives up that connection; it settles as aborted.
    #[napi]
    pub fn abort(&self, call: f64) {
        if let Some(abort) = self.aborts.lock().get(&(call as u64)) {
            abort.abort();
        }
    }

    /// Forgets how to abort the call of that number, which has settled.
    #[napi]
    pub fn forget(&self, call: f64) {
        self.aborts.lock().remove(&(call as u64));
    }

    /// Starts a process. Settles with its pid.
    #[napi]
    pub fn spawn(
        &self,
        call: f64,
        words: String,
        options: String,
        stdin: Option<Uint8Array>,
    ) -> Result<Answer> {
        let options: RunOptions = parse(&options)?;
        let vm = match self.vm() {
            Ok(vm) => vm,
            Err(answer) => return Ok(Some(answer)),
        };
        let bridge = self.bridge.clone();
        let request = SpawnRequest {
            stdin: stdin.map(|bytes| bytes.to_vec()).unwrap_or_default(),
            timeout: options.timeout(),
            program: options.into_program(&words),
        };
        vm.spawn(
            request,
            Box::new(move |pid| bridge.settle(call, pid.map(|pid| Value::Number(f64::from(pid))))),
        );
        Ok(None)
    }

    /// Opens a shell. Settles with its name.
    #[napi]
    pub fn open_shell(&self, call: f64, words: String, options: String) -> Result<Answer> {
        let options: RunOptions = parse(&options)?;
        let vm = match self.vm() {
            Ok(vm) => vm,
            Err(answer) => return Ok(Some(answer)),
        };
        let bridge = self.bridge.clone();
        let (cols, rows) = options.size();
        let request = ShellRequest {
            cols,
            rows,
            program: options.into_program(&words),
        };
        vm.open_shell(
            request,
            Box::new(move |id| bridge.settle(call, id.map(|id| Value::text(shell_name(id))))),
        );
        Ok(None)
    }

    /// Writes to a process's standard input.
    #[napi]
    pub fn write_process_stdin(&self, call: f64, pid: u32, data: &[u8]) -> Answer {
        self.write(call, |vm| vm.write_stdin(pid, data), Error::StdinClosed(pid))
    }

    /// Writes to a shell.
    #[napi]
    pub fn write_shell(&self, call: f64, shell: String, data: &[u8]) -> Answer {
        let gone = Error::ShellNotFound(shell.clone());
        self.write(call, |vm| vm.write_shell(shell_id(&shell)?, data), gone)
    }

    fn write(
        &self,
        call: f64,
        write: impl FnOnce(&Vm) -> std::result::Result<Write, Error>,
        gone: Error,
    ) -> Answer {
        let vm = match self.vm() {
            Ok(vm) => vm,
            Err(answer) => return Some(answer),
        };
        match write(&vm) {
            Ok(Write::Taken) => Some(known(Ok(Value::Undefined))),
            Ok(Write::Closed) | Err(_) if vm.is_ending() => Some(known(Err(Error::Disposed))),
            Ok(Write::Closed) => Some(known(Err(gone))),
            Err(error) => Some(known(Err(error))),
            Ok(Write::Queued(done)) => self.later(call, async move {
                match done.await {
                    Ok(()) => Ok(Value::Undefined),
                    // Its reader may have gone alone, or with the VM.
                    Err(_) if vm.is_alive().await => Err(gone),
                    Err(_) => Err(Error::Disposed),
                }
            }),
        }
    }

    /// Closes a process's standard input behind what was written.
    #[napi]
    pub fn close_process_stdin(&self, _call: f64, pid: u32) -> Value {
        self.now(|vm| {
            vm.process(pid)?.input.close();
            Ok(Value::Undefined)
        })
    }

    /// Settles with a process's exit code.
    #[napi]
    pub fn wait_process(&self, call: f64, pid: u32) -> Answer {
        self.ask(call, move |vm| async move {
            vm.wait_process(pid)
                .await
                .map(|status| Value::Number(f64::from(status.code)))
        })
    }

    /// Settles with a shell's exit code.
    #[napi]
    pub fn wait_shell(&self, call: f64, shell: String) -> Answer {
        self.ask(call, move |vm| async move {
            vm.wait_shell(shell_id(&shell)?)
                .await
                .map(|status| Value::Number(f64::from(status.code)))
        })
    }

    /// Spawned processes, as JSON.
    #[napi]
    pub fn list_processes(&self, _call: f64) -> Value {
        self.now(|vm| {
            let list: Vec<_> = vm
                .processes()
                .iter()
                .map(|process| json::spawned(process))
                .collect();
            Ok(Value::json(&list.into()))
        })
    }

    /// One spawned process, as JSON.
    #[napi]
    pub fn get_process(&self, _call: f64, pid: u32) -> Value {
        self.now(|vm| Ok(Value::json(&json::spawned(&*vm.process(pid)?))))
    }

    /// Sends a signal by number.
    #[napi]
    pub fn signal_process(&self, call: f64, pid: u32, signal: i32) -> Answer {
        self.ask(call, move |vm| async move {
            vm.signal(pid, signal).await.map(|()| Value::Undefined)
        })
    }

    /// Kills a process and everything it started.
    #[napi]
    pub fn kill_process(&self, call: f64, pid: u32) -> Answer {
        self.ask(call, move |vm| async move {
            vm.kill(pid).await.map(|()| Value::Undefined)
        })
    }

    /// Kept output of a process.
    #[napi]
    pub fn read_process_output(&self, _call: f64, pid: u32, after: f64) -> Value {
        self.now(|vm| {
            let process = vm.process(pid)?;
            // Status first: what is read after an exit is seen is all that the process wrote.
            let status = *process.status.borrow();
            Ok(replay_value(process.replay(after as u64), status))
        })
    }

    /// Kept output of a shell.
    #[napi]
    pub fn read_shell(&self, _call: f64, shell: String, after: f64) -> Value {
        self.now(|vm| {
            let shell = vm.shell(shell_id(&shell)?)?;
            let status = *shell.status.borrow();
            Ok(replay_value(shell.replay(after as u64), status))
        })
    }

    /// Everything that runs, as JSON.
    #[napi]
    pub fn all_processes(&self, call: f64) -> Answer {
        self.ask(call, |vm| async move {
            vm.process_table(|table| Value::text(json::table(table))).await
        })
    }

    /// Bytes given to and taken from everything inside, and the streams that were closed at a bound: `[in, out, cut]`.
    #[napi]
    pub fn traffic(&self, _call: f64) -> Value {
        self.now(|vm| {
            let (given, written) = vm.traffic().counts();
            Ok(Value::List(vec![
                Value::Number(given as f64),
                Value::Number(written as f64),
                Value::Number(vm.outputs_cut() as f64),
            ]))
        })
    }

    /// Tells a shell's program its size.
    #[napi]
    pub fn resize_shell(&self, _call: f64, shell: String, cols: u16, rows: u16) -> Value {
        self.now(|vm| {
            vm.shell(shell_id(&shell)?)?.resize(cols, rows)?;
            Ok(Value::Undefined)
        })
    }

    /// Hangs up a shell.
    #[napi]
    pub fn close_shell(&self, call: f64, shell: String) -> Answer {
        self.ask(call, move |vm| async move {
            vm.close_shell(shell_id(&shell)?).await.map(|()| Value::Undefined)
        })
    }

    /// Shells, as JSON.
    #[napi]
    pub fn list_shells(&self, _call: f64) -> Value {
        self.now(|vm| {
            let list: Vec<_> = vm.shells().iter().map(|shell| json::shell(shell)).collect();
            Ok(Value::json(&list.into()))
        })
    }

    /// Kills everything inside. Settles when all of it is told.
    #[napi]
    pub fn dispose(&self, call: f64) -> Answer {
        self.ask(call, |vm| async move {
            vm.dispose().await;
            Ok(Value::Undefined)
        })
    }

    /// Init's pid on the host, while it runs.
    #[napi(getter)]
    pub fn init_pid(&self) -> Option<i32> {
        self.vm.lock().as_ref().and_then(Vm::init_pid)
    }

    /// Tells pieces of a call's result.
    pub(crate) fn tell_pieces(&self, call: f64) -> impl Fn(String, Taken) + Send + Sync + 'static {
        let bridge = self.bridge.clone();
        move |json, taken| bridge.tell(Message::Piece { call, json, taken })
    }

    fn vm(&self) -> std::result::Result<Vm, Value> {
        self.vm
            .lock()
            .clone()
            .ok_or_else(|| Value::List(vec![error_value(&Error::Disposed)]))
    }

    fn now(&self, answer: impl FnOnce(&Vm) -> std::result::Result<Value, Error>) -> Value {
        match self.vm() {
            Ok(vm) => {
                known(answer(&vm).map_err(|error| if vm.is_ending() { Error::Disposed } else { error }))
            }
            Err(answer) => answer,
        }
    }

    pub(crate) fn remember(&self, call: f64, abort: Abort) {
        self.aborts.lock().insert(call as u64, abort);
    }

    pub(crate) fn ask<F>(&self, call: f64, question: impl FnOnce(Vm) -> F) -> Answer
    where
        F: Future<Output = std::result::Result<Value, Error>> + Send + 'static,
    {
        match self.vm() {
            Ok(vm) => self.later(call, question(vm)),
            Err(answer) => Some(answer),
        }
    }

    fn later(
        &self,
        call: f64,
        answer: impl Future<Output = std::result::Result<Value, Error>> + Send + 'static,
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

fn known(result: std::result::Result<Value, Error>) -> Value {
    Value::List(match result {
        Ok(value) => vec![Value::Undefined, value],
        Err(error) => vec![error_value(&error)],
    })
}

fn parse<T: DeserializeOwned>(options: &str) -> Result<T> {
    serde_json::from_str(options).map_err(|error| napi::Error::new(NapiStatus::InvalidArg, error.to_string()))
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

/// `shell-7` as 7, and no other spelling of it.
fn shell_id(name: &str) -> std::result::Result<u64, Error> {
    let number = name.strip_prefix("shell-").and_then(|number| number.parse().ok());
    number
        .filter(|&id| shell_name(id) == name)
        .ok_or_else(|| Error::ShellNotFound(name.to_owned()))
}
