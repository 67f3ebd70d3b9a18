//! The calls that set a file's mode, or make a file with one.
//!
//! `mkdir` and `mkdirat` are not among them: the kernel ignores set-id bits in their mode (`mkdir(2)`).

use super::calls::{Call, both, new, only_x86};
use super::check::{Check, Otherwise, check, decided, masked};
use super::errno::EPERM;

/// How a mode with a set-id bit is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// Always allowed: all files that programs can change are the VM's own, and their modes have no effect.
    Free,
    /// Init decides by the file: some files are the host's.
    Asked,
    /// Init decides, because another filter makes the kernel ask about every mode.
    AskedElsewhere,
}

impl Modes {
    pub(super) fn checks(self) -> Vec<Check> {
        let mut checks = Vec::new();
        if self == Self::Asked {
            let asks =
                |call, argument| decided(call, Otherwise::Asks, vec![vec![masked(argument, SET_ID, 0)]]);
            checks.extend([
                asks(only_x86("chmod", 90), 1),
                asks(both("fchmod", 91, 52), 1),
                asks(both("fchmodat", 268, 53), 2),
                asks(new("fchmodat2", 452), 2),
            ]);
        }
        let set_id = if self == Self::Free {
            0
        } else {
            let creat = only_x86("creat", 85);
            checks.extend([
                check(creat, EPERM, vec![vec![masked(1, SET_ID, 0)]]),
                open(only_x86("open", 2), 1, 2),
                open(both("openat", 257, 56), 2, 3),
            ]);
            SET_ID
        };
        checks.extend([
            mknod(only_x86("mknod", 133), 1, set_id),
            mknod(both("mknodat", 259, 33), 2, set_id),
        ]);
        checks
    }
}

/// `S_ISUID | S_ISGID`
const SET_ID: u32 = 0o6000;

/// The mode is meaningless unless a file may be made, so it is tested only if the flags say so.
fn open(call: Call, flags: u8, mode: u8) -> Check {
    const CREAT_OR_TMPFILE: u32 = 0o100 | 0o20_000_000;
    check(
        call,
        EPERM,
        vec![
            vec![masked(flags, CREAT_OR_TMPFILE, 0)],
            vec![masked(mode, SET_ID, 0)],
        ],
    )
}

/// Plain files, FIFOs and sockets without any of these bits; no devices, and so no overlay whiteouts.
fn mknod(call: Call, mode: u8, bits: u32) -> Check {
    const S_IFMT: u32 = 0o170_000;
    const S_IFIFO: u32 = 0o010_000;
    const S_IFREG: u32 = 0o100_000;
    const S_IFSOCK: u32 = 0o140_000;
    let kinds = [0, S_IFREG, S_IFIFO, S_IFSOCK];
    check(
        call,
        EPERM,
        kinds
            .into_iter()
            .map(|kind| vec![masked(mode, S_IFMT | bits, kind)])
            .collect(),
    )
}
