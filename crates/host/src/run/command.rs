//! What to run: a program, its arguments, environment and directory.

use agent_vm_protocol::message::{Call, Spawn, Stdio};

/// A program to run, and how.
#[derive(Debug, Clone)]
pub struct Command {
    /// A path, or a name to look up on the PATH.
    pub program: String,
    /// The arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Variables to add to the VM's environment.
    pub env: Vec<(String, String)>,
    /// The working directory; `None` for the VM's home.
    pub cwd: Option<String>,
    /// What the program gets as its own name; `None` for `program`.
    pub argv0: Option<String>,
}

impl Command {
    /// The request that makes init start it.
    pub(super) fn into_request(self, call: Call, home: &str, stdio: Stdio) -> Spawn {
        Spawn {
            call,
            program: self.program,
            arguments: self.arguments,
            env: self.env,
            cwd: self.cwd.unwrap_or_else(|| home.to_owned()),
            stdio,
            argv0: self.argv0,
            report_background: false,
            brief: false,
            patience_ms: None,
        }
    }
}
