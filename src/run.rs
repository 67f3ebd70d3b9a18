//! Calls of the native class that run programs, and calls about what runs.
//!
//! A `command_line` is a program and its arguments in one string, separated by NULs.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{Exec, KeptBytes, PendingWrite, ProcessId, ShellId, ShellRequest, SpawnRequest, Stream};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::number::named;
use crate::value::Value;
use crate::vm::{Answer, HostResult, NativeVm, known};
use crate::wire::{self, ExecOptions, ShellOptions, SpawnOptions, replay_value, status_value};

#[napi]
impl NativeVm {
    /// Runs a command to its end. With `abortable`, `abort` can end the call until `forget`.
    #[napi(ts_return_type = "Answer<never>")]
    pub fn exec(
        &self,
        call: f64,
        command_line: String,
        options: ExecOptions,
        stdin: Option<Uint8Array>,
        abortable: bool,
    ) -> Answer {
        let vm = match self.slot.vm() {
            Ok(vm) => vm,
            Err(error) => return Some(known(Err(error))),
        };
        let exec = Exec {
            stdin: stdin.map(|bytes| bytes.to_vec()).unwrap_or_default(),
            timeout: wire::timeout(options.timeout, options.kill_signal, options.kill_grace),
            kept: KeptBytes {
                head: options.head_bytes as usize,
                tail: options.tail_bytes as usize,
            },
            on_output: options.streams.then(|| self.bridge.exec_output(call)),
            command: wire::command(
                &command_line,
                options.env,
                options.cwd,
                options.argv0,
                options.user,
            ),
        };
        let abort = vm.exec(exec, self.bridge.exec_result(call, options.bytes));
        if abortable {
            self.slot.remember(named(call), abort);
        }
        None
    }

    /// Starts a process. Resolves to its pid.
    #[napi(ts_return_type = "Answer<SpawnedValues>")]
    pub fn spawn(
        &self,
        call: f64,
        command_line: String,
        options: SpawnOptions,
        stdin: Option<Uint8Array>,
    ) -> Answer {
        let request = SpawnRequest {
            pipes: wire::pipes(&options.inputs, &options.outputs),
            stdin: stdin.map(|bytes| bytes.to_vec()).unwrap_or_default(),
            timeout: wire::timeout(options.timeout, options.kill_signal, options.kill_grace),
            command: wire::command(
                &command_line,
                options.env,
                options.cwd,
                options.argv0,
                options.user,
            ),
        };
        let bridge = self.bridge.clone();
        let on_spawn =
            move |process: HostResult<ProcessId>| bridge.settle(call, process.map(wire::process_value));
        let started = self.slot.vm().map(|vm| vm.spawn(request, Box::new(on_spawn)));
        started.err().map(|error| known(Err(error)))
    }

    /// Opens a shell. Resolves to its name.
    #[napi(ts_return_type = "Answer<string>")]
    pub fn open_shell(&self, call: f64, command_line: String, options: ShellOptions) -> Answer {
        let request = ShellRequest {
            cols: options.cols,
            rows: options.rows,
            screen: options.screen,
            command: wire::command(&command_line, options.env, options.cwd, None, options.user),
        };
        let bridge = self.bridge.clone();
        let on_open =
            move |id: HostResult<ShellId>| bridge.settle(call, id.map(|id| Value::text(id.to_string())));
        let opened = self.slot.vm().map(|vm| vm.open_shell(request, Box::new(on_open)));
        opened.err().map(|error| known(Err(error)))
    }

    /// Writes to a process's standard input.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_process_stdin(&self, call: f64, pid: u32, data: &[u8], start: Option<f64>) -> Answer {
        let id = process_id(pid, start);
        self.written(
            call,
            self.slot.vm().and_then(|vm| vm.write_process_stdin(id, data)),
        )
    }

    /// Writes to a shell's terminal.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_shell(&self, call: f64, shell: String, data: &[u8]) -> Answer {
        self.written(call, self.slot.vm().and_then(|vm| vm.write_shell(&shell, data)))
    }

    pub(crate) fn written(&self, call: f64, write: HostResult<Option<PendingWrite>>) -> Answer {
        match write {
            Ok(Some(pending)) => self.later(call, async {
                pending.finished().await.map(|()| Value::Undefined)
            }),
            other => Some(known(other.map(|_| Value::Undefined))),
        }
    }

    /// Closes a process's standard input after everything that was written to it.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn close_process_stdin(&self, _call: f64, pid: u32, start: Option<f64>) -> Value {
        self.now(|vm| {
            vm.close_process_stdin(process_id(pid, start))
                .map(|()| Value::Undefined)
        })
    }

    /// Resolves to a process's exit status.
    #[napi(ts_return_type = "Answer<ExitValues>")]
    pub fn wait_process(&self, call: f64, pid: u32) -> Answer {
        self.ask(call, move |vm| async move {
            vm.wait_process(pid).await.map(status_value)
        })
    }

    /// Resolves to a shell's exit status.
    #[napi(ts_return_type = "Answer<ExitValues>")]
    pub fn wait_shell(&self, call: f64, shell: String) -> Answer {
        self.ask(
            call,
            |vm| async move { vm.wait_shell(&shell).await.map(status_value) },
        )
    }

    /// The spawned processes, as JSON.
    #[napi(ts_return_type = "Answer<Json<SpawnedProcessInfo[]>>")]
    pub fn list_processes(&self, _call: f64) -> Value {
        self.now(|vm| {
            let list: Vec<_> = vm.list_processes().iter().map(wire::spawned_process).collect();
            Ok(Value::json(&list.into()))
        })
    }

    /// One spawned process, as JSON.
    #[napi(ts_return_type = "Answer<Json<SpawnedProcessInfo>>")]
    pub fn get_process(&self, _call: f64, pid: u32) -> Value {
        self.now(|vm| {
            let process = vm.get_process(pid)?;
            Ok(Value::json(&wire::spawned_process(&process)))
        })
    }

    /// Sends a signal, given by its number.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn signal_process(&self, call: f64, pid: u32, signal: i32, start: Option<f64>) -> Answer {
        let id = process_id(pid, start);
        self.ask(call, move |vm| async move {
            vm.signal_process(id, signal).await.map(|()| Value::Undefined)
        })
    }

    /// Kills a process and everything that it started.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn kill_process(&self, call: f64, pid: u32, start: Option<f64>) -> Answer {
        let id = process_id(pid, start);
        self.ask(call, move |vm| async move {
            vm.kill_process(id).await.map(|()| Value::Undefined)
        })
    }

    /// The kept output of a process.
    #[napi(ts_return_type = "Answer<Replay>")]
    pub fn read_process_output(&self, _call: f64, pid: u32, after: f64, start: Option<f64>) -> Value {
        let id = process_id(pid, start);
        self.now(|vm| vm.read_process_output(id, after as u64).map(replay_value))
    }

    /// Pauses or resumes the reading of a process's standard output or standard error.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn pause_process_output(
        &self,
        _call: f64,
        pid: u32,
        is_stderr: bool,
        paused: bool,
        start: Option<f64>,
    ) -> Value {
        let id = process_id(pid, start);
        self.now(|vm| {
            vm.pause_process_output(id, stream_of(is_stderr), paused)
                .map(|()| Value::Undefined)
        })
    }

    /// Closes the reading end of a process's standard output or standard error.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn close_process_output(&self, _call: f64, pid: u32, is_stderr: bool, start: Option<f64>) -> Value {
        let id = process_id(pid, start);
        self.now(|vm| {
            vm.close_process_output(id, stream_of(is_stderr))
                .map(|()| Value::Undefined)
        })
    }

    /// Resolves when everything of a process's standard output or standard error has been emitted.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn process_output_ended(&self, call: f64, pid: u32, is_stderr: bool, start: Option<f64>) -> Answer {
        let id = process_id(pid, start);
        self.ask(call, move |vm| async move {
            vm.process_output_ended(id, stream_of(is_stderr))
                .await
                .map(|()| Value::Undefined)
        })
    }

    /// Pauses or resumes the reading of a shell's terminal.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn pause_shell(&self, _call: f64, shell: String, paused: bool) -> Value {
        self.now(|vm| vm.pause_shell(&shell, paused).map(|()| Value::Undefined))
    }

    /// Resolves when everything that a shell's terminal shows has been emitted.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn shell_output_ended(&self, call: f64, shell: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.shell_output_ended(&shell).await.map(|()| Value::Undefined)
        })
    }

    /// The kept output of a shell.
    #[napi(ts_return_type = "Answer<Replay>")]
    pub fn read_shell(&self, _call: f64, shell: String, after: f64) -> Value {
        self.now(|vm| vm.read_shell(&shell, after as u64).map(replay_value))
    }

    /// Every process in the VM, as JSON.
    #[napi(ts_return_type = "Answer<Json<ProcessInfo[]>>")]
    pub fn all_processes(&self, call: f64) -> Answer {
        self.ask(
            call,
            |vm| async move { vm.process_table(wire::process_table).await },
        )
    }

    /// Sets the size of a shell's terminal.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn resize_shell(&self, _call: f64, shell: String, cols: u16, rows: u16) -> Value {
        self.now(|vm| vm.resize_shell(&shell, cols, rows).map(|()| Value::Undefined))
    }

    /// Hangs up a shell's terminal.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn close_shell(&self, call: f64, shell: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.close_shell(&shell).await.map(|()| Value::Undefined)
        })
    }

    /// The shells, as JSON.
    #[napi(ts_return_type = "Answer<Json<ShellInfo[]>>")]
    pub fn list_shells(&self, _call: f64) -> Value {
        self.now(|vm| {
            let list: Vec<_> = vm.list_shells().iter().map(wire::shell).collect();
            Ok(Value::json(&list.into()))
        })
    }
}

/// The process that `start`, the number of its call, started; without one, the newest with that pid.
pub(crate) fn process_id(pid: u32, start: Option<f64>) -> ProcessId {
    ProcessId {
        pid,
        start: start.map(named),
    }
}

fn stream_of(is_stderr: bool) -> Stream {
    if is_stderr { Stream::Stderr } else { Stream::Stdout }
}
