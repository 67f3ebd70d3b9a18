//! Programs that run in a VM: what [`exec`](exec), [`spawn`](spawn) and [`shell`](shell) have in common, and the calls about them.
//!
//! All three take the same way. A [`Command`] becomes a request to init. When init has started it, `attached` takes over the
//! descriptors of its streams; `exit` waits for its end; what it writes is collected by `printed` (exec) or emitted by
//! `follow` (spawn and shell), which also reads what the program has left running. `input` writes to it.
//!
//! The calls (`exec`, `spawn`, `shell`, `process_calls`, `shell_calls`) import the other files, and none of them imports a call.

mod attached;
mod background;
mod command;
mod exec;
mod exit;
mod follow;
mod input;
mod printed;
mod process_calls;
mod shell;
mod shell_calls;
mod spawn;

pub use background::BackgroundProcess;
pub use command::Command;
pub use exec::{Exec, ExecResult, OnOutput, OnResult};
pub use input::PendingWrite;
pub use printed::Printed;
pub use shell::{OnOpen, ShellRequest};
pub use spawn::{OnSpawn, SpawnRequest};
