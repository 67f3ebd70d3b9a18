//! System calls of the main loop that nix lacks, or has only as unsafe ones.
#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::CStr;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use agent_vm_protocol::message::Usage;
use agent_vm_vfork::sys::system_call;
use libc::{c_int, pid_t};
use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, ResolveFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::seccomp;

/// The descriptor that the host uses for init's end of the control socket.
const CONTROL_FD: RawFd = 3;

/// Takes over the control socket, so that no child gets it.
pub fn control_socket() -> Result<OwnedFd, Errno> {
    // SAFETY: the host has opened descriptor 3 for init, and nothing in this process has used it yet. If it is not
    // open, the call below fails and the descriptor is never used.
    let fd = unsafe { BorrowedFd::borrow_raw(CONTROL_FD) };
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and this is the only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(CONTROL_FD) })
}

/// Resets all signal dispositions to the default: programs would inherit signals that the host ignores, and with an
/// ignored SIGCHLD the kernel would discard exit statuses.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: the default disposition runs no code. The kernel refuses KILL, STOP and the C library's own signals,
        // which is fine.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ignores the signals that end a group or a unit of processes politely.
pub fn ignore_ends() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        // SAFETY: to ignore a signal runs no code. The call cannot fail for these.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The kernel's error inside the library's.
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Closes every descriptor except the standard ones and `kept`, which this sorts; -1 in it stands for none. Only makes system
/// calls, and changes no `errno`.
///
/// # Safety
/// Nothing in this process uses another descriptor afterwards.
pub unsafe fn close_all_but(kept: &mut [RawFd]) -> Result<(), Errno> {
    let close = |first: RawFd, last: RawFd| {
        // SAFETY: takes integers only; the caller's promise covers what they name.
        match unsafe {
            system_call(
                libc::SYS_close_range,
                [first as u32 as usize, last as u32 as usize, 0, 0, 0, 0],
            )
        } {
            0 => Ok(()),
            error => Err(Errno::from_raw(-error as i32)),
        }
    };
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.iter().copied().filter(|fd| *fd >= 3) {
        // The kernel refuses an empty range.
        if fd > first {
            close(first, fd - 1)?;
        }
        first = fd + 1;
    }
    // The last number there is.
    close(first, -1)
}

/// A new inotify instance.
pub fn inotify() -> Result<OwnedFd, Errno> {
    // SAFETY: passes no pointers.
    let fd = Errno::result(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    // SAFETY: the kernel has just opened it, and this is its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until `fd` has something to read.
pub fn wait_readable(fd: &impl AsFd) -> Result<(), Errno> {
    let mut watched = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The number of bytes that a read of the pipe would return.
pub fn available(fd: BorrowedFd<'_>) -> usize {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD writes one int. If it fails, the descriptor counts as empty.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    usize::try_from(count).unwrap_or(0)
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    /// Its pid, which can be reused from now on.
    pub pid: pid_t,
    /// The exit status, or 128 + the signal's number.
    pub code: i32,
    /// The number of the signal that ended it, or 0.
    pub signal: i32,
    /// The resources that it used.
    pub usage: Usage,
    /// Whether the kernel killed it because memory ran out; always false here.
    pub oom: bool,
}

/// The result of looking for an ended child.
#[derive(Debug, Clone, Copy)]
pub enum Waited {
    /// No child has ended.
    None,
    /// A child that had made init its tracer was detached.
    Released,
    /// A child was reaped.
    Ended(Reaped),
}

/// Reaps one ended child, if there is one.
pub fn reap() -> Waited {
    let mut status: c_int = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to memory of the right type, which the call writes.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    // No child has ended, or there is none.
    if pid <= 0 {
        return Waited::None;
    }
    if libc::WIFSTOPPED(status) {
        release(pid, libc::WSTOPSIG(status));
        return Waited::Released;
    }
    // SAFETY: all-zero is a valid `rusage`, and the kernel may have written to it.
    let usage = unsafe { usage.assume_init() };
    let signal = if libc::WIFSIGNALED(status) {
        libc::WTERMSIG(status)
    } else {
        0
    };
    let code = if signal == 0 {
        libc::WEXITSTATUS(status)
    } else {
        128 + signal
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    Waited::Ended(Reaped {
        pid,
        code,
        signal,
        usage: Usage {
            user_us: micros(usage.ru_utime),
            system_us: micros(usage.ru_stime),
            max_rss_kib: usage.ru_maxrss as u64,
        },
        oom: false,
    })
}

/// Whether init has any child, running or not, except its [helpers](crate::helper). All processes of the VM descend from
/// init, so without such a child none is left.
pub fn has_children() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, flags) != Err(Errno::ECHILD)
}

/// Detaches a child that init traces. Any child can make its parent its tracer (`PTRACE_TRACEME`), and then waits for
/// the tracer at every signal.
fn release(pid: pid_t, signal: c_int) {
    // This signal only reports that the child has executed a program.
    let signal = if signal == libc::SIGTRAP { 0 } else { signal };
    // SAFETY: passes no pointers. It fails only if the child was killed meanwhile, which is reported separately.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, libc::c_long::from(signal)) };
}

/// The name of an init in the host's `ps`.
pub const NAME: &CStr = c"agent-vm-init";

/// The name of a prebooted VM's init.
pub const SPARE_NAME: &CStr = c"agent-vm-spare";

/// The name of the zygote.
pub const ZYGOTE_NAME: &CStr = c"agent-vm-zygote";

/// The name of a program's process before it has executed the program.
pub const START_NAME: &CStr = c"agent-vm-start";

/// The name of a helper that does steps on files.
pub const FILES_NAME: &CStr = c"agent-vm-files";

/// The name of a helper that answers the calls that the kernel asks about.
pub const MEDIATOR_NAME: &CStr = c"agent-vm-calls";

/// The name of a holder.
pub const HOLDER_NAME: &CStr = c"agent-vm-holder";

/// The name of a keeper.
pub const KEEPER_NAME: &CStr = c"agent-vm-keeper";

/// Sets this process's name in process tables; at most 15 bytes.
pub fn set_name(name: &CStr) {
    // SAFETY: a C string that outlives the call, which copies it. The call cannot fail.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// A descriptor that refers to a process even after its pid is reused. ESRCH if there is no such process, or if the id
/// is a thread's.
pub fn pidfd_open(pid: pid_t) -> Result<OwnedFd, Errno> {
    // SAFETY: takes integers only.
    let fd = match Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }) {
        // For a thread's id: EINVAL, or ENOENT since Linux 6.15.
        Err(Errno::EINVAL | Errno::ENOENT) => return Err(Errno::ESRCH),
        other => other?,
    };
    // SAFETY: the kernel has just made it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to the process that `pidfd` refers to.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<(), Errno> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: the only pointer is null; the rest are integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) })?;
    Ok(())
}

/// Makes the scheduler run this process, when it wakes, before programs that have a longer slice left; or makes it wait
/// like any other process again. This is the effect of a short slice (EEVDF, Linux 6.12; older kernels ignore it).
/// Children are not affected.
pub fn go_first(first: bool) {
    /// The shortest slice that the kernel allows (`sched_setattr(2)`).
    const SLICE: Duration = Duration::from_micros(100);
    // SAFETY: all-zero is a valid `sched_attr`, whose fields are integers.
    let mut attributes: libc::sched_attr = unsafe { MaybeUninit::zeroed().assume_init() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most `size` bytes.
    let found = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    // Under another policy the field means something else; and children would lose a negative nice value.
    if found != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 || attributes.sched_nice < 0 {
        return;
    }
    attributes.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
    // 0 means the kernel's default.
    attributes.sched_runtime = if first { SLICE.as_nanos() as u64 } else { 0 };
    // SAFETY: the structure is as long as it says. If a kernel refuses it, only speed is lost.
    let _refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Makes every permitted capability effective.
pub fn raise_capabilities() -> Result<(), Errno> {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION_3: u32 = 0x2008_0522;
    let mut header: [u32; 2] = [VERSION_3, 0];
    // Effective, permitted and inheritable sets, two words each.
    let mut data = [0_u32; 6];
    // SAFETY: version 3 has a header of two and data of six 32-bit words, which the kernel writes.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    data[0] = data[1];
    data[3] = data[4];
    // SAFETY: as above, and the kernel only reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Sets the effective and the permitted capabilities, and empties the inheritable ones. Bits that the kernel does not know have no
/// effect.
pub fn set_capabilities(effective: u64, permitted: u64) -> Result<(), Errno> {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let (low, high) = (|set: u64| set as u32, |set: u64| (set >> 32) as u32);
    let data = [
        low(effective),
        low(permitted),
        0,
        high(effective),
        high(permitted),
        0,
    ];
    // SAFETY: version 3 reads a header of two and data of six 32-bit words.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Enters a user namespace, for a process under [`seccomp::confine`] that enters such namespaces.
pub fn enter_user_namespace(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes integers only; the call has two arguments and ignores further ones.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_setns,
            fd.as_raw_fd(),
            libc::CLONE_NEWUSER,
            0,
            0,
            0,
            seccomp::key(),
        )
    })?;
    Ok(())
}

/// The flags that govern capabilities, for a process that never gets one. `SECBIT_KEEP_CAPS` stays unlocked: without
/// capabilities there is nothing to keep, and programs such as ping set it.
pub const LOCKED_SECUREBITS: c_int = libc::SECBIT_NOROOT
    | libc::SECBIT_NOROOT_LOCKED
    | libc::SECBIT_NO_SETUID_FIXUP
    | libc::SECBIT_NO_SETUID_FIXUP_LOCKED
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

/// Eight unpredictable bytes.
pub fn random() -> Result<u64, Errno> {
    let mut bytes = [0; size_of::<u64>()];
    // SAFETY: pointer and length are of one buffer. So few bytes are always returned together (`getrandom(2)`).
    Errno::result(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
    Ok(u64::from_ne_bytes(bytes))
}

/// `openat2(2)`, for a process under [`seccomp::confine`].
pub fn openat2(
    base: BorrowedFd<'_>,
    path: &(impl NixPath + ?Sized),
    flags: OFlag,
    mode: Mode,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    // SAFETY: all-zero is a valid `open_how`, whose fields are integers.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = flags.bits() as u64;
    how.mode = u64::from(mode.bits());
    how.resolve = resolve.bits();
    let fd = path.with_nix_path(|path| {
        // SAFETY: the string and the structure outlive the call, which has four arguments and ignores further ones.
        unsafe {
            libc::syscall(
                libc::SYS_openat2,
                base.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
                0,
                seccomp::key(),
            )
        }
    })?;
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to the process group that `pid` leads; `pid` must be greater than 1.
pub fn kill_group(pid: pid_t, signal: c_int) -> Result<(), Errno> {
    // -1 would mean all processes, and 0 init's own group.
    if pid <= 1 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::kill(-pid, signal) })?;
    Ok(())
}

/// Writes an error and its causes to standard error, which is `/dev/null` unless the server logs.
pub fn log(error: &dyn Error) {
    let mut line = format!("agent-vm-init: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line.push('\n');
    // If the log cannot be written, there is no way to report it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
