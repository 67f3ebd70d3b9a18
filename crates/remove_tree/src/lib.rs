//! Removes a directory and everything below it, whatever a hostile process has put there or changes meanwhile.
//!
//! The other process chooses depth, width and names, so nothing here depends on them: names are bytes, paths are never
//! built, at most [`MOST_OPEN`] directories are open, and what is remembered about deeper trees is bounded. Links are
//! never followed, and mounts never crossed. The walk goes up by `..`, and only to the directory from which it came: if
//! a directory was moved meanwhile, the walk begins again at the top.
//!
//! The walk ([`remove`]) is the same for all trees; a [`Tree`] opens and removes names: the host's own files
//! ([`remove_all`]), or a VM's.

mod entries;
mod host;
mod named;
mod sys;
mod tree;
mod walk;

pub use entries::{Entries, Entry};
pub use host::remove_all;
pub use named::Named;
pub use sys::{entries, statx};
pub use tree::{Failed, Tree};
pub use walk::{MOST_OPEN, remove};
