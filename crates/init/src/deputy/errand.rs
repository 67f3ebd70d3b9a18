//! What init and its deputy say to each other, over a channel of their own.

use agent_vm_protocol::message::{BootStep, Failure, Spawn};
use serde::{Deserialize, Serialize};

/// From init.
#[derive(Debug, Serialize, Deserialize)]
pub enum Errand {
    /// Starts a program. Attached, in this order: a pipe for the program's own report, its standard descriptors, and
    /// the descriptors of its [`Cgroup`](crate::spawn::Cgroup).
    Start {
        /// The program.
        spawn: Box<Spawn>,
        /// A variable that is added to its environment last.
        marker: Option<(String, String)>,
        /// Whether a directory of cgroup version 2 is attached.
        into: bool,
        /// Whether the `tasks` file of one of version 1 is attached.
        join: bool,
    },
}

/// From the deputy.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The deputy is in the Landlock domain. Attached: the descriptor on which the kernel asks about the calls that
    /// init decides.
    Ready,
    /// No domain could be made.
    NotReady {
        /// The step that failed.
        step: BootStep,
        /// The kernel's error.
        errno: i32,
    },
    /// The program runs.
    Started(i32),
    /// Not done.
    Failed(Failure),
}
