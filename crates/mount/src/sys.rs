//! The system calls.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_char, c_long, c_uint};
use nix::errno::Errno;

const FSOPEN_CLOEXEC: c_uint = 0x1;
const FSMOUNT_CLOEXEC: c_uint = 0x1;
const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;
const OPEN_TREE_CLONE: c_uint = 0x1;
const OPEN_TREE_CLOEXEC: c_uint = libc::O_CLOEXEC as c_uint;
/// Owners are mapped by a user namespace.
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const AT_RECURSIVE: c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: c_uint = 0x40;

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn owned(result: c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)?;
    // SAFETY: the kernel has just made this descriptor, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A new, detached file system of type `name`, with `options` (an option with an empty value is a flag).
///
/// # Errors
/// The kernel's error of `fsopen(2)`, `fsconfig(2)` or `fsmount(2)`.
pub fn new_mount(name: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<OwnedFd, Errno> {
    // SAFETY: `name` is a C string that outlives the call.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })?;
    for (key, value) in options {
        let (command, value) = if value.is_empty() {
            (FSCONFIG_SET_FLAG, ptr::null::<c_char>())
        } else {
            (FSCONFIG_SET_STRING, value.as_ptr())
        };
        // SAFETY: both are C strings that outlive the call, or null if the command takes none.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                command,
                key.as_ptr(),
                value,
                0,
            )
        })?;
    }
    let none = ptr::null::<c_char>();
    // SAFETY: this command takes neither key nor value.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            none,
            none,
            0,
        )
    })?;
    // SAFETY: takes integers only.
    owned(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            attributes as c_uint,
        )
    })
}

/// A detached copy of the mount at `path` (relative to `directory`; `directory` itself if it is empty), with everything
/// mounted below it if `recursive`.
///
/// # Errors
/// EPERM or ENOSYS if the caller or the kernel cannot do so (`open_tree(2)`).
pub fn clone_mount(directory: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC
        | libc::AT_EMPTY_PATH as c_uint
        | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `path` is a C string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, directory.as_raw_fd(), path.as_ptr(), flags) })
}

/// Adds attributes to the mount at `fd` and, if `recursive`, to those below it. Later mounts of the host no longer
/// appear in it.
///
/// # Errors
/// The kernel's error.
pub fn restrict_mount(fd: BorrowedFd<'_>, attributes: u64, recursive: bool) -> Result<(), Errno> {
    let change = MountAttr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    set(fd, &change, recursive)
}

/// The same for the mount at `fd` and all mounts below it; also maps their owners by `user_namespace`. Changes all of
/// them or none.
///
/// # Errors
/// EINVAL if a file system cannot map owners, EPERM if one does so already.
pub fn restrict_and_map(
    fd: BorrowedFd<'_>,
    attributes: u64,
    user_namespace: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let change = MountAttr {
        attr_set: attributes | MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    set(fd, &change, true)
}

fn set(fd: BorrowedFd<'_>, change: &MountAttr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH as c_uint | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is empty, and `change` is a complete structure of the size that is passed.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(change),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Attaches a detached mount over the file or directory `target`.
///
/// # Errors
/// The kernel's error.
pub fn attach_mount(mount: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    // SAFETY: both paths are empty C strings.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            target.as_fd().as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })?;
    Ok(())
}
