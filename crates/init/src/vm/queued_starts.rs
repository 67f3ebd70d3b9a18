//! The starts that wait until a helper has opened their working directories.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use agent_vm_protocol::message::{Call, Spawn};
use agent_vm_protocol::{Channel, Frame};
use libc::pid_t;
use nix::errno::Errno;

use crate::files::helper::{DirectoryAnswer, DirectoryHelper};
use crate::sys;

/// How much memory the starts that wait may use. A single start may always wait.
const BOUND: usize = 32 << 20;

/// What a word uses besides its bytes, and a start besides its words.
const WORD: usize = 64;
const START: usize = 1024;

/// The starts that wait, and the helper that opens their working directories one after another.
#[derive(Debug)]
pub struct QueuedStarts {
    helper: DirectoryHelper,
    bytes: usize,
    /// The starts that have not failed yet, and when they do because the host has set them a time.
    pending: BTreeMap<Call, Option<Instant>>,
}

/// A start whose working directory has been opened or cannot be.
pub struct OpenedStart {
    pub request: Box<Spawn>,
    /// When it fails because the host has set it a time.
    pub expires: Option<Instant>,
    pub answered: Result<(DirectoryAnswer, Vec<OwnedFd>), Errno>,
}

impl QueuedStarts {
    /// No start waits.
    pub fn new() -> Self {
        Self {
            helper: DirectoryHelper::new(sys::FILES_NAME),
            bytes: 0,
            pending: BTreeMap::new(),
        }
    }

    /// Lets a start wait, after earlier ones, or returns it with the reason why it cannot wait.
    pub fn submit(
        &mut self,
        request: Box<Spawn>,
        expires: Option<Instant>,
    ) -> Result<(), (Box<Spawn>, Errno)> {
        let bytes = self.bytes + size(&request);
        if bytes > BOUND && !self.helper.is_idle() {
            return Err((request, Errno::EAGAIN));
        }
        match Frame::new(&request.cwd, Vec::new()) {
            Ok(frame) => {
                self.bytes = bytes;
                self.pending.insert(request.call, expires);
                self.helper.submit(request, frame);
                Ok(())
            }
            Err(_) => Err((request, Errno::ENAMETOOLONG)),
        }
    }

    /// The starts whose working directories have been opened or cannot be. Has the next one opened by `serve`.
    pub fn advance(&mut self, serve: impl Fn(&Channel)) -> Vec<OpenedStart> {
        let finished = self.helper.advance(serve);
        let mut opened = Vec::new();
        for (request, answered) in finished {
            self.bytes -= size(&request);
            if let Some(expires) = self.pending.remove(&request.call) {
                opened.push(OpenedStart {
                    request,
                    expires,
                    answered,
                });
            }
        }
        opened
    }

    /// The starts that have failed because the host has set them a time. What the helper does for them has no effect.
    pub fn expired(&mut self) -> Vec<Call> {
        let now = Instant::now();
        let is_over = |expires: &Option<Instant>| expires.is_some_and(|expires| expires <= now);
        let over: Vec<Call> = self
            .pending
            .iter()
            .filter_map(|(call, expires)| is_over(expires).then_some(*call))
            .collect();
        for call in &over {
            self.pending.remove(call);
        }
        over
    }

    /// Gives a start up; returns whether there was one.
    pub fn stop(&mut self, call: Call) -> bool {
        self.pending.remove(&call).is_some()
    }

    /// As of the helper.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.helper.fd()
    }

    /// As of the helper.
    pub fn due(&self) -> Option<Instant> {
        self.helper.due()
    }

    /// The pids of the helper's processes.
    pub fn pids(&self) -> impl Iterator<Item = pid_t> {
        self.helper.pids()
    }

    /// Ends the helper at the end of the VM.
    pub fn dismiss(&mut self) {
        self.helper.dismiss();
        self.bytes = 0;
        self.pending.clear();
    }
}

/// The memory that a start uses while it waits. The frame has its working directory once more.
pub(super) fn size(request: &Spawn) -> usize {
    let words = request.arguments.len() + 2 * request.env.len();
    START + words * WORD + request.words_bytes() + request.program.len() + 2 * request.cwd.len()
}

/// The memory that the environment of the VM uses in a start.
pub(super) fn env_size(env: &[(String, String)]) -> usize {
    env.iter()
        .map(|(name, value)| WORD + name.len() + value.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use agent_vm_protocol::message::{ProgramUser, Stdio};

    use super::*;

    fn start(words: Vec<String>) -> Box<Spawn> {
        Box::new(Spawn {
            call: 1,
            program: "true".into(),
            arguments: words,
            env: Vec::new(),
            cwd: "/".into(),
            stdio: Stdio::Output,
            argv0: None,
            report_background: false,
            brief: false,
            patience_ms: None,
            user: ProgramUser::User,
        })
    }

    /// How many of such starts can wait at the same time.
    fn room_for(words: &[String]) -> usize {
        let mut queued = QueuedStarts::new();
        let mut count = 0;
        loop {
            match queued.submit(start(words.to_vec()), None) {
                Ok(()) => count += 1,
                Err((refused, errno)) => {
                    assert_eq!((errno, refused.arguments.len()), (Errno::EAGAIN, words.len()));
                    return count;
                }
            }
        }
    }

    #[test]
    fn the_starts_that_wait_have_a_bound_in_memory() {
        assert!(room_for(&[]) > 10_000);
        assert_eq!(room_for(&["x".repeat(6 << 20)]), 5);
        // Empty words use memory too.
        assert!(room_for(&vec![String::new(); 100_000]) < 6);
        // One may always wait.
        assert_eq!(room_for(&["x".repeat(40 << 20)]), 1);
    }

    #[test]
    fn a_start_that_waits_no_longer_gives_its_room_back() {
        let mut queued = QueuedStarts::new();
        assert!(queued.submit(start(vec!["x".repeat(20 << 20)]), None).is_ok());
        assert!(queued.submit(start(vec!["x".repeat(20 << 20)]), None).is_err());
        // The helper that ends at once opens nothing.
        while queued.advance(|_| {}).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(queued.bytes, 0);
        assert!(queued.submit(start(vec!["x".repeat(20 << 20)]), None).is_ok());
    }
}
