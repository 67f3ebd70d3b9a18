//! System calls of the main loop that nix does not have or does not have safely.
#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::CStr;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use agent_vm_protocol::message::Usage;
use libc::{c_int, pid_t};
use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, ResolveFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::seccomp;

/// Where the host puts init's end of the control socket.
const CONTROL_FD: RawFd = 3;

/// Takes over the control socket, so that no child gets it.
pub fn control_socket() -> Result<OwnedFd, Errno> {
    // SAFETY: descriptor 3 is the host's gift and nothing in this process has used it yet; if it is not open, the call
    // below says so and the descriptor is never used.
    let fd = unsafe { BorrowedFd::borrow_raw(CONTROL_FD) };
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and this is the only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(CONTROL_FD) })
}

/// Sets every disposition to its default: the host's ignored signals would go on to every program, and an ignored
/// SIGCHLD would make the kernel swallow exits.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: the default disposition runs no code. KILL, STOP and the C library's own are refused, which is as good.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Waits until `fd` has something to read.
pub fn wait_readable(fd: &impl AsFd) -> Result<(), Errno> {
    let mut watched = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Bytes that a read of a pipe would find.
pub fn available(fd: BorrowedFd<'_>) -> usize {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD writes one int. Where it fails, the descriptor counts as empty.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    usize::try_from(count).unwrap_or(0)
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    /// Its number, free from now on.
    pub pid: pid_t,
    /// The exit status, or 128 + the signal.
    pub code: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
    /// What it used.
    pub usage: Usage,
    /// Whether the kernel killed it for want of memory. Not known here.
    pub oom: bool,
}

/// What came of looking for a child that has ended.
#[derive(Debug, Clone, Copy)]
pub enum Child {
    /// There is none.
    None,
    /// One that had made init its tracer is on its own again.
    Released,
    /// One is reaped.
    Ended(Reaped),
}

/// Reaps one child that has ended, if there is one.
pub fn reap() -> Child {
    let mut status: c_int = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both point to memory of the right type that the call writes.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    // No child has ended, or there is none.
    if pid <= 0 {
        return Child::None;
    }
    if libc::WIFSTOPPED(status) {
        release(pid, libc::WSTOPSIG(status));
        return Child::Released;
    }
    // SAFETY: all-zero is a valid `rusage`, and the kernel may have written it.
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
    Child::Ended(Reaped {
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

/// Whether init has any child, running or not. All of the VM descends from it, so without one nothing else is left.
pub fn has_children() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    waitid(Id::All, flags) != Err(Errno::ECHILD)
}

/// Lets a child go on that any child may turn into: with `PTRACE_TRACEME` it makes its parent its tracer unasked, and then
/// waits for it at every signal.
fn release(pid: pid_t, signal: c_int) {
    // That one only says that it has executed something.
    let signal = if signal == libc::SIGTRAP { 0 } else { signal };
    // SAFETY: no memory is passed. It fails only if the child was killed meanwhile, which is reported separately.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, libc::c_long::from(signal)) };
}

/// What `ps` on the host shows of an init.
pub const NAME: &CStr = c"agent-vm-init";

/// And the name of one whose VM is not in use yet.
pub const SPARE_NAME: &CStr = c"agent-vm-spare";

/// And of the one that the others are copies of.
pub const ZYGOTE_NAME: &CStr = c"agent-vm-zygote";

/// And of one that holds files for VMs.
pub const HOLDER_NAME: &CStr = c"agent-vm-files";

/// Names this process in process tables; at most 15 bytes.
pub fn set_name(name: &CStr) {
    // SAFETY: a C string that outlives the call, which copies it. It has no way to fail.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// A descriptor for a process, which stays with it when its number is used again. The number of none, or of a thread only,
/// is ESRCH.
pub fn pidfd_open(pid: pid_t) -> Result<OwnedFd, Errno> {
    // SAFETY: takes integers only.
    let fd = match Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }) {
        // A thread's: EINVAL once, ENOENT since Linux 6.15.
        Err(Errno::EINVAL | Errno::ENOENT) => return Err(Errno::ESRCH),
        other => other?,
    };
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to the process that `pidfd` refers to.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<(), Errno> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed; the rest are integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) })?;
    Ok(())
}

/// Has the scheduler let this process go, when it wakes, before a program that has a longer turn left than this one ever takes;
/// or have it wait like any other again. That is what a short slice means (EEVDF, Linux 6.12; older kernels take no notice).
/// Children are as any process.
pub fn go_first(first: bool) {
    /// The shortest there is (`sched_setattr(2)`).
    const SLICE: Duration = Duration::from_micros(100);
    // SAFETY: all-zero is a valid `sched_attr`, whose fields are integers.
    let mut attributes: libc::sched_attr = unsafe { MaybeUninit::zeroed().assume_init() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes so many bytes.
    let found = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    // Under another policy the number means something else; and children would lose a negative nice value.
    if found != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 || attributes.sched_nice < 0 {
        return;
    }
    attributes.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
    // 0 is the kernel's own choice.
    attributes.sched_runtime = if first { SLICE.as_nanos() as u64 } else { 0 };
    // SAFETY: the structure is as long as it says. A kernel that refuses it loses nothing.
    let _refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Makes every capability effective that is permitted.
pub fn raise_capabilities() -> Result<(), Errno> {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION_3: u32 = 0x2008_0522;
    let mut header: [u32; 2] = [VERSION_3, 0];
    // Effective, permitted, inheritable; twice.
    let mut data = [0_u32; 6];
    // SAFETY: version 3 has a header of two and data of six 32-bit words, which the kernel writes.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    data[0] = data[1];
    data[3] = data[4];
    // SAFETY: as above, and it only reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Eight bytes that nobody can guess.
pub fn random() -> Result<u64, Errno> {
    let mut bytes = [0; size_of::<u64>()];
    // SAFETY: the buffer is as long as said. So few bytes come whole (`getrandom(2)`).
    Errno::result(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
    Ok(u64::from_ne_bytes(bytes))
}

/// `openat2(2)` by a process that is under [`seccomp::confine`].
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
        // SAFETY: the string and the structure outlive the call, which has four arguments and ignores what is beyond.
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
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to the group that `pid`, which is over 1, leads.
pub fn kill_group(pid: pid_t, signal: c_int) -> Result<(), Errno> {
    // -1 would be everybody, and 0 init's own group.
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
    // A log that cannot be written has nobody to be reported to.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
