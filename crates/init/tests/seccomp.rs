//! Tests the filter in this kernel: makes each call, by its number in libc, in a process under the filter.
#![allow(unsafe_code, reason = "raw system calls are the subject")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end with a panic")]

#[path = "../src/seccomp/mod.rs"]
#[allow(unused_imports, reason = "init's own calls are made with some of it")]
mod seccomp;

use seccomp::SetIds;

use libc::{EAFNOSUPPORT, EBADF, EFAULT, ENOENT, ENOSYS, EPERM, EPROTONOSUPPORT, c_long};

/// The key that init passes and programs do not know.
const KEY: u64 = 0x8000_0001_7fff_fffe;

/// The result of `call` under the filter of a VM that shows host directories: 0, or the error's number. No process
/// answers what the kernel asks, so such a call is ENOSYS.
fn under_filter(call: impl FnOnce() -> c_long) -> i32 {
    under(|| seccomp::confine(KEY, SetIds::Asked, false).is_ok(), call)
}

fn under(confine: impl FnOnce() -> bool, call: impl FnOnce() -> c_long) -> i32 {
    // SAFETY: the test harness has more threads, and `confine` allocates in the child: glibc's fork leaves its
    // allocator usable there. Otherwise the child only makes system calls and exits; it uses nothing that another
    // thread may have locked.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            // For `vhangup`: it would hang up our terminal if the filter let it through.
            libc::setsid();
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !confine() {
                libc::_exit(255);
            }
            let failed = call() == -1;
            libc::_exit(if failed { *libc::__errno_location() } else { 0 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert!(
            libc::WIFEXITED(status),
            "killed by signal {}",
            libc::WTERMSIG(status)
        );
        let answer = libc::WEXITSTATUS(status);
        assert_ne!(answer, 255, "the filter could not be installed");
        answer
    }
}

/// The signal that kills a program which makes `call` under the filter; 0 if none does.
#[cfg(target_arch = "x86_64")]
fn signal_under_filter(call: impl FnOnce()) -> i32 {
    // SAFETY: as in `under`.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            let confined = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && seccomp::confine(KEY, SetIds::Asked, false).is_ok();
            if confined {
                call();
            }
            libc::_exit(i32::from(!confined));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert!(
            !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) == 0,
            "the filter could not be installed"
        );
        if libc::WIFSIGNALED(status) {
            libc::WTERMSIG(status)
        } else {
            0
        }
    }
}

/// Like [`under_filter`], for a call with these arguments, and -1 for the others, which makes no call do anything.
fn answer<const N: usize>(number: c_long, arguments: [c_long; N]) -> i32 {
    let mut all = [-1; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: the arguments are numbers, invalid addresses, or addresses of values that outlive the call.
    under_filter(|| unsafe { libc::syscall(number, all[0], all[1], all[2], all[3], all[4], all[5]) })
}

#[test]
fn what_an_escape_is_made_of_is_not_permitted() {
    let refused = [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        467, // open_tree_attr
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_kexec_file_load,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_fanotify_init,
        libc::SYS_fanotify_mark,
        libc::SYS_lookup_dcookie,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_reboot,
        libc::SYS_acct,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_syslog,
        libc::SYS_vhangup,
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_ioperm,
    ];
    for number in refused {
        assert_eq!(answer(number, []), EPERM, "call {number}");
    }
}

#[test]
fn what_a_filter_cannot_see_into_is_not_there() {
    let refused = [
        libc::SYS_clone3,
        libc::SYS_openat2,
        libc::SYS_io_setup,
        libc::SYS_io_destroy,
        libc::SYS_io_submit,
        libc::SYS_io_cancel,
        libc::SYS_io_getevents,
        libc::SYS_syncfs,
        libc::SYS_mbind,
        libc::SYS_set_mempolicy,
        libc::SYS_get_mempolicy,
        libc::SYS_migrate_pages,
        libc::SYS_move_pages,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_nfsservctl,
        457, // statmount
        458, // listmount
        470,
        1000,
    ];
    for number in refused {
        assert_eq!(answer(number, []), ENOSYS, "call {number}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn left_over_calls_are_not_there() {
    let refused = [
        libc::SYS_modify_ldt,
        libc::SYS__sysctl,
        174, // create_module
        177, // get_kernel_syms
        178, // query_module
        libc::SYS_uselib,
        libc::SYS_ustat,
        libc::SYS_sysfs,
    ];
    for number in refused {
        assert_eq!(answer(number, []), ENOSYS, "call {number}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_entries_of_i386_and_x32_lead_nowhere() {
    const X32: c_long = 0x4000_0000;
    for number in [libc::SYS_getpid, libc::SYS_mount, 512, 547] {
        // SAFETY: with these arguments, no call with such a number touches our memory.
        let got = signal_under_filter(|| unsafe {
            libc::syscall(X32 | number, 0, 0, 0, 0, 0, 0);
        });
        assert_eq!(got, libc::SIGSYS, "x32 call {number}");
    }
    // getpid and mount of i386
    for number in [20_i64, 21] {
        // SAFETY: rbx is restored; otherwise as above.
        let got = signal_under_filter(|| unsafe {
            std::arch::asm!(
                "xchg rbx, {zero}", "int 0x80", "xchg rbx, {zero}",
                zero = inout(reg) 0_i64 => _,
                inlateout("rax") number => _,
                inout("rcx") 0_i64 => _, inout("rdx") 0_i64 => _, in("rsi") 0_i64, in("rdi") 0_i64,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        });
        assert_eq!(got, libc::SIGSYS, "i386 call {number}");
    }
}

#[test]
fn no_clone_makes_a_namespace() {
    use libc::{
        CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS,
    };
    for flag in [
        CLONE_NEWCGROUP,
        CLONE_NEWIPC,
        CLONE_NEWNET,
        CLONE_NEWNS,
        CLONE_NEWPID,
        CLONE_NEWUSER,
        CLONE_NEWUTS,
    ] {
        for extra in [
            0,
            c_long::from(libc::SIGCHLD),
            1 << 32,
            c_long::from(CLONE_NEWUSER),
        ] {
            assert_eq!(
                answer(libc::SYS_clone, [c_long::from(flag) | extra, 0, 0, 0, 0]),
                EPERM,
                "flag {flag:#x}"
            );
        }
    }
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    for request in [0x5412, 0x541c, 0x5423] {
        for high in [0, 1 << 32, !0xffff_ffff] {
            assert_eq!(
                answer(libc::SYS_ioctl, [-1, request | high]),
                EPERM,
                "request {request:#x}, {high:#x}"
            );
        }
    }
    assert_eq!(answer(libc::SYS_ioctl, [-1, 0x5401]), EBADF);
}

#[test]
fn no_lease_is_had_and_every_other_command_of_fcntl_reaches_the_kernel() {
    for high in [0, 1 << 32] {
        for command in [1024, 1026, 1039, 1040, 4095] {
            assert_eq!(
                answer(libc::SYS_fcntl, [0, command | high, 0]),
                libc::EINVAL,
                "{command}"
            );
        }
        // The descriptor is invalid, and the kernel reports that before it checks the command.
        for command in (0..=41).chain([1025]).chain(1027..=1038) {
            assert_eq!(
                answer(libc::SYS_fcntl, [-1, command | high, 0]),
                EBADF,
                "{command}"
            );
        }
    }
}

#[test]
fn all_file_systems_are_not_flushed_and_one_file_is() {
    assert_eq!(answer(libc::SYS_sync, []), 0);
    assert_eq!(answer(libc::SYS_fsync, [-1]), EBADF);
    assert_eq!(answer(libc::SYS_fdatasync, [-1]), EBADF);
}

#[test]
fn a_filter_of_ones_own_is_had_without_a_log() {
    const NEW_FILTER: c_long = 1;
    for high in [0, 1 << 32] {
        for flags in [0, 1, 4] {
            assert_eq!(
                answer(libc::SYS_seccomp, [NEW_FILTER, flags | high, 0]),
                EFAULT,
                "{flags}"
            );
        }
        for flags in [2, 3, 6, 0xa] {
            assert_eq!(
                answer(libc::SYS_seccomp, [NEW_FILTER, flags | high, 0]),
                libc::EINVAL,
                "{flags}"
            );
        }
    }
}

#[test]
fn the_limits_on_core_dumps_and_file_locks_are_read_and_not_set() {
    const RLIMIT_CORE: c_long = 4;
    const RLIMIT_LOCKS: c_long = 10;
    const RLIMIT_NOFILE: c_long = 7;
    for limit in [RLIMIT_CORE, RLIMIT_LOCKS] {
        for high in [0, 1 << 32] {
            // The kernel refuses the address before it reads it, so no limit is set.
            for bad in [1, 1 << 32, -4096] {
                assert_eq!(answer(libc::SYS_setrlimit, [limit | high, bad]), 0);
                for process in [0, c_long::from(std::process::id()), 1 << 32] {
                    assert_eq!(answer(libc::SYS_prlimit64, [process, limit | high, bad, 0]), 0);
                }
            }
            assert_eq!(answer(libc::SYS_prlimit64, [0, limit | high, 0, 0]), 0);
        }
        // To return the limit, the kernel would write to the address.
        assert_eq!(answer(libc::SYS_prlimit64, [0, limit, 0, -4096]), EFAULT);
        assert_eq!(answer(libc::SYS_prlimit64, [1, limit, 1, 0]), EPERM);
    }
    assert_eq!(answer(libc::SYS_setrlimit, [RLIMIT_NOFILE, -4096]), EFAULT);
    assert_eq!(answer(libc::SYS_prlimit64, [0, RLIMIT_NOFILE, -4096, 0]), EFAULT);
}

#[test]
fn init_alone_sets_the_limit_on_file_locks() {
    let with = |key: u64| {
        // SAFETY: the kernel refuses the address before it reads it.
        under_filter(|| unsafe {
            libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_LOCKS, -4096, 0, 0, key)
        })
    };
    assert_eq!(with(KEY), EFAULT);
    for wrong in (0..64).map(|bit| KEY ^ 1 << bit).chain([0, u64::MAX, !KEY]) {
        assert_eq!(with(wrong), 0, "{wrong:#x}");
    }
}

#[test]
fn only_ordinary_sockets_are_made() {
    let (stream, datagram, raw) = (
        c_long::from(libc::SOCK_STREAM),
        c_long::from(libc::SOCK_DGRAM),
        c_long::from(libc::SOCK_RAW),
    );
    let flags = c_long::from(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    for (family, kind, protocol) in [
        (1, stream, 0),
        (1, 5, 0),
        (2, stream, 0),
        (2, stream | flags, 6),
        (2, datagram, 17),
        (10, stream, 0),
        (16, raw, 0),
    ] {
        assert_eq!(
            answer(libc::SYS_socket, [family, kind, protocol]),
            0,
            "{family}, {kind}, {protocol}"
        );
    }
    for family in (0..64).filter(|family| ![1, 2, 10, 16].contains(family)) {
        for high in [0, 1 << 32] {
            assert_eq!(
                answer(libc::SYS_socket, [family | high, stream, 0]),
                EAFNOSUPPORT,
                "family {family}"
            );
        }
        assert_eq!(
            answer(libc::SYS_socketpair, [family, stream, 0]),
            EAFNOSUPPORT,
            "pair of family {family}"
        );
    }
    for protocol in 1..32 {
        assert_eq!(
            answer(libc::SYS_socket, [16, raw, protocol]),
            EPROTONOSUPPORT,
            "netlink {protocol}"
        );
    }
    for (kind, protocol) in [
        (stream, 132),
        (stream, 256),
        (datagram, 136),
        (datagram, 115),
        (5, 0),
        (6, 0),
        (10, 0),
    ] {
        for family in [2, 10] {
            let got = answer(libc::SYS_socket, [family, kind, protocol]);
            assert_eq!(got, EPROTONOSUPPORT, "{family}, {kind}, {protocol}");
        }
    }
    let mut pair = [0_i32; 2];
    assert_eq!(
        answer(libc::SYS_socketpair, [1, stream, 0, pair.as_mut_ptr() as c_long]),
        0
    );
}

/// libc lacks it on aarch64.
const FCHMODAT2: c_long = 452;

/// A path in a directory that does not exist: a call that passes the filter fails with ENOENT.
const NOWHERE: *const libc::c_char = c"/nonexistent/file".as_ptr();

/// The number and the arguments of a call.
type Made = (c_long, [c_long; 4]);

/// The calls that change a mode, and those that make a file with one, for a path in a directory that does not exist.
fn calls_with(mode: c_long) -> (Vec<Made>, Vec<Made>) {
    let path = NOWHERE as c_long;
    let at = c_long::from(libc::AT_FDCWD);
    let (creat, tmpfile) = (c_long::from(libc::O_CREAT), c_long::from(libc::O_TMPFILE));
    let changing = vec![
        (libc::SYS_fchmodat, [at, path, mode, 0]),
        (FCHMODAT2, [at, path, mode, 0]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_chmod, [path, mode, 0, 0]),
    ];
    let making = vec![
        (libc::SYS_mknodat, [at, path, mode, 0]),
        (libc::SYS_mknodat, [at, path, mode | 0o100_000, 0]),
        (libc::SYS_openat, [at, path, creat, mode]),
        (libc::SYS_openat, [at, path, tmpfile | 2, mode]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, [path, creat, mode, 0]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, [path, tmpfile | 2, mode, 0]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_creat, [path, mode, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, [path, mode, 0, 0]),
    ];
    (changing, making)
}

#[test]
fn set_id_bits_are_decided_by_init_or_refused_where_a_file_may_be_the_hosts() {
    let answer = |set_ids, number, arguments: [c_long; 4]| {
        under(
            || seccomp::confine(KEY, set_ids, false).is_ok(),
            // SAFETY: the path does not exist, and the other arguments are numbers.
            || unsafe {
                libc::syscall(
                    number,
                    arguments[0],
                    arguments[1],
                    arguments[2],
                    arguments[3],
                    0,
                    0,
                )
            },
        )
    };
    for mode in [0o4755, 0o2755, 0o6000, 0o4000 | 1 << 32] {
        let (changing, making) = calls_with(mode);
        for (set_ids, changed, made) in [
            (SetIds::Asked, ENOSYS, EPERM),
            (SetIds::AskedElsewhere, ENOENT, EPERM),
            (SetIds::Free, ENOENT, ENOENT),
        ] {
            let fchmod = if changed == ENOENT { EBADF } else { changed };
            assert_eq!(answer(set_ids, libc::SYS_fchmod, [-1, mode, 0, 0]), fchmod);
            for (calls, expected) in [(&changing, changed), (&making, made)] {
                for &(number, arguments) in calls {
                    let got = answer(set_ids, number, arguments);
                    assert_eq!(got, expected, "{set_ids:?}: call {number}, mode {mode:#o}");
                }
            }
        }
    }
}

#[test]
fn modes_without_set_id_bits_reach_the_kernel() {
    for mode in [0o644, 0o1777] {
        let (changing, making) = calls_with(mode);
        for (number, arguments) in changing.into_iter().chain(making) {
            assert_eq!(answer(number, arguments), ENOENT, "call {number}, mode {mode:#o}");
        }
    }
    let (path, at) = (NOWHERE as c_long, c_long::from(libc::AT_FDCWD));
    // If no file is made, the mode is whatever the register contained; and no directory gets such a bit when it is
    // made.
    assert_eq!(answer(libc::SYS_openat, [at, path, 0, 0o4755]), ENOENT);
    assert_eq!(answer(libc::SYS_mkdirat, [at, path, 0o6755]), ENOENT);
}

#[test]
fn mkdir_takes_no_set_id_bit_from_its_mode() {
    let directory = std::env::temp_dir().join(format!("agent-vm-mkdir-{}", std::process::id()));
    let name = std::ffi::CString::new(directory.to_str().unwrap()).unwrap();
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkdir(name.as_ptr(), 0o6755) }, 0);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&directory).unwrap());
    std::fs::remove_dir(&directory).unwrap();
    assert_eq!(mode & 0o6000, 0);
}

#[test]
fn no_device_is_made() {
    let path = NOWHERE as c_long;
    let at = c_long::from(libc::AT_FDCWD);
    for kind in [libc::S_IFCHR, libc::S_IFBLK] {
        let mode = c_long::from(kind | 0o666);
        assert_eq!(answer(libc::SYS_mknodat, [at, path, mode, 0]), EPERM);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(answer(libc::SYS_mknod, [path, mode, 0]), EPERM);
    }
    for kind in [0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK] {
        assert_eq!(
            answer(libc::SYS_mknodat, [at, path, c_long::from(kind | 0o600), 0]),
            ENOENT
        );
    }
    // Leaving a whiteout where the file was makes a device too.
    assert_eq!(answer(libc::SYS_renameat2, [at, path, at, path, 4]), EPERM);
    for flags in [0, 1, 2] {
        assert_eq!(answer(libc::SYS_renameat2, [at, path, at, path, flags]), ENOENT);
    }
}

#[test]
fn init_is_neither_limited_nor_put_back() {
    let of_process = [
        libc::SYS_prlimit64,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
    ];
    for number in of_process {
        for high in [0, 1 << 32] {
            assert_eq!(answer(number, [1 | high, 0, 0, 0]), EPERM, "call {number}");
        }
        // For the caller itself, these calls reach the kernel's own checks of the other arguments.
        assert_ne!(answer(number, [0, 0, 0, 0]), EPERM, "call {number}");
    }
    // For a process, a group and a user, with any id.
    for (number, process, group, user) in [(libc::SYS_setpriority, 0, 1, 2), (libc::SYS_ioprio_set, 1, 2, 3)]
    {
        for (kind, whom) in [
            (process, 1),
            (group, 1),
            (user, 0),
            (user, 1000),
            (process | 1 << 32, 1 | 1 << 32),
        ] {
            assert_eq!(
                answer(number, [kind, whom, 0]),
                EPERM,
                "call {number} of kind {kind}"
            );
        }
        assert_eq!(answer(number, [process, 0, 0]), 0, "call {number}");
    }
}

#[test]
fn a_personality_is_a_usual_one() {
    const READ_IMPLIES_EXEC: c_long = 0x40_0000;
    const MMAP_PAGE_ZERO: c_long = 0x10_0000;
    for persona in [0, 0xffff_ffff, 0x8, 0x4_0000, 0x4_0008] {
        assert_eq!(answer(libc::SYS_personality, [persona]), 0, "{persona:#x}");
    }
    for persona in [
        READ_IMPLIES_EXEC,
        MMAP_PAGE_ZERO,
        MMAP_PAGE_ZERO | 0x4_0000,
        READ_IMPLIES_EXEC | 1 << 32,
    ] {
        assert_eq!(answer(libc::SYS_personality, [persona]), EPERM, "{persona:#x}");
    }
}

#[test]
fn what_debuggers_and_runtimes_use_reaches_the_kernel() {
    let errors = [
        (libc::SYS_process_vm_readv, [0, 0, 0], libc::EINVAL),
        (libc::SYS_seccomp, [1, 0, 0], EFAULT),
    ];
    for (number, arguments, errno) in errors {
        assert_eq!(answer(number, arguments), errno, "call {number}");
    }
    assert_eq!(
        answer(libc::SYS_ptrace, [c_long::from(libc::PTRACE_TRACEME), 0, 0, 0]),
        0
    );
    assert_eq!(answer(libc::SYS_memfd_create, [NOWHERE as c_long, 0]), 0);
}

#[test]
fn init_keeps_what_only_programs_lose() {
    for number in [libc::SYS_clone3, libc::SYS_openat2] {
        // SAFETY: the kernel refuses the invalid addresses and does nothing.
        let with = |key: u64| under_filter(|| unsafe { libc::syscall(number, -1, -1, -4096, 88, 0, key) });
        // SAFETY: as above.
        let got = under_filter(|| unsafe { libc::syscall(number, -1, -1, -4096, 88, 0, seccomp::key()) });
        assert!(
            [EFAULT, libc::E2BIG, libc::EINVAL].contains(&got),
            "call {number}: {got}"
        );
        let almost = (0..64).map(|bit| KEY ^ 1 << bit);
        let halves = [KEY & 0xffff_ffff, KEY >> 32 << 32, KEY.rotate_left(32)];
        for wrong in almost.chain(halves).chain([0, u64::MAX, !KEY]) {
            assert_eq!(with(wrong), ENOSYS, "call {number} with {wrong:#x}");
        }
    }
}

#[test]
fn init_alone_sets_modes_that_the_kernel_asks_about() {
    let with = |key: u64| {
        // SAFETY: the path does not exist.
        under_filter(|| unsafe {
            libc::syscall(libc::SYS_fchmodat, libc::AT_FDCWD, NOWHERE, 0o4755, 0, 0, key)
        })
    };
    assert_eq!(with(KEY), ENOENT);
    for wrong in (0..64).map(|bit| KEY ^ 1 << bit).chain([0, u64::MAX, !KEY]) {
        assert_eq!(with(wrong), ENOSYS, "{wrong:#x}");
    }
}

#[test]
fn a_child_cannot_put_the_filter_off() {
    let got = under_filter(|| {
        // SAFETY: the grandchild exits at once; the status is written before it is read.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::syscall(libc::SYS_unshare, 0);
                libc::_exit(*libc::__errno_location());
            }
            let mut status = 0;
            libc::waitpid(child, &raw mut status, 0);
            *libc::__errno_location() = libc::WEXITSTATUS(status);
        }
        -1
    });
    assert_eq!(got, EPERM);
}

#[test]
fn without_namespaces_nothing_of_the_hosts_is_shared_or_changed_by_calls_that_landlock_does_not_see() {
    let answer = |number: c_long, arguments: [c_long; 3]| {
        // SAFETY: the arguments are numbers or invalid addresses.
        under(
            || {
                seccomp::confine(KEY, SetIds::AskedElsewhere, false).is_ok()
                    && seccomp::confine_without_namespaces().is_ok()
            },
            || unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2], 0, 0, 0) },
        )
    };
    let (unix, inet) = (c_long::from(libc::AF_UNIX), c_long::from(libc::AF_INET));
    let (stream, datagram) = (c_long::from(libc::SOCK_STREAM), c_long::from(libc::SOCK_DGRAM));
    let other = c_long::from(std::process::id());
    for (number, arguments, expected) in [
        (libc::SYS_socket, [unix, stream, 0], EAFNOSUPPORT),
        (libc::SYS_socket, [inet, stream, 0], EAFNOSUPPORT),
        (libc::SYS_socketpair, [unix, datagram, 0], EPROTONOSUPPORT),
        (libc::SYS_socketpair, [unix, stream, 0], EFAULT),
        (libc::SYS_fchown, [-1, 0, 0], EPERM),
        (libc::SYS_fsetxattr, [-1, 0, 0], libc::EOPNOTSUPP),
        (libc::SYS_shmget, [0, 0, 0], ENOSYS),
        (libc::SYS_mq_open, [0, 0, 0], ENOSYS),
        (libc::SYS_inotify_init1, [0, 0, 0], ENOSYS),
        (libc::SYS_prlimit64, [other, 0, 0], EPERM),
        (libc::SYS_prlimit64, [0, 0, 0], 0),
        (libc::SYS_setpriority, [0, other, 0], EPERM),
        (libc::SYS_setpriority, [2, 0, 0], EPERM),
        (libc::SYS_setpriority, [0, 0, 19], 0),
        (libc::SYS_sched_setaffinity, [other, 8, 0], EPERM),
        (libc::SYS_sched_setaffinity, [0, 8, 0], EFAULT),
        (libc::SYS_ioctl, [-1, 0x4008_6602, 0], EPERM),
        (libc::SYS_ioctl, [-1, 0x5401, 0], EBADF),
    ] {
        assert_eq!(answer(number, arguments), expected, "{number} {arguments:?}");
    }
}

#[test]
fn root_with_a_single_id_is_told_that_owners_and_ids_have_changed_and_nothing_else_is_opened() {
    let answer = |number: c_long, arguments: [c_long; 3]| {
        under(
            || {
                let filter = seccomp::emulated_root();
                let program = libc::sock_fprog {
                    len: filter.len() as u16,
                    filter: filter.as_ptr().cast_mut(),
                };
                let (call, mode) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER);
                seccomp::confine(KEY, SetIds::Asked, true).is_ok()
                    // SAFETY: the kernel only reads the program, which outlives the call.
                    && unsafe { libc::syscall(call, mode, 0, &raw const program) } == 0
            },
            // SAFETY: the arguments are numbers or invalid addresses.
            || unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2], 0, 0, 0) },
        )
    };
    for number in [
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_setgroups,
        libc::SYS_capset,
    ] {
        assert_eq!(answer(number, [-1, 1, 1]), 0, "call {number}");
    }
    for (number, arguments, expected) in [
        (libc::SYS_setns, [-1, 0, 0], EPERM),
        (libc::SYS_unshare, [0, 0, 0], EPERM),
        (libc::SYS_mount, [0, 0, 0], EPERM),
        (libc::SYS_fchmod, [-1, 0o4755, 0], ENOSYS),
        (libc::SYS_fchmod, [-1, 0o755, 0], EBADF),
        (libc::SYS_getuid, [0, 0, 0], 0),
    ] {
        assert_eq!(answer(number, arguments), expected, "call {number}");
    }
}

#[test]
fn only_init_enters_namespaces_and_only_where_it_has_one_to_enter() {
    let enter = |enters, key: u64| {
        under(
            || seccomp::confine(KEY, SetIds::Free, enters).is_ok(),
            // SAFETY: no descriptor has that number.
            || unsafe { libc::syscall(libc::SYS_setns, -1, libc::CLONE_NEWUSER, 0, 0, 0, key) },
        )
    };
    assert_eq!(enter(true, KEY), EBADF);
    assert_eq!(enter(true, KEY ^ 1), EPERM);
    assert_eq!(enter(true, KEY ^ (1 << 63)), EPERM);
    assert_eq!(enter(false, KEY), EPERM);
}
