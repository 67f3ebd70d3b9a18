//! What to run: a program, its arguments, environment and directory.

use agent_vm_protocol::message::{Call, Spawn, Stdio};

use crate::boot::Users;
use crate::error::Error;

/// A program to run, and how.
#[derive(Debug, Clone)]
pub struct Command {
    /// A path, or a name to look up on the PATH.
    pub program: String,
    /// The arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Variables to add to the VM's environment.
    pub env: Vec<(String, String)>,
    /// The working directory; `None` for the user's home.
    pub cwd: Option<String>,
    /// What the program gets as its own name; `None` for `program`.
    pub argv0: Option<String>,
    /// The user that it runs as: a name or a number; `None` for the VM's default user.
    pub user: Option<String>,
}

impl Command {
    /// The request that makes init start it as one of these users.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if its user is none of them.
    pub(super) fn into_request(self, call: Call, users: &Users, stdio: Stdio) -> Result<Spawn, Error> {
        let (user, account) = users.find(self.user.as_deref())?;
        let mut env = account.env.clone();
        env.extend(self.env);
        Ok(Spawn {
            call,
            program: self.program,
            arguments: self.arguments,
            env,
            cwd: self.cwd.unwrap_or_else(|| account.home.clone()),
            stdio,
            argv0: self.argv0,
            report_background: false,
            brief: false,
            patience_ms: None,
            user,
        })
    }
}
