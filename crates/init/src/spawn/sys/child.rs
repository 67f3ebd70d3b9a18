//! The child itself. It shares init's memory while init goes on, and so even init's `errno`: all functions here only make system
//! calls, by [`system_call`], which leaves `errno` alone.

use std::ffi::{CStr, CString, c_void};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use agent_vm_vfork::sys::system_call;
use libc::{c_char, c_int, c_long};

use super::inner::InnerRoot;
use super::inner_user::InnerUser;
use super::step::Step;
use super::words::Words;
use crate::family::sys::set_lock_limits;
use crate::seccomp;
use crate::sys::{START_NAME, close_all_but};

/// One more than the highest number of a pipe beside the standard descriptors.
pub const MORE: usize = 10;

/// The memory that the child reads and writes.
#[derive(Debug)]
pub struct ChildMemory {
    pub words: Words,
    pub directory: RawFd,
    /// -1 for none.
    pub join: RawFd,
    pub stdio: [RawFd; 3],
    /// By number, the pipes to put there; -1 for none. All are above these numbers, as are `directory` and `report_fd` if there are
    /// any.
    pub more: [RawFd; MORE],
    pub open_files: libc::rlimit,
    pub mark: Option<u64>,
    pub root: Option<InnerRoot>,
    pub user: Option<InnerUser>,
    /// The working directory, if the user that the child becomes must open it.
    pub cwd: Option<CString>,
    pub terminal: bool,
    pub subreaper: bool,
    pub report_fd: RawFd,
    pub step: Step,
    pub errno: c_int,
}

/// Runs in the child.
///
/// # Safety
/// `argument` must be a [`ChildMemory`] whose pointers are valid, and that nobody else uses.
pub unsafe extern "C" fn child(argument: *mut c_void) -> ! {
    // SAFETY: the caller guarantees it.
    let shared = unsafe { &mut *argument.cast::<ChildMemory>() };
    // SAFETY: takes no arguments. Every number of a process fits.
    let pid = unsafe { call(libc::SYS_getpid, [0; 4]) }.unwrap_or(0) as c_int;
    report(shared.report_fd, &[pid]);
    // SAFETY: as above.
    let (step, errno) = unsafe { run(shared) };
    shared.errno = errno;
    shared.step = step;
    report(shared.report_fd, &[step as c_int, errno]);
    loop {
        // SAFETY: ends only this process, without running any of the parent's code. It does not return.
        let _ = unsafe { call(libc::SYS_exit_group, [127, 0, 0, 0]) };
    }
}

/// Makes a system call with at most four arguments; returns its result or the error's number.
///
/// # Safety
/// As for the call.
unsafe fn call(number: c_long, arguments: [usize; 4]) -> Result<usize, c_int> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: the caller guarantees it.
    match unsafe { system_call(number, [first, second, third, fourth, 0, 0]) } {
        result @ 0.. => Ok(result as usize),
        error => Err(-error as c_int),
    }
}

/// Writes numbers to the pipe, if its other end is open.
fn report(fd: RawFd, numbers: &[c_int]) {
    if fd >= 0 {
        let arguments = [fd as usize, numbers.as_ptr() as usize, size_of_val(numbers), 0];
        // SAFETY: the length is that of the numbers. A pipe accepts them whole; if the other end is closed, nobody needs
        // them.
        let _ = unsafe { call(libc::SYS_write, arguments) };
    }
}

/// Returns only on failure, with the step and the error.
///
/// # Safety
/// The same as for [`child`].
unsafe fn run(shared: &mut ChildMemory) -> (Step, c_int) {
    // SAFETY: as for the caller.
    match unsafe { prepare(shared) } {
        // SAFETY: as for the caller.
        Ok(()) => (Step::Execute, unsafe { execute(&mut shared.words) }),
        Err(failed) => failed,
    }
}

/// Everything before the program is executed.
///
/// # Safety
/// The same as for [`child`].
unsafe fn prepare(shared: &ChildMemory) -> Result<(), (Step, c_int)> {
    let at = |step| move |errno| (step, errno);
    // SAFETY: all of these calls take integers, or pointers into `shared` or to constants, which outlive the calls.
    unsafe {
        // Until it has executed, it has the name of what it does, and not init's. The call cannot fail.
        let name = START_NAME.as_ptr() as usize;
        let _ = call(libc::SYS_prctl, [libc::PR_SET_NAME as usize, name, 0, 0]);
        if shared.join >= 0 {
            let zero = c"0".as_ptr() as usize;
            call(libc::SYS_write, [shared.join as usize, zero, 1, 0]).map_err(at(Step::Join))?;
        }
        call(libc::SYS_setsid, [0; 4]).map_err(at(Step::Session))?;
        if shared.terminal {
            let stdin = shared.stdio[0] as usize;
            call(libc::SYS_ioctl, [stdin, libc::TIOCSCTTY as usize, 0, 0]).map_err(at(Step::Terminal))?;
        }
        if shared.subreaper {
            let option = libc::PR_SET_CHILD_SUBREAPER as usize;
            call(libc::SYS_prctl, [option, 1, 0, 0]).map_err(at(Step::Subreaper))?;
        }
        let place = |fd: RawFd, number: usize| {
            call(libc::SYS_dup3, [fd as usize, number, 0, 0]).map_err(at(Step::Descriptors))
        };
        for (number, fd) in shared.stdio.iter().enumerate() {
            place(*fd, number)?;
        }
        let mut kept = [-1; MORE + 3];
        for (number, (fd, kept)) in shared.more.iter().zip(&mut kept).enumerate() {
            if *fd >= 0 {
                place(*fd, number)?;
                *kept = number as c_int;
            }
        }
        kept[MORE] = shared.directory;
        kept[MORE + 1] = shared.report_fd;
        let root = shared.root.as_ref().map(|root| root.fd);
        kept[MORE + 2] = root.or(shared.user.as_ref().map(|user| user.fd)).unwrap_or(-1);
        let limit = &raw const shared.open_files as usize;
        let limited = [0, libc::RLIMIT_NOFILE as usize, limit, 0];
        call(libc::SYS_prlimit64, limited).map_err(at(Step::Limit))?;
        if let Some(mark) = shared.mark {
            set_lock_limits(mark, mark).map_err(|errno| (Step::Mark, errno as c_int))?;
        }
        // From here on the child has no descriptor of init to which a path could lead. Beside the program's own pipes three
        // descriptors stay open: the working directory until the next step, the namespace that it enters, if any, until it
        // is in, and the report's pipe until the program runs. The last two are not directories and cannot be executed, so
        // no path leads through them.
        close_all_but(&mut kept).map_err(|errno| (Step::Close, errno as c_int))?;
        if let Some(user) = &shared.user {
            // First, so that the working directory is one that the user may enter.
            user.enter()?;
        }
        let directory = [shared.directory as usize, 0, 0, 0];
        call(libc::SYS_fchdir, directory).map_err(at(Step::Directory))?;
        call(libc::SYS_close, directory).map_err(at(Step::Close))?;
        if let Some(cwd) = &shared.cwd {
            change_directory(cwd).map_err(at(Step::Directory))?;
        }
        reach(shared.cwd.is_some()).map_err(at(Step::Reach))?;
        if let Some(root) = &shared.root {
            root.enter()?;
        }
        // Init's signal dispositions are all the default, and `execve` keeps them; only the mask must be reset.
        let none: u64 = 0;
        let mask = &raw const none as usize;
        let _ = call(
            libc::SYS_rt_sigprocmask,
            [libc::SIG_SETMASK as usize, mask, 0, size_of::<u64>()],
        );
    }
    Ok(())
}

/// Enters a directory without following a magic link: those of `/proc` lead to what other processes have open.
fn change_directory(path: &CStr) -> Result<(), c_int> {
    // SAFETY: all-zero is a valid `open_how`, whose fields are integers.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_MAGICLINKS;
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        &raw const how as usize,
        size_of::<libc::open_how>(),
        0,
        // For the filter.
        seccomp::key() as usize,
    ];
    // SAFETY: the string and the structure outlive the call.
    let opened = unsafe { system_call(libc::SYS_openat2, arguments) };
    if opened < 0 {
        return Err(-opened as c_int);
    }
    let fd = [opened as usize, 0, 0, 0];
    // SAFETY: these take the descriptor that was just opened.
    unsafe {
        call(libc::SYS_fchdir, fd)?;
        call(libc::SYS_close, fd)?;
    }
    Ok(())
}

/// Fails unless the working directory exists and is below the root: with EACCES for a directory elsewhere, whose path begins with
/// "(unreachable)" (`getcwd(2)`), ENOENT for a removed one, and ENAMETOOLONG for one that is deeper than the kernel can
/// report. If this process has `opened` it itself, it may not be one of those in `/proc` about init or this process either, which
/// init and its helpers refuse when they open one.
fn reach(opened: bool) -> Result<(), c_int> {
    let mut path = MaybeUninit::<[u8; libc::PATH_MAX as usize]>::uninit();
    let arguments = [path.as_mut_ptr() as usize, libc::PATH_MAX as usize, 0, 0];
    // SAFETY: the kernel writes at most as many bytes as the buffer has, and returns how many, with the NUL at the end.
    let path = unsafe {
        let length = call(libc::SYS_getcwd, arguments)?;
        std::slice::from_raw_parts(path.as_ptr().cast::<u8>(), length)
    };
    // SAFETY: takes no arguments.
    let own = unsafe { call(libc::SYS_getpid, [0; 4])? };
    let is_refused = |pid| opened && (pid == 1 || pid == own);
    match path {
        [b'/', ..] if !process_of(path).is_some_and(is_refused) => Ok(()),
        _ => Err(libc::EACCES),
    }
}

/// The process that a path in `/proc` is about.
fn process_of(path: &[u8]) -> Option<usize> {
    let mut pid = None;
    for byte in path.strip_prefix(b"/proc/")? {
        match byte {
            b'0'..=b'9' => {
                let digit = usize::from(byte - b'0');
                pid = Some(pid.unwrap_or(0_usize).wrapping_mul(10).wrapping_add(digit));
            }
            b'/' | 0 => return pid,
            _ => return None,
        }
    }
    pid
}

/// Tries each candidate as `execvp(3)` does: skips paths that do not exist, remembers files that may not be executed,
/// and runs a file without an interpreter by the shell. Returns only if none can be executed, with the error.
///
/// # Safety
/// The same as for [`child`].
unsafe fn execute(words: &mut Words) -> c_int {
    let execve = |path: *const c_char, arguments: *const *const c_char, environment: *const *const c_char| {
        // SAFETY: the lists end with a null pointer, and everything that they point to outlives the call.
        let executed = unsafe {
            call(
                libc::SYS_execve,
                [path as usize, arguments as usize, environment as usize, 0],
            )
        };
        executed.err().unwrap_or(0)
    };
    let mut refused = false;
    for candidate in words.candidates() {
        match execve(candidate, words.arguments(), words.environment()) {
            libc::ENOEXEC => {
                words.set_script(candidate);
                return execve(words.shell(), words.script_arguments(), words.environment());
            }
            libc::EACCES => refused = true,
            libc::ENOENT | libc::ENOTDIR => {}
            errno => return errno,
        }
    }
    if refused { libc::EACCES } else { libc::ENOENT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_proc_is_about_the_process_whose_number_it_has() {
        for (path, pid) in [
            (&b"/proc/1\0"[..], Some(1)),
            (b"/proc/12/task/13\0", Some(12)),
            (b"/proc/1x\0", None),
            (b"/proc/sys/1\0", None),
            (b"/proc\0", None),
            (b"/proc/\0", None),
            (b"/home/proc/1\0", None),
        ] {
            assert_eq!(process_of(path), pid);
        }
    }
}
