//! One agent-vm seen from outside: boot, control, processes, terminals.
//!
//! A [`Vm`] is a set of namespaces with an init in it. This crate starts it, talks to init, reads and writes the pipes and
//! terminals that init hands over, and remembers what was written. It knows nothing of JavaScript: events go to whatever
//! implements [`Events`], results to closures.

pub mod boot;
mod control;
pub mod doctor;
mod error;
mod events;
mod exec;
mod files;
mod input;
mod leftover;
mod output_log;
mod placement;
mod pool;
mod port;
mod process;
mod process_table;
mod program;
pub mod proxy;
mod records;
pub mod runtime;
mod shell;
mod stream;
mod sys;
mod terminal;
mod traffic;
mod vm;

pub use agent_vm_protocol::message::{Attributes, Limits};
pub use error::Error;
pub use events::{Event, Events, ExitStatus, Reason, ShellId, Taken};
pub use exec::{Abort, Background, Exec, ExecResult, OnOutput, OnResult, Printed};
pub use files::{Content, Entry, EntryKind, MAX_FILE, OnEntries, Share, Walk, copied, remove_tree};
pub use input::{MAX_QUEUED, Write};
pub use output_log::{Chunk, OutputLog, Replay, Stream};
pub use placement::receive_here;
pub use process::{OnSpawn, Process, SpawnRequest};
pub use process_table::{ProcessInfo, Status};
pub use program::Program;
pub use shell::{OnOpen, Shell, ShellRequest, name as shell_name};
pub use traffic::Traffic;
pub use vm::Vm;
