//! The calls that are allowed depending on their arguments, except calls that set a file's mode.

use super::calls::{Call, both};
use super::check::{Check, Otherwise, Step, check, is, is_not, masked, null};
use super::errno::{EAFNOSUPPORT, EINVAL, EPERM, EPROTONOSUPPORT, SUCCESS};

/// The checks for all of them.
pub fn checks() -> Vec<Check> {
    vec![
        clone(),
        personality(),
        ioctl(),
        fcntl(),
        socket(),
        socketpair(),
        seccomp(),
        setrlimit(),
        prlimit64(),
        spare_init(both("sched_setparam", 142, 118)),
        spare_init(both("sched_setscheduler", 144, 119)),
        spare_init(both("sched_setaffinity", 203, 122)),
        spare_init(both("sched_setattr", 314, 274)),
        spare_init_of(both("setpriority", 141, 140), 2),
        spare_init_of(both("ioprio_set", 251, 30), 3),
        renameat2(),
    ]
}

/// Any `CLONE_NEW*` except `CLONE_NEWTIME`, whose bit belongs to the exit signal in `clone`.
fn clone() -> Check {
    const NEWCGROUP_TO_NEWNET: u32 = 0x7e00_0000;
    const NEWNS: u32 = 0x0002_0000;
    check(
        both("clone", 56, 220),
        EPERM,
        vec![vec![masked(0, NEWCGROUP_TO_NEWNET | NEWNS, 0)]],
    )
}

/// The personas that debuggers and `setarch` use. The others make memory executable or map page zero.
fn personality() -> Check {
    const ASK: u32 = 0xffff_ffff;
    const LINUX32: u32 = 0x8;
    const UNAME26: u32 = 0x2_0000;
    const NO_RANDOMIZE: u32 = 0x4_0000;
    let usual = masked(0, !(LINUX32 | UNAME26 | NO_RANDOMIZE), 0);
    check(
        both("personality", 135, 92),
        EPERM,
        vec![vec![is(0, ASK)], vec![usual]],
    )
}

fn ioctl() -> Check {
    const TIOCSTI: u32 = 0x5412;
    const TIOCLINUX: u32 = 0x541c;
    const TIOCSETD: u32 = 0x5423;
    let allowed = vec![is_not(1, TIOCSTI), is_not(1, TIOCLINUX), is_not(1, TIOCSETD)];
    check(both("ioctl", 16, 29), EPERM, vec![allowed])
}

/// Every command of Linux 6.18 except `F_SETLEASE` (1024) and `F_NOTIFY` (1026). A process that opens a file waits for
/// a lease on it, including init in `execve` and the host's programs; and `F_NOTIFY` watches a directory even through a
/// read-only mount. Later commands are refused too: `F_SETDELEG` makes leases.
fn fcntl() -> Check {
    const FIRST_OF_LINUX: u32 = 1024;
    const F_GETLEASE: u32 = 1025;
    const F_DUPFD_QUERY: u32 = 1027;
    const F_SET_FILE_RW_HINT: u32 = 1038;
    let common = masked(1, !(FIRST_OF_LINUX - 1), 0);
    let linux = std::iter::once(F_GETLEASE).chain(F_DUPFD_QUERY..=F_SET_FILE_RW_HINT);
    let allow_if = std::iter::once(vec![common])
        .chain(linux.map(|command| vec![is(1, command)]))
        .collect();
    check(both("fcntl", 72, 25), EINVAL, allow_if)
}

/// Without `SECCOMP_FILTER_FLAG_LOG`, which makes the kernel write every answer of a program's own filter to the host's
/// log.
fn seccomp() -> Check {
    const FILTER_FLAG_LOG: u32 = 0x2;
    check(
        both("seccomp", 317, 277),
        EINVAL,
        vec![vec![masked(1, FILTER_FLAG_LOG, 0)]],
    )
}

const RLIMIT_CORE: u32 = 4;
const RLIMIT_LOCKS: u32 = 10;

/// Two limits stay as they are. The one on core dumps is 1: at 0 the kernel still runs the host's handler (`core(5)`).
/// A program that disables its own core dumps (such as `GnuPG`) exits if that fails, so the answer is success; no core
/// is dumped anyway. The one on file locks, which the kernel does not enforce, is the mark of the program's family.
fn setrlimit() -> Check {
    check(
        both("setrlimit", 160, 164),
        SUCCESS,
        vec![vec![is_not(0, RLIMIT_CORE), is_not(0, RLIMIT_LOCKS)]],
    )
}

/// For processes other than init. The second step lets a program read limits; see [`setrlimit`].
fn prlimit64() -> Check {
    let mut check = spare_init(both("prlimit64", 302, 261));
    check.steps.push(Step {
        allow_if: vec![
            vec![is_not(1, RLIMIT_CORE), is_not(1, RLIMIT_LOCKS)],
            vec![null(2)],
        ],
        otherwise: Otherwise::Fails(SUCCESS),
    });
    check
}

pub const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;

fn known_family() -> Step {
    let families = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];
    Step {
        allow_if: families.into_iter().map(|family| vec![is(0, family)]).collect(),
        otherwise: Otherwise::Fails(EAFNOSUPPORT),
    }
}

fn socket() -> Check {
    // Netlink's protocol number for it; for IP, 0 is the default protocol of the socket type.
    const NETLINK_ROUTE: u32 = 0;
    const ICMP: u32 = 1;
    const TCP: u32 = 6;
    const UDP: u32 = 17;
    const ICMPV6: u32 = 58;
    const MPTCP: u32 = 262;
    // The bits of SOCK_TYPE_MASK that are set only in SOCK_RDM and higher types: SOCK_STREAM, SOCK_DGRAM and SOCK_RAW
    // pass.
    let usual_type = masked(1, 0xc, 0);
    let protocols = [NETLINK_ROUTE, ICMP, TCP, UDP, ICMPV6, MPTCP].map(|protocol| vec![is(2, protocol)]);

    let by_family = vec![
        vec![is(0, AF_UNIX)],
        vec![is(0, AF_NETLINK), is(2, NETLINK_ROUTE)],
        vec![is_not(0, AF_NETLINK), usual_type],
    ];
    let by_protocol = [vec![is(0, AF_UNIX)]].into_iter().chain(protocols).collect();
    Check {
        call: both("socket", 41, 198),
        steps: vec![
            known_family(),
            Step {
                allow_if: by_family,
                otherwise: Otherwise::Fails(EPROTONOSUPPORT),
            },
            Step {
                allow_if: by_protocol,
                otherwise: Otherwise::Fails(EPROTONOSUPPORT),
            },
        ],
    }
}

fn socketpair() -> Check {
    Check {
        call: both("socketpair", 53, 199),
        steps: vec![known_family()],
    }
}

/// Init's pid in the VM, and the id of its process group.
const INIT: u32 = 1;

/// For calls whose first argument is a process, and that the kernel allows for any process of the same user. Init is
/// such a process, and what it starts inherits the setting. For example, a limit on processor time would kill init.
fn spare_init(call: Call) -> Check {
    check(call, EPERM, vec![vec![is_not(0, INIT)]])
}

/// The same for calls whose first argument is the kind of the target (`user` means all processes of a user), followed
/// by the target.
fn spare_init_of(call: Call, user: u32) -> Check {
    check(call, EPERM, vec![vec![is_not(0, user), is_not(1, INIT)]])
}

/// `RENAME_WHITEOUT` replaces the moved file by a device node, an overlay's whiteout.
fn renameat2() -> Check {
    const WHITEOUT: u32 = 0x4;
    check(
        both("renameat2", 316, 276),
        EPERM,
        vec![vec![masked(4, WHITEOUT, 0)]],
    )
}
