//! The record of a spawned process.

use super::record::Record;

/// A spawned process.
#[derive(Debug)]
pub struct SpawnedProcess {
    /// Its record.
    pub record: Record,
}

/// The state of a spawned process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnedProcessInfo {
    /// Its pid in the VM.
    pub pid: u32,
    /// The program, as the caller gave it.
    pub program: String,
    /// The arguments, as the caller gave them.
    pub arguments: Vec<String>,
    /// Its exit code; `None` while it runs.
    pub exit_code: Option<i32>,
}

impl SpawnedProcess {
    /// Its state now.
    pub fn info(&self) -> SpawnedProcessInfo {
        let Record {
            pid,
            program,
            arguments,
            ..
        } = &self.record;
        SpawnedProcessInfo {
            pid: *pid,
            program: program.clone(),
            arguments: arguments.clone(),
            exit_code: self.record.status().map(|status| status.code),
        }
    }
}
