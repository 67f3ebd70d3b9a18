//! The processes of the VM, read at most once a turn.

use crate::process_table::{Process, ProcessTable};

/// Every process of the VM, as the first job of a turn that needs them finds them. Otherwise a thousand sessions that are hung
/// up at once would each read the table a thousand times.
pub(super) struct AllProcesses<'table> {
    pub table: &'table ProcessTable,
    found: Option<Vec<Process>>,
}

impl<'table> AllProcesses<'table> {
    /// None of them is read yet.
    pub fn of(table: &'table ProcessTable) -> Self {
        Self { table, found: None }
    }

    /// All of them.
    pub fn all(&mut self) -> &[Process] {
        self.found.get_or_insert_with(|| self.table.all())
    }
}
