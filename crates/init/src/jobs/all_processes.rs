//! The processes of the VM, read at most once in a turn.

use crate::process_table::{Process, ProcessTable};

/// Every process of the VM. The first job of a turn that needs the list reads it: otherwise a thousand sessions that
/// are hung up at the same time would each read the process table a thousand times.
pub(super) struct AllProcesses<'table> {
    pub table: &'table ProcessTable,
    found: Option<Vec<Process>>,
}

impl<'table> AllProcesses<'table> {
    /// A list that is not read yet.
    pub fn of(table: &'table ProcessTable) -> Self {
        Self { table, found: None }
    }

    /// All processes.
    pub fn all(&mut self) -> &[Process] {
        self.found.get_or_insert_with(|| self.table.all())
    }
}
