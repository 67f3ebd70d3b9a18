//! `seccomp_unotify(2)`.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_long, c_ulong};
use nix::errno::Errno;

/// Since Linux 6.6; the number is the same everywhere.
pub const FCHMODAT2: c_long = 452;

/// The calls that the kernel asks about.
#[cfg(target_arch = "x86_64")]
const CALLS: [c_long; 8] = [
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_utimensat,
];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: [c_long; 4] = [
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_utimensat,
];

/// `linux/seccomp.h`, which libc has in part.
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const FLAG_NEW_LISTENER: c_ulong = 1 << 3;
const FLAG_SPEC_ALLOW: c_ulong = 1 << 2;
const FLAG_WAIT_KILLABLE_RECV: c_ulong = 1 << 5;
const IOCTL_RECEIVE: c_ulong = 0xc050_2100;
const IOCTL_SEND: c_ulong = 0xc018_2101;
const IOCTL_ID_VALID: c_ulong = 0x4008_2102;

/// A call that waits for its answer.
pub struct Asked {
    id: u64,
    /// The thread that made it.
    pub pid: u32,
    /// The call's number.
    pub number: c_long,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Puts the calling process, and what it starts from now on, under a filter that has the kernel ask about [`CALLS`], and
/// returns where it asks. Once that is closed, the calls fail with ENOSYS.
///
/// The numbers are native ones: calls through other entries have met the filter that is in force before this one.
pub fn listen() -> io::Result<OwnedFd> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (index, number) in CALLS.iter().enumerate() {
        program.push(libc::sock_filter {
            jt: (CALLS.len() - index) as u8,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *number as u32)
        });
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    program.push(statement(libc::BPF_RET | libc::BPF_K, RET_USER_NOTIF));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` describes a slice that outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV | FLAG_SPEC_ALLOW,
            &raw const filter,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Takes one call that waits. Blocks where there is none: to be called when `listener` is readable.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Asked, Errno> {
    // The kernel refuses one that is not all zero.
    let mut found = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: the kernel writes one structure of that size.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_RECEIVE as _, found.as_mut_ptr()) })?;
    // SAFETY: all-zero is valid, and the kernel has written it.
    let found = unsafe { found.assume_init() };
    Ok(Asked {
        id: found.id,
        pid: found.pid,
        number: c_long::from(found.data.nr),
        arguments: found.data.args,
    })
}

/// Whether the call still waits, and so `pid` is still the thread that made it; ENOENT if not.
pub fn confirm(listener: BorrowedFd<'_>, asked: &Asked) -> Result<(), Errno> {
    // SAFETY: the kernel reads one 64-bit number.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_ID_VALID as _, &raw const asked.id) })?;
    Ok(())
}

/// Has the call return 0 or fail.
pub fn reply(listener: BorrowedFd<'_>, asked: &Asked, error: Option<Errno>) -> Result<(), Errno> {
    let response = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: error.map_or(0, |errno| -(errno as i32)),
        flags: 0,
    };
    // SAFETY: the kernel reads one structure of that size.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_SEND as _, &raw const response) })?;
    Ok(())
}
