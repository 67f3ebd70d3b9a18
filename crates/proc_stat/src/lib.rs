//! Lists the processes in `/proc`, parses `/proc/<pid>/stat` (`proc_pid_stat(5)`), and finds the descendants of processes.
//!
//! Init reads these files to find and kill what a program has started, and the host reads them to list the processes. A
//! process chooses its name, which is part of the file and may contain any bytes.

mod descent;
mod listing;
mod stat;

pub use descent::descendants;
pub use listing::numbers;
pub use stat::{STAT_BYTES, Stat};
