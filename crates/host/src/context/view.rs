//! What calls see of a context without waiting for its commands.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What is known of a context while a command runs.
#[derive(Debug, Clone, Default)]
pub struct ContextView {
    /// The program of its shell.
    pub shell: String,
    /// The pid of its shell; none while there is none.
    pub pid: Option<u32>,
    /// Its working directory when its last command ended.
    pub cwd: String,
    /// The command that runs.
    pub command: Option<String>,
    /// The status of the last one.
    pub status: i32,
    /// The exported variables of its shell when it began.
    pub first_names: Arc<BTreeSet<String>>,
    /// Whether it was deleted.
    pub deleted: bool,
}
