//! The processes and shells that a VM remembers: all that run, and those that exited last.
//!
//! A [`Record`] is the same for both. [`SpawnedProcess`] and [`Shell`] add what only one of them needs.

mod flow;
mod process;
mod record;
mod replay_budget;
mod shell;
mod store;

pub use flow::Flow;
pub use process::{SpawnedProcess, SpawnedProcessInfo};
pub use record::{Descriptor, NewRecord, OutputReplay, Record};
pub use replay_budget::ReplayBudget;
pub use shell::{Shell, ShellInfo};
pub use store::Records;
