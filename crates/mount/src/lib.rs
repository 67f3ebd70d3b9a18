//! Mounts that are made, changed and attached by their descriptors.
//!
//! A mount that is attached nowhere is a descriptor like any other: it can be restricted before anybody sees what it shows, and
//! handed to another process. The host makes such mounts of its directories, and init makes a VM's root of them. The kernel has
//! system calls for that since Linux 5.2, and for attributes since 5.12; nix has none of them.

pub mod attr;
mod sys;

pub use sys::{attach_mount, clone_mount, new_mount, restrict_and_map, restrict_mount};
