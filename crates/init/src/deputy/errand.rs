//! The messages between init and its deputy, over a separate channel.

use std::time::Duration;

use agent_vm_protocol::message::{BootStep, Failure, Spawn};
use serde::{Deserialize, Serialize};

/// For how long an errand is sent again while the kernel refuses its descriptors. Init serves no other request
/// meanwhile.
pub const DESCRIPTORS_PATIENCE: Duration = Duration::from_millis(200);

/// A request from init.
#[derive(Debug, Serialize, Deserialize)]
pub enum DeputyErrand {
    /// Starts a program. Attached, in this order: a pipe for the program's own report, its working directory, its standard descriptors, and
    /// the descriptors of its [`Cgroup`](crate::spawn::Cgroup).
    Start {
        /// The program.
        spawn: Box<Spawn>,
        /// Its limit on file locks, if it is marked.
        mark: Option<u64>,
        /// Whether a directory of cgroup version 2 is attached.
        into: bool,
        /// Whether the `tasks` file of a cgroup of version 1 is attached.
        join: bool,
    },
}

/// A reply from the deputy.
#[derive(Debug, Serialize, Deserialize)]
pub enum DeputyAnswer {
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
    /// The program's process may still execute it. Its report says whether it has.
    Starting(i32),
    /// The step failed.
    Failed(Failure),
}
