//! Mounts that are made, changed and attached through their descriptors.
//!
//! A detached mount is a descriptor: it can be restricted before anyone can see its files, and sent to another process.
//! The host makes such mounts of its directories, and init makes a VM's root of them. The kernel has system calls for
//! that since Linux 5.2, and for attributes since 5.12; nix has none of them.

pub mod attr;
mod sys;

pub use sys::{attach_mount, clone_mount, new_mount, restrict_and_map, restrict_mount};
