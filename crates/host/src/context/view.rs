//! What calls see of a context without waiting for its commands.

use super::environment::Environment;

/// What is known of a context while a command runs.
#[derive(Debug, Clone, Default)]
pub struct ContextView {
    /// The program of its shell.
    pub shell: String,
    /// The pid of its shell; none while there is none.
    pub pid: Option<u32>,
    /// Its working directory when its last command ended.
    pub cwd: String,
    /// What it printed of its exported variables then; none before the first command.
    pub env: Option<Environment>,
    /// The command that runs.
    pub command: Option<String>,
    /// Whether it was deleted.
    pub deleted: bool,
}
