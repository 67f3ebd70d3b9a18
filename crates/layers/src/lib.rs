//! What VMs have written and other VMs begin with.
//!
//! A [`Layer`] is a file system that no longer changes. A VM is a list of layers ([`Layers`]) below one that takes its
//! writes. A [`Snapshot`] is such a list with a name by which callers find it. A layer exists as long as something refers
//! to it: a VM, a snapshot, or another list.

mod layer;
mod release;
mod snapshots;

pub use layer::{Layer, Layers};
pub use snapshots::{MOST_SNAPSHOTS, NewSnapshot, Snapshot, SnapshotError, Snapshots};
