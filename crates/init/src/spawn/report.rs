//! A child's own report, which is known even if the process that started it is lost.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use super::sys::{ChildError, Step};

/// A report has the child's pid, and the step and the error of a failure.
const NUMBERS: usize = 3;

/// The reading end of the pipe to which a child writes its report.
#[derive(Debug)]
pub struct Report {
    pipe: File,
    bytes: Vec<u8>,
    has_ended: bool,
}

impl Report {
    /// A report, and the end of its pipe for the child.
    pub fn pair() -> Result<(Self, OwnedFd), Errno> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let report = Self {
            pipe: File::from(ours),
            bytes: Vec::new(),
            has_ended: false,
        };
        Ok((report, theirs))
    }

    /// The child's pid, which it reports first; `None` if it has not within that time.
    pub fn pid(&mut self, patience: Duration) -> Option<pid_t> {
        self.read();
        if self.bytes.is_empty() && !self.has_ended {
            self.await_more(patience);
        }
        self.number(0)
    }

    /// Whether the child has executed, or why not; `None` while it still may, which it cannot once it `has_ended`. One that was
    /// killed before counts as a program that was killed.
    pub fn outcome(&mut self, has_ended: bool) -> Option<Result<(), ChildError>> {
        self.read();
        if !self.has_ended && !has_ended {
            return None;
        }
        let failed = self.number(1).and_then(Step::numbered).zip(self.number(2));
        Some(failed.map_or(Ok(()), |(step, errno)| {
            Err(ChildError {
                step,
                errno: Errno::from_raw(errno),
            })
        }))
    }

    /// Waits at most that long until the child has executed or failed.
    pub fn wait(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.read();
        while !self.has_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.await_more(left);
        }
    }

    fn await_more(&mut self, patience: Duration) {
        let mut watched = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        // Whatever it returns, the pipe is read once more.
        let _ = poll(
            &mut watched,
            PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX),
        );
        self.read();
    }

    fn read(&mut self) {
        let mut buffer = [0; NUMBERS * size_of::<c_int>()];
        while !self.has_ended {
            match self.pipe.read(&mut buffer) {
                Ok(0) => self.has_ended = true,
                Ok(length) if self.bytes.len() < buffer.len() => self.bytes.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing to read now, or more than any child writes.
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn number(&self, index: usize) -> Option<c_int> {
        let number = self.bytes.chunks_exact(size_of::<c_int>()).nth(index)?;
        Some(c_int::from_ne_bytes(number.try_into().ok()?))
    }
}
