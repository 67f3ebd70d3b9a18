//! Makes the user namespaces that map owners.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;

use agent_vm_vfork::sys::{ChildOptions, Stack, vfork};
use libc::c_int;

use super::super::sys::reap;

/// A user namespace with these maps and without processes.
pub fn user_namespace(uid_map: &str, gid_map: &str) -> io::Result<OwnedFd> {
    let options = ChildOptions {
        namespaces: libc::CLONE_NEWUSER,
        // No SIGCHLD: libuv's handler in the server must not get one.
        exit_signal: 0,
        pidfd: true,
        ..ChildOptions::default()
    };
    let mut stack = Stack::new()?;
    // SAFETY: the child does nothing but exit.
    let child = unsafe { vfork(&mut stack, &options, exit, ptr::null_mut()) }?;
    // The child has ended. Until it is reaped, its pid is not reused and leads to its namespace.
    let made = (|| {
        let of_child = |file: &str| format!("/proc/{}/{file}", child.pid);
        fs::write(of_child("uid_map"), uid_map)?;
        fs::write(of_child("gid_map"), gid_map)?;
        fs::File::open(of_child("ns/user")).map(OwnedFd::from)
    })();
    if let Some(pidfd) = &child.pidfd {
        reap(pidfd.as_fd());
    }
    made
}

unsafe extern "C" fn exit(_: *mut c_void) -> ! {
    const DONE: c_int = 0;
    // SAFETY: exits without running any of the parent's code.
    unsafe { libc::_exit(DONE) }
}
