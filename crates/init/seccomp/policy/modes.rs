//! The calls that give a file its mode, or make one of a kind.

use super::EPERM;
use super::calls::{Call, both, new, only_x86};
use super::check::{Check, check, masked};

/// All of them.
pub fn checks() -> Vec<Check> {
    vec![
        mode(only_x86("chmod", 90), 1),
        mode(both("fchmod", 91, 52), 1),
        mode(both("fchmodat", 268, 53), 2),
        mode(new("fchmodat2", 452), 2),
        mode(only_x86("mkdir", 83), 1),
        mode(both("mkdirat", 258, 34), 2),
        mode(only_x86("creat", 85), 1),
        open(only_x86("open", 2), 1, 2),
        open(both("openat", 257, 56), 2, 3),
        mknod(only_x86("mknod", 133), 1),
        mknod(both("mknodat", 259, 33), 2),
    ]
}

/// `S_ISUID | S_ISGID`
const SET_ID: u32 = 0o6000;

fn mode(call: Call, argument: u8) -> Check {
    check(call, EPERM, vec![vec![masked(argument, SET_ID, 0)]])
}

/// The mode is garbage unless a file may be made, so the flags decide whether it is looked at.
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

/// Plain files, FIFOs and sockets; no devices, and so no overlay whiteouts either.
fn mknod(call: Call, mode: u8) -> Check {
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
            .map(|kind| vec![masked(mode, S_IFMT | SET_ID, kind)])
            .collect(),
    )
}
