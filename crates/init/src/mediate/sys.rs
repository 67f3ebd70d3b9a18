//! `seccomp_unotify(2)`.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_long, c_ulong};
use nix::NixPath;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::seccomp;

/// Since Linux 6.6; the number is the same on all architectures.
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

/// The calls that open a file, with the positions of the path and of the flags among their arguments.
#[cfg(target_arch = "x86_64")]
const OPENS: [(c_long, usize, usize); 2] = [(libc::SYS_open, 0, 1), (libc::SYS_openat, 1, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: [(c_long, usize, usize); 1] = [(libc::SYS_openat, 1, 2)];

/// Flags without which a call only opens an existing file to read it.
const MORE_THAN_READING: i32 =
    libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_PATH | libc::O_DIRECTORY | libc::O_TMPFILE;

/// The upper half of the addresses at which a program's first stack, with its arguments, may begin. It is above the
/// libraries and the heap: the kernel places it at random within 16 GiB below the end of the address space (arm64: 1
/// GiB).
#[cfg(target_arch = "x86_64")]
const FIRST_STACK: u32 = 0x7ffb;
#[cfg(not(target_arch = "x86_64"))]
const FIRST_STACK: u32 = 0xffff;

/// Numbers of `linux/seccomp.h` that libc lacks in part.
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const IOCTL_RECEIVE: c_ulong = 0xc050_2100;
const IOCTL_SEND: c_ulong = 0xc018_2101;
const IOCTL_ID_VALID: c_ulong = 0x4008_2102;
const IOCTL_ADD_DESCRIPTOR: c_ulong = 0x4018_2103;
const FLAG_CONTINUE: u32 = 1;
const ADD_AND_SEND: u32 = 1 << 1;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Asked {
    id: u64,
    /// The id of the thread that made it.
    pub pid: u32,
    /// The call's number.
    pub number: c_long,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// A call that opens a file to read it.
pub struct Open {
    /// The address of the path.
    pub path: u64,
    /// Whether an `execve` closes the descriptor.
    pub closes_on_exec: bool,
}

impl Open {
    /// What a call opens; `None` if it is another call.
    pub fn of(asked: &Asked) -> Option<Self> {
        let (_, path, flags) = OPENS.iter().find(|(number, ..)| *number == asked.number)?;
        Some(Self {
            path: asked.arguments[*path],
            closes_on_exec: asked.arguments[*flags] as i32 & libc::O_CLOEXEC != 0,
        })
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Loads 32 bits of the filter's input (`struct seccomp_data`).
fn load(at: usize) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at as u32)
}

fn answer(value: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, value)
}

/// The part of the filter for call `number`, which is in the accumulator; other calls skip this part.
fn if_open(number: c_long, path: usize, flags: usize, path_offsets: &[u16]) -> Vec<libc::sock_filter> {
    // Both architectures store the lower half first.
    let (lower, upper) = (|index: usize| 16 + 8 * index, |index: usize| 20 + 8 * index);
    let compare = |comparison: u32, k: u32| statement(libc::BPF_JMP | comparison | libc::BPF_K, k);
    let and = |k: u32| statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, k);
    // Each of these is a condition under which the kernel asks.
    let offsets = path_offsets
        .iter()
        .map(|offset| compare(libc::BPF_JEQ, u32::from(*offset)));
    let mut part = vec![
        load(lower(flags)),
        and(MORE_THAN_READING as u32),
        compare(libc::BPF_JEQ, 0),
        load(upper(path)),
        compare(libc::BPF_JGE, FIRST_STACK),
        load(lower(path)),
        and(0xfff),
    ];
    part.extend(offsets);
    part.extend([answer(libc::SECCOMP_RET_ALLOW), answer(RET_USER_NOTIF)]);
    let ask = part.len() - 1;
    let allow = ask - 1;
    part[2].jf = (allow - 3) as u8;
    part[4].jt = (ask - 5) as u8;
    for (index, one) in part.iter_mut().enumerate().take(allow).skip(7) {
        one.jt = (ask - index - 1) as u8;
    }
    part.insert(
        0,
        libc::sock_filter {
            jf: part.len() as u8,
            ..compare(libc::BPF_JEQ, number as u32)
        },
    );
    part
}

/// Puts the calling process, and everything that it starts from now on, under a filter that makes the kernel ask about
/// [`CALLS`], and about [`OPENS`] whose path begins at one of `path_offsets` in a page or on the first stack. Returns
/// the descriptor on which the kernel asks. Once that is closed, the calls fail with ENOSYS.
///
/// The numbers are native ones: the filter that was installed before this one handles other entries.
///
/// The deputy is under the filter too. It opens files with `openat2(2)`, about which the kernel does not ask, because
/// init may be waiting for the deputy.
pub fn listen(path_offsets: &[u16]) -> io::Result<OwnedFd> {
    let mut program = vec![load(0)];
    for (index, number) in CALLS.iter().enumerate() {
        program.push(libc::sock_filter {
            // Over the jump that other calls take.
            jt: (CALLS.len() - index) as u8,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *number as u32)
        });
    }
    program.push(libc::sock_filter {
        k: 1,
        ..statement(libc::BPF_JMP | libc::BPF_JA, 0)
    });
    program.push(answer(RET_USER_NOTIF));
    for (number, path, flags) in OPENS {
        program.extend(if_open(number, path, flags, path_offsets));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    seccomp::listen(&program)
}

/// `fchmodat(2)` with any mode, by a process under [`seccomp::confine`].
pub fn change_mode(directory_fd: BorrowedFd<'_>, path: &str, mode: u32) -> Result<(), Errno> {
    path.with_nix_path(|path| {
        // SAFETY: the string outlives the call, which has three arguments and ignores further ones.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_fchmodat,
                directory_fd.as_raw_fd(),
                path.as_ptr(),
                mode & 0o7777,
                0,
                0,
                seccomp::key(),
            )
        })
    })??;
    Ok(())
}

/// Takes one waiting call. Blocks if there is none, so it must be called only when `listener` is readable.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Asked, Errno> {
    // The kernel refuses a structure that is not all zero.
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

/// Whether the call still waits, so that `pid` is still the thread that made it; ENOENT if not.
pub fn confirm(listener: BorrowedFd<'_>, asked: &Asked) -> Result<(), Errno> {
    // SAFETY: the kernel reads one 64-bit number.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_ID_VALID as _, &raw const asked.id) })?;
    Ok(())
}

/// Makes the call return 0 or fail.
pub fn reply(listener: BorrowedFd<'_>, asked: &Asked, error: Option<Errno>) -> Result<(), Errno> {
    respond(listener, asked, error.map_or(0, |errno| -(errno as i32)), 0)
}

/// Makes the kernel continue the call unchanged, with the arguments that it has by then.
pub fn go_on(listener: BorrowedFd<'_>, asked: &Asked) -> Result<(), Errno> {
    respond(listener, asked, 0, FLAG_CONTINUE)
}

fn respond(listener: BorrowedFd<'_>, asked: &Asked, error: i32, flags: u32) -> Result<(), Errno> {
    let response = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error,
        flags,
    };
    // SAFETY: the kernel reads one structure of that size.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_SEND as _, &raw const response) })?;
    Ok(())
}

/// Makes the call return a new descriptor of the program for the file behind `fd`. After an error the call still waits.
pub fn reply_with(
    listener: BorrowedFd<'_>,
    asked: &Asked,
    fd: BorrowedFd<'_>,
    closes_on_exec: bool,
) -> Result<(), Errno> {
    let added = libc::seccomp_notif_addfd {
        id: asked.id,
        flags: ADD_AND_SEND,
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: if closes_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: the kernel reads one structure of that size.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_ADD_DESCRIPTOR as _, &raw const added) })?;
    Ok(())
}
