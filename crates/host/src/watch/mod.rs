//! Watches files of the VM, by inotify.
//!
//! Init opens each file and directory, as the VM's user and in the VM's view, and makes the inotify instance, which the kernel
//! so counts for the VM's user. The host adds the watches by its own descriptors. All watches of a VM share one instance and
//! one task, which reads all events and keeps for each watch those that its receiver has not taken yet, up to a bound.
//!
//! Nothing is lost without being reported: neither what the kernel drops, nor what does not fit below the bound, nor a directory
//! that cannot be watched.

mod apply;
mod calls;
mod held_move;
mod inotify;
mod job;
mod jobs;
mod look;
mod moves;
mod queue;
mod raw;
mod registry;
#[cfg(test)]
mod simulation;
mod state;
mod sys;
mod task;
mod tree;
mod watched;

pub use queue::WatchEvent;
pub use registry::Watches;
pub use watched::WatchFilesRequest;
