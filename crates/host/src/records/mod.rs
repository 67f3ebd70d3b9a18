//! What a VM remembers of processes and shells: those that run, and the last of those that have exited.
//!
//! A [`Record`] is the same for both. [`SpawnedProcess`] and [`Shell`] add what only one of them has.

mod process;
mod record;
mod replay_budget;
mod shell;
mod store;

pub use process::{SpawnedProcess, SpawnedProcessInfo};
pub use record::{NewRecord, OutputReplay, Record};
pub use replay_budget::ReplayBudget;
pub use shell::{Shell, ShellInfo};
pub use store::Records;
