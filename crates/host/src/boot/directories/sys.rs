//! Mounts and the user namespaces that their owners are mapped by: system calls that nix does not have.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use agent_vm_vfork::sys::{Options, Stack, vfork};
use libc::{c_int, c_long, c_uint};

use super::super::sys::reap;

/// `MOUNT_ATTR_*` of `mount_setattr(2)`.
pub mod attr {
    /// Nothing is written through this mount.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-id bits have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Owners are mapped by a user namespace.
    pub const IDMAP: u64 = 0x0010_0000;
}

const OPEN_TREE_CLONE: c_uint = 0x1;
const OPEN_TREE_CLOEXEC: c_uint = libc::O_CLOEXEC as c_uint;
const AT_RECURSIVE: c_uint = 0x8000;

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn result(answer: c_long) -> io::Result<c_long> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

/// A copy of the mount that shows what `fd` refers to, with what is mounted below it if `recursive`, that is mounted
/// nowhere.
pub fn clone_mount(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let recursive = if recursive { AT_RECURSIVE } else { 0 };
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive | libc::AT_EMPTY_PATH as c_uint;
    // SAFETY: the path is an empty C string.
    let answer = unsafe { libc::syscall(libc::SYS_open_tree, fd.as_raw_fd(), c"".as_ptr(), flags) };
    let mount_fd = result(answer)? as RawFd;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(mount_fd) })
}

/// Adds attributes to a mount and to those below it, cuts them off from what the host mounts later, and maps their owners
/// by `user_namespace` if there is one. All of it or nothing.
pub fn restrict_mount(
    mount_fd: BorrowedFd<'_>,
    attributes: u64,
    user_namespace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let map = if user_namespace.is_some() { attr::IDMAP } else { 0 };
    let change = MountAttr {
        attr_set: attributes | map,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: the path is empty, and `change` is a complete structure of the size that is passed.
    result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount_fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH as c_uint | AT_RECURSIVE,
            &raw const change,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// A user namespace with these lines as its maps and nobody in it.
pub fn user_namespace(uid_map: &str, gid_map: &str) -> io::Result<OwnedFd> {
    let options = Options {
        namespaces: libc::CLONE_NEWUSER,
        // No SIGCHLD: the server's own handler (libuv's) has nothing to do with it.
        exit_signal: 0,
        pidfd: true,
        ..Options::default()
    };
    let mut stack = Stack::new()?;
    // SAFETY: the child does nothing but exit.
    let child = unsafe { vfork(&mut stack, &options, exit, ptr::null_mut()) }?;
    // It has ended. Until it is reaped its number stays its own and leads to its namespace.
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
    // SAFETY: leaves without running anything of the parent's.
    unsafe { libc::_exit(DONE) }
}
