//! What the kernel reports of a process in `/proc/<pid>/stat` (`proc_pid_stat(5)`), and which processes descend from which.
//!
//! Init reads these files to find and kill what a program has started, and the host to list what runs. A process chooses its name,
//! which is a part of the file and may contain any bytes.

mod descent;
mod stat;

pub use descent::descendants;
pub use stat::{STAT_BYTES, Stat};
