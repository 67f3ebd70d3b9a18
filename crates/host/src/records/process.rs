//! What is remembered of a spawned process.

use super::record::Record;

/// A spawned process.
#[derive(Debug)]
pub struct SpawnedProcess {
    /// Its record.
    pub record: Record,
}

/// A spawned process as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnedProcessInfo {
    /// Its pid in the VM.
    pub pid: u32,
    /// As the caller gave it.
    pub program: String,
    /// As the caller gave them.
    pub arguments: Vec<String>,
    /// Its exit code; nothing while it runs.
    pub exit_code: Option<i32>,
}

impl SpawnedProcess {
    /// As it is now.
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
