//! Starts a child without copying the caller's page tables.
//!
//! `fork` copies them, which takes milliseconds for a server with a large heap. [`sys::vfork`] makes a child that uses
//! the caller's memory until it executes a program or exits. The cost does not depend on the caller's size, and the
//! child can start in new namespaces or in another cgroup. Host and init both start their children this way.
//!
//! The child may only make system calls; which ones is up to the caller. A process that is small and has one thread can
//! make a child that may do anything instead: [`sys::copy`].

pub mod sys;
