//! What programs of a user get, and why there is no such user.

/// Why programs cannot run as a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The VM has no root.
    #[error(
        "user must be \"user\" in a VM that was made without a root, not {0:?}: give `AgentVm.create` the option `user: \"root\"`, or \
         `ids`"
    )]
    NoRoot(String),
    /// The VM has one id.
    #[error(
        "user must be \"root\" or \"user\" in a VM with a single id, not {0:?}: other users are real with `ids: \"range\"` alone"
    )]
    NoOther(String),
    /// The VM's tables do not name the user.
    #[error(
        "user must be a name of the VM's table of users as it was when the VM was made, or numbers up to 65534 such as \"33\" or \
         \"33:33\", not {0:?}"
    )]
    Unknown(String),
}

/// What a program of a user gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The home, in which it starts.
    pub home: String,
    /// The variables that differ from those of the VM's default user.
    pub env: Vec<(String, String)>,
}
