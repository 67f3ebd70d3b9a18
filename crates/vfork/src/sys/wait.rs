//! Waiting for a child to leave the memory that it borrows.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::machine::system_call;

/// How long a caller with [`Options::patience`] waits before it looks at the child, and between two looks from then on.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(1);

/// How often a stopped child is continued before it is killed. Otherwise a process that stops it again each time could hold the
/// caller for ever.
const CONTINUES: u32 = 20;

/// Waits until `borrowed` is zero; says whether the child had to be killed for that.
///
/// No function of the C library is called: they store `errno`, which is the child's as well.
///
/// # Safety
/// `child` has not been reaped. `own` says whether it is this process's child.
pub unsafe fn wait_until_left(borrowed: &AtomicU32, child: usize, own: bool, patience: Duration) -> bool {
    let mut waited = Duration::ZERO;
    let mut continued = 0;
    let mut given_up = false;
    while borrowed.load(Ordering::Acquire) != 0 {
        let pause = if waited.is_zero() { FIRST_LOOK } else { LOOK };
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: pause.subsec_nanos().into(),
        };
        // Not a private futex: the kernel's own wake is not.
        // SAFETY: both pointers are to live locals, which the kernel reads during the call.
        let answer = unsafe {
            system_call(
                libc::SYS_futex,
                [
                    borrowed.as_ptr() as usize,
                    libc::FUTEX_WAIT as usize,
                    1,
                    ptr::from_ref(&timeout) as usize,
                    0,
                ],
            )
        };
        if answer != -(libc::ETIMEDOUT as isize) {
            continue;
        }
        waited += pause;
        // SAFETY: the child has not been reaped, so its number is its own.
        unsafe {
            if given_up {
                // It ends as soon as the kernel lets it.
            } else if waited > patience || continued > CONTINUES {
                given_up = true;
                system_call(libc::SYS_kill, [child, libc::SIGKILL as usize, 0, 0, 0]);
            } else if !own || is_stopped(child) {
                // A sibling cannot be waited for. To one that is not stopped it does nothing.
                continued += u32::from(own);
                system_call(libc::SYS_kill, [child, libc::SIGCONT as usize, 0, 0, 0]);
            }
        }
    }
    given_up
}

/// Whether a child of this process is stopped. Leaves the report where it is.
///
/// # Safety
/// As for [`wait_until_left`].
unsafe fn is_stopped(child: usize) -> bool {
    let flags = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `found` has room for what the kernel stores, and all zeros is a valid one, which says that there is none.
    unsafe {
        let answer = system_call(
            libc::SYS_waitid,
            [
                libc::P_PID as usize,
                child,
                found.as_mut_ptr() as usize,
                flags as usize,
                0,
            ],
        );
        answer == 0 && found.assume_init().si_pid() != 0
    }
}
