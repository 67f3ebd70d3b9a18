//! The process of an init, or of another copy of the zygote.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sys;

/// Init's process. Dropping it kills it together with its pid namespace, and waits for its end, about 0.2 ms.
#[derive(Debug)]
pub struct InitProcess {
    /// Its pid on the host.
    pub pid: i32,
    /// Refers to the process even if its pid is reused.
    pub pidfd: OwnedFd,
}

impl InitProcess {
    /// Kills it.
    pub fn kill(&self) {
        sys::signal(self.pidfd(), libc::SIGKILL);
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        let mut watched = [PollFd::new(self.pidfd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::ZERO) == Ok(0)
    }

    /// A descriptor that becomes readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for InitProcess {
    fn drop(&mut self) {
        self.kill();
        sys::reap(self.pidfd());
    }
}
