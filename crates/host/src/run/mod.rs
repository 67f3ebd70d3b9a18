//! Programs that run in a VM: the code that [`exec`](exec), [`spawn`](spawn) and [`shell`](shell) share, and the calls
//! about them.
//!
//! All three go the same way. A [`Command`] becomes a request to init. When init has started the program, `attached`
//! takes over the descriptors of its streams and `exit` waits for its end. `printed` collects its output (exec), or
//! `follow` emits it (spawn and shell) and also reads what processes left running still write. `input` writes to it.
//!
//! A command in a context takes another way, through [`context`](crate::context): its shell runs already.
//!
//! The calls (`exec`, `context`, `spawn`, `shell`, `process_calls`, `shell_calls`) import the other files, and none of them imports a call.

mod attached;
mod background;
mod command;
mod command_result;
mod context;
mod descriptor_calls;
mod exec;
mod exit;
mod follow;
mod gated;
mod input;
mod pause;
mod printed;
mod process_calls;
mod process_id;
mod screen;
mod screen_calls;
mod shell;
mod shell_calls;
mod spawn;

pub use background::BackgroundProcess;
pub use command::Command;
pub use command_result::{ExecResult, OnOutput, OnResult};
pub use context::{ContextExec, ContextInfo, ContextRequest, OnContext};
pub use exec::Exec;
pub use exit::{EndRequest, Timeout};
pub use input::PendingWrite;
pub use printed::{KeptBytes, Printed};
pub use process_id::ProcessId;
pub use screen_calls::{DescribeScreen, ScreenRequest};
pub use shell::{OnOpen, ShellRequest};
pub use spawn::{OnSpawn, SpawnRequest};
