//! Waits for a child to leave the memory that it shares.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::machine::system_call;

/// How long a caller with [`ChildOptions::patience`](super::ChildOptions::patience) waits before it first checks the child, and
/// between later checks.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(1);

/// How often a stopped child is continued before it is killed. Otherwise a process that stops it again each time could
/// block the caller for ever.
const CONTINUES: u32 = 20;

/// Waits until `borrowed` is zero; returns whether the child had to be killed for that.
///
/// No function of the C library is called, because they change `errno`, which the child shares.
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
        // Not a private futex, because the kernel's own wake-up is not private.
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
        // SAFETY: the child has not been reaped, so its pid is not reused.
        unsafe {
            if given_up {
                // It ends as soon as the kernel allows it.
            } else if waited > patience || continued > CONTINUES {
                given_up = true;
                system_call(libc::SYS_kill, [child, libc::SIGKILL as usize, 0, 0, 0]);
            } else if !own || is_stopped(child) {
                // A sibling cannot be waited for. The signal does nothing if it is not stopped.
                continued += u32::from(own);
                system_call(libc::SYS_kill, [child, libc::SIGCONT as usize, 0, 0, 0]);
            }
        }
    }
    given_up
}

/// Whether a child of this process is stopped. Leaves the report for another wait.
///
/// # Safety
/// The same as for [`wait_until_left`].
unsafe fn is_stopped(child: usize) -> bool {
    let flags = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `found` has room for what the kernel stores; all zeros is a valid value, which means no child.
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
