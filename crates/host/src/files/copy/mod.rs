//! Copies files and trees. Init opens and creates every file, as the VM's user and without following links: a directory
//! that a process replaces by a link meanwhile cannot redirect the copy. The host copies the content.
//!
//! The guest decides how wide and deep a tree is, so a copy has the bounds of a listing, and remembers directories as one
//! does. A target that a process fills with what is copied ends at these bounds too.

mod entry;
mod request;
mod tree;

pub use request::{CopyRequest, ExistingCopy};
