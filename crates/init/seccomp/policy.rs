//! What the filter answers to which call: data only, which `compile.rs` turns into a program. `src/seccomp/mod.rs` says
//! why, and adds `clone3` and `openat2` for programs.
//!
//! Numbers are from the kernel's `arch/x86/entry/syscalls/syscall_64.tbl` and `scripts/syscall.tbl` (aarch64); `libc`'s
//! constants are no use here, since in a build script they are those of the building machine.

use std::ops::RangeInclusive;

/// An architecture that the policy is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// By the name that Cargo gives it in `CARGO_CFG_TARGET_ARCH`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// What the kernel puts in `seccomp_data.arch` for a native 64-bit call: `AUDIT_ARCH_*` of `linux/audit.h`.
    pub const fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The numbers that had a meaning when this was written (Linux 6.18). What a later kernel adds is nobody's until it
    /// has been looked at here. 335 and 336 are x86-64's `uretprobe` and `uprobe`, which a host that traces needs.
    pub fn known(self) -> Vec<RangeInclusive<u32>> {
        match self {
            Self::X86_64 => vec![0..=336, 424..=469],
            Self::Aarch64 => vec![0..=243, 260..=294, 424..=469],
        }
    }
}

/// A system call and its numbers; `None` where the architecture lacks it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub name: &'static str,
    x86_64: Option<u32>,
    aarch64: Option<u32>,
}

impl Call {
    pub const fn number(self, machine: Machine) -> Option<u32> {
        match machine {
            Machine::X86_64 => self.x86_64,
            Machine::Aarch64 => self.aarch64,
        }
    }
}

pub const fn both(name: &'static str, x86_64: u32, aarch64: u32) -> Call {
    Call {
        name,
        x86_64: Some(x86_64),
        aarch64: Some(aarch64),
    }
}

/// Since 424 all architectures number alike.
pub const fn new(name: &'static str, number: u32) -> Call {
    both(name, number, number)
}

pub const fn only_x86(name: &'static str, number: u32) -> Call {
    Call {
        name,
        x86_64: Some(number),
        aarch64: None,
    }
}

/// The call returns 0, and the kernel does nothing.
pub const SUCCESS: u32 = 0;
/// Errors that the filter answers with; the numbers are the same on both architectures.
pub const EPERM: u32 = 1;
pub const EINVAL: u32 = 22;
pub const ENOSYS: u32 = 38;
pub const EPROTONOSUPPORT: u32 = 93;
pub const EOPNOTSUPP: u32 = 95;
pub const EAFNOSUPPORT: u32 = 97;

/// Refused whatever the arguments, with the error that a process without privilege gets from the kernel.
pub const NOT_PERMITTED: &[Call] = &[
    both("mount", 165, 40),
    both("umount2", 166, 39),
    both("pivot_root", 155, 41),
    both("chroot", 161, 51),
    new("open_tree", 428),
    new("move_mount", 429),
    new("fsopen", 430),
    new("fsconfig", 431),
    new("fsmount", 432),
    new("fspick", 433),
    new("mount_setattr", 442),
    new("open_tree_attr", 467),
    both("unshare", 272, 97),
    both("setns", 308, 268),
    both("add_key", 248, 217),
    both("request_key", 249, 218),
    both("keyctl", 250, 219),
    both("bpf", 321, 280),
    both("perf_event_open", 298, 241),
    both("userfaultfd", 323, 282),
    both("init_module", 175, 105),
    both("finit_module", 313, 273),
    both("delete_module", 176, 106),
    both("kexec_load", 246, 104),
    both("kexec_file_load", 320, 294),
    both("open_by_handle_at", 304, 265),
    both("name_to_handle_at", 303, 264),
    both("fanotify_init", 300, 262),
    both("fanotify_mark", 301, 263),
    both("lookup_dcookie", 212, 18),
    both("quotactl", 179, 60),
    new("quotactl_fd", 443),
    both("swapon", 167, 224),
    both("swapoff", 168, 225),
    both("reboot", 169, 142),
    both("acct", 163, 89),
    both("settimeofday", 164, 170),
    both("clock_settime", 227, 112),
    both("adjtimex", 159, 171),
    both("clock_adjtime", 305, 266),
    both("sethostname", 170, 161),
    both("setdomainname", 171, 162),
    both("syslog", 103, 116),
    both("vhangup", 153, 58),
    both("kcmp", 312, 272),
    new("pidfd_getfd", 438),
    only_x86("iopl", 172),
    only_x86("ioperm", 173),
];

/// Refused whatever the arguments, as a kernel without them would: programs then take the way they have for that.
pub const NOT_THERE: &[Call] = &[
    new("io_uring_setup", 425),
    new("io_uring_enter", 426),
    new("io_uring_register", 427),
    both("io_setup", 206, 0),
    both("io_destroy", 207, 1),
    both("io_submit", 209, 2),
    both("io_cancel", 210, 3),
    both("io_getevents", 208, 4),
    both("io_pgetevents", 333, 292),
    both("syncfs", 306, 267),
    both("mbind", 237, 235),
    both("set_mempolicy", 238, 237),
    both("get_mempolicy", 239, 236),
    both("migrate_pages", 256, 238),
    both("move_pages", 279, 239),
    new("set_mempolicy_home_node", 450),
    new("lsm_get_self_attr", 459),
    new("lsm_set_self_attr", 460),
    new("lsm_list_modules", 461),
    new("file_getattr", 468),
    new("file_setattr", 469),
    new("statmount", 457),
    new("listmount", 458),
    both("nfsservctl", 180, 42),
    only_x86("modify_ldt", 154),
    only_x86("_sysctl", 156),
    only_x86("create_module", 174),
    only_x86("get_kernel_syms", 177),
    only_x86("query_module", 178),
    only_x86("uselib", 134),
    only_x86("ustat", 136),
    only_x86("sysfs", 139),
    only_x86("getpmsg", 181),
    only_x86("putpmsg", 182),
    only_x86("afs_syscall", 183),
    only_x86("tuxcall", 184),
    only_x86("security", 185),
    only_x86("vserver", 236),
];

/// Answered with success, without being carried out. `sync(2)` cannot fail, so no error can tell a program to do without.
pub const NOT_CARRIED_OUT: &[Call] = &[both("sync", 162, 81)];

/// A test of one argument: of its low 32 bits where the argument is an `int` or narrower in the kernel, or is cut to 32 bits
/// there (`clone`'s flags), so that the high half has no meaning and must not change the answer; of all 64 bits of a pointer.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// A null pointer.
    Null {
        argument: u8,
    },
    Is {
        argument: u8,
        value: u32,
    },
    IsNot {
        argument: u8,
        value: u32,
    },
    Masked {
        argument: u8,
        mask: u32,
        value: u32,
    },
}

pub const fn null(argument: u8) -> Test {
    Test::Null { argument }
}

pub const fn is(argument: u8, value: u32) -> Test {
    Test::Is { argument, value }
}

pub const fn is_not(argument: u8, value: u32) -> Test {
    Test::IsNot { argument, value }
}

pub const fn masked(argument: u8, mask: u32, value: u32) -> Test {
    Test::Masked {
        argument,
        mask,
        value,
    }
}

/// Passed if all tests of one of `allow_if` hold; otherwise the call fails with `errno`.
#[derive(Clone, Debug)]
pub struct Step {
    pub allow_if: Vec<Vec<Test>>,
    pub errno: u32,
}

/// A call that is allowed if its arguments pass every step, in order.
#[derive(Clone, Debug)]
pub struct Check {
    pub call: Call,
    pub steps: Vec<Step>,
}

/// The answers of one filter: what stands in neither list is allowed, and a number without a meaning is ENOSYS.
#[derive(Clone, Debug)]
pub struct Table {
    /// Refused whatever the arguments, and with which error.
    pub refused: Vec<(&'static [Call], u32)>,
    /// Refused unless the arguments pass.
    pub checks: Vec<Check>,
}

/// For init and all that runs in any VM.
pub fn for_all() -> Table {
    Table {
        refused: vec![
            (NOT_PERMITTED, EPERM),
            (NOT_THERE, ENOSYS),
            (NOT_CARRIED_OUT, SUCCESS),
        ],
        checks: checks(),
    }
}

/// All calls whose answer depends on their arguments.
fn checks() -> Vec<Check> {
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
        renameat2(),
    ]
}

pub fn check(call: Call, errno: u32, allow_if: Vec<Vec<Test>>) -> Check {
    Check {
        call,
        steps: vec![Step { allow_if, errno }],
    }
}

/// Any `CLONE_NEW*`. `CLONE_NEWTIME` is not among them: in `clone` its bit belongs to the exit signal.
fn clone() -> Check {
    const NEWCGROUP_TO_NEWNET: u32 = 0x7e00_0000;
    const NEWNS: u32 = 0x0002_0000;
    check(
        both("clone", 56, 220),
        EPERM,
        vec![vec![masked(0, NEWCGROUP_TO_NEWNET | NEWNS, 0)]],
    )
}

/// What debuggers and `setarch` set. What is left out makes memory executable or maps page zero.
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

/// Every command of Linux 6.18 except `F_SETLEASE` (1024) and `F_NOTIFY` (1026): whoever opens a file waits for its lease, init
/// in `execve` and the host's programs included, and a directory is watched through a mount that is read-only. Later commands
/// are refused too: `F_SETDELEG` is a lease again.
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

/// Without `SECCOMP_FILTER_FLAG_LOG`, which has the kernel write each answer of a program's own filter to the host's log.
fn seccomp() -> Check {
    const FILTER_FLAG_LOG: u32 = 0x2;
    check(
        both("seccomp", 317, 277),
        EINVAL,
        vec![vec![masked(1, FILTER_FLAG_LOG, 0)]],
    )
}

const RLIMIT_CORE: u32 = 4;

/// The limit on core dumps is 1 and stays 1: at 0 the kernel still runs the host's handler (`core(5)`). Programs that
/// forbid themselves core dumps (`GnuPG`) take an error for the end, so the answer is success, and no core is dumped.
fn setrlimit() -> Check {
    check(
        both("setrlimit", 160, 164),
        SUCCESS,
        vec![vec![is_not(0, RLIMIT_CORE)]],
    )
}

/// Of processes other than init; see [`setrlimit`] for the second step, which lets limits be read.
fn prlimit64() -> Check {
    let mut check = spare_init(both("prlimit64", 302, 261));
    check.steps.push(Step {
        allow_if: vec![vec![is_not(1, RLIMIT_CORE)], vec![null(2)]],
        errno: SUCCESS,
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
        errno: EAFNOSUPPORT,
    }
}

fn socket() -> Check {
    // Netlink's number for it, and in IP what goes with the socket's type.
    const NETLINK_ROUTE: u32 = 0;
    const ICMP: u32 = 1;
    const TCP: u32 = 6;
    const UDP: u32 = 17;
    const ICMPV6: u32 = 58;
    const MPTCP: u32 = 262;
    // Of SOCK_TYPE_MASK, the bits that only SOCK_RDM and what comes after have: SOCK_STREAM, SOCK_DGRAM, SOCK_RAW pass.
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
                errno: EPROTONOSUPPORT,
            },
            Step {
                allow_if: by_protocol,
                errno: EPROTONOSUPPORT,
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

/// Init's number inside, and its group's.
const INIT: u32 = 1;

/// For calls that take a process first, and that the kernel allows upon any process of the same user: init is one, and
/// what it starts inherits what was done to it. A limit on processor time, for one, would kill it.
fn spare_init(call: Call) -> Check {
    check(call, EPERM, vec![vec![is_not(0, INIT)]])
}

/// Likewise for those that take a kind first, of which `user` means all processes of one user, and then whom.
fn spare_init_of(call: Call, user: u32) -> Check {
    check(call, EPERM, vec![vec![is_not(0, user), is_not(1, INIT)]])
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

/// `RENAME_WHITEOUT` leaves a device node, an overlay's whiteout, in the place of what is moved.
fn renameat2() -> Check {
    const WHITEOUT: u32 = 0x4;
    check(
        both("renameat2", 316, 276),
        EPERM,
        vec![vec![masked(4, WHITEOUT, 0)]],
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
