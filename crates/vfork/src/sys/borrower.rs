//! Children that use the caller's memory while the caller goes on.

use std::ffi::c_void;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::stack::Stack;
use super::{ChildOptions, clone_sharing};

/// A child that uses the caller's memory until it has executed a program or has ended. The caller goes on meanwhile, so
/// whatever keeps the child from executing holds up nothing else.
///
/// If it is dropped before the child has left, stack and data stay allocated for ever.
#[derive(Debug)]
pub struct Borrower<T> {
    pid: libc::pid_t,
    lent: NonNull<Lent<T>>,
}

/// The memory that the child uses.
#[derive(Debug)]
struct Lent<T> {
    /// Zero once the child has left: the kernel clears it and wakes its waiter (`CLONE_CHILD_CLEARTID`).
    borrowed: AtomicU32,
    stack: Stack,
    data: T,
}

impl<T> Borrower<T> {
    /// Starts a child that runs `entry` on `stack` with a pointer to `data`. Returns at once.
    ///
    /// # Errors
    /// As of [`vfork`](super::vfork).
    ///
    /// # Safety
    /// `entry` must not return, unwind, allocate, take a lock or touch thread-local state, `errno` included: it shares
    /// all of these with the caller, which goes on. Whatever `data` points to must live as long as `data`.
    pub unsafe fn start(
        stack: Stack,
        data: T,
        options: &ChildOptions<'_>,
        entry: unsafe extern "C" fn(*mut c_void) -> !,
    ) -> io::Result<Self> {
        let lent = Box::into_raw(Box::new(Lent {
            borrowed: AtomicU32::new(1),
            stack,
            data,
        }));
        // SAFETY: the memory stays allocated until the kernel says that the child has left it; the caller guarantees the rest.
        let started = unsafe {
            clone_sharing(
                &mut (*lent).stack,
                options,
                libc::CLONE_CHILD_CLEARTID,
                ptr::null_mut(),
                (&raw const (*lent).borrowed) as usize,
                entry,
                (&raw mut (*lent).data).cast(),
            )
        };
        match (started, NonNull::new(lent)) {
            (Ok(pid), Some(lent)) => Ok(Self { pid, lent }),
            (result, _) => {
                // SAFETY: no child was made, so nothing else uses the memory.
                drop(unsafe { Box::from_raw(lent) });
                Err(result.err().unwrap_or_else(|| io::ErrorKind::OutOfMemory.into()))
            }
        }
    }

    /// The child's pid.
    #[must_use]
    pub fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Whether the child has executed a program or ended.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.borrowed().load(Ordering::Acquire) == 0
    }

    /// Waits at most that long until the child has left; returns whether it has.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.has_left() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let timeout = libc::timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            // Not a private futex, because the kernel's own wake-up is not private.
            // SAFETY: both pointers are to memory that outlives the call. Whatever it returns, the loop looks again.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.borrowed().as_ptr(),
                    libc::FUTEX_WAIT,
                    1,
                    &raw const timeout,
                    0,
                )
            };
        }
        true
    }

    /// Takes back the data and the stack, once the child has left.
    ///
    /// # Errors
    /// The same child if it has not left yet.
    pub fn take_back(self) -> Result<(T, Stack), Self> {
        if !self.has_left() {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: the child has left, and `this` is not dropped, so this is the memory's only owner.
        let Lent { stack, data, .. } = *unsafe { Box::from_raw(this.lent.as_ptr()) };
        Ok((data, stack))
    }

    fn borrowed(&self) -> &AtomicU32 {
        // SAFETY: the memory is allocated as long as `self` lives. This refers to this field alone, as the child writes to others.
        unsafe { &(*self.lent.as_ptr()).borrowed }
    }
}

impl<T> Drop for Borrower<T> {
    fn drop(&mut self) {
        if self.has_left() {
            // SAFETY: the child has left, and `take_back` does not drop what it has taken.
            drop(unsafe { Box::from_raw(self.lent.as_ptr()) });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

    use super::super::system_call;
    use super::*;

    struct Shared {
        pipe: RawFd,
        read: u8,
    }

    /// Waits for one byte from the pipe, and ends.
    unsafe extern "C" fn read(argument: *mut c_void) -> ! {
        // SAFETY: the test passes a `Shared`; `exit_group` ends only this process.
        unsafe {
            let shared = argument.cast::<Shared>();
            let fd = (*shared).pipe as usize;
            let byte = &raw mut (*shared).read as usize;
            let _ = system_call(libc::SYS_read, [fd, byte, 1, 0, 0, 0]);
            loop {
                let _ = system_call(libc::SYS_exit_group, [0; 6]);
            }
        }
    }

    #[test]
    fn the_caller_goes_on_while_a_child_uses_its_memory_and_takes_the_memory_back_later() {
        let mut fds = [-1; 2];
        // SAFETY: the kernel stores two new descriptors, which nothing else owns.
        let (reader, writer) = unsafe {
            assert_eq!(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC), 0);
            (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
        };
        let pipe = reader.as_raw_fd();
        let options = ChildOptions {
            exit_signal: libc::SIGCHLD,
            ..ChildOptions::default()
        };
        let shared = Shared { pipe, read: 0 };
        // SAFETY: `read` only makes system calls that leave `errno` alone.
        let child = unsafe { Borrower::start(Stack::new().unwrap(), shared, &options, read) }.unwrap();
        assert!(!child.wait(Duration::from_millis(20)));
        let pid = child.pid();
        let child = child.take_back().err().unwrap();
        File::from(writer).write_all(b"x").unwrap();
        assert!(child.wait(Duration::from_secs(60)));
        let (shared, _stack) = child.take_back().ok().unwrap();
        assert_eq!(shared.read, b'x');
        // SAFETY: passes no pointers.
        assert_eq!(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) }, pid);
    }
}
