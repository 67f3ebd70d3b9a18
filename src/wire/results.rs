//! Results for JavaScript. Members have the names of `index.d.ts`, or values the order of lib/wire.js.

use agent_vm_host::boot::{Enforcement, Ids, Isolation, Mechanism};
use agent_vm_host::doctor::Diagnosis;
use agent_vm_host::{
    Attributes, BackgroundProcess, ContextInfo, DirectoryEntry, EntryKind, Error, ExecResult, ExitStatus,
    ListeningPort, OutputReplay, PortChange, Printed, ProcessId, ProcessInfo, ShellInfo, SpawnedProcessInfo,
    Status, Stream,
};
use serde::Serialize;
use serde_json::json;

use crate::value::{Value, trim_partial_end, trim_partial_start};

/// The report of `doctor`.
pub fn diagnosis(diagnosis: Diagnosis) -> Value {
    let checks: Vec<_> = diagnosis
        .checks
        .into_iter()
        .map(|check| {
            let mut fields = json!({ "name": check.name, "ok": check.ok, "detail": check.detail });
            if let Some(remedy) = check.remedy {
                fields["remedy"] = json!(remedy);
            }
            fields
        })
        .collect();
    let level = match diagnosis.level {
        Isolation::Namespaces => "namespaces",
        Isolation::Landlock => "landlock",
        Isolation::None => "none",
    };
    Value::json(&json!({ "level": level, "checks": checks }))
}

/// An item of `listShells`.
pub fn shell(shell: &ShellInfo) -> serde_json::Value {
    json!({
        "shellId": shell.id.to_string(),
        "pid": shell.pid,
        "command": shell.program,
        "args": shell.arguments,
        "cols": shell.cols,
        "rows": shell.rows,
        "running": shell.exit_code.is_none(),
        "exitCode": shell.exit_code,
    })
}

/// A `ListeningPort`.
pub fn listening_port(port: &ListeningPort) -> serde_json::Value {
    json!({ "port": port.port, "address": port.address.to_string(), "pid": port.pid })
}

/// A `PortChange` of lib/wire.js: a port, or the number of one that is closed.
pub fn port_change(change: &PortChange) -> serde_json::Value {
    match change {
        PortChange::Opened(port) => listening_port(port),
        PortChange::Closed(port) => json!(port),
    }
}

/// A `ContextSummary`.
pub fn context_summary(context: &ContextInfo) -> serde_json::Value {
    json!({
        "contextId": context.id.to_string(),
        "shell": context.shell,
        "pid": context.pid,
        "cwd": context.cwd,
        "command": context.command,
        "waiting": context.waiting,
    })
}

/// A `ContextInfo`.
pub fn context(context: &ContextInfo) -> Value {
    let mut fields = context_summary(context);
    // Pairs: a name such as `__proto__` is no ordinary member of an object.
    fields["env"] = json!(context.env);
    fields["processes"] = background(&context.processes);
    Value::json(&fields)
}

/// A list of `BackgroundProcess`.
fn background(processes: &[BackgroundProcess]) -> serde_json::Value {
    let one = |one: &BackgroundProcess| json!({ "pid": one.pid, "command": one.command, "args": one.args });
    processes.iter().map(one).collect::<Vec<_>>().into()
}

/// A `SpawnedProcessInfo`.
pub fn spawned_process(process: &SpawnedProcessInfo) -> serde_json::Value {
    json!({
        "pid": process.pid,
        "command": process.program,
        "args": process.arguments,
        "running": process.exit_code.is_none(),
        "exitCode": process.exit_code,
    })
}

/// The mechanism that enforces each limit, null if none does; and the ids of the VM's root, null if it has none.
pub fn enforcement(by: Enforcement) -> Value {
    let name = |mechanism: Option<Mechanism>| mechanism.map(Mechanism::name);
    Value::json(&json!({
        "memoryBytes": name(by.memory),
        "cpus": name(by.cpus),
        "pids": name(by.pids),
        "openFiles": name(by.open_files),
        "diskBytes": name(by.disk),
        "ids": by.ids.map(Ids::name),
    }))
}

/// A `ProcessInfo`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TableEntry<'a> {
    pid: u32,
    ppid: u32,
    pgid: i32,
    sid: i32,
    driver: &'a str,
    command: &'a str,
    args: &'a [String],
    cwd: &'a str,
    status: &'static str,
    exit_code: Option<i32>,
    start_time: u64,
    exit_time: Option<u64>,
    rss_bytes: u64,
    cpu_ms: u64,
}

/// A process table.
pub fn process_table(processes: &[ProcessInfo]) -> Value {
    let entries: Vec<_> = processes.iter().map(table_entry).collect();
    Value::text(to_json(&entries))
}

/// JSON text, without a tree of values in between, because there may be many.
fn to_json<T: Serialize>(values: &T) -> String {
    // It fails only for maps whose keys are not text, and for writers that fail; there are none here.
    serde_json::to_string(values).unwrap_or_default()
}

/// A piece of `readdir`.
pub fn names(entries: &[DirectoryEntry]) -> String {
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    to_json(&names)
}

/// A piece of `readdirRecursive`.
pub fn listed_entries(entries: &[DirectoryEntry]) -> String {
    let entries: Vec<_> = entries.iter().map(ListedEntry::of).collect();
    to_json(&entries)
}

fn table_entry(process: &ProcessInfo) -> TableEntry<'_> {
    TableEntry {
        pid: process.pid,
        ppid: process.ppid,
        pgid: process.pgid,
        sid: process.sid,
        driver: process.driver,
        command: &process.command,
        args: &process.args,
        cwd: &process.cwd,
        status: match process.status {
            Status::Running => "running",
            Status::Stopped => "stopped",
            Status::Exited => "exited",
        },
        exit_code: process.exit_code,
        start_time: process.start_time_ms,
        exit_time: process.exit_time_ms,
        rss_bytes: process.rss_bytes,
        cpu_ms: process.cpu_ms,
    }
}

/// An entry of `readdirRecursive`.
#[derive(Serialize)]
struct ListedEntry<'a> {
    path: &'a str,
    r#type: &'static str,
    size: u64,
}

impl<'a> ListedEntry<'a> {
    fn of(entry: &'a DirectoryEntry) -> Self {
        Self {
            path: &entry.name,
            r#type: match entry.kind {
                EntryKind::Directory => "directory",
                EntryKind::Symlink => "symlink",
                _ => "file",
            },
            size: entry.size,
        }
    }
}

/// A piece of `readdirEntries`: a list of `[name, type]`.
pub fn typed_names(entries: &[DirectoryEntry]) -> String {
    let kind = |kind| match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
        EntryKind::CharacterDevice => "characterDevice",
        EntryKind::BlockDevice => "blockDevice",
    };
    let names: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), kind(entry.kind)))
        .collect();
    to_json(&names)
}

/// A `VmStat`.
pub fn stat(attributes: &Attributes) -> Value {
    // The format bits of st_mode (inode(7)).
    let format = attributes.mode & 0o170_000;
    Value::json(&json!({
        "mode": attributes.mode,
        "size": attributes.size,
        "blocks": attributes.blocks,
        "dev": attributes.dev,
        "rdev": attributes.rdev,
        "ino": attributes.ino,
        "nlink": attributes.nlink,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "isDirectory": format == 0o040_000,
        "isSymbolicLink": format == 0o120_000,
        "atimeMs": milliseconds(attributes.atime_ns),
        "mtimeMs": milliseconds(attributes.mtime_ns),
        "ctimeMs": milliseconds(attributes.ctime_ns),
        "birthtimeMs": milliseconds(attributes.birthtime_ns),
    }))
}

fn milliseconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e6
}

fn stream_value(stream: Stream) -> Value {
    Value::Name(match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Descriptor(_) => "descriptor",
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

/// `[pid, start]`, where `start` is the number of the call that started the process.
pub fn process_value(process: ProcessId) -> Value {
    Value::List(vec![
        Value::Number(f64::from(process.pid)),
        Value::Number(process.start.unwrap_or_default() as f64),
    ])
}

/// The values of [`status_value`], stdout, stderr, timedOut, background as JSON or undefined, and contextRestarted or undefined. The
/// output is text or bytes; if some was dropped, it is a list: the output before that, the number of bytes dropped, and the output
/// after them.
pub fn exec_values(result: ExecResult, as_bytes: bool) -> impl Iterator<Item = Value> {
    let left = if result.background.is_empty() {
        Value::Undefined
    } else {
        Value::json(&background(&result.background))
    };
    status_values(result.status).into_iter().chain([
        printed_value(result.stdout, as_bytes),
        printed_value(result.stderr, as_bytes),
        Value::Bool(result.timed_out),
        left,
        result.context_restarted.map_or(Value::Undefined, Value::Bool),
    ])
}

fn printed_value(printed: Printed, as_bytes: bool) -> Value {
    let Printed {
        mut head,
        head_is_ascii,
        mut dropped,
        mut tail,
    } = printed;
    if dropped == 0 {
        return match as_bytes {
            true => Value::Bytes(head),
            false if head_is_ascii => Value::Ascii(head),
            false => Value::lossy_text(head),
        };
    }
    if as_bytes {
        return Value::List(vec![
            Value::Bytes(head),
            Value::Number(dropped as f64),
            Value::Bytes(tail),
        ]);
    }
    let kept = head.len() + tail.len();
    trim_partial_end(&mut head);
    trim_partial_start(&mut tail);
    dropped += (kept - head.len() - tail.len()) as u64;
    Value::List(vec![
        Value::lossy_text(head),
        Value::Number(dropped as f64),
        Value::lossy_text(tail),
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

/// The fields from which lib/wire.js makes an `AgentVmError`, as JSON.
pub fn error_value(error: &Error) -> Value {
    let mut fields = json!({ "code": error.code(), "message": error.to_string() });
    if let Some((errno, syscall, path)) = error.system_call() {
        // Negative, as in Node.js.
        fields["errno"] = json!(-errno);
        fields["syscall"] = json!(syscall);
        if let Some(path) = path {
            fields["path"] = json!(path);
        }
    }
    Value::json(&fields)
}

/// The probable reason why a value could not be created in JavaScript: the engine refuses values that are too large.
pub fn too_large() -> Error {
    Error::LimitExceeded(
        "The result is larger than a value of JavaScript can be (a string has at most 536870888 characters), or memory for it \
         ran out; ask for less at a time"
            .into(),
    )
}
