//! What JavaScript gets as plain objects, under the names that `index.d.ts` gives their members.

use agent_vm_host::boot::{Enforcement, Isolation, Mechanism};
use agent_vm_host::doctor::Diagnosis;
use agent_vm_host::{ProcessInfo, ShellInfo, SpawnedProcessInfo, Status};
use serde::Serialize;
use serde_json::{Value, json};

/// What `doctor` found.
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
    json!({ "level": level, "checks": checks })
}

/// One of `listShells`.
pub fn shell(shell: &ShellInfo) -> Value {
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

/// A `SpawnedProcessInfo`.
pub fn spawned_process(process: &SpawnedProcessInfo) -> Value {
    json!({
        "pid": process.pid,
        "command": process.program,
        "args": process.arguments,
        "running": process.exit_code.is_none(),
        "exitCode": process.exit_code,
    })
}

/// Who holds each limit; null for nobody.
pub fn enforcement(by: Enforcement) -> Value {
    let name = |mechanism: Option<Mechanism>| mechanism.map(Mechanism::name);
    json!({
        "memoryBytes": name(by.memory),
        "cpus": name(by.cpus),
        "pids": name(by.pids),
        "openFiles": name(by.open_files),
        "diskBytes": name(by.disk),
    })
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

/// Those of a process table, as text: there may be too many for a tree of values.
pub fn table(processes: &[ProcessInfo]) -> String {
    let entries: Vec<_> = processes.iter().map(table_entry).collect();
    // It fails for maps whose keys are no text, and for writers that fail: here are none.
    serde_json::to_string(&entries).unwrap_or_default()
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
