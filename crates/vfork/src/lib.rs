//! Starting a child without copying the caller's page tables.
//!
//! `fork` copies them, which costs a server with a large heap milliseconds on every call. [`sys::vfork`] makes a child
//! that borrows the caller's memory until it executes a program or exits, at the same price whatever the caller's size,
//! and in new namespaces or in another cgroup if asked. Host and init both start their children this way.
//!
//! What the child does is up to the caller: it may only make system calls. A process that is small and has one thread can
//! have a child that may do anything instead: [`sys::copy`].

pub mod sys;
