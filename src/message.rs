//! Messages to JavaScript: events, and answers to calls.

use agent_vm_host::{Credit, Error, Event, ExecResult, ExitStatus, OutputReplay, Stream};
use bytes::Bytes;
use napi_derive::napi;
use serde_json::json;

use crate::turn;
use crate::value::Value;

/// What a message is: its first value.
#[napi]
#[derive(Debug, Clone, Copy)]
pub enum MessageKind {
    /// Call, error, value.
    Settled,
    /// Call, a piece of its result as JSON: an array whose members follow those of the pieces before.
    Piece,
    /// Call, and what [`exec_values`] lists.
    ExecEnded,
    /// Call, whether it is stderr, bytes.
    ExecOutput,
    /// Pid, whether it is stderr, bytes, seq.
    ProcessOutput,
    /// Pid, status.
    ProcessExit,
    /// Shell, bytes, seq.
    ShellData,
    /// Shell, status.
    ShellExit,
    /// Host, port, reason.
    NetworkDenied,
    /// Whether the VM was disposed.
    Exit,
    /// Why another message, which no call waits for, could not be told.
    Lost,
}

impl From<MessageKind> for Value {
    fn from(kind: MessageKind) -> Self {
        Self::Number(f64::from(kind as i32))
    }
}

/// One call of the VM's threadsafe function.
#[derive(Debug)]
pub enum Message {
    /// A call's result.
    Settled { call: f64, result: Result<Value, Error> },
    /// A part of a call's result.
    Piece { call: f64, json: String, credit: Credit },
    /// An `exec`'s result.
    ExecEnded { call: f64, result: ExecResult },
    /// Output of an `exec`.
    ExecOutput {
        call: f64,
        stream: Stream,
        data: Bytes,
        credit: Credit,
    },
    /// What a VM tells unasked.
    Event(Event),
}

impl Message {
    /// What is told in place of a message that cannot be made JavaScript's: a call's error, so that the call ends.
    pub fn instead(&self) -> fn(&Error, f64) -> Vec<Value> {
        match self {
            Self::Settled { .. } | Self::ExecEnded { .. } | Self::Piece { .. } => failed_call,
            Self::ExecOutput { .. } | Self::Event(_) => {
                |error, _| vec![MessageKind::Lost.into(), error_value(error)]
            }
        }
    }

    /// The call that it is about; 0 for none.
    pub fn call(&self) -> f64 {
        match self {
            Self::Settled { call, .. } | Self::ExecEnded { call, .. } | Self::Piece { call, .. } => *call,
            Self::ExecOutput { .. } | Self::Event(_) => 0.0,
        }
    }

    /// The arguments. The credit of a chunk is returned here, as far as the [`turn`] allows: JavaScript has the chunk, and the next
    /// may be read meanwhile.
    pub fn into_values(self) -> Vec<Value> {
        match self {
            Self::Settled { call, result } => match result {
                Ok(value) => vec![
                    MessageKind::Settled.into(),
                    Value::Number(call),
                    Value::Undefined,
                    value,
                ],
                Err(error) => vec![
                    MessageKind::Settled.into(),
                    Value::Number(call),
                    error_value(&error),
                ],
            },
            Self::Piece { call, json, credit } => {
                turn::return_credit(credit);
                vec![MessageKind::Piece.into(), Value::Number(call), Value::text(json)]
            }
            Self::ExecEnded { call, result } => {
                let mut values = vec![MessageKind::ExecEnded.into(), Value::Number(call)];
                values.extend(exec_values(result));
                values
            }
            Self::ExecOutput {
                call,
                stream,
                data,
                credit,
            } => {
                turn::return_credit(credit);
                vec![
                    MessageKind::ExecOutput.into(),
                    Value::Number(call),
                    Value::Bool(stream == Stream::Stderr),
                    Value::Chunk(data),
                ]
            }
            Self::Event(event) => event_values(event),
        }
    }
}

fn failed_call(error: &Error, call: f64) -> Vec<Value> {
    vec![
        MessageKind::Settled.into(),
        Value::Number(call),
        error_value(error),
    ]
}

/// Why a value did not become JavaScript's, as far as that can be known: the engine takes none that are too large.
pub fn too_large() -> Error {
    Error::LimitExceeded(
        "The result is larger than a value of JavaScript can be (a string has at most 536870888 characters), or memory for it \
         ran out; ask for less at a time"
            .into(),
    )
}

fn event_values(event: Event) -> Vec<Value> {
    match event {
        Event::ProcessOutput {
            pid,
            stream,
            data,
            seq,
            credit,
        } => {
            turn::return_credit(credit);
            let (pid, seq) = (Value::Number(f64::from(pid)), Value::Number(seq as f64));
            vec![
                MessageKind::ProcessOutput.into(),
                pid,
                Value::Bool(stream == Stream::Stderr),
                Value::Chunk(data),
                seq,
            ]
        }
        Event::ProcessExit { pid, status } => {
            vec![
                MessageKind::ProcessExit.into(),
                Value::Number(f64::from(pid)),
                status_value(status),
            ]
        }
        Event::ShellData {
            shell,
            data,
            seq,
            credit,
        } => {
            turn::return_credit(credit);
            let (shell, seq) = (Value::text(shell.to_string()), Value::Number(seq as f64));
            vec![MessageKind::ShellData.into(), shell, Value::Chunk(data), seq]
        }
        Event::ShellExit { shell, status } => {
            vec![
                MessageKind::ShellExit.into(),
                Value::text(shell.to_string()),
                status_value(status),
            ]
        }
        Event::NetworkDenied {
            host,
            port,
            reason,
            credit,
        } => {
            drop(credit);
            let port = Value::Number(f64::from(port));
            vec![
                MessageKind::NetworkDenied.into(),
                Value::text(host),
                port,
                Value::text(reason),
            ]
        }
        Event::Exit { disposed } => vec![MessageKind::Exit.into(), Value::Bool(disposed)],
    }
}

pub fn stream_value(stream: Stream) -> Value {
    Value::Name(match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    })
}

/// `[exitCode, signal number, reason, userMs, systemMs, maxRssBytes]`.
pub fn status_value(status: ExitStatus) -> Value {
    Value::List(status_values(status).into())
}

fn status_values(status: ExitStatus) -> [Value; 6] {
    [
        Value::Number(f64::from(status.code)),
        Value::Number(f64::from(status.signal)),
        Value::Name(status.reason.name()),
        Value::Number(status.user_us as f64 / 1000.0),
        Value::Number(status.system_us as f64 / 1000.0),
        Value::Number(status.max_rss_bytes as f64),
    ]
}

/// Those of [`status_value`], stdout, stderr, what of them was cut off (1 for stdout, 2 for stderr), timedOut, background as
/// JSON or undefined.
fn exec_values(result: ExecResult) -> impl Iterator<Item = Value> {
    let cut = i32::from(result.stdout.truncated) + 2 * i32::from(result.stderr.truncated);
    let background = if result.background.is_empty() {
        Value::Undefined
    } else {
        let left: Vec<_> = result
            .background
            .iter()
            .map(|one| json!({ "pid": one.pid, "command": one.command, "args": one.args }))
            .collect();
        Value::json(&left.into())
    };
    status_values(result.status).into_iter().chain([
        Value::printed(result.stdout),
        Value::printed(result.stderr),
        Value::Number(f64::from(cut)),
        Value::Bool(result.timed_out),
        background,
    ])
}

/// `[[stream, bytes, seq], …], nextSeq, truncatedBytes, status or undefined, outputCut`.
pub fn replay_value(replay: OutputReplay) -> Value {
    let OutputReplay { output, exited } = replay;
    let chunks = output.chunks.into_iter().map(|chunk| {
        Value::List(vec![
            stream_value(chunk.stream),
            Value::Chunk(chunk.data),
            Value::Number(chunk.seq as f64),
        ])
    });
    Value::List(vec![
        Value::List(chunks.collect()),
        Value::Number(output.next_seq as f64),
        Value::Number(output.truncated as f64),
        exited.map_or(Value::Undefined, status_value),
        Value::Bool(output.cut),
    ])
}

/// What `index.js` makes an `AgentVmError` of, as JSON.
pub fn error_value(error: &Error) -> Value {
    let mut fields = json!({ "code": error.code(), "message": error.to_string() });
    let system = match error {
        Error::System { errno, syscall, path } => Some((*errno, syscall.as_str(), path.as_deref())),
        Error::FileTooLarge { path, .. } => Some((libc::EFBIG, "read", Some(path.as_str()))),
        _ => None,
    };
    if let Some((errno, syscall, path)) = system {
        // As Node.js has it: negative.
        fields["errno"] = json!(-errno);
        fields["syscall"] = json!(syscall);
        if let Some(path) = path {
            fields["path"] = json!(path);
        }
    }
    Value::json(&fields)
}
