//! Removes a directory and everything below it, whatever a hostile process put there, or does there meanwhile.
//!
//! Depth, width and names are the other's choice, so nothing here depends on them: names are bytes, paths are never made, at
//! most [`MOST_OPEN`] directories are open, and what is remembered of deeper trees is bounded. Links are never followed and
//! mounts never crossed. The way up is `..`, and only to the directory that the walk came from: a directory that was moved
//! meanwhile leads nowhere else; the walk then begins again at the top.
//!
//! The walk ([`remove`]) is the same for everybody; how a name is opened and removed is a [`Tree`]'s: the host's own files
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
