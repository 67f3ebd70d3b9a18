//! What a VM without namespaces is refused in addition, because it shares the host's network, IPC and processes and, if
//! the server is not root, the server's user. `src/seccomp/mod.rs` gives the reasons.

use crate::policy::Table;
use crate::policy::arguments::AF_UNIX;
use crate::policy::calls::{Call, both, new, only_x86};
use crate::policy::check::{Check, check, is, is_not, masked};
use crate::policy::errno::{EAFNOSUPPORT, ENOSYS, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};

/// For the deputy and the programs of such a VM, in addition to [`crate::policy::for_all`].
pub fn table() -> Table {
    Table {
        refused: vec![
            (SOCKETS, EAFNOSUPPORT),
            (OWNERS, EPERM),
            (EXTENDED_ATTRIBUTES, EOPNOTSUPP),
            (HOSTS_IPC, ENOSYS),
            (WATCHES, ENOSYS),
        ],
        checks: checks(),
    }
}

const SOCKETS: &[Call] = &[both("socket", 41, 198)];

const OWNERS: &[Call] = &[
    only_x86("chown", 92),
    only_x86("lchown", 94),
    both("fchown", 93, 55),
    both("fchownat", 260, 54),
    new("file_setattr", 469),
];

const EXTENDED_ATTRIBUTES: &[Call] = &[
    both("setxattr", 188, 5),
    both("lsetxattr", 189, 6),
    both("fsetxattr", 190, 7),
    both("removexattr", 197, 14),
    both("lremovexattr", 198, 15),
    both("fremovexattr", 199, 16),
    new("setxattrat", 463),
    new("removexattrat", 466),
];

const HOSTS_IPC: &[Call] = &[
    both("shmget", 29, 194),
    both("shmat", 30, 196),
    both("shmctl", 31, 195),
    both("shmdt", 67, 197),
    both("semget", 64, 190),
    both("semop", 65, 193),
    both("semctl", 66, 191),
    both("semtimedop", 220, 192),
    both("msgget", 68, 186),
    both("msgsnd", 69, 189),
    both("msgrcv", 70, 188),
    both("msgctl", 71, 187),
    both("mq_open", 240, 180),
    both("mq_unlink", 241, 181),
    both("mq_timedsend", 242, 182),
    both("mq_timedreceive", 243, 183),
    both("mq_notify", 244, 184),
    both("mq_getsetattr", 245, 185),
];

const WATCHES: &[Call] = &[
    only_x86("inotify_init", 253),
    both("inotify_init1", 294, 26),
    both("inotify_add_watch", 254, 27),
];

fn checks() -> Vec<Check> {
    let own = |call, argument| check(call, EPERM, vec![vec![is(argument, 0)]]);
    vec![
        socketpair(),
        own(both("prlimit64", 302, 261), 0),
        own(both("sched_setaffinity", 203, 122), 0),
        own(both("sched_setattr", 314, 274), 0),
        own(both("sched_setparam", 142, 118), 0),
        own(both("sched_setscheduler", 144, 119), 0),
        priority(both("setpriority", 141, 140), [0, 1]),
        priority(both("ioprio_set", 251, 30), [1, 2]),
        file_flags(),
    ]
}

/// Only streams between parent and child: a datagram socket can send to any address, even if it is one of a pair.
fn socketpair() -> Check {
    const SOCK_TYPE_MASK: u32 = 0xf;
    const SOCK_STREAM: u32 = 1;
    const SOCK_SEQPACKET: u32 = 5;
    let of_type = |kind| vec![is(0, AF_UNIX), masked(1, SOCK_TYPE_MASK, kind)];
    check(
        both("socketpair", 53, 199),
        EPROTONOSUPPORT,
        vec![of_type(SOCK_STREAM), of_type(SOCK_SEQPACKET)],
    )
}

/// Only for the caller itself, or for its own process group; `kinds` are the call's numbers for these two.
fn priority(call: Call, kinds: [u32; 2]) -> Check {
    check(
        call,
        EPERM,
        kinds.map(|kind| vec![is(0, kind), is(1, 0)]).to_vec(),
    )
}

/// Flags, projects, encryption and verity of a file, which can be changed through a read-only descriptor.
fn file_flags() -> Check {
    const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
    const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;
    const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
    const FS_IOC_SET_ENCRYPTION_POLICY: u32 = 0x800c_6613;
    const FS_IOC_ENABLE_VERITY: u32 = 0x4080_6685;
    let refused = [
        FS_IOC_SETFLAGS,
        FS_IOC32_SETFLAGS,
        FS_IOC_FSSETXATTR,
        FS_IOC_SET_ENCRYPTION_POLICY,
        FS_IOC_ENABLE_VERITY,
    ];
    check(
        both("ioctl", 16, 29),
        EPERM,
        vec![refused.map(|request| is_not(1, request)).to_vec()],
    )
}
