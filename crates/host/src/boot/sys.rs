//! The child between `clone` and `execveat`: system calls only.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use agent_vm_vfork::sys::{Child, Options, Stack, vfork};
use libc::{c_char, c_int, c_ulong};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// Where init finds its end of the control socket.
const CONTROL_FD: RawFd = 3;

/// The first that init has no use for.
const FIRST_FREE_FD: RawFd = CONTROL_FD + 1;

/// Capabilities that init sets the sandbox up with, over its own namespaces alone (`capabilities(7)`). A program executed
/// by a uid that is not 0 keeps only its ambient ones.
const CAPABILITIES: [u8; 8] = [
    1,  // CAP_DAC_OVERRIDE: search folders of other owners on the way to a bind
    6,  // CAP_SETGID
    7,  // CAP_SETUID
    8,  // CAP_SETPCAP: drop the bounding set, lock securebits
    12, // CAP_NET_ADMIN: bring the loopback up
    18, // CAP_SYS_CHROOT
    21, // CAP_SYS_ADMIN: mounts, host name
    24, // CAP_SYS_RESOURCE
];

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// What a child that did not become init died of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchFailure {
    /// What it was doing.
    pub step: &'static str,
    /// What the kernel answered.
    pub errno: c_int,
}

/// How init is started.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The init program.
    pub image: BorrowedFd<'a>,
    /// Init's end of the control socket.
    pub control: OwnedFd,
    /// `CLONE_NEW*` flags, or 0.
    pub namespaces: c_int,
    /// Where it starts.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether it takes a cgroup namespace of its own, once it is where it starts: that is then the namespace's root.
    pub cgroup_namespace: bool,
    /// The single ids that the child maps onto the given id inside, where it can do so itself: (inside, uid, gid).
    pub own_map: Option<(u32, u32, u32)>,
    /// What `AGENT_VM_LOG` is to be inside of init; standard error is then the server's, else `/dev/null`.
    pub log: Option<&'a str>,
}

struct Plan {
    image: RawFd,
    control: RawFd,
    null: RawFd,
    keep_stderr: bool,
    cgroup_namespace: bool,
    maps: Option<Maps>,
    ambient: bool,
    argv: [*const c_char; 2],
    envp: [*const c_char; 2],
    failure: Option<LaunchFailure>,
}

struct Maps {
    uid: CString,
    gid: CString,
}

/// Starts init. Returns once it runs, or with what kept it from running.
///
/// Takes as long as the kernel needs for the namespaces, about half a millisecond; the calling thread waits.
pub fn launch(launch: &Launch<'_>) -> Result<Child, LaunchFailure> {
    let failed = |step, error: io::Error| LaunchFailure {
        step,
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    };
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|error| failed("open /dev/null", error.into()))?;
    let mut stack = Stack::new().map_err(|error| failed("map a stack", error))?;
    let log = launch
        .log
        .and_then(|level| CString::new(format!("AGENT_VM_LOG={level}")).ok());
    let line =
        |inside: u32, outside: u32| CString::new(format!("{inside} {outside} 1\n")).unwrap_or_default();

    let mut plan = Plan {
        image: launch.image.as_raw_fd(),
        control: launch.control.as_raw_fd(),
        null: null.as_raw_fd(),
        keep_stderr: log.is_some(),
        cgroup_namespace: launch.cgroup_namespace,
        maps: launch.own_map.map(|(inside, uid, gid)| Maps {
            uid: line(inside, uid),
            gid: line(inside, gid),
        }),
        ambient: launch.namespaces != 0,
        argv: [c"agent-vm-init".as_ptr(), ptr::null()],
        envp: [
            log.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
            ptr::null(),
        ],
        failure: None,
    };
    let options = Options {
        namespaces: launch.namespaces,
        // No SIGCHLD: the server's own handler (libuv's) has nothing to do with it.
        exit_signal: 0,
        sibling: false,
        cgroup: launch.cgroup.as_ref().map(AsFd::as_fd),
        pidfd: true,
    };
    // SAFETY: `child` only makes system calls and reads `plan`, which outlives the call.
    let child = unsafe { vfork(&mut stack, &options, child, ptr::from_mut(&mut plan).cast()) }
        .map_err(|error| failed("clone a process into namespaces of its own", error))?;
    if let Some(failure) = plan.failure {
        if let Some(pidfd) = &child.pidfd {
            reap(pidfd.as_fd());
        }
        return Err(failure);
    }
    Ok(child)
}

/// Whether a file's extended attribute has that value.
pub fn has_attribute(path: &Path, name: &CStr, value: &[u8]) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let mut found = [0u8; 16];
    // SAFETY: both strings are terminated, and the buffer is as long as said.
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

/// Waits for the end of the process that `pidfd` refers to, and lets the kernel forget it.
pub fn reap(pidfd: BorrowedFd<'_>) {
    // SAFETY: an all-zero siginfo is valid, and only written to. `__WALL`: the child sends no SIGCHLD.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        while libc::waitid(
            libc::P_PIDFD,
            pidfd.as_raw_fd() as u32,
            &raw mut info,
            libc::WEXITED | libc::__WALL,
        ) < 0
            && *libc::__errno_location() == libc::EINTR
        {}
    }
}

/// Sends a signal to the process that `pidfd` refers to; one that has ended is left alone.
pub fn signal(pidfd: BorrowedFd<'_>, signal: c_int) {
    // SAFETY: no memory is passed.
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

/// The version of the kernel's Landlock (`landlock_create_ruleset(2)`).
pub fn landlock_abi() -> Result<u32, Errno> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`
    const VERSION: c_int = 1;
    // SAFETY: asked for its version, the call takes no ruleset.
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

/// Whether `clone3(2)`, which alone can start a child in a cgroup, is let through: container runtimes' profiles do not.
pub fn has_clone3() -> bool {
    // SAFETY: a structure of no size is refused before it is read.
    let result = unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<c_void>(), 0) };
    result < 0 && Errno::last() != Errno::ENOSYS
}

unsafe extern "C" fn child(argument: *mut c_void) -> ! {
    // SAFETY: `launch` passes a `Plan` that outlives the child's use of it; the parent is suspended meanwhile.
    let plan = unsafe { &mut *argument.cast::<Plan>() };
    // SAFETY: as `run` asks: we are the child.
    let step = unsafe { run(plan) };
    // SAFETY: errno is the last failed call's; `_exit` leaves without running anything of the parent's.
    unsafe {
        plan.failure = Some(LaunchFailure {
            step,
            errno: *libc::__errno_location(),
        });
        libc::_exit(127)
    }
}

/// Becomes init, or returns the step that failed, with errno set.
///
/// # Safety
/// Only in a vfork child: it changes descriptors and credentials.
unsafe fn run(plan: &Plan) -> &'static str {
    // SAFETY: every pointer is to memory of the suspended parent that `launch` keeps alive.
    unsafe {
        if let Some(maps) = &plan.maps {
            // Without this the kernel lets no ordinary user write a gid_map (user_namespaces(7)).
            if !write_file(c"/proc/self/setgroups", b"deny") {
                return "write /proc/self/setgroups";
            }
            if !write_file(c"/proc/self/gid_map", maps.gid.as_bytes()) {
                return "write /proc/self/gid_map";
            }
            if !write_file(c"/proc/self/uid_map", maps.uid.as_bytes()) {
                return "write /proc/self/uid_map";
            }
        }
        if plan.cgroup_namespace && libc::unshare(libc::CLONE_NEWCGROUP) < 0 {
            return "take a cgroup namespace";
        }
        if plan.ambient && !raise_capabilities() {
            return "keep capabilities for the set-up";
        }
        // The program is read from another descriptor, which closes itself; the rest is closed here and now, also what the
        // server opened without close-on-exec.
        let high = libc::fcntl(plan.image, libc::F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if high < 0 {
            return "duplicate the init program's descriptor";
        }
        // Two steps, so that neither descriptor overwrites the other.
        let control = libc::fcntl(plan.control, libc::F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        let null = libc::fcntl(plan.null, libc::F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if control < 0
            || null < 0
            || libc::dup2(null, 0) < 0
            || libc::dup2(null, 1) < 0
            || (!plan.keep_stderr && libc::dup2(null, 2) < 0)
            || libc::dup2(control, CONTROL_FD) < 0
        {
            return "set init's descriptors up";
        }
        let cloexec = 4; // CLOSE_RANGE_CLOEXEC
        if libc::syscall(libc::SYS_close_range, FIRST_FREE_FD, u32::MAX, cloexec) < 0 {
            return "close the server's descriptors";
        }
        libc::syscall(
            libc::SYS_execveat,
            high,
            c"".as_ptr(),
            plan.argv.as_ptr(),
            plan.envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
        "execute init"
    }
}

/// Writes a file in one call.
///
/// # Safety
/// As [`run`].
unsafe fn write_file(path: &std::ffi::CStr, text: &[u8]) -> bool {
    // SAFETY: the path is terminated and the text as long as said.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        fd >= 0
            && libc::write(fd, text.as_ptr().cast(), text.len()) == text.len() as isize
            && libc::close(fd) == 0
    }
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes [`CAPABILITIES`] survive the exec.
///
/// # Safety
/// As [`run`].
unsafe fn raise_capabilities() -> bool {
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [CapabilityData::default(); 2];
    for capability in CAPABILITIES {
        data[0].inheritable |= 1 << capability;
    }
    data[0].permitted = data[0].inheritable;
    data[0].effective = data[0].inheritable;
    // SAFETY: header and data have the layout of version 3 (capset(2)).
    unsafe {
        if libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) < 0 {
            return false;
        }
        CAPABILITIES.iter().all(|capability| {
            let number = c_ulong::from(*capability);
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE as c_ulong,
                number,
                0,
                0,
            ) == 0
        })
    }
}
