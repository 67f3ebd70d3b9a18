//! Starts init: the code between `clone` and `execveat` makes system calls only.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use agent_vm_vfork::sys::{Child, ChildOptions, Stack, vfork};
use libc::{c_char, c_int};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// The descriptor of init's end of the control socket.
const CONTROL_FD: RawFd = 3;

/// The first descriptor that init does not need.
const FIRST_FREE_FD: RawFd = CONTROL_FD + 1;

/// Why init could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("could not {step}")]
pub struct LaunchError {
    /// The step that failed.
    pub step: LaunchStep,
    /// The kernel's error.
    pub errno: c_int,
}

/// The steps before init runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what it is")]
pub enum LaunchStep {
    #[error("open /dev/null")]
    OpenNull,
    #[error("map a stack")]
    MapStack,
    #[error("start init")]
    Start,
    #[error("duplicate the init program's descriptor")]
    DuplicateProgram,
    #[error("set init's descriptors up")]
    SetUpDescriptors,
    #[error("close the server's descriptors")]
    CloseDescriptors,
    #[error("execute init")]
    Execute,
    #[error("clone a process into namespaces of its own")]
    Clone,
}

/// How init is started.
#[derive(Debug)]
pub struct InitLaunch<'a> {
    /// The init program.
    pub image: BorrowedFd<'a>,
    /// Init's end of the control socket.
    pub control: OwnedFd,
    /// The value of `AGENT_VM_LOG` for init. If set, init's standard error is the server's; otherwise it is
    /// `/dev/null`.
    pub log: Option<&'a str>,
}

struct ExecPlan {
    image: RawFd,
    control: RawFd,
    null: RawFd,
    keep_stderr: bool,
    argv: [*const c_char; 2],
    envp: [*const c_char; 2],
    failure: Option<LaunchError>,
}

/// Starts init. Returns once it runs, or with the error that prevented it.
pub fn launch(launch: &InitLaunch<'_>) -> Result<Child, LaunchError> {
    let failed = |step, error: io::Error| LaunchError {
        step,
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    };
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|error| failed(LaunchStep::OpenNull, error.into()))?;
    let mut stack = Stack::new().map_err(|error| failed(LaunchStep::MapStack, error))?;
    let log = launch
        .log
        .and_then(|level| CString::new(format!("AGENT_VM_LOG={level}")).ok());
    let mut plan = ExecPlan {
        image: launch.image.as_raw_fd(),
        control: launch.control.as_raw_fd(),
        null: null.as_raw_fd(),
        keep_stderr: log.is_some(),
        argv: [c"agent-vm-init".as_ptr(), ptr::null()],
        envp: [
            log.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
            ptr::null(),
        ],
        failure: None,
    };
    let options = ChildOptions {
        // No SIGCHLD: libuv's handler in the server must not get one.
        exit_signal: 0,
        pidfd: true,
        ..ChildOptions::default()
    };
    // SAFETY: `child` only makes system calls and reads `plan`, which outlives the call.
    let child = unsafe { vfork(&mut stack, &options, child, ptr::from_mut(&mut plan).cast()) }
        .map_err(|error| failed(LaunchStep::Start, error))?;
    if let Some(failure) = plan.failure {
        if let Some(pidfd) = &child.pidfd {
            reap(pidfd.as_fd());
        }
        return Err(failure);
    }
    Ok(child)
}

/// Whether an extended attribute of a file has this value.
pub fn has_attribute(path: &Path, name: &CStr, value: &[u8]) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let mut found = [0u8; 16];
    // SAFETY: both strings are terminated, and the length is the buffer's.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            found.as_mut_ptr().cast(),
            found.len(),
        )
    };
    usize::try_from(length).is_ok_and(|length| found.get(..length) == Some(value))
}

/// Waits for the end of the child that `pidfd` refers to, and reaps it.
pub fn reap(pidfd: BorrowedFd<'_>) {
    wait(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t);
}

/// The same for a child given by its pid, which is not reused before.
pub fn reap_child(pid: libc::pid_t) {
    wait(libc::P_PID, pid as libc::id_t);
}

fn wait(kind: libc::idtype_t, id: libc::id_t) {
    // SAFETY: an all-zero siginfo is valid, and only written to. `__WALL`: the child sends no SIGCHLD.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        while libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::__WALL) < 0
            && *libc::__errno_location() == libc::EINTR
        {}
    }
}

/// Sends a signal to the process that `pidfd` refers to; does nothing if it has ended.
pub fn signal(pidfd: BorrowedFd<'_>, signal: c_int) {
    // SAFETY: the only pointer is null.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<c_void>(),
            0,
        )
    };
}

/// Whether a process that this one can see has that uid. Costs almost nothing if the kernel knows no such user.
pub fn is_user_running(uid: u32) -> bool {
    Errno::clear();
    // SAFETY: takes integers only. -1 can be a priority, so errno is checked.
    unsafe { libc::getpriority(libc::PRIO_USER, uid) };
    Errno::last() != Errno::ESRCH
}

/// Whether this process may signal the process that `pidfd` refers to, or that process has ended.
pub fn may_signal(pidfd: BorrowedFd<'_>) -> bool {
    let none = ptr::null::<c_void>();
    // SAFETY: the only pointer is null.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, none, 0) };
    sent == 0 || Errno::last() != Errno::EPERM
}

/// The version of the kernel's Landlock (`landlock_create_ruleset(2)`).
pub fn landlock_abi() -> Result<u32, Errno> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`
    const VERSION: c_int = 1;
    // SAFETY: when asked for its version, the call reads no ruleset.
    let abi = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<c_void>(),
            0,
            VERSION,
        )
    })?;
    Ok(abi as u32)
}

/// Whether `clone3(2)`, the only call that starts a child in a cgroup, is permitted: profiles of container runtimes may
/// refuse it.
pub fn has_clone3() -> bool {
    // SAFETY: the kernel refuses a structure of size 0 before it reads it.
    let result = unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<c_void>(), 0) };
    result < 0 && Errno::last() != Errno::ENOSYS
}

unsafe extern "C" fn child(argument: *mut c_void) -> ! {
    // SAFETY: `launch` passes a `Plan` that outlives the child's use; the parent is suspended meanwhile.
    let plan = unsafe { &mut *argument.cast::<ExecPlan>() };
    // SAFETY: this is the child, as `run` requires.
    let step = unsafe { run(plan) };
    // SAFETY: errno is that of the last failed call; `_exit` runs none of the parent's code.
    unsafe {
        plan.failure = Some(LaunchError {
            step,
            errno: *libc::__errno_location(),
        });
        libc::_exit(127)
    }
}

/// Becomes init, or returns the step that failed, with errno set.
///
/// # Safety
/// Must run in a vfork child: it changes descriptors and credentials.
unsafe fn run(plan: &ExecPlan) -> LaunchStep {
    // SAFETY: every pointer is to memory of the suspended parent, which `launch` keeps alive.
    unsafe {
        // The program is read from another descriptor, which is closed on exec. All others are closed here and now,
        // including those that the server opened without close-on-exec.
        let high = libc::fcntl(plan.image, libc::F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if high < 0 {
            return LaunchStep::DuplicateProgram;
        }
        // In two steps, so that neither descriptor overwrites the other.
        let control = libc::fcntl(plan.control, libc::F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        let null = libc::fcntl(plan.null, libc::F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if control < 0
            || null < 0
            || libc::dup2(null, 0) < 0
            || libc::dup2(null, 1) < 0
            || (!plan.keep_stderr && libc::dup2(null, 2) < 0)
            || libc::dup2(control, CONTROL_FD) < 0
        {
            return LaunchStep::SetUpDescriptors;
        }
        let cloexec = 4; // CLOSE_RANGE_CLOEXEC
        if libc::syscall(libc::SYS_close_range, FIRST_FREE_FD, u32::MAX, cloexec) < 0 {
            return LaunchStep::CloseDescriptors;
        }
        libc::syscall(
            libc::SYS_execveat,
            high,
            c"".as_ptr(),
            plan.argv.as_ptr(),
            plan.envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
        LaunchStep::Execute
    }
}
