//! What calls see of a context without waiting for its commands.

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
    /// Whether it was deleted.
    pub deleted: bool,
}
