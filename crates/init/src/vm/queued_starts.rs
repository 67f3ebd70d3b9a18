//! The starts that wait until a helper has opened their working directories.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use agent_vm_protocol::message::Spawn;
use agent_vm_protocol::{Channel, Frame};
use libc::pid_t;
use nix::errno::Errno;

use crate::files::helper::{DirectoryAnswer, DirectoryHelper};
use crate::helper::Finished;
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
}

impl QueuedStarts {
    /// No start waits.
    pub fn new() -> Self {
        Self {
            helper: DirectoryHelper::new(sys::FILES_NAME),
            bytes: 0,
        }
    }

    /// Lets a start wait, after earlier ones, or returns it with the reason why it cannot wait.
    pub fn submit(&mut self, request: Box<Spawn>) -> Result<(), (Box<Spawn>, Errno)> {
        let bytes = self.bytes + size(&request);
        if bytes > BOUND && !self.helper.is_idle() {
            return Err((request, Errno::EAGAIN));
        }
        match Frame::new(&request.cwd, Vec::new()) {
            Ok(frame) => {
                self.bytes = bytes;
                self.helper.submit(request, frame);
                Ok(())
            }
            Err(_) => Err((request, Errno::ENAMETOOLONG)),
        }
    }

    /// The starts whose working directories have been opened or cannot be. Has the next one opened by `serve`.
    pub fn advance(&mut self, serve: impl Fn(&Channel)) -> Vec<Finished<Box<Spawn>, DirectoryAnswer>> {
        let finished = self.helper.advance(serve);
        for (request, _) in &finished {
            self.bytes -= size(request);
        }
        finished
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
    }
}

/// The memory that a start uses while it waits. The frame has its working directory once more.
fn size(request: &Spawn) -> usize {
    let words = request.arguments.len() + 2 * request.env.len();
    START + words * WORD + request.words_bytes() + request.program.len() + 2 * request.cwd.len()
}

#[cfg(test)]
mod tests {
    use agent_vm_protocol::message::Stdio;

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
        })
    }

    /// How many of such starts can wait at the same time.
    fn room_for(words: &[String]) -> usize {
        let mut queued = QueuedStarts::new();
        let mut count = 0;
        loop {
            match queued.submit(start(words.to_vec())) {
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
        assert!(queued.submit(start(vec!["x".repeat(20 << 20)])).is_ok());
        assert!(queued.submit(start(vec!["x".repeat(20 << 20)])).is_err());
        // The helper that ends at once opens nothing.
        while queued.advance(|_| {}).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(queued.bytes, 0);
        assert!(queued.submit(start(vec!["x".repeat(20 << 20)])).is_ok());
    }
}
