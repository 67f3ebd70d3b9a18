//! Reads what a call asks for, from its registers and the caller's memory.

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;

use super::caller::Caller;
use super::sys::Asked;

/// One call.
pub struct AskedCall {
    /// The file.
    pub named: NamedFile,
    /// The change to it.
    pub change: Change,
}

/// How a file is named.
pub enum NamedFile {
    /// By a path, relative to the caller's descriptor or otherwise to its working directory.
    Path {
        directory: Option<i32>,
        path: CString,
        follow: bool,
    },
    /// By a descriptor of the caller.
    Descriptor(i32),
}

/// What a call changes.
pub enum Change {
    Mode(u32),
    Times(Times),
}

/// New times of a file.
pub struct Times {
    pub accessed: TimeSpec,
    pub modified: TimeSpec,
}

impl AskedCall {
    /// Reads the arguments.
    pub fn read(asked: &Asked, caller: &Caller) -> Result<Self, Errno> {
        let argument = |index: usize| asked.arguments[index];
        let int = |index: usize| argument(index) as i32;
        let mode = |index: usize| Change::Mode(argument(index) as u32);
        let path = |directory, index: usize, flags: i32| -> Result<NamedFile, Errno> {
            if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
                return Err(Errno::EINVAL);
            }
            let path = caller.read_string(argument(index))?;
            if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
                return named_by(directory);
            }
            let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
            if let Some(number) = descriptor_in_proc(&path).filter(|_| follow) {
                return Ok(NamedFile::Descriptor(number));
            }
            Ok(NamedFile::Path {
                directory,
                path,
                follow,
            })
        };
        let directory = |index: usize| Some(int(index)).filter(|number| *number != libc::AT_FDCWD);
        let (named, change) = match asked.number {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chmod => (path(None, 0, 0)?, mode(1)),
            libc::SYS_fchmod => (NamedFile::Descriptor(int(0)), mode(1)),
            libc::SYS_fchmodat => (path(directory(0), 1, 0)?, mode(2)),
            super::sys::FCHMODAT2 => (path(directory(0), 1, int(3))?, mode(2)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_utime => (path(None, 0, 0)?, seconds(caller, argument(1))?),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_utimes => (path(None, 0, 0)?, microseconds(caller, argument(1))?),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_futimesat if argument(1) == 0 => {
                (named_by(directory(0))?, microseconds(caller, argument(2))?)
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_futimesat => (path(directory(0), 1, 0)?, microseconds(caller, argument(2))?),
            libc::SYS_utimensat if argument(1) == 0 => {
                (named_by(directory(0))?, nanoseconds(caller, argument(2))?)
            }
            libc::SYS_utimensat => (path(directory(0), 1, int(3))?, nanoseconds(caller, argument(2))?),
            _ => return Err(Errno::ENOSYS),
        };
        Ok(Self { named, change })
    }
}

/// The caller's descriptor, if a path in `/proc` names one. C libraries use such a path to change the mode of a file
/// opened with `O_PATH`; for init the same path would mean another file.
fn descriptor_in_proc(path: &CStr) -> Option<i32> {
    let number = path.to_str().ok()?.strip_prefix("/proc/self/fd/")?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_number)
}

fn named_by(directory: Option<i32>) -> Result<NamedFile, Errno> {
    directory.map(NamedFile::Descriptor).ok_or(Errno::EFAULT)
}

/// `struct utimbuf`.
#[cfg(target_arch = "x86_64")]
fn seconds(caller: &Caller, address: u64) -> Result<Change, Errno> {
    times::<2>(caller, address, |[accessed, modified]| {
        Ok((TimeSpec::new(accessed, 0), TimeSpec::new(modified, 0)))
    })
}

/// Two values of `struct timeval`.
#[cfg(target_arch = "x86_64")]
fn microseconds(caller: &Caller, address: u64) -> Result<Change, Errno> {
    let time = |seconds, micros: i64| {
        if (0..1_000_000).contains(&micros) {
            Ok(TimeSpec::new(seconds, micros * 1000))
        } else {
            Err(Errno::EINVAL)
        }
    };
    times::<4>(caller, address, |[s, us, second_s, second_us]| {
        Ok((time(s, us)?, time(second_s, second_us)?))
    })
}

/// Two values of `struct timespec`. The kernel checks them, and knows `UTIME_NOW` and `UTIME_OMIT`.
fn nanoseconds(caller: &Caller, address: u64) -> Result<Change, Errno> {
    times::<4>(caller, address, |[s, ns, second_s, second_ns]| {
        Ok((TimeSpec::new(s, ns), TimeSpec::new(second_s, second_ns)))
    })
}

fn times<const N: usize>(
    caller: &Caller,
    address: u64,
    parse: impl FnOnce([i64; N]) -> Result<(TimeSpec, TimeSpec), Errno>,
) -> Result<Change, Errno> {
    let (accessed, modified) = if address == 0 {
        (TimeSpec::UTIME_NOW, TimeSpec::UTIME_NOW)
    } else {
        let mut words = [0_i64; N];
        for (index, word) in words.iter_mut().enumerate() {
            let mut bytes = [0; 8];
            caller.read(address.wrapping_add(8 * index as u64), &mut bytes)?;
            *word = i64::from_ne_bytes(bytes);
        }
        parse(words)?
    };
    Ok(Change::Times(Times { accessed, modified }))
}
