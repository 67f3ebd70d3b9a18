//! The system calls that are refused, permanently, to every process in the VM: to init from "ready" on ([`confine`]),
//! and to the programs that it starts.
//!
//! Namespaces and missing capabilities already deny most of what is refused here. The filter covers the rest
//! (`TIOCSTI`, set-uid files on a host directory) and keeps a guest away from kernel code through which escapes have
//! come. Calls of later kernels are refused until they have been reviewed. The filter kills no native program: a
//! program that probes for a call uses its alternative. The error is EPERM where any process without privilege would
//! get that, and ENOSYS where programs have an alternative.
//!
//! | call | answer | why |
//! | --- | --- | --- |
//! | through an i386, ARM or x32 entry | SIGSYS | the rules below know native numbers only; a 32-bit program can do nothing, and this way its shell says "Bad system call" |
//! | a number newer than Linux 6.18 or never given out | ENOSYS | the rules do not know it |
//! | `mount` `umount2` `pivot_root` `chroot` `open_tree` `open_tree_attr` `move_mount` `fsopen` `fsconfig` `fsmount` `fspick` `mount_setattr` | EPERM | undo read-only and masked mounts |
//! | `statmount` `listmount` | ENOSYS | show the host's mounts |
//! | `unshare` `setns`, `clone` with a `CLONE_NEW*` | EPERM | a new user namespace gives capabilities, and those give the kernel's network and mount code |
//! | `clone3` (init's own has a [`key`]) | ENOSYS | its flags are in memory, which a filter cannot read; libc falls back to `clone` |
//! | `openat2` (init's own has a [`key`]) | ENOSYS | its mode is in memory; programs fall back to `openat` |
//! | mode with set-uid or set-gid in `chmod` `fchmod` `fchmodat` `fchmodat2` | the kernel asks init ([`mediate`](crate::mediate)) | such a file on a host directory would be one on the host |
//! | the same in `creat` `mknod` `mknodat`, and in `open` `openat` where they may make a file | EPERM | as above; init cannot make a file for a program that has given up rights to do so (`landlock(7)`) |
//! | `mknod` `mknodat` of devices, `renameat2` that leaves a whiteout | EPERM | doors to drivers; a whiteout is a device node |
//! | `ioctl` `TIOCSTI` `TIOCLINUX` | EPERM | type into a terminal that is shared with someone else |
//! | `ioctl` `TIOCSETD` | EPERM | loads line disciplines, a frequent way to root |
//! | `socket` `socketpair` of a family other than Unix, IPv4, IPv6, netlink | EAFNOSUPPORT | vsock and packet sockets are doors; the others are code that nobody inside needs |
//! | `socket` of netlink other than ROUTE, of IP other than TCP, MPTCP, UDP and ICMP (ping) | EPROTONOSUPPORT | audit, netfilter, xfrm; SCTP, SMC, L2TP, which the kernel would load on demand |
//! | `fcntl` `F_SETLEASE`, `F_NOTIFY` and what is newer than Linux 6.18 | EINVAL | init and the host's programs wait for a lease as they open or execute the file, through read-only mounts too; `F_NOTIFY` watches directories |
//! | `io_uring_*` | ENOSYS | makes calls that no filter sees |
//! | `io_setup` `io_submit` `io_cancel` `io_destroy` `io_getevents` `io_pgetevents` | ENOSYS | one process takes `fs.aio-max-nr` from the whole host |
//! | `syncfs` | ENOSYS | flushes a file system of the host's whole; `fsync` of a file is allowed |
//! | `mbind` `set_mempolicy` `set_mempolicy_home_node` `get_mempolicy` `migrate_pages` `move_pages` | ENOSYS | the memory of one node is the whole machine's; libnuma then works without |
//! | `lsm_get_self_attr` `lsm_set_self_attr` `lsm_list_modules` `file_getattr` `file_setattr` | ENOSYS | young, and programs do without: `/proc/self/attr`, `ioctl` |
//! | `sync` | 0, nothing is done | flushes all file systems of the host; it has no error to answer with |
//! | `seccomp` with `SECCOMP_FILTER_FLAG_LOG` | EINVAL | writes to the host's log |
//! | `setrlimit` `prlimit64` of `RLIMIT_CORE` | 0, nothing is done | the limit is 1, at which the kernel dumps to no file and to no handler; at 0 it would run the handler |
//! | `setrlimit` `prlimit64` of `RLIMIT_LOCKS` (init's own has a [`key`]) | 0, nothing is done | the kernel does not enforce it, and its value marks a program's family ([`family`](crate::family)) where there is no cgroup |
//! | `bpf` `perf_event_open` `userfaultfd` | EPERM | the kernel's own instruments, and an exploit's |
//! | `add_key` `request_key` `keyctl` | EPERM | keyrings are not namespaced |
//! | `open_by_handle_at` `name_to_handle_at` `lookup_dcookie` | EPERM | reach files by number, past every mount |
//! | `fanotify_init` `fanotify_mark` `quotactl` `quotactl_fd` `acct` | EPERM | watch and rule whole filesystems |
//! | `init_module` `finit_module` `delete_module` `kexec_load` `kexec_file_load` `reboot` `swapon` `swapoff` `iopl` `ioperm` `vhangup` | EPERM | the machine's own business |
//! | `prlimit64` `sched_setparam` `sched_setscheduler` `sched_setaffinity` `sched_setattr` of process 1; `setpriority` `ioprio_set` of it or of all of a user's | EPERM | init is a process of the same user, and what it starts inherits these |
//! | `settimeofday` `clock_settime` `adjtimex` `clock_adjtime` `sethostname` `setdomainname` | EPERM | clock and names are set by the host |
//! | `syslog` `kcmp` | EPERM | tell kernel addresses |
//! | `pidfd_getfd` | EPERM | a killed process loses its memory, which says that nobody may trace it, before its descriptors: a program could take those of init from a child that init was about to start |
//! | `personality` other than Linux, Linux32, uname26, and without address randomisation | EPERM | executable data, a mapped page zero |
//! | `modify_ldt` `uselib` `ustat` `sysfs` `_sysctl` `nfsservctl` `create_module` `query_module` `get_kernel_syms` `getpmsg` `putpmsg` `afs_syscall` `tuxcall` `security` `vserver` | ENOSYS | left over; newer kernels lack most of them |
//!
//! The two rows about modes do not apply in a VM that shows no host directory and has its own network: there every file
//! that programs can change is the VM's own ([`SetIds`]). `mkdir` ignores such bits in its mode in every VM.
//!
//! In a VM without namespaces, whose programs share the host's network, IPC and processes, and possibly the server's
//! user, [`confine_without_namespaces`] also refuses:
//!
//! | call | answer | why |
//! | --- | --- | --- |
//! | `socket` | EAFNOSUPPORT | Landlock knows TCP alone, by port and not by address, lets a socket listen that is not bound, and does not hold Unix sockets that have a path: the session bus, a terminal multiplexer, `docker.sock` |
//! | `socketpair` of anything but Unix streams and seqpackets | EPROTONOSUPPORT | a datagram socket sends to any address, even one of a pair |
//! | `chown` `lchown` `fchown` `fchownat` `file_setattr`, `ioctl` for file flags, projects, encryption, verity | EPERM | Landlock does not look at them: files of the server's user would change |
//! | `setxattr` `removexattr` and their like | EOPNOTSUPP | as above |
//! | `inotify_*` | ENOSYS | as above: shows what happens in any directory |
//! | `shm*` `sem*` `msg*` `mq_*` | ENOSYS | the host's, and what is left there outlives the VM |
//! | `prlimit64` `sched_set*` `setpriority` `ioprio_set` on anybody else | EPERM | the server may be of the same user: a limit can kill it, a priority starve it |
//!
//! Root in a VM with a single id ([`emulated_root`]) gets, for these calls, the answer of a call that has succeeded:
//!
//! | call | answer | why |
//! | --- | --- | --- |
//! | `chown` `lchown` `fchown` `fchownat` | 0, nothing is done | package managers give files to users, and there is one id |
//! | `setuid` `setgid` `setreuid` `setregid` `setresuid` `setresgid` `setfsuid` `setfsgid` `setgroups` `capset` | 0, nothing is done | programs that start as root give up rights that this root does not have |
//!
//! In addition, [`mediate`](crate::mediate) carries out for such programs the calls that change a file's mode or times.
//!
//! Allowed on purpose: `ptrace`, `process_vm_readv` and `process_vm_writev`, since debuggers need them and the kernel
//! makes the same check for all three, by which init, which is not dumpable, is out of reach. `seccomp`, since filters
//! can only be added and the kernel takes the stricter of two answers, so a guest's supervisor cannot allow what this
//! filter refuses. `landlock_*` and `memfd_secret` only affect the caller.
//!
//! What does not work in a VM because of the filter: set-uid files on a host directory (`cp -p`, `tar -p`), sandboxes
//! that use namespaces (Chromium needs `--no-sandbox`), 32-bit programs, `sync -f`, `ulimit -c`, and programs that
//! insist on AIO (`fio --ioengine=libaio`); databases and web servers do without it. Where the kernel asks init, a
//! program cannot have its own supervisor (`SECCOMP_FILTER_FLAG_NEW_LISTENER` is EBUSY), because a process has one
//! listener for all its filters.
//!
//! The cost of a call: the kernel does not run the filter for calls that are always allowed (it keeps a bitmap, Linux
//! 5.11); a call whose arguments are tested, such as `openat`, costs a few dozen nanoseconds.
//!
//! `seccomp/profiles` compares the filter with those of Docker, systemd and Flatpak, and gives the reason for each call
//! that they answer differently. `cargo run -p agent-vm-init --example filter_profiles` prints the table.
//!
//! The program is compiled by `build.rs` from `seccomp/policy/mod.rs`.

mod sys;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

pub use sys::listen;

// Generated by build.rs; its numbers are not meant to be read.
#[allow(clippy::unreadable_literal)]
static FREE: &[libc::sock_filter] = &include!(concat!(env!("OUT_DIR"), "/seccomp_filter_free.rs"));

// As above.
#[allow(clippy::unreadable_literal)]
static ASKED: &[libc::sock_filter] = &include!(concat!(env!("OUT_DIR"), "/seccomp_filter_asked.rs"));

// As above.
#[allow(clippy::unreadable_literal)]
static ASKED_ELSEWHERE: &[libc::sock_filter] =
    &include!(concat!(env!("OUT_DIR"), "/seccomp_filter_asked_elsewhere.rs"));

// As above.
#[allow(clippy::unreadable_literal)]
static WITHOUT_NAMESPACES: &[libc::sock_filter] =
    &include!(concat!(env!("OUT_DIR"), "/seccomp_filter_shared_host.rs"));

// As above.
#[allow(clippy::unreadable_literal)]
static EMULATED_ROOT: &[libc::sock_filter] =
    &include!(concat!(env!("OUT_DIR"), "/seccomp_filter_emulated_root.rs"));

/// Distinguishes init's own `clone3`, `openat2`, `prlimit64`, `fchmodat` and `setns` from those of programs, which are under the same filter:
/// init passes this number as a sixth argument, which none of these calls has. Each VM has a different number, which is
/// only in the memory of init and its deputy, where programs cannot read it. A process that is not under [`confine`]
/// has no number to pass.
static KEY: AtomicU64 = AtomicU64::new(0);

/// The sixth argument for `clone3`, `openat2`, `prlimit64`, `fchmodat` and `setns`.
pub fn key() -> u64 {
    KEY.load(Ordering::Relaxed)
}

/// How modes with a set-id bit are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetIds {
    /// Always allowed: every file that programs can change is the VM's own.
    Free,
    /// Init decides by the file when the kernel asks it, on the descriptor that [`confine`] returns.
    Asked,
    /// Init decides, because another filter makes the kernel ask about every mode.
    AskedElsewhere,
}

/// The part of the filter before a table, which handles the calls with a key, by their number and whatever the entry.
/// Without the key some of them continue to the table: `prlimit64`, `fchmodat` if the kernel `asks` about modes, so
/// that init changes them, and `setns` if what init starts `enters` a namespace. The others are refused.
///
/// Both halves of the key are compared before either decides. Otherwise the time for a wrong key would show whether one
/// half is right, and an attacker could try 32 bits twice.
fn unlock(key: u64, asks: bool, enters: bool) -> Vec<libc::sock_filter> {
    use libc::{
        BPF_ABS, BPF_ALU, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_OR, BPF_RET, BPF_ST, BPF_W,
        BPF_X, BPF_XOR,
    };
    const NUMBER: u32 = 0;
    /// The offsets of the sixth argument in `seccomp_data`, on a little-endian machine.
    const LOW: u32 = 56;
    const HIGH: u32 = 60;
    let load = |offset| instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
    let answer = |value| instruction(BPF_RET | BPF_K, 0, 0, value);
    let mut free = vec![libc::SYS_prlimit64];
    if asks {
        free.push(libc::SYS_fchmodat);
    }
    if enters {
        free.push(libc::SYS_setns);
    }
    let locked = [libc::SYS_clone3, libc::SYS_openat2];
    let calls: Vec<_> = locked.iter().chain(&free).copied().collect();

    let compare = [
        load(LOW),
        instruction(BPF_ALU | BPF_XOR | BPF_K, 0, 0, key as u32),
        instruction(BPF_ST, 0, 0, 0),
        load(HIGH),
        instruction(BPF_ALU | BPF_XOR | BPF_K, 0, 0, (key >> 32) as u32),
        instruction(BPF_LDX | BPF_MEM, 0, 0, 0),
        instruction(BPF_ALU | BPF_OR | BPF_X, 0, 0, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        answer(libc::SECCOMP_RET_ALLOW),
        load(NUMBER),
    ];
    let refuse = answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    // Each jump skips the rest of its own list, and what it names after that.
    let jump = |call, met: usize, unmet: usize| {
        instruction(BPF_JMP | BPF_JEQ | BPF_K, met as u8, unmet as u8, call as u32)
    };
    let mut program = vec![load(NUMBER)];
    for (at, call) in calls.iter().enumerate() {
        let left = calls.len() - at - 1;
        let is_last = left == 0;
        let past = compare.len() + free.len() + 1;
        program.push(jump(*call, left, if is_last { past } else { 0 }));
    }
    program.extend(compare);
    for (at, call) in free.iter().enumerate() {
        program.push(jump(*call, free.len() - at, 0));
    }
    program.push(refuse);
    program
}

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// Puts the calling thread, and every process that it starts from now on, under the first table. The process itself can
/// still use `clone3`, `openat2`, `prlimit64`, `fchmodat` and `setns` with `key`, which no other process may guess: for a
/// program's own cgroup, for paths that must not leave a directory, for the mark of a program's family, and for the modes
/// that it is asked about, and for programs that it starts in another user namespace, if it `enters` one. Returns the descriptor
/// on which the kernel asks, with [`SetIds::Asked`].
///
/// There is one filter for init and programs, and none for each program: compiling and freeing a filter takes 4 % of
/// the time of a short command.
///
/// The caller needs `no_new_privs` (otherwise EACCES), and cannot make the refused calls any more. EINVAL means that
/// the kernel does not support filters.
///
/// Speculative store bypass stays as it is for processes without a filter (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`, as in runc
/// and crun): kernels before 5.16 would otherwise slow interpreters down by half. A process that runs code it distrusts
/// in its own address space can still switch it off for itself with `prctl(PR_SET_SPECULATION_CTRL)`.
pub fn confine(key: u64, set_ids: SetIds, enters: bool) -> io::Result<Option<OwnedFd>> {
    let mut filter = unlock(key, set_ids == SetIds::Asked, enters);
    filter.extend_from_slice(match set_ids {
        SetIds::Free => FREE,
        SetIds::Asked => ASKED,
        SetIds::AskedElsewhere => ASKED_ELSEWHERE,
    });
    let listener_fd = if set_ids == SetIds::Asked {
        Some(sys::listen(&filter)?)
    } else {
        sys::install(&filter)?;
        None
    };
    KEY.store(key, Ordering::Relaxed);
    Ok(listener_fd)
}

/// The filter of a root that has no capability, in addition to that of [`confine`]. The kernel takes the stricter of two
/// answers, so it opens nothing.
pub fn emulated_root() -> &'static [libc::sock_filter] {
    EMULATED_ROOT
}

/// Also refuses the calls of the second table, to the deputy of a VM without namespaces and to everything that it will
/// start.
pub fn confine_without_namespaces() -> io::Result<()> {
    sys::install(WITHOUT_NAMESPACES)
}
