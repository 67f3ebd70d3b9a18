//! Messages to JavaScript: events, and answers to calls.

use agent_vm_host::{Credit, Error, Event, ExecResult, PortChange, ShellId, Stream};
use bytes::Bytes;
use napi_derive::napi;

use super::results::{error_value, exec_values, port_change, status_value};
use crate::turn;
use crate::value::Value;

/// The kind of a message, which is its first value.
#[napi]
#[derive(Debug, Clone, Copy)]
pub enum MessageKind {
    /// A call has settled. Values: call, error, value.
    Settled,
    /// A piece of a call's result. Values: call, a JSON array whose items follow those of the pieces before.
    Piece,
    /// An exec has ended. Values: call, then those of `exec_values`.
    ExecEnded,
    /// Output of an exec. Values: call, whether it is stderr, bytes.
    ExecOutput,
    /// Output of a process. Values: pid, whether it is stderr, bytes, seq, start.
    ProcessOutput,
    /// Output of a process on another pipe. Values: pid, number, bytes, seq, start.
    DescriptorOutput,
    /// A process has exited. Values: pid, status, start, whether its streams have ended.
    ProcessExit,
    /// The streams of a process that has exited have ended. Values: pid, start.
    ProcessClose,
    /// Output of a shell. Values: shell, bytes, seq.
    ShellData,
    /// A shell has exited. Values: shell, status.
    ShellExit,
    /// The proxy refused a destination. Values: host, port, reason.
    NetworkDenied,
    /// The program in a shell's foreground waits for input. Value: shell.
    ShellWaiting,
    /// Ports were opened or closed. Value: the changes, as JSON.
    Ports,
    /// The VM has ended. Value: whether it was disposed.
    Exit,
    /// A message without a call could not be delivered. Value: the error.
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
    /// The result of a call.
    Settled { call: f64, result: Result<Value, Error> },
    /// A part of a call's result.
    Piece { call: f64, json: String, credit: Credit },
    /// The only piece of a call's result, of which the next one must wait for the next turn of the event loop.
    Screen { call: f64, json: String, credit: Credit },
    /// The result of an exec.
    ExecEnded {
        call: f64,
        result: ExecResult,
        as_bytes: bool,
    },
    /// Output of an exec.
    ExecOutput {
        call: f64,
        stream: Stream,
        data: Bytes,
        credit: Credit,
    },
    /// An event of the VM.
    Event(Event),
}

impl Message {
    /// Replaces a message that cannot be converted: a call then gets an error, so that it settles.
    pub fn instead(&self) -> fn(&Error, f64) -> Vec<Value> {
        match self {
            Self::Settled { .. } | Self::ExecEnded { .. } | Self::Piece { .. } | Self::Screen { .. } => {
                failed_call
            }
            Self::ExecOutput { .. } | Self::Event(_) => {
                |error, _| vec![MessageKind::Lost.into(), error_value(error)]
            }
        }
    }

    /// The number of the call that it is about; 0 for none.
    pub fn call(&self) -> f64 {
        match self {
            Self::Settled { call, .. }
            | Self::ExecEnded { call, .. }
            | Self::Piece { call, .. }
            | Self::Screen { call, .. } => *call,
            Self::ExecOutput { .. } | Self::Event(_) => 0.0,
        }
    }

    /// The message's values. The credit of a chunk is returned here, as far as the [`turn`] allows: JavaScript has the
    /// chunk, so the next one may be read.
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
                turn::return_listing_credit(credit);
                vec![MessageKind::Piece.into(), Value::Number(call), Value::text(json)]
            }
            Self::Screen { call, json, credit } => {
                turn::return_at_end(credit);
                vec![MessageKind::Piece.into(), Value::Number(call), Value::text(json)]
            }
            Self::ExecEnded {
                call,
                result,
                as_bytes,
            } => {
                let mut values = vec![MessageKind::ExecEnded.into(), Value::Number(call)];
                values.extend(exec_values(result, as_bytes));
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

fn shell_waiting(shell: ShellId, credit: Credit) -> Vec<Value> {
    turn::return_credit(credit);
    vec![MessageKind::ShellWaiting.into(), Value::text(shell.to_string())]
}

fn ports(changes: &[PortChange], credit: Credit) -> Vec<Value> {
    turn::return_credit(credit);
    let changes: Vec<_> = changes.iter().map(port_change).collect();
    vec![MessageKind::Ports.into(), Value::json(&changes.into())]
}

fn event_values(event: Event) -> Vec<Value> {
    match event {
        Event::ProcessOutput {
            pid,
            stream,
            data,
            seq,
            start,
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
                Value::Number(start as f64),
            ]
        }
        Event::DescriptorOutput {
            pid,
            number,
            data,
            seq,
            start,
            credit,
        } => {
            turn::return_credit(credit);
            vec![
                MessageKind::DescriptorOutput.into(),
                Value::Number(f64::from(pid)),
                Value::Number(f64::from(number)),
                Value::Chunk(data),
                Value::Number(seq as f64),
                Value::Number(start as f64),
            ]
        }
        Event::ProcessExit {
            pid,
            status,
            start,
            closed,
        } => {
            vec![
                MessageKind::ProcessExit.into(),
                Value::Number(f64::from(pid)),
                status_value(status),
                Value::Number(start as f64),
                Value::Bool(closed),
            ]
        }
        Event::ProcessClose { pid, start } => {
            vec![
                MessageKind::ProcessClose.into(),
                Value::Number(f64::from(pid)),
                Value::Number(start as f64),
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
        Event::ShellWaiting { shell, credit } => shell_waiting(shell, credit),
        Event::Ports { changes, credit } => ports(&changes, credit),
        Event::Exit { disposed } => vec![MessageKind::Exit.into(), Value::Bool(disposed)],
    }
}
