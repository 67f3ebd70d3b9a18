//! System calls for which no safe wrapper exists.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::entries::{Entries, Entry};

/// How many bytes of entries are read at a time: about 120 of the longest names, or 1,300 short ones.
const BUFFER: usize = 32 * 1024;

/// The offset of `d_name` in a `linux_dirent64`, which is packed: ino, off, reclen, type, name.
const NAME: usize = 19;

/// The next entries of an open directory, without `.` and `..`. Moves the directory's position.
///
/// # Errors
/// The kernel's error.
pub fn entries(directory: BorrowedFd<'_>) -> Result<Entries, Errno> {
    let mut found = Entries::default();
    let mut read = 0;
    // In words of eight bytes, the alignment that the kernel gives every entry.
    let mut buffer = vec![0u64; BUFFER / 8];
    while read < BUFFER {
        // SAFETY: the kernel writes at most as many bytes as the buffer has.
        let length = Errno::result(unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                directory.as_raw_fd(),
                buffer.as_mut_ptr(),
                BUFFER,
            )
        })? as usize;
        if length == 0 {
            found.are_last = true;
            break;
        }
        read += length;
        // SAFETY: the buffer is that long, lives through the borrow, and any byte is a valid `u8`.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
        parse(bytes, &mut found.entries);
    }
    Ok(found)
}

fn parse(mut bytes: &[u8], found: &mut VecDeque<Entry>) {
    while bytes.len() > NAME {
        let length = usize::from(u16::from_ne_bytes([bytes[16], bytes[17]]));
        let (Some(entry), Some(rest)) = (bytes.get(..length), bytes.get(length..)) else {
            break;
        };
        if length <= NAME {
            break;
        }
        if let Ok(name) = CStr::from_bytes_until_nul(&entry[NAME..])
            && name != c"."
            && name != c".."
        {
            // Some file systems return DT_UNKNOWN, which is treated as a file first.
            found.push_back(Entry::new(name.to_owned(), entry[18] == libc::DT_DIR));
        }
        bytes = rest;
    }
}

/// Identifies a directory while it, or something in it, is open: its mount, its file system and its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub mount: u64,
    device: (u32, u32),
    inode: u64,
}

/// The identity of an open file.
pub fn identity(fd: BorrowedFd<'_>) -> Result<Identity, Errno> {
    let found = statx(fd, libc::STATX_INO | libc::STATX_MNT_ID)?;
    Ok(Identity {
        // Always zero before Linux 5.8, which does not report it.
        mount: found.stx_mnt_id,
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
    })
}

/// `statx(2)` of an open file, which nix lacks: at least the fields of `mask` that the file system has.
pub fn statx(fd: BorrowedFd<'_>, mask: u32) -> Result<libc::statx, Errno> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is empty and NUL-terminated, and the kernel writes at most one such structure.
    Errno::result(unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            mask,
            found.as_mut_ptr(),
        )
    })?;
    // SAFETY: all-zero is a valid structure, and so is what the kernel wrote to it.
    Ok(unsafe { found.assume_init() })
}
